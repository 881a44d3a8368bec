"""A look at sound: its level in narrow bands over time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]

LOWEST_HZ, HIGHEST_HZ, BANDS_PER_OCTAVE = 40.0, 16000.0, 24


def spectrogram_db(sound: Float32, rate_hz: int, n_columns: int) -> tuple[Float32, npt.NDArray[np.float64]]:
    """Look at sound on a logarithmic scale of frequencies.

    Parameters
    ----------
    sound : np.ndarray, shape (n_samples,), float32
    rate_hz : int
    n_columns : int
        Moments to look at, spread evenly.

    Returns
    -------
    level_db : np.ndarray, shape (n_bands, n_columns), float32
        0 is the level of a sine of full scale.
    frequency_hz : np.ndarray, shape (n_bands,), float64
    """
    n_fft = 4096
    highest_hz = min(HIGHEST_HZ, rate_hz / 2.0)
    n_bands = int(np.log2(highest_hz / LOWEST_HZ) * BANDS_PER_OCTAVE) + 1
    frequency_hz = LOWEST_HZ * 2.0 ** (np.arange(n_bands) / BANDS_PER_OCTAVE)
    window = np.hanning(n_fft) / (n_fft / 4.0)
    padded = np.pad(sound, n_fft // 2)
    bins = frequency_hz / rate_hz * n_fft
    level_db = np.empty((n_bands, n_columns), np.float32)
    for column, start in enumerate(np.linspace(0, len(sound), n_columns, endpoint=False).astype(int)):
        magnitude = np.abs(np.fft.rfft(padded[start : start + n_fft] * window))
        level_db[:, column] = 20.0 * np.log10(_in_bands(magnitude, bins) + 1e-9)
    return level_db, frequency_hz


def _in_bands(magnitude: npt.NDArray[np.float64], bins: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Between two bins where bands are narrow, the largest bin where they are wide."""
    half_band = 2.0 ** (0.5 / BANDS_PER_OCTAVE)
    low = np.minimum((bins / half_band).round().astype(int), len(magnitude) - 1)
    largest = np.maximum.reduceat(magnitude, low)
    between: npt.NDArray[np.float64] = np.interp(bins, np.arange(len(magnitude)), magnitude)
    return np.where(bins * (half_band - 1.0 / half_band) > 1.0, largest, between)
