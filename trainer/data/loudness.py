"""Loudness: where the music of a take did not follow the dance, its loudness is made to.

Music from an album is as loud as it is, however one dances to it. A model that has learned it so plays as loud for a
finger as for a leap. So the levels that the music has are dealt out anew: the more motion, the louder, none louder or
softer than the music was, and as far only as loudness did not follow by itself.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import signal, stats

Float64 = npt.NDArray[np.float64]

FOLLOWS = 0.6
"""Rank correlation of loudness with quantity of motion from which on music is left as it is."""
SMOOTH_S = 0.1
STILL = 0.002
"""Grey levels of motion: below it nobody moves."""
SOUNDING_RANGE_DB = 40.0
LARGEST_GAIN_DB = 12.0
FEWEST = 50


def leading_gains_db(quantity: Float64, level_db: Float64, times_s: Float64) -> Float64:
    """Gains by which the loudness of a take comes to follow the body.

    Parameters
    ----------
    quantity : np.ndarray, shape (n,)
        Quantity of motion, grey levels.
    level_db : np.ndarray, shape (n,)
        Level of the music at the same times.
    times_s : np.ndarray, shape (n,)

    Returns
    -------
    np.ndarray, shape (n,), float64
        dB; 0 where the music pauses or nobody moves, and everywhere where loudness follows by itself.
    """
    gains_db = np.zeros(len(quantity))
    if len(quantity) < FEWEST:
        return gains_db
    quantity, level_db = (_smooth(each, times_s) for each in (quantity, level_db))
    counts = (quantity > STILL) & (level_db > level_db.max() - SOUNDING_RANGE_DB)
    if counts.sum() < FEWEST or np.ptp(level_db[counts]) == 0.0 or np.ptp(quantity[counts]) == 0.0:
        return gains_db
    link = float(stats.spearmanr(quantity[counts], level_db[counts]).statistic)
    wanted_db = np.sort(level_db[counts])[stats.rankdata(quantity[counts], method="ordinal") - 1]
    share = np.clip(1.0 - link / FOLLOWS, 0.0, 1.0)
    gains_db[counts] = np.clip(share * (wanted_db - level_db[counts]), -LARGEST_GAIN_DB, LARGEST_GAIN_DB)
    return gains_db


def _smooth(values: Float64, times_s: Float64) -> Float64:
    """Mean over about 100 ms around each time."""
    window = np.ones(2 * round(SMOOTH_S / float(np.median(np.diff(times_s))) / 2) + 1)
    return np.asarray(
        signal.convolve(values, window, mode="same") / signal.convolve(np.ones(len(values)), window, mode="same")
    )
