"""From what was heard to how late it was: when has the sound passed half of its way from the old to the new?

A feature of the sound, its level or its spectrum, is taken at many moments. It has a mean before a change and another
one before the next change, when it has settled. Half of the way is passed when it is first as near to the new mean as
to the old one, by the distance along the line between them.

Every window lies around its moment, and the level is a mean of magnitudes, not of powers: a sound that switches is
found where it switches, neither early nor late. So is one spectrum that gives way to another, for its window holds
half of each then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tests.bench.latency_card import Heard

Float64 = npt.NDArray[np.float64]

LEVEL_WINDOW = 256
"""Samples, 5.3 ms at 48 kHz: one period of the lowest tone that there is."""
SPECTRUM_WINDOW = 512
HOP = 24
POWER = 0.3
"""Of magnitudes: that of the model's own spectra."""
SETTLED_S = 0.1
"""The old and the new are means over so long before a change."""
STAYS_S = 0.025
"""Half of the way is passed for so long on the average."""
SURELY_OLD, MOSTLY_NEW = 0.95, 0.75
"""Two sounds can be told apart when such a share of the old is nearer to its own mean than to that of the new, and such
a share of the new nearer to that of the new: a note that wavers does not hide a change, chance does not make one."""


@dataclass(frozen=True)
class Feature:
    """Something of the sound, over time.

    Attributes
    ----------
    values : np.ndarray, shape (n_moments, n_values), float64
    times_s : np.ndarray, shape (n_moments,), float64
        CLOCK_MONOTONIC; the middle of each window.
    """

    values: Float64
    times_s: Float64

    def between(self, from_s: float, until_s: float) -> Feature:
        """Give the moments from one time up to another."""
        first, end = np.searchsorted(self.times_s, (from_s, until_s))
        return Feature(self.values[first:end], self.times_s[first:end])


def level(heard: Heard) -> Feature:
    """Mean magnitude around each moment."""
    sums = np.concatenate([[0.0], np.cumsum(np.abs(heard.sound, dtype=np.float64))])
    means = (sums[LEVEL_WINDOW:] - sums[:-LEVEL_WINDOW])[::HOP] / LEVEL_WINDOW
    return Feature(means[:, np.newaxis], _times_s(heard, len(means), LEVEL_WINDOW))


def spectrum(heard: Heard) -> Feature:
    """Magnitudes to the power 0.3 around each moment."""
    windows = np.lib.stride_tricks.sliding_window_view(heard.sound, SPECTRUM_WINDOW)[::HOP]
    magnitudes: Float64 = np.abs(np.fft.rfft(windows * np.hanning(SPECTRUM_WINDOW))) / SPECTRUM_WINDOW
    return Feature(magnitudes**POWER, _times_s(heard, len(windows), SPECTRUM_WINDOW))


def _times_s(heard: Heard, n: int, window: int) -> Float64:
    times_s: Float64 = heard.start_s + (np.arange(n) * HOP + 0.5 * (window - 1)) / heard.rate_hz
    return times_s


@dataclass(frozen=True)
class Changes:
    """What became of changes of one kind.

    Attributes
    ----------
    latencies_s : np.ndarray, shape (n_heard,), float64
        From each change to half of the way.
    after_frame_s : np.ndarray, shape (n_heard,), float64
        The same from the first frame that shows the change.
    n_lost : int
        Half of the way was not passed before the next change.
    n_alike : int
        All of them, if the old sound and the new one cannot be told apart at all.
    """

    latencies_s: Float64
    after_frame_s: Float64
    n_lost: int
    n_alike: int

    @property
    def n(self) -> int:
        """How many there were."""
        return len(self.latencies_s) + self.n_lost + self.n_alike


