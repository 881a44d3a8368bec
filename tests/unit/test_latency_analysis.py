"""The bench's latency, offline: a known delay is found, one that is planted is seen, what is lost is counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytest

from device.config import DEFAULT_PATH, Config, load_config
from device.core.motiongram import MotionSettings
from device.core.room import RoomMotiongram
from device.core.room_profile import RoomSettings
from device.core.synth import Synth
from device.engine.engine import play_virtual
from device.engine.performance import Meter, allocate
from device.engine.player import Player
from device.engine.shared import SharedArrays
from device.models.bundles import FACTORY, load_bundle
from tests.bench import latency
from tests.bench.bench import CLIP, Bench, Effort, Show
from tests.bench.latency_analysis import Feature, find_changes, level, spectrum
from tests.bench.latency_card import Heard, PacedCard, card_layout, heard, lateness_s
from tests.bench.latency_pulse import TimedRecording
from tests.bench.latency_stimulus import REGIONS, STILL, ZOOM, StimulusCamera, StimulusPlan, stimulus_layout
from tests.bench.latency_trial import Outcome, Trial
from tests.bench.latency_why import SteppedClock, frames_of, stages_s
from tests.bench.results import body
from tests.pulse_card import PulseCard

RATE_HZ = 48_000
START_S = 1234.5
MOTION, HEIGHT = (STILL, "full"), ("low", "high")
HARMONICS = {"full": range(3, 40, 3), "low": range(3, 9), "high": range(9, 15), "left": range(20, 26)}
"""Scene -> what sounds in it, times 187.5 Hz; 'right' sounds as 'left' does."""


def sounding(plan: StimulusPlan, delay_s: float, n_lost: int = 0) -> Heard:
    """What is heard if each change but the last `n_lost` is heard after this delay, at once."""
    times_s = np.arange(round((plan.duration_s + 0.5) * RATE_HZ)) / RATE_HZ
    n_before = np.searchsorted(plan.changes_s()[: plan.n_changes - n_lost] + delay_s, times_s, side="right")
    rng = np.random.default_rng(3)
    tones = np.zeros((2, len(times_s)))
    for n, scene in enumerate(plan.scenes):
        for harmonic in HARMONICS.get({"right": "left"}.get(scene, scene), ()):
            tones[n] += 0.03 * np.sin(2.0 * np.pi * (187.5 * harmonic * times_s + rng.random()))
    sound = np.where(n_before % 2 == 0, tones[0], tones[1]).astype(np.float32)
    return Heard(sound, RATE_HZ, START_S)


def found_ms(plan: StimulusPlan, sound: Heard, feature: Callable[[Heard], Feature]) -> list[npt.NDArray[np.float64]]:
    found = find_changes(feature(sound), START_S + plan.changes_s(), plan.ages_s(), START_S + plan.duration_s)
    assert [(each.n_lost, each.n_alike) for each in found] == [(0, 0)] * 2
    return [1000.0 * each.latencies_s for each in found]


@pytest.mark.parametrize("delay_ms", [0.4, 16.3, 33.0, 80.0])
@pytest.mark.parametrize(("scenes", "feature"), [(MOTION, level), (HEIGHT, spectrum)])
def test_a_known_delay_is_found_within_a_millisecond(
    scenes: tuple[str, str], feature: Callable[[Heard], Feature], delay_ms: float
) -> None:
    plan = StimulusPlan(60.0, scenes, (0.25, 0.3), 20)
    for latencies_ms in found_ms(plan, sounding(plan, delay_ms / 1000.0), feature):
        assert len(latencies_ms) == 10
        assert np.abs(latencies_ms - delay_ms).max() < 1.0


def test_changes_that_are_not_heard_are_lost_and_leave_the_others_as_they_are() -> None:
    plan = StimulusPlan(60.0, MOTION, (0.25, 0.3), 20)
    found = find_changes(
        level(sounding(plan, 0.02, n_lost=3)), START_S + plan.changes_s(), plan.ages_s(), START_S + plan.duration_s
    )
    # After a loss there is no way back either: the sound is where it was to go.
    assert [(each.n_lost, each.n_alike, each.n) for each in found] == [(1, 0, 10), (2, 0, 10)]
    assert all(np.abs(1000.0 * each.latencies_s - 20.0).max() < 1.0 for each in found)


def test_a_note_that_wavers_has_not_passed_half_of_its_way() -> None:
    plan = StimulusPlan(60.0, MOTION, (0.25, 0.3), 20)
    steady = sounding(plan, 0.1)
    times_s = START_S + np.arange(len(steady.sound)) / RATE_HZ
    wavers = np.ones(len(times_s), np.float32)
    for change_s in START_S + plan.changes_s()[1::2]:
        wavers[(times_s > change_s + 0.03) & (times_s < change_s + 0.04)] = 0.0  # for 10 ms, as beats are
    _, back = found_ms(plan, replace(steady, sound=steady.sound * wavers), level)
    assert np.abs(back - 100.0).max() < 1.0


def test_sounds_that_do_not_differ_are_alike_and_have_no_latency() -> None:
    plan = StimulusPlan(60.0, ("left", "right"), (0.25, 0.3), 8)
    for feature in (level, spectrum):
        sound = sounding(plan, 0.02)
        noise = np.random.default_rng(0).normal(0.0, 0.01, len(sound.sound)).astype(np.float32)
        found = find_changes(
            feature(replace(sound, sound=sound.sound + noise)),
            START_S + plan.changes_s(), plan.ages_s(), START_S + plan.duration_s,
        )  # fmt: skip
        assert [(len(each.latencies_s), each.n_alike) for each in found] == [(0, 4)] * 2


def test_the_age_of_the_frame_is_told_from_what_comes_after_it() -> None:
    plan = StimulusPlan(30.0, MOTION, (0.25, 0.3), 40)
    sound = sounding(plan, 0.05)
    both = find_changes(level(sound), START_S + plan.changes_s(), plan.ages_s(), START_S + plan.duration_s)
    for each, ages_s in zip(both, (plan.ages_s()[::2], plan.ages_s()[1::2]), strict=True):
        assert np.allclose(each.latencies_s - each.after_frame_s, ages_s)


def test_twenty_milliseconds_planted_in_the_chain_are_seen() -> None:
    bundle = load_bundle(FACTORY)
    plan = StimulusPlan(60.0, MOTION, (0.55, 0.3), 8)
    medians_ms = []
    for planted in (0, 8 * 128):
        player, synth = Player(bundle.manifest, bundle.model), Synth(bundle.manifest.synth)
        sound, _ = play_virtual(player, synth, frames_of(plan), buffer=384 + planted)
        latencies_ms = found_ms(plan, Heard(sound, RATE_HZ, START_S), level)
        medians_ms.append([float(np.median(each)) for each in latencies_ms])
    # The median of eight changes hangs on the phases of the noise: half a millisecond from seed to seed, 1.8 at most.
    assert np.diff(medians_ms, axis=0)[0] == pytest.approx([21.3, 21.3], abs=2.0)
    assert 8.0 < medians_ms[0][0] < 45.0


def test_the_stages_of_a_bundle_come_one_after_the_other() -> None:
    stages = stages_s(load_bundle(FACTORY), StimulusPlan(60.0, MOTION, (0.6, 0.6), 12))
    medians_ms = {name: [1000.0 * float(np.median(each)) for each in both] for name, both in stages.items()}
    assert medians_ms["columns"] == pytest.approx([0.0, 1000.0 / 60.0], abs=0.1)
    for model_ms, heard_ms in zip(medians_ms["model"], medians_ms["heard"], strict=True):
        assert model_ms - 5.0 < heard_ms < model_ms + 15.0, medians_ms
    assert all(-5.0 < each < 9.0 for each in medians_ms["switched"])


def test_the_scene_changes_at_any_phase_of_a_frame_and_is_seen_in_the_first_one_after() -> None:
    plan = StimulusPlan(50.0, MOTION, (0.2, 0.2), 100)
    ages = plan.ages_s() * plan.fps
    assert 0.0 <= ages.min() < 0.1 < 0.9 < ages.max() < 1.0
    assert np.median(ages) == pytest.approx(0.5, abs=0.15)
    frames = frames_of(plan)
    moves = np.array([not np.array_equal(a.grey, b.grey) for a, b in pairwise(frames)])
    times_s = np.array([frame.time_s for frame in frames[1:]])
    seen = [float(times_s[(times_s >= change_s) & (moves == (i % 2 == 0))][0]) for i, change_s in
            enumerate(plan.changes_s())]  # fmt: skip
    assert seen == pytest.approx(plan.changes_s() + plan.ages_s())


@pytest.mark.parametrize(("scene", "least", "most"), [(each, 4.0, 8.0) for each in REGIONS])
def test_it_moves_as_in_a_lively_dance_and_is_taken_for_no_noise(scene: str, least: float, most: float) -> None:
    room = RoomMotiongram(MotionSettings(), adapt=RoomSettings(zoom=ZOOM))
    frames = frames_of(StimulusPlan(60.0, (scene, STILL), (1.0, 0.2), 1, lead_s=12.0))
    quantities = [room.push(frame).quantity for frame in frames]
    assert least < np.mean(quantities[10:50]) < most
    assert least < np.mean(quantities[660:700]) < most


def test_the_camera_is_in_time_and_says_when_it_began() -> None:
    clock, told = SteppedClock(70.0), allocate(stimulus_layout())
    camera = StimulusCamera(StimulusPlan(25.0, MOTION, (0.2, 0.2), 4), told, clock)
    for n in range(5):
        frame = camera.read()
        assert frame is not None
        assert frame.time_s == pytest.approx(70.0 + n / 25.0)
        assert clock.now_s() == pytest.approx(frame.time_s)
    assert told["start_s"][0] == 70.0


def test_the_card_keeps_what_it_plays_where_it_is_heard_and_how_late_it_came() -> None:
    clock, memory = SteppedClock(50.0), SharedArrays(card_layout(1.0, RATE_HZ))
    card = PacedCard(memory, RATE_HZ, 128, 3, clock)
    for n in range(6):
        card.wait()
        clock.wait(0.001 * (n == 4))
        card.write(np.full(128, n + 1.0, np.float32))
    clock.wait(0.1)
    card.write(np.full(128, 9.0, np.float32))
    played = heard(memory, RATE_HZ)
    assert played.start_s == 50.0
    assert card.n_xruns == 1
    (starts,) = np.nonzero(played.sound == 9.0)
    assert 50.0 + starts[0] / RATE_HZ == pytest.approx(clock.now_s(), abs=1e-4)  # heard as soon as it came, not before
    assert not played.sound[6 * 128 : starts[0]].any()
    assert np.array_equal(played.sound[: 6 * 128], np.repeat(np.arange(1.0, 7.0), 128))
    assert lateness_s(memory)[:3] == pytest.approx([0.0, 0.001, 0.0], abs=1e-5)


def test_a_recording_is_timed_by_the_piece_that_came_soonest() -> None:
    recording = TimedRecording(cast(PulseCard, SimpleNamespace(rate_hz=RATE_HZ, environment={})))
    late_s = [0.004, 0.001, 0.003, 0.002, 0.009]
    for n, late in enumerate(late_s):
        recording._times_s.append(10.0 + (n + 1) * 0.01 + late)
        recording._pieces.append(np.full(480, n, np.float32).tobytes())
    sound, stray_s = recording.heard()
    assert sound.start_s == pytest.approx(10.001)
    assert np.array_equal(sound.sound, np.repeat(np.arange(4.0), 480))  # the last piece may still be on its way
    assert stray_s == pytest.approx(0.0015)


class FakeStage:
    """Trials whose sound is known: each change is heard after the same time; nothing is played."""

    def __init__(self, delay_s: float) -> None:
        self.delay_s = delay_s
        self.trials: list[Trial] = []

    def run_trials(self, trials: Sequence[Trial], config: Config) -> list[Outcome]:
        self.trials += trials
        queued_s = config.audio.period * (config.audio.n_periods - 1) / config.audio.rate_hz
        return [self._outcome(trial.plan, queued_s) for trial in trials]

    def run_pulse_trial(self, trial: Trial, config: Config) -> tuple[Outcome, float]:
        return self.run_trials([trial], config)[0], 0.0005

    def _outcome(self, plan: StimulusPlan, queued_s: float) -> Outcome:
        meter = Meter(RATE_HZ)
        for engine_s in (0.002, 0.003):
            meter.count_latency(engine_s, engine_s + queued_s)
        return Outcome(sounding(plan, self.delay_s), START_S + plan.changes_s(), meter.performance(), queued_s)


@pytest.mark.parametrize(("delay_s", "holds"), [(0.02, True), (0.06, False)])
def test_the_page_tells_all_kinds_and_whether_the_budget_holds(
    monkeypatch: pytest.MonkeyPatch, delay_s: float, holds: bool
) -> None:
    stage = FakeStage(delay_s)
    monkeypatch.setattr(latency, "run_trials", stage.run_trials)
    monkeypatch.setattr(latency, "run_pulse_trial", stage.run_pulse_trial)
    monkeypatch.setattr(latency, "make_bundle", fake_bundle)
    bundle = load_bundle(FACTORY)
    said: list[str] = []
    bench = Bench(
        Show(FACTORY, CLIP), Effort(n_changes=8), load_config(DEFAULT_PATH), bundle, cast(Any, None), said.append
    )
    section = latency.measure_latency(bench)
    text = body([section])
    limited = {figure.what: figure.holds for figure in section.figures if figure.limit is not None}
    assert len(limited) == 4
    assert {what: each for what, each in limited.items() if what.startswith("camera edge")} == dict.fromkeys(
        (what for what in limited if what.startswith("camera edge")), holds
    )
    assert section.figures[0].values["p50"] == pytest.approx(1000.0 * delay_s, abs=1.0)
    assert {trial.plan.fps for trial in stage.trials} == {25.0, 30.0, 50.0, 60.0, 120.0}
    assert {trial.mode for trial in stage.trials} == {"stream", "segment"}
    assert "| left to right | direct" in text
    assert "alike" in text
    rows = [line for line in text.splitlines() if line.startswith("| still to full | direct") and "| 120 |" in line]
    assert [[cell.strip() for cell in row.split("|")[-3:-1]] for row in rows] == [["9.5", "13.6"]]


def fake_bundle(folder: Path, segment_s: float) -> Path:
    assert segment_s in latency.SEGMENTS_S
    assert not folder.exists()
    return FACTORY
