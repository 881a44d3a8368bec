"""Examples for the model: windows of motion beside the sound of the same time.

A row is a column's number among those of all takes: an address. What lies there is read when it is asked for, so that
a hundred hours of takes need hardly more memory than ten minutes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from device.core.window import grid_offsets_s, grid_weights, interpolate
from device.store.store import Take
from trainer.data.augment import SHARE_STILL, SPECK, Batch, empty_stage, vary
from trainer.data.order import POOL, RUN, PooledOrder
from trainer.data.prepare import Segments
from trainer.data.spectra import band_edges, spectra_at
from trainer.data.spectra_cache import SpectraCache, default_cache
from trainer.data.spectra_file import Records
from trainer.settings import ExampleSettings

__all__ = ["Examples", "band_edges", "spectra_at"]

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

SHARE_NOW = 0.85
"""Share of examples at position 1, which is all that stream mode plays; the rest lie anywhere in the segment."""
BLOCK = 256
"""Examples that are put together at once."""
_LONG_AGO_S = 1000.0
"""Before any window."""


class Examples:
    """All examples of some takes, put together when they are asked for. Threads may ask at once.

    Parameters
    ----------
    takes : sequence of Take
        All with frames of one size.
    settings : ExampleSettings
    cache : SpectraCache, optional
        Where their spectra are kept; the user's unless given.

    Raises
    ------
    TrainingError
        The spectra cannot be kept.
    """

    def __init__(self, takes: Sequence[Take], settings: ExampleSettings, cache: SpectraCache | None = None) -> None:
        self.settings = settings
        self._height = takes[0].settings.height
        self._starts = np.cumsum([0] + [take.n_columns for take in takes])  # of each take among all columns
        self._files = (cache or default_cache()).open(takes, settings)
        self._reach = np.array([_reach(take.times_s, settings.segment_s) for take in takes])

    def rows(self, segments: Segments) -> Indices:
        """Where the newest column of each segment lies among all columns: shape (n,)."""
        return self._starts[segments.take_index] + segments.column_index

    def variance(self, rows: Indices) -> float:
        """Variance of the spectra, as a scale for errors."""
        take, column = self._places(rows[:: max(1, len(rows) // 4096)])
        some = self._spectra(take, column)
        return float(np.square(some - some.mean(0)).mean())

    def batch(self, rows: Indices, positions: Float32) -> Batch:
        """Put examples together.

        Parameters
        ----------
        rows : np.ndarray, shape (n,), int64
            From `rows`.
        positions : np.ndarray, shape (n,), float32
            Time within the segment, 0 to 1.

        Returns
        -------
        dict
            `window` (n, n_columns, n_features), `bands` (n, n_sound_frames, n_bands), `position` (n, 1),
            `spectrum` (n, n_bins).
        """
        starts = range(0, max(len(rows), 1), BLOCK)
        blocks = [self._block(rows[start : start + BLOCK], positions[start : start + BLOCK]) for start in starts]
        return blocks[0] if len(blocks) == 1 else {k: np.concatenate([block[k] for block in blocks]) for k in blocks[0]}

    def _block(self, rows: Indices, positions: Float32) -> Batch:
        take, column = self._places(rows)
        records, is_missing = self._records(take, column)
        times_s = records["time_s"] - records["time_s"][:, -1:]  # (n, reach), 0 is the newest column's
        ticks = np.linspace(0, 1, self.settings.n_sound_frames, dtype=np.float32)
        heard = self._nearest(times_s, is_missing, np.broadcast_to(ticks, (len(rows), len(ticks))))
        at = self._nearest(times_s, is_missing, positions[:, np.newaxis])[:, 0]
        return {
            "window": self._window(records["column"], times_s, is_missing),
            "bands": records["bands"][np.arange(len(rows))[:, np.newaxis], heard].astype(np.float32),
            "position": positions[:, np.newaxis].astype(np.float32),
            "spectrum": self._spectra(take, column - (records.shape[1] - 1 - at)),
        }

    def training_batch(self, rows: Indices, batch_size: int, stream: tuple[int, ...], number: int) -> Batch:
        """Batch of a step in training: it depends on nothing but the stream's numbers and the step's.

        All rows come once, in random order, then all of them in another.
        """
        order = PooledOrder(len(rows), stream)
        places = number * batch_size + np.arange(batch_size)
        self._announce(rows, order.runs_at(places + POOL))
        return self._varied(rows[order.at(places)], np.random.default_rng([*stream, number]))

    def announce(self, rows: Indices, batch_size: int, stream: tuple[int, ...], number: int) -> None:
        """Have the disk read what training batches will need from a step on; those after it are announced by them."""
        first = number * batch_size
        places = np.arange(first - first % len(rows) % POOL, first + POOL)  # from the start of its pool on
        self._announce(rows, PooledOrder(len(rows), stream).runs_at(places))

    def batches(self, rows: Indices, batch_size: int, rng: np.random.Generator) -> Iterator[Batch]:
        """One epoch in random order; what does not fill a batch is left out."""
        order = rng.permutation(rows)
        for start in range(0, len(order) - batch_size + 1, batch_size):
            yield self._varied(order[start : start + batch_size], rng)

    def _varied(self, rows: Indices, rng: np.random.Generator) -> Batch:
        """Examples as they are learned: most of them at position 1, half of them varied, some of them still."""
        now = rng.random(len(rows)) < SHARE_NOW
        batch = self.batch(rows, np.where(now, 1.0, rng.random(len(rows))).astype(np.float32))
        vary(batch["window"], self._height, rng)
        nobody_moves = batch["window"].max(axis=(1, 2)) <= SPECK
        empty_stage(batch, nobody_moves | (rng.random(len(rows)) < SHARE_STILL), rng)
        return batch

    def _announce(self, rows: Indices, runs: Sequence[Indices]) -> None:
        for run in runs:
            take, column = self._places(rows[run])
            # Between two takes, and about what is held out, a run has gaps.
            is_gap = (np.diff(take) != 0) | (np.diff(column) > RUN)
            for part in np.split(np.arange(len(run)), np.flatnonzero(is_gap) + 1):
                index, first, last = int(take[part[0]]), int(column[part[0]]), int(column[part[-1]])
                self._files[index].announce(max(0, first + 1 - int(self._reach[index])), last + 1)

    def _places(self, rows: Indices) -> tuple[Indices, Indices]:
        """Take and column of each row."""
        take = np.searchsorted(self._starts, rows, side="right") - 1
        return take, rows - self._starts[take]

    def _records(self, take: Indices, column: Indices) -> tuple[Records, npt.NDArray[np.bool_]]:
        """The columns up to given ones, as many as a segment may need: records and which are missing, (n, reach)."""
        n_read = np.minimum(column + 1, self._reach[take])
        reach = int(n_read.max(initial=1))
        records = np.zeros((len(take), reach), self._files[0].dtype)
        for example, (index, last, n) in enumerate(zip(take.tolist(), column.tolist(), n_read.tolist(), strict=True)):
            self._files[index].read_records(last - n + 1, records[example, reach - n :])
        return records, np.arange(reach) < (reach - n_read)[:, np.newaxis]

    def _window(self, columns: Float32, times_s: Float64, is_missing: npt.NDArray[np.bool_]) -> Float32:
        """Windows on the model's grid, by what the box does: all examples lie on one axis of time, far apart."""
        n, reach, n_features = columns.shape
        times_s = np.where(is_missing, -_LONG_AGO_S, np.maximum(times_s, -_LONG_AGO_S))
        times_s = times_s + 2 * _LONG_AGO_S * np.arange(n)[:, np.newaxis]
        newest = np.arange(n) * reach + reach - 1
        offsets_s = grid_offsets_s(self.settings.n_columns, self.settings.grid_rate_hz)
        before, weight = grid_weights(times_s.ravel(), newest, offsets_s)
        first = newest - (~is_missing).sum(axis=1) + 1
        before = np.where(before < first[:, np.newaxis], -1, before)
        window = np.empty((n, self.settings.n_columns, n_features), np.float32)
        interpolate(columns.reshape(-1, n_features), newest, before, weight, window)
        return window

    def _nearest(self, times_s: Float64, is_missing: npt.NDArray[np.bool_], positions: Float32) -> Indices:
        """Which of its columns lies nearest to each position in a segment: shape (n, n_positions)."""
        wanted_s = (positions.astype(np.float64) - 1.0) * self.settings.segment_s
        apart_s = np.abs(times_s[:, np.newaxis, :] - wanted_s[:, :, np.newaxis])  # (n, n_positions, reach)
        nearest: Indices = np.where(is_missing[:, np.newaxis, :], np.inf, apart_s).argmin(axis=2)
        return nearest

    def _spectra(self, take: Indices, column: Indices) -> Float32:
        """Spectra of given columns: shape (n, n_bins)."""
        spectra = np.empty((len(take), self.settings.synth.n_bins), np.float16)
        for example, (index, at) in enumerate(zip(take.tolist(), column.tolist(), strict=True)):
            self._files[index].read_spectrum(at, spectra[example])
        return spectra.astype(np.float32)


def _reach(times_s: Float64, segment_s: float) -> int:
    """How many columns at most a segment has, and the one before it."""
    # Floating point may put a column just before its place.
    before = np.searchsorted(times_s, times_s - segment_s - 1e-6, side="right") - 1
    return int((np.arange(len(times_s)) - np.maximum(before, 0)).max()) + 1