def find_changes(feature: Feature, changes_s: Float64, ages_s: Float64, last_s: float) -> list[Changes]:
    """Find when each change was heard; even and odd ones apart, for two scenes take turns.

    Parameters
    ----------
    feature : Feature
    changes_s : np.ndarray, shape (n_changes,), float64
        CLOCK_MONOTONIC.
    ages_s : np.ndarray, shape (n_changes,), float64
        From each change to its first frame.
    last_s : float
        Until when the last scene lasted.

    Returns
    -------
    list of Changes
        From the first scene to the second, and back.
    """
    ends_s = np.append(changes_s[1:], last_s)
    spans = list(zip(changes_s.tolist(), ends_s.tolist(), strict=True))
    return [_changes_one_way(feature, spans[first::2], ages_s[first::2]) for first in (0, 1)]


def _changes_one_way(feature: Feature, spans: list[tuple[float, float]], ages_s: Float64) -> Changes:
    old = [feature.between(start_s - SETTLED_S, start_s).values for start_s, _ in spans]
    new = [feature.between(end_s - SETTLED_S, end_s).values for _, end_s in spans]
    # The median of the means: a change that was lost, or an underrun, does not move it.
    way = Way.between(*(np.median([each.mean(axis=0) for each in side], axis=0) for side in (old, new)))
    if way is None or not way.tells_apart(old, new):
        return Changes(np.zeros(0), np.zeros(0), 0, len(spans))
    found = np.array([_delay_s(feature, way, before, *span) for before, span in zip(old, spans, strict=True)])
    is_heard = np.isfinite(found)
    return Changes(found[is_heard], found[is_heard] - ages_s[is_heard], int(np.sum(~is_heard)), 0)


def _delay_s(feature: Feature, way: Way, before: Float64, change_s: float, end_s: float) -> float:
    """From a change to half of the way; infinite if it is not passed, or if the sound was not the old one before."""
    if np.mean(way.passed(before)) >= 0.5:
        return np.inf
    after = feature.between(change_s, end_s)
    return _half_s(way.passed(after.values), after.times_s - change_s)


def _half_s(passed: Float64, times_s: Float64) -> float:
    """When half is first passed, between two moments, and stays so on the average; infinite if it is not."""
    sums = np.concatenate([[0.0], np.cumsum(passed)])
    until = np.searchsorted(times_s, times_s + STAYS_S)
    stays = (sums[until] - sums[:-1]) / np.maximum(until - np.arange(len(passed)), 1) >= 0.5
    over = np.flatnonzero((passed >= 0.5) & stays)
    if not len(over):
        return np.inf
    first = int(over[0])
    if first == 0 or passed[first - 1] >= 0.5:
        return float(times_s[first])
    return float(np.interp(0.5, passed[first - 1 : first + 1], times_s[first - 1 : first + 1]))


@dataclass(frozen=True)
class Way:
    """From an old mean, 0, to a new one, 1."""

    origin: Float64
    direction: Float64

    @classmethod
    def between(cls, old: Float64, new: Float64) -> Way | None:
        """Give the way from one to the other; None when they are the same."""
        step = new - old
        squared = float(step @ step)
        return cls(old, step / squared) if squared > 0.0 else None

    def passed(self, values: Float64) -> Float64:
        """How much of the way has been passed, shape (n_moments,)."""
        passed: Float64 = (values - self.origin) @ self.direction
        return passed

    def tells_apart(self, old: list[Float64], new: list[Float64]) -> bool:
        """Tell whether what is settled lies on its own side of the middle, at most changes."""
        share_old = np.median([np.mean(self.passed(each) < 0.5) for each in old])
        share_new = np.median([np.mean(self.passed(each) > 0.5) for each in new])
        return bool(share_old >= SURELY_OLD and share_new >= MOSTLY_NEW)


def percentiles_ms(seconds: Float64) -> Mapping[str, float]:
    """'p50' and 'p99' in milliseconds; not a number where there is nothing."""
    if not len(seconds):
        return {"p50": np.nan, "p99": np.nan}
    return {f"p{percent}": 1000.0 * float(np.percentile(seconds, percent)) for percent in (50, 99)}
