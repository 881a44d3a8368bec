"""Latency, measured as a user would: from a scene that changes before the camera to a sound that has changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from device.core.errors import DanceSamplerError
from device.engine.performance import Performance
from tests.bench.bench import Bench
from tests.bench.figures import ENGINE_P99_MS, Figure, Section
from tests.bench.latency_analysis import percentiles_ms
from tests.bench.latency_pulse import N_PERIODS, PERIOD, run_pulse_trial
from tests.bench.latency_rows import Row, rows_of
from tests.bench.latency_stimulus import STILL, StimulusPlan
from tests.bench.latency_text import HOW, rows_as_text, why_as_text
from tests.bench.latency_trial import Trial, run_trials
from tests.bench.latency_why import stages_s
from tests.bench.segment_bundle import make_bundle

SOUND_P50_MS, SOUND_P99_MS, JITTER_MS = 30.0, 45.0, 3.0
BUDGET_FPS = 60.0
OTHER_FPS = (25.0, 30.0, 50.0, 120.0)
SEGMENTS_S = (0.1, 0.5)
MOTION, HEIGHT, SIDE = (STILL, "full"), ("low", "high"), ("left", "right")
"""Two scenes that take turns."""
DIRECT_S, MOVING_S, SHORTLY_S, HOLD_S = 0.25, 0.3, 0.3, 0.55
"""How long scenes last."""

Directs = Mapping[float, Path]
"""Length of a segment -> a bundle that has learned nothing."""
Group = list[tuple[str, Trial]]
"""Trials that are run at once, and what plays, in words."""


def measure_latency(bench: Bench) -> Section:
    """The budgets first, alone on the machine; then what explains them, several engines at a time."""
    n = bench.effort.n_changes
    bench.say("latency: two bundles that have learned nothing")
    with TemporaryDirectory() as folder:
        directs = {each: make_bundle(Path(folder) / f"direct-{each:g}", each) for each in SEGMENTS_S}
        first, *others = groups(bench, directs, n)
        rows, performance = run_alone(bench, *first[0])
        for group in others:
            rows += run_group(bench, group)
    explained, note = on_pulse(bench, n // 4)
    bench.say("latency: where the time goes")
    why = stages_s(bench.bundle, plan_of(bench, HEIGHT, BUDGET_FPS, n // 4, 0.5))
    why_text = why_as_text(bench.bundle.manifest.name, BUDGET_FPS, HEIGHT, why)
    text = "\n\n".join([rows_as_text([*rows, *explained]), note, why_text])
    return Section("Latency", figures(rows[0], performance), text, HOW)


def plan_of(bench: Bench, scenes: tuple[str, str], fps: float, n: int, *holds_s: float) -> StimulusPlan:
    """An even number of changes between two scenes, in pictures of the bundle's size."""
    motion = bench.bundle.manifest.motion
    return StimulusPlan(fps, scenes, holds_s * 2, 2 * max(1, n // 2), height=motion.height, width=motion.width)


def groups(bench: Bench, directs: Directs, n: int) -> Iterator[Group]:
    """What is tried; the first is for the budget."""
    name, learned, direct = bench.bundle.manifest.name, bench.show.bundle, directs[max(directs)]

    def trial(bundle: Path, scenes: tuple[str, str], fps: float, n: int, *holds_s: float) -> Trial:
        return Trial(bundle, plan_of(bench, scenes, fps, n, *holds_s))

    # Still is what has been still for as long as the model looks back.
    holds_s = (bench.bundle.manifest.segment_s + 0.05, MOVING_S)
    yield [(name, trial(learned, MOTION, BUDGET_FPS, 2 * n, *holds_s))]
    yield [("direct", trial(direct, scenes, BUDGET_FPS, n // 2, DIRECT_S)) for scenes in (MOTION, HEIGHT, SIDE)]
    shortly = (f"{name}, {SHORTLY_S:g} s still", trial(learned, MOTION, BUDGET_FPS, n // 4, SHORTLY_S, MOVING_S))
    yield [*((name, trial(learned, scenes, BUDGET_FPS, n // 4, HOLD_S)) for scenes in (HEIGHT, SIDE)), shortly]
    yield [(name, trial(learned, MOTION, fps, n // 2, *holds_s)) for fps in OTHER_FPS]
    yield [("direct", trial(direct, MOTION, fps, n // 2, DIRECT_S)) for fps in OTHER_FPS]
    yield list(segment_group(bench, directs, n // 8))


def segment_group(bench: Bench, directs: Directs, n: int) -> Iterator[tuple[str, Trial]]:
    """The original's way: each scene lasts until a segment of the one before cannot be heard any more."""
    manifest = bench.bundle.manifest
    bundles = [("direct", segment_s, bundle) for segment_s, bundle in directs.items()]
    for what, segment_s, bundle in [*bundles, (manifest.name, manifest.segment_s, bench.show.bundle)]:
        plan = plan_of(bench, MOTION, BUDGET_FPS, n, 2.0 * segment_s + 0.25)
        yield f"{what}, segments of {segment_s:g} s", Trial(bundle, plan, "segment")


def run_alone(bench: Bench, setting: str, trial: Trial) -> tuple[list[Row], Performance]:
    """Run one trial; give what the engine counted, too."""
    bench.say(f"latency: {setting}, {trial.plan.n_changes} changes in {trial.plan.duration_s:.0f} s")
    (outcome,) = run_trials([trial], bench.config)
    return rows_of(trial, outcome, setting), outcome.performance


def run_group(bench: Bench, group: Group) -> list[Row]:
    """Run trials at once."""
    named = "; ".join(
        f"{setting}, {' and '.join(trial.plan.scenes)}, {trial.plan.fps:g} fps" for setting, trial in group
    )
    bench.say(f"latency: {named}: {max(trial.plan.duration_s for _, trial in group):.0f} s")
    outcomes = run_trials([trial for _, trial in group], bench.config)
    return [
        row
        for (setting, trial), outcome in zip(group, outcomes, strict=True)
        for row in rows_of(trial, outcome, setting)
    ]


def on_pulse(bench: Bench, n: int) -> tuple[list[Row], str]:
    """On the null sink, and a sentence on it; where there is none, only that."""
    bench.say("latency: PulseAudio's null sink")
    trial = Trial(bench.show.bundle, plan_of(bench, MOTION, BUDGET_FPS, n, 0.55, MOVING_S))
    try:
        outcome, stray_s = run_pulse_trial(trial, bench.config)
    except DanceSamplerError as error:
        return [], f"PulseAudio's null sink was not measured: {error}."
    return rows_of(trial, outcome, f"{bench.bundle.manifest.name}, PulseAudio {PERIOD} x {N_PERIODS}"), (
        f"PulseAudio: {outcome.performance.n_xruns} underruns; the median piece of the recording came "
        f"{1000.0 * stray_s:.2f} ms later than the earliest, by which its clock is set."
    )


def figures(row: Row, performance: Performance) -> list[Figure]:
    """Those that have limits, and where the engine's time goes."""
    how = f"{row.before} to {row.after} motion, {row.fps:g} fps, real clock"
    late = percentiles_ms(row.changes.latencies_s)
    engine = performance.engine.figures()
    n_not_heard = {"lost": float(row.changes.n_lost), "alike": float(row.changes.n_alike)}
    stages = [
        Figure(f"stage of the engine: {name}", "ms", stage.figures()) for name, stage in performance.stages.items()
    ]
    return [
        Figure(f"camera edge to sound, {how}, median", "ms", late, SOUND_P50_MS, "p50"),
        Figure(f"camera edge to sound, {how}", "ms", late, SOUND_P99_MS, "p99"),
        Figure(f"of {row.changes.n} such changes not heard", "", n_not_heard),
        Figure("share of the engine in jitter, p99 - p50", "ms", {"jitter": engine["p99"] - engine["p50"]}, JITTER_MS,
               "jitter"),
        Figure("engine, frame to first sample handed over, live", "ms", engine, ENGINE_P99_MS),
        Figure(f"underruns in these {performance.duration_s:.0f} s", "", {"n": float(performance.n_xruns)}),
        *stages,
    ]  # fmt: skip
