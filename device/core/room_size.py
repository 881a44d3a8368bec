"""The dancer's size in the picture, and the zoom that makes up for it: who stands far away moves few pixels.

A model divides columns by their size and goes by their form. So it is not enough to make a small dancer's columns
larger: they are made those of a camera that stands nearer.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]

LARGEST_ZOOM, SMALLEST_ZOOM = 2.0, 0.7
SMALLEST_SIZE, LARGEST_SIZE = 0.05, 2.0
TYPICAL_SIZE = 0.72
"""Height of a dancer, as a share of the picture's, where nothing is known."""
LEARNED_SIZES = (0.6, 0.9)
"""Sizes of which models have learned much: there the zoom is 1, exactly."""
SPREAD_OF_SIZE = 0.85
"""Extent of the motion of a dancer against the dancer's height, measured on filmed salsa at sizes of 0.25 to 0.92."""
TRIMMED = 0.05
"""Share of the motion that is left out at either end: a lone speck makes nobody taller."""
QUANTILE = 0.75
"""A dancer is as tall as what moves in the taller quarter of all moments: one who moves a hand does not shrink."""
LEAST_QUANTITY = 0.05
"""Grey levels of the mean difference below which nobody is taken to move."""
CENTRE_TIME_S, SPREAD_TIME_S = 1.0, 10.0
"""How slowly the zoom goes after the dancer, and how slowly it forgets how far aside there was motion."""
ROOM_BESIDE = 0.9
"""Share of the picture's width that all motion of the last seconds may take up when zoomed."""
LEAST_CHANGE_PX = 0.25


class DancerSize:
    """Follows the dancer's height in the picture, slowly, and place, sooner, only while somebody moves.

    Parameters
    ----------
    height, width : int
        Of the picture, in pixels.
    time_s : float
        How slowly, in seconds of motion: it grows by 0.75, or shrinks by 0.25, of the picture's height in this time.
    size : float
        Where to begin: height of the dancer as a share of the picture's.

    Attributes
    ----------
    size : float
    centre_px : np.ndarray, shape (2,), float64
        Row and column of the middle of the motion.
    moved_s : float
        Seconds of motion that went into it.
    """

    def __init__(self, height: int, width: int, time_s: float, size: float = TYPICAL_SIZE) -> None:
        self.size = size
        self.centre_px = np.array([height / 2, width / 2])
        self.moved_s = 0.0
        self._height, self._width = height, width
        self._time_s = time_s
        self._last_s: float | None = None
        self._aside_px = 0.0

    @property
    def zoom(self) -> float:
        """How many times nearer a camera would see a dancer as large as models know; all motion stays in sight."""
        known = min(max(self.size, LEARNED_SIZES[0]), LEARNED_SIZES[1])
        widest = max(1.0, ROOM_BESIDE * self._width / 2 / max(self._aside_px, 1.0))
        return float(min(max(known / self.size, SMALLEST_ZOOM), LARGEST_ZOOM, widest))

    def look(self, column: Float32, time_s: float) -> None:
        """Learn from the motion of one frame.

        Parameters
        ----------
        column : np.ndarray, shape (height + width,), float32
            Before any zoom, in grey levels.
        time_s : float
        """
        elapsed_s = 0.0 if self._last_s is None else time_s - self._last_s
        self._last_s = time_s
        rows, across = column[: self._height], column[self._height :]
        if not 0.0 < elapsed_s <= 1.0 or rows.mean() < LEAST_QUANTITY:
            return
        top, bottom = extent_of(rows)
        left, right = extent_of(across)
        extent = (bottom - top) / self._height / SPREAD_OF_SIZE
        step = (QUANTILE if extent > self.size else QUANTILE - 1.0) * elapsed_s / self._time_s
        self.size = min(max(self.size + step, SMALLEST_SIZE), LARGEST_SIZE)
        middle = np.array([(top + bottom) / 2, (left + right) / 2])
        self.centre_px += min(1.0, elapsed_s / CENTRE_TIME_S) * (middle - self.centre_px)
        aside_px = max(right - self.centre_px[1], self.centre_px[1] - left)
        self._aside_px = max(aside_px, self._aside_px - elapsed_s / SPREAD_TIME_S * self._aside_px)
        self.moved_s += elapsed_s


class Zoom:
    """Makes of columns what a nearer camera would have seen; its table is made anew only when it must be.

    Parameters
    ----------
    height, width : int
    """

    def __init__(self, height: int, width: int) -> None:
        self._sides = (height, width)
        self._made_for = np.array([1.0, height / 2, width / 2])
        self._tables = tuple(np.eye(side, dtype=np.float32) for side in self._sides)

    def apply(self, column: Float32, zoom: float, centre_px: npt.NDArray[np.float64]) -> Float32:
        """Zoom a column.

        Parameters
        ----------
        column : np.ndarray, shape (height + width,), float32
        zoom : float
        centre_px : np.ndarray, shape (2,), float64
            Row and column around which it is zoomed; the larger the zoom, the nearer they come to the middle.

        Returns
        -------
        np.ndarray, shape (height + width,), float32
            Its quantity is `zoom` squared times as large: with the size go the length of what moves and how far it
            moves. What would be moved out of the picture lies at its border.
        """
        wanted = np.array([zoom, *centre_px])
        reach_px = max(self._sides) / 2 * abs(wanted[0] - self._made_for[0])
        if max(reach_px, *np.abs(wanted[1:] - self._made_for[1:])) > LEAST_CHANGE_PX:
            self._made_for = wanted
            self._tables = tuple(
                zoom_table(side, zoom, float(centre)) for side, centre in zip(self._sides, centre_px, strict=True)
            )
        height = self._sides[0]
        return np.concatenate([self._tables[0] @ column[:height], self._tables[1] @ column[height:]])


def zoom_table(n: int, zoom: float, centre_px: float) -> Float32:
    """Table that zooms a profile of n pixels, shape (n, n), float32; each of its columns has the sum `zoom` squared."""
    target_px = centre_px + min(1.0, max(0.0, zoom - 1.0)) * (n / 2 - centre_px)
    places = (np.arange(n) + 0.5 - centre_px) * zoom + target_px  # (n,)
    reach = max(1.0, zoom)
    # Weights fall off linearly to both sides, as in linear interpolation.
    cells = np.arange(-2 * n, 3 * n) + 0.5
    weights = np.maximum(0.0, 1.0 - np.abs(cells[:, np.newaxis] - places) / reach)  # (5 n, n)
    inside = weights[2 * n : 3 * n].copy()
    inside[0] += weights[: 2 * n].sum(axis=0)
    inside[-1] += weights[3 * n :].sum(axis=0)
    table: Float32 = (inside * (zoom**2 / inside.sum(axis=0))).astype(np.float32)
    return table


def extent_of(profile: Float32) -> tuple[float, float]:
    """Between which pixels nearly all of the motion lies, in pixels from the start."""
    total = np.cumsum(profile, dtype=np.float64)
    first, last = np.searchsorted(total, (TRIMMED * total[-1], (1.0 - TRIMMED) * total[-1]))
    return float(first), float(last) + 1.0
