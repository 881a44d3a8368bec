"""A large grey picture made small by area averaging, as `camera_file` does it for videos."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from device.core.errors import CameraError

Grey = npt.NDArray[np.uint8]
Sums = npt.NDArray[Any]
"""Integers as long as they are exact, else float32."""
Summed = Callable[[Sums], Sums]

BLACK, WHITE = 16, 235
"""Limited range: what black and white are in most video that is not JPEG (ITU-R BT.601)."""


class Downscale:
    """Means over equal areas, exact to half a grey level, whatever the two sizes.

    Parameters
    ----------
    from_size, to_size : tuple of int
        (height, width) in pixels; no side may grow.

    Raises
    ------
    CameraError
        A side would grow.

    Notes
    -----
    The picture is read once, whatever its strides, and never copied: a camera's buffer is far from the processor.
    Loops go over the few pixels that one becomes, never over the picture's.
    """

    def __init__(self, from_size: tuple[int, int], to_size: tuple[int, int]) -> None:
        if from_size[0] < to_size[0] or from_size[1] < to_size[1]:
            raise CameraError(
                f"the camera's pictures of {from_size[1]} x {from_size[0]} pixels are smaller than the {to_size[1]} x "
                f"{to_size[0]} that motion is measured in: use another camera, or set camera.width and height lower"
            )
        self.from_size, self.to_size = from_size, to_size
        self._sum_rows = _row_summing(from_size[0], to_size[0])
        self._sum_columns = _column_summing(from_size[1], to_size[1])
        self._area = from_size[0] / to_size[0] * (from_size[1] / to_size[1])

    def apply(self, picture: Grey) -> Grey:
        """Give the small picture.

        Parameters
        ----------
        picture : np.ndarray, shape from_size, uint8
            Of any strides; it is not changed.

        Returns
        -------
        np.ndarray, shape to_size, uint8
            New memory.
        """
        sums = self._sum_columns(self._sum_rows(picture))
        means: Grey = np.floor(sums * (1.0 / self._area) + 0.5).astype(np.uint8)
        return means


def _row_summing(n_from: int, n_to: int) -> Summed:
    """Sum rows, shape (n_from, width), to shape (n_to, width)."""
    n_each, rest = divmod(n_from, n_to)
    if rest == 0:
        kind: Any = np.uint16 if n_each <= 257 else np.uint32  # 257 * 255 is the largest that uint16 holds
        return lambda rows: np.einsum("ijk->ik", rows.reshape(n_to, n_each, -1), dtype=kind)
    first, weights = _shares(n_from, n_to)

    def summed(rows: Sums) -> Sums:
        total = np.zeros((n_to, rows.shape[1]), np.float32)
        for number, weight in enumerate(weights):
            total += rows[np.minimum(first + number, n_from - 1)] * weight[:, np.newaxis]
        return total

    return summed


def _column_summing(n_from: int, n_to: int) -> Summed:
    """Sum columns, shape (height, n_from), to shape (height, n_to)."""
    n_each, rest = divmod(n_from, n_to)
    if rest == 0:
        starts = np.arange(0, n_from, n_each)
        # In float32, sums of rows that had to be weighted stay what they are.
        return lambda rows: np.add.reduceat(rows, starts, axis=1, dtype=_wide(rows))
    first, weights = _shares(n_from, n_to)

    def summed(rows: Sums) -> Sums:
        total = np.zeros((rows.shape[0], n_to), np.float32)
        for number, weight in enumerate(weights):
            total += rows[:, np.minimum(first + number, n_from - 1)] * weight
        return total

    return summed


def _wide(sums: Sums) -> type[np.generic]:
    return np.float32 if sums.dtype == np.float32 else np.uint32


def _shares(n_from: int, n_to: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]]:
    """Tell how much of each old pixel lies in each new one.

    Returns
    -------
    first : np.ndarray, shape (n_to,), intp
        First old pixel of each new one.
    weights : np.ndarray, shape (n, n_to), float32
        Share of the old pixel `first + i` that lies in it, 0 to 1.
    """
    edges = np.arange(n_to + 1) * (n_from / n_to)
    first = np.floor(edges[:-1]).astype(np.intp)
    old = first + np.arange(n_from // n_to + 2)[:, np.newaxis]
    weights = np.minimum(old + 1, edges[1:]) - np.maximum(old, edges[:-1])
    return first, np.clip(weights, 0.0, 1.0).astype(np.float32)


def full_range(limited: Grey) -> Grey:
    """Stretch a picture of limited range, 16 to 235, to 0 to 255; what lies outside is cut off.

    Parameters
    ----------
    limited : np.ndarray, uint8

    Returns
    -------
    np.ndarray of the same shape, uint8
    """
    return _FULL[limited]


_FULL: Grey = np.clip(np.rint((np.arange(256) - BLACK) * (255 / (WHITE - BLACK))), 0, 255).astype(np.uint8)
