"""The sound's process: scores in, blocks to the card. Nothing else runs in it, so that nothing can hold it up.

Two threads: the audio thread, clocked by the card, makes and writes blocks and asks nothing of anyone. The other
listens to the parent, builds the voice of a new model and lets it take over.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np

from device.core.errors import AudioError, DanceSamplerError
from device.core.level import PeakLevel
from device.core.synth import Synth, SynthSettings
from device.edges.audio import AudioOutput
from device.engine.mixer import Mixer, Source
from device.engine.monitor import Monitor
from device.engine.paced import Clock, MonotonicClock, PacedOutput
from device.engine.performance import Meter
from device.engine.process import Part, run_part
from device.engine.realtime import Urgency, be_urgent, freeze_garbage
from device.engine.scores import SharedScores
from device.engine.shared import Bell, Layout, SharedArrays
from device.engine.sound_ring import SoundRing
from device.engine.steady import SteadyOutput
from device.engine.tape import Tape
from device.engine.voice import Voice

OpenOutput = Callable[[], AbstractContextManager[AudioOutput]]
"""Opens the output, in its own process, and closes it; what is left by an exception is not kept. Must be picklable."""

LARGEST_LEAD_S = 0.5
LARGEST_DRIFT = 0.001
"""A device that waits for nothing (ALSA's null) is held back when it has taken so much more than was played; one whose
clock is a little fast is not, however long it plays."""
LONGEST_BLOCK = 4096
CHANGE_POLL_S = 0.005
LONGEST_WAIT_S = 0.1
CONTROL: Layout = {
    **dict.fromkeys(("n_total", "dimmed", "dim_s"), ((1,), "f8")),
    **dict.fromkeys(("stop", "listens"), ((1,), "i8")),
}
"""What the parent sets for the audio thread: the samples of the whole performance, 0 while unknown; how much is missing
from the full level, 0 to 1, and how long it takes from silence to that; how to stop; whether the input is listened to.
"""
STOP_SOFTLY, ABANDON = 1, 2


@dataclass(frozen=True)
class SoundSetup:
    """What the sound's process is given.

    Attributes
    ----------
    open_output : OpenOutput
    started : Bell or None
        The sound begins when it rings; None: at once.
    control : SharedArrays
        Of `CONTROL`.
    meter : SharedArrays
        Of `meter_layout`.
    tape : SharedArrays or None
        Of `tape_layout`.
    peak : float
        See `Mixer`.
    urgency : Urgency
    listening : ListeningPlan or None
        How the input is heard; None: there is none.
    """

    open_output: OpenOutput
    started: Bell | None
    control: SharedArrays
    meter: SharedArrays
    tape: SharedArrays | None
    peak: float
    urgency: Urgency
    listening: ListeningPlan | None = None


@dataclass(frozen=True)
class ListeningPlan:
    """What is heard while the input is listened to.

    Attributes
    ----------
    ring : SoundRing
        What comes in, at the output's rate.
    gain : float
        What it is multiplied by.
    margin_s : float
        See `Monitor`.
    is_input_heard, is_model_heard : bool
    """

    ring: SoundRing
    gain: float
    margin_s: float
    is_input_heard: bool = True
    is_model_heard: bool = False


@dataclass(frozen=True)
class VoicePlan:
    """The voice that is to take over.

    Attributes
    ----------
    number : int
        Its own, said back once it plays.
    scores : SharedArrays
        What it plays, of `score_layout`.
    steps_per_s : float
    synth : SynthSettings
    seed : int
    fade_s : float
    crossfade_s : float
    """

    number: int
    scores: SharedArrays
    steps_per_s: float
    synth: SynthSettings
    seed: int
    fade_s: float
    crossfade_s: float


def sound_process(part: Part, setup: SoundSetup) -> None:
    """Open the output, say so, then play what the parent says. The process's body."""
    with setup.open_output() as output:
        mixer = Mixer(output.rate_hz, setup.peak, LONGEST_BLOCK, _monitor(setup.listening, output.rate_hz))
        threading.Thread(target=_listen, args=(part, mixer, setup.urgency), name="orders", daemon=True).start()
        loop = SoundLoop(output, mixer, setup, MonotonicClock())
        notes = be_urgent(setup.urgency)
        freeze_garbage()
        part.say("ready", notes)
        loop.run()
    part.say("ended")


def _monitor(plan: ListeningPlan | None, rate_hz: int) -> Monitor | None:
    if plan is None:
        return None
    if plan.ring.rate_hz != rate_hz:
        raise AudioError(
            f"sound comes in at {plan.ring.rate_hz} Hz and goes out at {rate_hz}: set audio.rate_hz for both"
        )
    return Monitor(plan.ring, LONGEST_BLOCK, plan.margin_s, plan.gain)


def _listen(part: Part, mixer: Mixer, urgency: Urgency) -> None:
    """Do what the parent says, until it is gone."""
    # Or whatever else runs keeps it from going on, and the audio thread waits for the interpreter's lock all that time.
    be_urgent(urgency.below(1))
    try:
        while True:
            word, content = part.hear()
            if word == "play":
                mixer.take_over(build_source(content, mixer.rate_hz), content.crossfade_s)
                while mixer.is_changing:
                    time.sleep(CHANGE_POLL_S)  # The audio thread tells nobody: that might hold it up.
                part.say("playing", content.number)
    except EOFError:
        return


def build_source(plan: VoicePlan, rate_hz: int) -> Source:
    """Build a voice, at the card's rate whatever the bundle's."""
    voice = Voice(SharedScores(plan.scores, plan.steps_per_s), Synth(plan.synth, plan.seed), plan.fade_s)
    if plan.synth.rate_hz == rate_hz:
        return voice
    from device.engine.resampled import Resampled

    return Resampled(voice, plan.synth.rate_hz, rate_hz)


class AbandonedError(DanceSamplerError):
    """The performance failed elsewhere: what was played is not kept."""


class SoundLoop:
    """The audio thread: waits for the card, makes the next block of what is newest, hands it over.

    Parameters
    ----------
    output : AudioOutput
    mixer : Mixer
    setup : SoundSetup
    clock : Clock
    """

    def __init__(self, output: AudioOutput, mixer: Mixer, setup: SoundSetup, clock: Clock) -> None:
        self._output = output
        self._mixer = mixer
        self._started = setup.started
        self._control = setup.control
        self._meter = Meter(output.rate_hz, setup.meter)
        self._tape = None if setup.tape is None else Tape(setup.tape, output.rate_hz)
        self._clock = clock
        self._listening = setup.listening
        self._level = PeakLevel(output.rate_hz)
        self._block = np.zeros(LONGEST_BLOCK, np.float32)
        self._n_samples = 0
        self._n_faded = math.inf
        mixer.set_level(*self._level_set(), at_once=True)

    def run(self) -> None:
        """Play until the end, or until the end of a short fade after a stop."""
        while self._started is not None and not self._started.wait(LONGEST_WAIT_S):
            if self._is_told_to_stop():
                return
        begin_s = self._clock.now_s()
        while self._play_block():
            elapsed_s = self._clock.now_s() - begin_s
            ahead_s = (self._n_samples - self._output.buffer) / self._output.rate_hz - elapsed_s
            self._clock.wait(ahead_s - LARGEST_LEAD_S - LARGEST_DRIFT * elapsed_s)

    def _play_block(self) -> bool:
        output, clock = self._output, self._clock
        output.wait()
        n = self._n_next()
        if n <= 0:
            return False
        block, worked_s, started_s = self._block[:n], time.thread_time(), clock.now_s()
        self._obey()
        news = self._mixer.fill(block)
        made_s = clock.now_s()
        worked_s = time.thread_time() - worked_s
        output.write(block)
        handed_over_s = clock.now_s()
        self._n_samples += n
        meter = self._meter
        meter.count_block(n, worked_s)
        meter.set("last_block_s", handed_over_s)
        meter.set("n_xruns", output.n_xruns)
        meter.set("output_peak", self._level.see(block))
        meter.add_stage("synth", made_s - started_s)
        meter.add_stage("write", handed_over_s - made_s)
        if isinstance(output, SteadyOutput):
            meter.set("is_card_live", output.is_live)
            meter.set("n_card_losses", output.n_lost)
        if news is not None:
            # The card's buffer is full now, and this block is the last in it.
            queued_s = max(0, output.buffer - n) / output.rate_hz
            meter.count_latency(handed_over_s - news.arrival_s, handed_over_s + queued_s - news.score.begins_s)
            meter.add_stage("pickup", started_s - news.published_s)
        if self._tape is not None:
            self._tape.add_sound(block)
        return True

    def _obey(self) -> None:
        """Do what the parent has set."""
        control, mixer, plan = self._control, self._mixer, self._listening
        mixer.set_level(*self._level_set())
        if plan is not None:
            is_listening = bool(control["listens"][0])
            mixer.listen(not is_listening or plan.is_model_heard, is_listening and plan.is_input_heard)

    def _level_set(self) -> tuple[float, float]:
        return 1.0 - float(self._control["dimmed"][0]), float(self._control["dim_s"][0])

    def _n_next(self) -> int:
        """How many samples come next; none at the end."""
        output = self._output
        if self._n_faded == math.inf and self._is_told_to_stop():
            self._n_faded = self._n_samples + self._mixer.release()
        n_total, n_lost = float(self._control["n_total"][0]) or math.inf, 0
        if isinstance(output, PacedOutput):
            # Time that was lost has passed all the same, and may be lost at the very end.
            n_lost, output.n_most = output.n_lost, n_total
        return int(min(output.period, n_total - n_lost - self._n_samples, self._n_faded - self._n_samples))

    def _is_told_to_stop(self) -> bool:
        stop = int(self._control["stop"][0])
        if stop == ABANDON:
            raise AbandonedError("the performance was abandoned: what went wrong was said elsewhere")
        return stop == STOP_SOFTLY


def sound_main(part: Part, setup: SoundSetup) -> None:
    """Run the sound's process."""
    run_part("sound", part, lambda: sound_process(part, setup))
