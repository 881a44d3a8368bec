"""The audio thread's loop on a clock that only moves when it is waited on: how long it plays, and what it counts."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial

import numpy as np
import pytest

from device.core.errors import AudioError
from device.core.fade import RELEASE_S
from device.core.synth import SynthSettings
from device.edges.audio import AudioOutput
from device.edges.audio_fake import FakeOutput
from device.edges.model import Float32
from device.engine.mixer import Mixer
from device.engine.monitor import Monitor
from device.engine.paced import PacedOutput
from device.engine.performance import Meter, meter_layout
from device.engine.realtime import Urgency
from device.engine.scores import SharedScores, score_layout
from device.engine.shared import Bell, SharedArrays
from device.engine.sound_process import (
    ABANDON,
    CONTROL,
    LARGEST_LEAD_S,
    STOP_SOFTLY,
    AbandonedError,
    ListeningPlan,
    SoundLoop,
    SoundSetup,
    VoicePlan,
    build_source,
)
from device.engine.sound_ring import SoundRing
from device.engine.tape import Tape, tape_layout
from tests.hand_clock import HandClock

RATE_HZ = 48_000
SYNTH = SynthSettings(n_fft=256, hop=32)


class Desk:
    """A loop with all that it needs, in this process."""

    def __init__(
        self,
        output: AudioOutput,
        clock: HandClock,
        *,
        is_clip: bool = False,
        seconds: float = 0.0,
        listening: ListeningPlan | None = None,
        dimmed: float = 0.0,
    ) -> None:
        self.control, memory = SharedArrays(CONTROL), SharedArrays(meter_layout())
        tape = SharedArrays(tape_layout(4, RATE_HZ, 5.0))
        self.control["n_total"][0] = round(seconds * RATE_HZ)
        self.meter, self.tape = Meter(RATE_HZ, memory), Tape(tape, RATE_HZ)
        self.started = Bell()
        scores = SharedArrays(score_layout(SYNTH.n_bins, 1))
        self.scores = SharedScores(scores, 50.0, clock.now_s)
        self.control["dimmed"][0] = dimmed
        monitor = None if listening is None else Monitor(listening.ring, 4096, listening.margin_s, now_s=clock.now_s)
        self.mixer = Mixer(RATE_HZ, monitor=monitor)
        self.mixer.take_over(build_source(VoicePlan(0, scores, 50.0, SYNTH, 0, 0.18, 0.0), RATE_HZ))
        setup = SoundSetup(
            lambda: nullcontext(output),
            self.started if is_clip else None,
            self.control,
            memory,
            tape,
            0.9,
            Urgency(0, lock_memory=False),
            listening,
        )
        self.loop = SoundLoop(output, self.mixer, setup, clock)

    def say(self, arrival_s: float, hold_s: float = 100.0) -> None:
        """Let a loud tone be heard."""
        score = self.scores.begin(1, arrival_s)
        spectrum = np.zeros(SYNTH.n_bins, np.float32)
        spectrum[8] = 0.6
        score.append(spectrum)
        self.scores.publish(score, arrival_s, hold_s)


@pytest.mark.parametrize("seconds", [0.5, 1.0 / 3.0, 0.001])
def test_it_lasts_to_the_sample(seconds: float) -> None:
    clock, output = HandClock(), FakeOutput()
    desk = Desk(PacedOutput(output, clock), clock, seconds=seconds)
    desk.say(clock.time_s)
    desk.loop.run()
    n = round(seconds * RATE_HZ)
    assert len(output.played) == desk.meter.count("n_samples") == n
    assert desk.meter.count("n_blocks") == -(-n // 128)
    assert np.array_equal(desk.tape.sound, output.played)
    assert output.played.any()
    assert clock.time_s - 1000.0 == pytest.approx(max(0.0, (n - 384) / RATE_HZ), abs=128 / RATE_HZ)


@pytest.mark.parametrize("at_s", [0.5, 1.39])
def test_time_that_is_lost_does_not_make_the_performance_longer(at_s: float) -> None:
    class Stalling(HandClock):
        """At this time a third of a second is over at once."""

        has_stalled = False

        def now_s(self) -> float:
            if not self.has_stalled and self.time_s >= 1000.0 + at_s:
                self.has_stalled = True
                self.time_s += 1 / 3
            return self.time_s

    clock, output = Stalling(), FakeOutput()
    paced = PacedOutput(output, clock)
    desk = Desk(paced, clock, seconds=1.4)
    desk.loop.run()
    assert desk.meter.count("n_xruns") == paced.n_xruns == 1
    assert paced.n_lost > 0.3 * RATE_HZ
    assert len(output.played) == round(1.4 * RATE_HZ)


def test_a_card_that_waits_for_nothing_is_held_to_the_time() -> None:
    clock, output = HandClock(), FakeOutput()
    Desk(output, clock, seconds=2.0).loop.run()
    assert clock.time_s - 1000.0 == pytest.approx(2.0 - LARGEST_LEAD_S, abs=0.02)


@pytest.mark.parametrize("ppm", [-900.0, 900.0])
def test_a_card_whose_clock_is_a_little_off_is_never_held_back(ppm: float) -> None:
    clock = HandClock()

    class Card(FakeOutput):
        """Waits for room, by its own clock; how long it was kept waiting besides is what counts."""

        end_s = 1000.0
        most_late_s = 0.0

        def write(self, block: Float32) -> None:
            self.n_blocks += 1
            self.most_late_s = max(self.most_late_s, clock.time_s - self.end_s)
            clock.time_s = self.end_s = self.end_s + len(block) / (RATE_HZ * (1.0 + 1e-6 * ppm))

    card = Card(period=4096, n_periods=2)
    # At the fast one the samples would be 0.9 s ahead of the time.
    Desk(card, clock, seconds=1000.0).loop.run()
    assert card.most_late_s < 1e-6


def test_it_begins_when_it_is_told_and_ends_before_if_it_is_told_so() -> None:
    clock, output = HandClock(), FakeOutput()
    desk = Desk(output, clock, is_clip=True, seconds=0.1)
    thread = threading.Thread(target=desk.loop.run)
    thread.start()
    assert len(output.played) == 0
    desk.started.ring()
    thread.join(20.0)
    assert len(output.played) == round(0.1 * RATE_HZ)
    stopped = Desk(FakeOutput(n_blocks=0), clock, is_clip=True)
    stopped.control["stop"][0] = STOP_SOFTLY
    stopped.loop.run()


def test_a_stop_falls_to_silence_in_a_moment() -> None:
    clock = HandClock()

    class Card(FakeOutput):
        def write(self, block: Float32) -> None:
            super().write(block)
            if self.n_blocks == 100:
                desk.control["stop"][0] = STOP_SOFTLY

    output = Card()
    desk = Desk(PacedOutput(output, clock), clock)
    desk.say(clock.time_s)
    desk.loop.run()
    tail = output.played[12_800:]
    assert 0 < len(tail) <= RELEASE_S * RATE_HZ + 1
    assert np.abs(tail[:100]).max() > 0.01
    assert tail[-1] == 0.0


def test_a_performance_that_is_abandoned_is_not_played_to_its_end() -> None:
    clock, output = HandClock(), FakeOutput()
    desk = Desk(output, clock)
    desk.control["stop"][0] = ABANDON
    with pytest.raises(AbandonedError):
        desk.loop.run()
    assert len(output.played) == 0


def test_a_card_that_is_pulled_out_is_an_error() -> None:
    clock = HandClock()
    with pytest.raises(AudioError, match="plug it in"):
        Desk(FakeOutput(n_blocks=5), clock, seconds=1.0).loop.run()


def test_each_frame_that_is_heard_is_counted_once_with_its_delays() -> None:
    clock = HandClock()

    class Card(FakeOutput):
        def write(self, block: Float32) -> None:
            super().write(block)
            if self.n_blocks % 20 == 0:
                desk.say(clock.time_s - 0.002)  # A frame that has come 2 ms ago.

    output = Card()
    desk = Desk(PacedOutput(output, clock), clock, seconds=1.0)
    desk.loop.run()
    histograms = desk.meter.histograms
    assert histograms["engine"].n == histograms["pickup"].n == round(1.0 * RATE_HZ) // 128 // 20
    # The block after it waits for room for one period; two more lie before it in the buffer.
    period_ms = 1000 * 128 / RATE_HZ
    assert histograms["engine"].max_ms == pytest.approx(2.0 + period_ms, abs=0.1)
    assert histograms["frame_to_sound"].max_ms == pytest.approx(2.0 + 3 * period_ms, abs=0.1)
    assert histograms["synth"].n == desk.meter.count("n_blocks")
    # Then it has waited for the room of one more, and seen that it was the end.
    assert desk.meter.time_s("last_block_s") == pytest.approx(clock.time_s - period_ms / 1000.0, abs=1e-6)


class Conducted(FakeOutput):
    """A card that does something at certain blocks: what the parent would do meanwhile."""

    def __init__(self, clock: HandClock) -> None:
        super().__init__()
        self.cues: dict[int, Callable[[], None]] = {}
        self._clock = clock

    def write(self, block: Float32) -> None:
        super().write(block)
        self.cues.get(self.n_blocks, lambda: None)()


def rms(sound: Float32) -> float:
    return float(np.sqrt(np.mean(np.square(sound, dtype=np.float64))))


def test_a_level_that_is_set_fades_in_its_time_and_its_peak_is_said() -> None:
    clock = HandClock()
    card = Conducted(clock)
    desk = Desk(PacedOutput(card, clock), clock, seconds=3.0)
    desk.say(clock.time_s)

    def dim() -> None:
        desk.control["dim_s"][0], desk.control["dimmed"][0] = 0.5, 1.0

    card.cues[375] = dim  # after a second
    loud: list[float] = []
    card.cues[370] = lambda: loud.append(desk.meter.level_dbfs("output_peak"))
    desk.loop.run()
    before, after = card.played[24_000:48_000], card.played[round(1.55 * RATE_HZ) :]
    assert rms(before) > 0.01
    assert not after.any()
    assert np.abs(card.played[round(1.3 * RATE_HZ) : round(1.4 * RATE_HZ)]).max() > 0.0
    # Written block by block, the peak is that of the highest of late.
    assert loud[0] == pytest.approx(20 * np.log10(np.abs(before).max()), abs=1.0)
    # Two seconds less the fade's loud part ago it was as loud.
    assert loud[0] - 41.0 < desk.meter.level_dbfs("output_peak") < loud[0] - 25.0


def test_a_sound_that_begins_while_all_is_dimmed_begins_in_silence() -> None:
    clock, output = HandClock(), FakeOutput()
    desk = Desk(PacedOutput(output, clock), clock, seconds=0.5, dimmed=1.0)
    desk.control["dim_s"][0] = 8.0
    desk.say(clock.time_s)
    desk.loop.run()
    assert len(output.played) == RATE_HZ // 2
    assert not output.played.any()


@pytest.mark.parametrize(("model_plays", "monitor"), [(False, True), (True, False), (True, True), (False, False)])
def test_while_it_listens_the_plan_s_sounds_are_heard_and_the_model_s_afterwards(
    model_plays: bool, monitor: bool
) -> None:
    clock, ring = HandClock(), SoundRing(RATE_HZ, 128)
    plan = ListeningPlan(ring, 1.0, 0.004, is_input_heard=monitor, is_model_heard=model_plays)
    card = Conducted(clock)
    desk = Desk(PacedOutput(card, clock), clock, seconds=3.0, listening=plan)
    desk.say(clock.time_s)

    def hear() -> None:
        while ring.n_blocks == 0 or ring.time_s(ring.n_blocks - 1) + 2 * 128 / RATE_HZ <= clock.time_s:
            ring.put(np.full(128, 0.25, np.float32), 1000.0 + ring.n_blocks * 128 / RATE_HZ)

    def listen(on: int) -> None:
        desk.control["listens"][0] = on

    card.cues = dict.fromkeys(range(2000), hear)
    card.cues[375], card.cues[750] = partial(listen, 1), partial(listen, 0)
    desk.loop.run()
    parts = [card.played[round(from_s * RATE_HZ) : round((from_s + 0.6) * RATE_HZ)] for from_s in (0.3, 1.3, 2.3)]
    before, meanwhile, after = parts
    for part in (before, after):
        assert abs(float(np.mean(part))) < 0.02
        assert rms(part) > 0.01
    assert float(np.mean(meanwhile)) == pytest.approx(0.25 if monitor else 0.0, abs=0.02)
    assert (float(np.std(meanwhile)) > 0.01) == model_plays
