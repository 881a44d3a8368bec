"""The window: the newest columns of a motiongram on the model's grid of times."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

MAX_COLUMNS_PER_GRID_STEP = 8


def grid_offsets_s(n_columns: int, grid_rate_hz: float) -> Float64:
    """Times of a window's columns, relative to the newest.

    Returns
    -------
    np.ndarray, shape (n_columns,), float64
        Seconds, from the oldest (negative) to the newest (0).
    """
    return (np.arange(n_columns) - (n_columns - 1)) / grid_rate_hz


def grid_weights(times_s: Float64, newest: Indices, offsets_s: Float64) -> tuple[Indices, Float32]:
    """Where each column of a window lies between two captured columns.

    The trainer asks for many windows of one take at once, the box for one window of its short history: the same
    arithmetic serves both, so what is learned is what is played.

    Parameters
    ----------
    times_s : np.ndarray, shape (n,), float64
        Increasing capture times.
    newest : np.ndarray, shape (n_windows,), int64
        Index of the newest column of each window.
    offsets_s : np.ndarray, shape (n_columns,), float64
        From `grid_offsets_s`.

    Returns
    -------
    before : np.ndarray, shape (n_windows, n_columns), int64
        Index of the captured column at or before each time of the grid; -1 before the first one.
    weight : np.ndarray, shape (n_windows, n_columns), float32
        Share of the column after it (linear interpolation).
    """
    wanted_s = times_s[newest][:, np.newaxis] + offsets_s  # (n_windows, n_columns)
    before = np.searchsorted(times_s, wanted_s.ravel(), side="right").reshape(wanted_s.shape) - 1
    left = np.maximum(before, 0)
    right = np.minimum(left + 1, newest[:, np.newaxis])
    span_s = times_s[right] - times_s[left]
    weight = (wanted_s - times_s[left]) / np.where(span_s > 0, span_s, 1.0)
    weight = np.where(span_s > 0, np.clip(weight, 0.0, 1.0), 0.0)
    return before, weight.astype(np.float32)


class Window:
    """Keeps the newest columns and gives them on the model's grid of times.

    Parameters
    ----------
    n_columns : int
        Columns in the window.
    n_features : int
        Values in a column: height + width of the frame.
    grid_rate_hz : float
        Columns per second on the grid.

    Notes
    -----
    The newest column is always last, older ones are interpolated linearly to the grid; before the first column
    there was no motion. A time that does not increase starts anew. Cameras of up to eight frames per grid step
    are covered; a faster one is heard through a window cut short.
    """

    def __init__(self, n_columns: int, n_features: int, grid_rate_hz: float) -> None:
        self._offsets_s = grid_offsets_s(n_columns, grid_rate_hz)
        self._capacity = n_columns * MAX_COLUMNS_PER_GRID_STEP
        # Twice the capacity: columns are appended, and moved to the front once per capacity.
        self._columns = np.zeros((2 * self._capacity, n_features), np.float32)
        self._times_s = np.zeros(2 * self._capacity, np.float64)
        self._n = 0
        self._out = np.zeros((n_columns, n_features), np.float32)

    def reset(self) -> None:
        """Forget all columns."""
        self._n = 0

    def push(self, column: Float32, time_s: float) -> None:
        """Append a column.

        Parameters
        ----------
        column : np.ndarray, shape (n_features,), float32
        time_s : float
        """
        if self._n and time_s <= self._times_s[self._n - 1]:
            self.reset()
        if self._n == len(self._times_s):
            self._columns[: self._capacity] = self._columns[self._capacity :]
            self._times_s[: self._capacity] = self._times_s[self._capacity :]
            self._n = self._capacity
        self._columns[self._n] = column
        self._times_s[self._n] = time_s
        self._n += 1

    def read(self) -> Float32:
        """The window that ends with the newest column.

        Returns
        -------
        np.ndarray, shape (n_columns, n_features), float32
            The same array at every call: copy to keep.
        """
        self._out[:] = 0.0
        if self._n == 0:
            return self._out
        start = max(0, self._n - self._capacity)
        columns = self._columns[start : self._n]
        newest = np.array([len(columns) - 1])
        before, weight = grid_weights(self._times_s[start : self._n], newest, self._offsets_s)
        interpolate(columns, newest, before, weight, out=self._out[np.newaxis])
        return self._out


def interpolate(columns: Float32, newest: Indices, before: Indices, weight: Float32, out: Float32) -> None:
    """Fill windows from captured columns with the weights of `grid_weights`.

    Parameters
    ----------
    columns : np.ndarray, shape (n, n_features), float32
    newest : np.ndarray, shape (n_windows,), int64
    before, weight : np.ndarray, shape (n_windows, n_columns)
    out : np.ndarray, shape (n_windows, n_columns, n_features), float32
        Written in place.
    """
    left = np.maximum(before, 0)
    right = np.minimum(left + 1, newest[:, np.newaxis])
    share = weight[..., np.newaxis]
    out[:] = columns[left] * (1 - share) + columns[right] * share
    out[before < 0] = 0.0
