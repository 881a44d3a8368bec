"""Examples for the model: windows of motion beside the sound of the same time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from device.core.synth import analyse
from device.core.window import grid_offsets_s, grid_weights, interpolate
from device.store.store import Take
from trainer.augment import SHARE_STILL, SPECK, Batch, empty_stage, vary
from trainer.loudness import leading_gains_db
from trainer.prepare import Segments
from trainer.settings import ExampleSettings

Float32 = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]

SHARE_NOW = 0.85
"""Share of examples at position 1, which is all that stream mode plays; the rest lie anywhere in the segment."""


def band_edges(n_bins: int, n_bands: int) -> Indices:
    """First bin of each band and the end: shape (n_bands + 1,); narrow at low frequencies, none empty."""
    wanted = np.geomspace(8, n_bins, n_bands + 1) - 8 * np.linspace(1, 0, n_bands + 1)
    edges = np.maximum(np.round(wanted).astype(np.int64), np.arange(n_bands + 1))
    edges[-1] = n_bins
    return edges


class Examples:
    """All examples of some takes, made on the way: columns and spectra are kept once, windows are put together.

    Parameters
    ----------
    takes : sequence of Take
        All with frames of one size.
    settings : ExampleSettings
    """

    def __init__(self, takes: Sequence[Take], settings: ExampleSettings) -> None:
        self.settings = settings
        self._height = takes[0].settings.height
        self._starts = np.cumsum([0] + [take.n_columns for take in takes])  # of each take among all columns
        self._times_s = np.concatenate([take.times_s for take in takes])
        self._columns = np.concatenate([take.columns for take in takes]).astype(np.float32)
        self._spectra = np.concatenate(  # (n, n_bins)
            [learned_spectra(take, settings).astype(np.float16) for take in takes]
        )
        edges = band_edges(settings.synth.n_bins, settings.n_bands)
        sums = np.add.reduceat(self._spectra, edges[:-1], axis=1, dtype=np.float32)
        self._bands = (sums / np.diff(edges)).astype(np.float16)  # (n, n_bands)
        offsets_s = grid_offsets_s(settings.n_columns, settings.grid_rate_hz)
        parts = []
        for take, start in zip(takes, self._starts[:-1], strict=True):
            before, weight = grid_weights(take.times_s, np.arange(take.n_columns), offsets_s)
            parts.append((np.where(before < 0, -1, before + start), weight))
        self._before = np.concatenate([before for before, _ in parts])
        self._weight = np.concatenate([weight for _, weight in parts])

    def rows(self, segments: Segments) -> Indices:
        """Where the newest column of each segment lies among all columns: shape (n,)."""
        return self._starts[segments.take_index] + segments.column_index

    def variance(self, rows: Indices) -> float:
        """Variance of the spectra, as a scale for errors."""
        some = self._spectra[rows[:: max(1, len(rows) // 4096)]].astype(np.float32)
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
        window = np.empty((len(rows), self.settings.n_columns, self._columns.shape[1]), np.float32)
        interpolate(self._columns, rows, self._before[rows], self._weight[rows], window)
        ticks = np.linspace(0, 1, self.settings.n_sound_frames, dtype=np.float32)
        heard = self._row_at(np.repeat(rows, len(ticks)), np.tile(ticks, len(rows)))
        return {
            "window": window,
            "bands": self._bands[heard].reshape(len(rows), len(ticks), -1).astype(np.float32),
            "position": positions[:, np.newaxis].astype(np.float32),
            "spectrum": self._spectra[self._row_at(rows, positions)].astype(np.float32),
        }

    def batches(self, rows: Indices, batch_size: int, rng: np.random.Generator) -> Iterator[Batch]:
        """One epoch in random order; what does not fill a batch is left out."""
        order = rng.permutation(rows)
        for start in range(0, len(order) - batch_size + 1, batch_size):
            now = rng.random(batch_size) < SHARE_NOW
            positions = np.where(now, 1.0, rng.random(batch_size)).astype(np.float32)
            batch = self.batch(order[start : start + batch_size], positions)
            vary(batch["window"], self._height, rng)
            nobody_moves = batch["window"].max(axis=(1, 2)) <= SPECK
            empty_stage(batch, nobody_moves | (rng.random(batch_size) < SHARE_STILL), rng)
            yield batch

    def _row_at(self, rows: Indices, positions: Float32) -> Indices:
        """The column nearest to a position in the segment that ends with a row, within the same take."""
        take = np.searchsorted(self._starts, rows, side="right") - 1
        first = self._starts[take]
        wanted_s = self._times_s[rows] + (positions - 1.0) * self.settings.segment_s
        # Frame rates hardly change within a segment: one step there, three to settle on the nearest.
        step_s = (self._times_s[rows] - self._times_s[np.maximum(rows - 8, first)]) / np.maximum(
            np.minimum(rows - first, 8), 1
        )
        found = rows + np.round((wanted_s - self._times_s[rows]) / np.maximum(step_s, 1e-4)).astype(np.int64)
        for _ in range(3):
            beside = np.clip(np.stack([found - 1, found, found + 1]), first, rows)
            nearest = np.abs(self._times_s[beside] - wanted_s).argmin(0)
            found = np.take_along_axis(beside, nearest[np.newaxis], 0)[0]
        rows_at: Indices = found
        return rows_at


def learned_spectra(take: Take, settings: ExampleSettings) -> Float32:
    """Spectra of a take at each of its columns, as loud as they are to be learned: shape (n_columns, n_bins)."""
    spectra = spectra_at(take, take.times_s, settings)
    if not settings.body_leads:
        return spectra
    exponent = settings.synth.power
    level_db = 10 * np.log10((spectra.astype(np.float64) ** (2.0 / exponent)).sum(axis=1) + 1e-12)
    quantity = take.columns[:, : take.settings.height].mean(axis=1)
    gains_db = leading_gains_db(quantity.astype(np.float64), level_db, take.times_s)
    return spectra * (10 ** (gains_db / 20.0 * exponent)).astype(np.float32)[:, np.newaxis]


def spectra_at(take: Take, times_s: npt.NDArray[np.float64], settings: ExampleSettings) -> Float32:
    """Spectra of a take's sound that belong to motion at given times, `lead_s` ahead: shape (n_times, n_bins)."""
    centres = np.round(take.samples_of(times_s + settings.lead_s)).astype(np.int64)
    return analyse(take.sound_at(0, take.n_samples), centres, settings.synth)
