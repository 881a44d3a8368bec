"""The dancer's size in the picture, and the gain that makes up for it: whoever stands far away moves few pixels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

LARGEST_GAIN, SMALLEST_GAIN = 4.0, 0.5
SMALLEST_SIZE = 0.05
TYPICAL_SIZE = 0.72
"""Height of a dancer, as a share of the picture's, where nothing is known."""
LEARNED_SIZES = (0.6, 0.9)
"""Sizes of which models have learned much: there the gain is 1, exactly."""
SPREAD_OF_SIZE = 0.85
"""Extent of the motion of a dancer against the dancer's height, measured on filmed salsa at sizes of 0.25 to 0.92."""
TRIMMED = 0.05
"""Share of the motion that is left out at the top and at the bottom: a lone speck makes nobody taller."""
QUANTILE = 0.75
"""A dancer is as tall as what moves in the taller quarter of all moments: one who moves a hand does not shrink."""
LEAST_QUANTITY = 0.05
"""Grey levels of the mean difference below which nobody is taken to move."""


class DancerSize:
    """Follows the height of the dancer in the picture, slowly, and only while somebody moves.

    Parameters
    ----------
    time_s : float
        How slowly, in seconds of motion: it grows by 0.75, or shrinks by 0.25, of the picture's height in this time.
    size : float
        Where to begin: share of the picture's height.

    Attributes
    ----------
    size : float
    moved_s : float
        Seconds of motion that went into it.
    """

    def __init__(self, time_s: float, size: float = TYPICAL_SIZE) -> None:
        self.size = size
        self.moved_s = 0.0
        self._time_s = time_s
        self._last_s: float | None = None

    @property
    def gain(self) -> float:
        """What columns are to be multiplied by: with the size go the length of what moves and how far it moves."""
        known = min(max(self.size, LEARNED_SIZES[0]), LEARNED_SIZES[1])
        return float(min(max((known / self.size) ** 2, SMALLEST_GAIN), LARGEST_GAIN))

    def look(self, rows: npt.NDArray[np.float32], time_s: float) -> None:
        """Learn from the motion of one frame.

        Parameters
        ----------
        rows : np.ndarray, shape (height,), float32
            Mean difference of each row, in grey levels, before any gain.
        time_s : float
        """
        elapsed_s = 0.0 if self._last_s is None else time_s - self._last_s
        self._last_s = time_s
        if not 0.0 < elapsed_s <= 1.0 or rows.mean() < LEAST_QUANTITY:
            return
        below = QUANTILE if extent(rows) / SPREAD_OF_SIZE > self.size else QUANTILE - 1.0
        self.size = max(SMALLEST_SIZE, self.size + below * elapsed_s / self._time_s)
        self.moved_s += elapsed_s


def extent(rows: npt.NDArray[np.float32]) -> float:
    """Share of the rows over which nearly all of the motion is spread."""
    total = np.cumsum(rows, dtype=np.float64)
    top, bottom = np.searchsorted(total, (TRIMMED * total[-1], (1.0 - TRIMMED) * total[-1]))
    return float(bottom - top + 1) / len(rows)
