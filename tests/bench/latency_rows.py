"""What was found in the trials, a row for each kind of change, beside what no system could be quicker than."""

from __future__ import annotations

from dataclasses import dataclass

from device.models.bundles import read_manifest
from tests.bench.latency_analysis import Changes, find_changes, level, spectrum
from tests.bench.latency_stimulus import STILL
from tests.bench.latency_trial import Outcome, Trial


@dataclass(frozen=True)
class Row:
    """Changes of one kind, in one setting.

    Attributes
    ----------
    setting : str
        Bundle, mode and card, in words.
    fps : float
    before, after : str
        Scenes.
    changes : Changes
    limits_s : tuple of float
        At p50 and p99: with this camera and this card no system could be quicker, were it done at once.
    n_xruns : int
        Underruns while it was tried.
    mixed_s : float
        For so long after the limit old and new motion are both seen, whatever plays: where one motion gives way to
        another, half of the way may be passed at any time of it.
    """

    setting: str
    fps: float
    before: str
    after: str
    changes: Changes
    limits_s: tuple[float, float]
    n_xruns: int = 0
    mixed_s: float = 0.0


def rows_of(trial: Trial, outcome: Outcome, setting: str) -> list[Row]:
    """From the first scene to the second, and back."""
    plan = trial.plan
    feature = level if STILL in plan.scenes else spectrum
    last_s = float(outcome.changes_s[-1]) + plan.duration_s - float(plan.changes_s()[-1])
    both = find_changes(feature(outcome.heard), outcome.changes_s, plan.ages_s(), last_s)
    there, back = plan.scenes, plan.scenes[::-1]
    n_xruns = outcome.performance.n_xruns
    return [
        Row(
            setting,
            plan.fps,
            before,
            after,
            changes,
            limits_s(trial, outcome, after),
            n_xruns,
            mixed_s(trial, before, after),
        )
        for (before, after), changes in zip((there, back), both, strict=True)
    ]


def limits_s(trial: Trial, outcome: Outcome, after: str) -> tuple[float, float]:
    """Give the age of a frame at p50 and p99, and what is always queued in the card.

    All but one period of the buffer: a block is handed over when there is room for it. In segment mode what is heard
    is a segment old. And where all falls still, frames are compared with moving ones for a while.
    """
    manifest, plan = read_manifest(trial.bundle), trial.plan
    fixed_s = outcome.queued_s
    if trial.mode == "segment":
        fixed_s += (manifest.n_columns - 1) / manifest.grid_rate_hz
    if after == STILL:
        fixed_s += lingering_s(trial)
    return 0.5 / plan.fps + fixed_s, 0.99 / plan.fps + fixed_s


def mixed_s(trial: Trial, before: str, after: str) -> float:
    """How long old and new motion are both seen: not at all where one of them is none."""
    return 0.0 if STILL in (before, after) else lingering_s(trial)


def lingering_s(trial: Trial) -> float:
    """How long motion that has ended is still seen, from the first frame on that shows it ended.

    Each frame is compared with the one that is nearest to the difference time. What has ended stands as the last frame
    of its motion left it, so where that is the frame before, nothing of it is seen any more.
    """
    motion, fps = read_manifest(trial.bundle).motion, trial.plan.fps
    return (max(1, round(motion.difference_time_s * fps)) - 1) / fps
