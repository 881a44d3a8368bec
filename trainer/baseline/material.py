"""Segments for the original's way: standardised motion beside raw sound, put together on the way."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from device.core.errors import TrainingError
from device.core.window import grid_offsets_s, grid_weights, interpolate
from device.store.store import Take
from trainer.data.prepare import Segments
from trainer.settings import GRID_RATE_HZ

Float32 = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]

N_MEASURED = 512
"""Segments from which levels are taken."""


class Material:
    """Segments of takes: the motion of each on the grid, standardised, and its raw sound.

    Parameters
    ----------
    takes : sequence of Take
        Of one rate, with frames of one size.
    segments : Segments
    segment_s : float

    Raises
    ------
    TrainingError
        There are no segments, or they are silent.
    """

    def __init__(self, takes: Sequence[Take], segments: Segments, segment_s: float) -> None:
        used = [(take, segments.of_take(i).astype(np.int64)) for i, take in enumerate(takes)]
        used = [(take, newest) for take, newest in used if len(newest)]
        if not used:
            raise TrainingError(f"the takes hold no segment of {segment_s:g} s to train on: record or import more")
        self.n_samples = round(segment_s * takes[0].rate_hz)
        self.n_columns = max(2, round(segment_s * GRID_RATE_HZ))
        self._columns = np.concatenate([np.sqrt(take.columns) for take, _ in used])
        self._sound = np.concatenate([take.sound_at(-self.n_samples, take.n_samples + 1) for take, _ in used])
        first_column, first_sample, parts = 0, 0, []
        for take, newest in used:
            before, weight = grid_weights(take.times_s, newest, grid_offsets_s(self.n_columns, GRID_RATE_HZ))
            before = np.where(before < 0, -1, before + first_column)
            # The sound is kept from a segment before its first sample on: what ends at a sample begins at its index.
            begins = first_sample + np.round(take.samples_of(take.times_s[newest])).astype(np.int64)
            parts.append((newest + first_column, before, weight, begins))
            first_column += take.n_columns
            first_sample += take.n_samples + 1 + self.n_samples
        self._newest, self._before, self._weight, self._begins = map(np.concatenate, zip(*parts, strict=True))
        self.level = rms(self.sound(self.some()))
        if not self.level > 0:
            raise TrainingError("the takes' sound is silent: record or import takes with sound")
        self.mean = self._columns.mean(axis=0)
        # Of all rows and columns of the picture alike: where hardly anybody ever is, noise stays small.
        self.deviation = max(float(self._columns.std(axis=0).mean()), 1e-3)

    def __len__(self) -> int:
        return len(self._newest)

    def some(self) -> Indices:
        """Segments from all over the takes, to measure on."""
        return np.arange(0, len(self), -(-len(self) // N_MEASURED))

    def motion(self, index: Indices) -> Float32:
        """Standardised motion of some segments, shape (n, n_columns * n_features)."""
        window = np.empty((len(index), self.n_columns, self._columns.shape[1]), np.float32)
        interpolate(self._columns, self._newest[index], self._before[index], self._weight[index], window)
        return standardise(window, self.mean, self.deviation)

    def sound(self, index: Indices) -> Float32:
        """Raw sound of some segments, shape (n, n_samples)."""
        sound: Float32 = self._sound[self._begins[index][:, np.newaxis] + np.arange(self.n_samples)]
        return sound


def standardise(roots: Float32, mean: Float32, deviation: float) -> Float32:
    """Square roots of columns, (n, n_columns, n_features), to what the networks see, (n, n_columns * n_features)."""
    return ((roots - mean) / np.float32(deviation)).reshape(len(roots), -1)


def rms(sound: Float32) -> float:
    """Root mean square of samples."""
    return float(np.sqrt(np.square(sound, dtype=np.float64).mean()))
