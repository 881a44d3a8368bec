"""Spectra of takes as they are learned: computed piece by piece, so that an hour needs no more memory than a minute."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from device.core.synth import analyse
from device.store.store import Take
from trainer.data.loudness import leading_gains_db
from trainer.settings import ExampleSettings

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

PIECE = 2048
"""Columns at once: 41 s at 50 frames per second, some 30 MB of work."""


def pieces(n: int) -> Iterator[slice]:
    """All of n columns, `PIECE` at a time."""
    return (slice(start, min(start + PIECE, n)) for start in range(0, n, PIECE))


def spectra_at(take: Take, times_s: Float64, settings: ExampleSettings) -> Float32:
    """Spectra of a take's sound that belong to motion at given times, `lead_s` ahead: shape (n_times, n_bins)."""
    out = np.empty((len(times_s), settings.synth.n_bins), np.float32)
    centres = np.round(take.samples_of(times_s + settings.lead_s)).astype(np.int64)
    centres = np.clip(centres, 0, take.n_samples)
    half = settings.synth.n_fft // 2
    for piece in pieces(len(times_s)):
        first = int(centres[piece].min()) - half
        sound = take.sound_at(first, int(centres[piece].max()) + half)
        out[piece] = analyse(sound, centres[piece] - first, settings.synth)
    return out


def levels_db(spectra: Float32, power: float) -> Float64:
    """Level of each spectrum: shape (n, n_bins) to (n,)."""
    energy = (spectra ** np.float32(2.0 / power)).sum(axis=1, dtype=np.float64)
    return np.asarray(10.0 * np.log10(energy + 1e-12))


def leading_factors(take: Take, level_db: Float64, quantity: Float64, settings: ExampleSettings) -> Float32 | None:
    """By what spectra are multiplied so that loudness follows the body: shape (n_columns,); None where it does."""
    if not settings.body_leads:
        return None
    gains_db = leading_gains_db(quantity, level_db, take.times_s)
    if not gains_db.any():
        return None
    factors: Float32 = (10.0 ** (gains_db / 20.0 * settings.synth.power)).astype(np.float32)
    return factors


def band_edges(n_bins: int, n_bands: int) -> Indices:
    """First bin of each band and the end: shape (n_bands + 1,); narrow at low frequencies, none empty."""
    wanted = np.geomspace(8, n_bins, n_bands + 1) - 8 * np.linspace(1, 0, n_bands + 1)
    edges = np.maximum(np.round(wanted).astype(np.int64), np.arange(n_bands + 1))
    edges[-1] = n_bins
    return edges


def in_bands(spectra: npt.NDArray[np.float16], n_bands: int) -> npt.NDArray[np.float16]:
    """Means over bands: shape (n, n_bins) to (n, n_bands)."""
    edges = band_edges(spectra.shape[1], n_bands)
    sums = np.add.reduceat(spectra, edges[:-1], axis=1, dtype=np.float32)
    bands: npt.NDArray[np.float16] = (sums / np.diff(edges)).astype(np.float16)
    return bands
