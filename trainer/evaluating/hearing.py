"""What is heard in a sound over time: its power, spectrum, bands and loudness, in windows side by side."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy import fft, signal, stats

Sound = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

WINDOW_S = 0.1
HOPS_PER_WINDOW = 10
FRAME_S = 0.043
"""Length of one transform, about: the nearest power of two samples."""
# 80 dB below the loudest nothing is heard: below that, loudness is taken for equal.
AUDIBLE_RANGE_DB = 80.0
SOUNDING_RANGE_DB = 50.0
SILENCE_DBFS = -144.0

BAND_EDGES_HZ = 1000.0 * 10.0 ** ((np.arange(24) - 10.5) / 10.0)
"""Edges of 23 third-octave bands, nominal 100 Hz to 16 kHz (IEC 61260-1, base 10)."""


def level_dbfs(sound: Sound) -> float:
    """Root mean square of a sound in dB; 0 is a full-scale square wave, digital silence is -144."""
    power = float(np.square(sound, dtype=np.float64).mean()) if len(sound) else 0.0
    return 10 * math.log10(max(power, 10 ** (SILENCE_DBFS / 10)))


def window_power(sound: Sound, rate_hz: float, window_s: float = WINDOW_S) -> Float64:
    """Mean power in windows side by side: shape (n_windows,); a rest shorter than a window is left out."""
    n_windows = int(len(sound) / (window_s * rate_hz))
    edges = np.rint(np.arange(n_windows + 1) * window_s * rate_hz).astype(np.int64)
    total = np.concatenate([[0.0], np.cumsum(np.square(sound, dtype=np.float64))])
    return np.asarray(np.maximum(np.diff(total[edges]), 0.0) / np.diff(edges))


def n_fft_of(rate_hz: float) -> int:
    """Samples of one transform of about 43 ms, a power of two."""
    return int(2 ** round(math.log2(FRAME_S * rate_hz)))


def frame_power(sound: Sound, rate_hz: float, middles_s: Float64) -> Float64:
    """Power spectra of Hann-windowed frames of about 43 ms around given times: shape (n_times, n_bins).

    Before the sound and after it there is silence.
    """
    n_fft = n_fft_of(rate_hz)
    hann = signal.get_window("hann", n_fft).astype(np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(sound.astype(np.float32), n_fft // 2), n_fft)
    transforms = fft.rfft(frames[np.rint(middles_s * rate_hz).astype(np.int64)] * hann, axis=1)
    return np.asarray(transforms.real.astype(np.float64) ** 2 + transforms.imag.astype(np.float64) ** 2)


def window_spectra(sound: Sound, rate_hz: float) -> Float64:
    """Power spectra averaged over windows of 100 ms.

    Parameters
    ----------
    sound : np.ndarray, shape (n_samples,)
    rate_hz : float

    Returns
    -------
    np.ndarray, shape (n_windows, n_bins), float64
        Mean of the power of ten Hann-windowed transforms of about 43 ms, 10 ms apart (Welch).
    """
    n_windows = int(len(sound) / (WINDOW_S * rate_hz))
    spectra = np.empty((n_windows, n_fft_of(rate_hz) // 2 + 1))
    for start in range(0, n_windows, 32):
        stop = min(start + 32, n_windows)
        middles_s = (np.arange(start * HOPS_PER_WINDOW, stop * HOPS_PER_WINDOW) + 0.5) * (WINDOW_S / HOPS_PER_WINDOW)
        power = frame_power(sound, rate_hz, middles_s)
        spectra[start:stop] = power.reshape(stop - start, HOPS_PER_WINDOW, -1).mean(axis=1)
    return spectra


def band_power(spectra: Float64, hz: Float64) -> Float64:
    """Power in the bands of `BAND_EDGES_HZ` that lie below half of the rate: shape (n_windows, n_bands)."""
    edges = np.searchsorted(hz, BAND_EDGES_HZ[: np.searchsorted(BAND_EDGES_HZ, hz[-1])])
    # The lowest bands are as narrow as a bin, and each has one at least.
    stops = np.maximum(edges[1:], edges[:-1] + 1)
    return np.stack([spectra[:, a:b].sum(axis=1) for a, b in zip(edges[:-1], stops, strict=True)], axis=1)


def centroid_hz(spectra: Float64, hz: Float64) -> Float64:
    """Spectral centroid of power spectra: shape (n_windows,); it goes to 0 Hz in silence."""
    power = spectra.sum(axis=1)
    silence = max(float(power.max()) * 10 ** (-AUDIBLE_RANGE_DB / 10), np.finfo(np.float64).tiny)
    return np.asarray(spectra @ hz / (power + silence))


def audible(power: Float64) -> Float64:
    """Power with all that is 80 dB below the loudest made equal, so that ranks in silence do not count."""
    return np.maximum(power, power.max() * 10 ** (-AUDIBLE_RANGE_DB / 10))


def is_sounding(power: Float64) -> npt.NDArray[np.bool_]:
    """Where a sound is within 50 dB of its loudest: shape as `power`; nowhere in silence."""
    return np.asarray(power > power.max() * 10 ** (-SOUNDING_RANGE_DB / 10))


def rank_correlation(one: Float64, other: Float64) -> float:
    """Spearman's rank correlation; 0 where one of them never changes, for it then tells nothing."""
    if np.ptp(one) == 0.0 or np.ptp(other) == 0.0:
        return 0.0
    return float(stats.spearmanr(one, other).statistic)


def loudness_envelope(sound: Sound, rate_hz: float) -> Float64:
    """Loudness every millisecond: power smoothed over 21 ms, to the power 0.3 (Stevens): shape (n_ms,).

    The smoothing takes out the ripple of low tones, and shifts nothing.
    """
    return np.asarray(smooth_power(sound, rate_hz, 43) ** 0.3)


def smooth_power(sound: Sound, rate_hz: float, width_ms: int) -> Float64:
    """Power every millisecond, smoothed by a Hann window of `width_ms` milliseconds: shape (n_ms,); it shifts nothing.

    A tone's ripple is gone from 1000 / `width_ms` Hz on.
    """
    hann = signal.windows.hann(width_ms)
    power = signal.convolve(window_power(sound, rate_hz, 0.001), hann / hann.sum(), mode="same")
    return np.asarray(np.maximum(power, 0.0))
