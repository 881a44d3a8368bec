"""Does what was heard follow what was seen? Loudness and motion on one clock, the machine's own: pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]

STEP_S = 0.5
LONGEST_LAG_S = 8.0
"""How late an emulated box may be; one that is later follows nobody."""
FLOOR_DB = -100.0


class Written(NamedTuple):
    """How much sound a card had played at a time."""

    time_s: float
    n_samples: int


class Followed(NamedTuple):
    """How well loudness follows motion.

    Attributes
    ----------
    correlation : float
        Rank correlation at the lag at which it is largest.
    lag_s : float
        How much later the sound is.
    still_db, moving_db : float
        Median level where nothing moved and where something did, dBFS.
    """

    correlation: float
    lag_s: float
    still_db: float
    moving_db: float


def levels_db(samples: npt.NDArray[np.int16], written: Sequence[Written], times_s: Float64) -> Float64:
    """How loud a card was from each time to the next.

    Parameters
    ----------
    samples : np.ndarray, shape (n_samples,), int16
        All that it played, one channel.
    written : sequence of Written
        In the order of time.
    times_s : np.ndarray, shape (n + 1,), float64

    Returns
    -------
    np.ndarray, shape (n,), float64
        dBFS of the root mean square; `FLOOR_DB` where it is less, or nothing was played.
    """
    at = np.interp(times_s, [each.time_s for each in written], [each.n_samples for each in written]).astype(np.int64)
    found = np.full(len(times_s) - 1, FLOOR_DB)
    for i, (begin, end) in enumerate(pairwise(at)):
        part = samples[begin : min(end, len(samples))].astype(np.float64) / 32768.0
        if len(part):
            found[i] = max(FLOOR_DB, 10.0 * np.log10(np.mean(part**2) + 1e-12))
    return found


def motion(moves: Sequence[tuple[float, int]], times_s: Float64) -> Float64:
    """How fast what the camera showed moved at each time; before the first move, not at all.

    Parameters
    ----------
    moves : sequence of (float, int)
        When it began to move, and how fast.
    times_s : np.ndarray, shape (n,), float64
    """
    begun = np.array([time_s for time_s, _ in moves])
    speeds = np.array([0, *(speed for _, speed in moves)], np.float64)
    return speeds[np.searchsorted(begun, times_s, side="right")]


def followed(moved: Float64, level_db: Float64) -> Followed:
    """Compare motion and loudness, both shape (n,), a value every `STEP_S`."""
    n_lags = round(LONGEST_LAG_S / STEP_S)
    found = [_rank_correlation(moved[: len(moved) - lag], level_db[lag:]) for lag in range(n_lags + 1)]
    lag = int(np.argmax(found))
    seen, heard = moved[: len(moved) - lag], level_db[lag:]
    still, moving = heard[seen == 0], heard[seen > 0]
    return Followed(found[lag], lag * STEP_S, float(np.median(still)), float(np.median(moving)))


def _rank_correlation(a: Float64, b: Float64) -> float:
    """Spearman's; equal values share the mean of their ranks; 0 where one of them never changes."""
    ranks = [_ranks(each) - (len(each) - 1) / 2.0 for each in (a, b)]
    scale = np.sqrt(np.sum(ranks[0] ** 2) * np.sum(ranks[1] ** 2))
    return float(np.sum(ranks[0] * ranks[1]) / scale) if scale else 0.0


def _ranks(values: Float64) -> Float64:
    _, index, counts = np.unique(values, return_inverse=True, return_counts=True)
    means = np.cumsum(counts) - (counts + 1) / 2.0
    ranks: Float64 = means[index]
    return ranks
