"""A pseudo quadrature mirror filter bank: bands of equal width, each at a fraction of the rate, and back.

Cosine-modulated, of one prototype (Rothweiler 1983), whose cut-off is searched so that neighbours add up flat (Lin and
Vaidyanathan, "A Kaiser window approach for the design of prototype filters of cosine modulated filterbanks", IEEE
Signal Processing Letters 5, 1998). Reconstruction is near perfect: the error is what the stop band lets through.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
from scipy import optimize, signal

Float64 = npt.NDArray[np.float64]

STOP_BAND_DB = 90.0


def prototype(n_bands: int, taps_per_band: int) -> Float64:
    """Low-pass filter of which all bands are made: shape (n_bands * taps_per_band + 1,)."""
    n_taps = n_bands * taps_per_band + 1
    window = ("kaiser", signal.kaiser_beta(STOP_BAND_DB))

    def ripple(cutoff: float) -> float:
        taps = signal.firwin(n_taps, cutoff, window=window)
        around = np.convolve(taps, taps[::-1])[n_taps - 1 :]
        return float(np.abs(around[2 * n_bands :: 2 * n_bands]).max() / around[0])

    found = optimize.minimize_scalar(ripple, bounds=(0.3 / n_bands, 0.9 / n_bands), method="bounded")
    taps: Float64 = signal.firwin(n_taps, float(found.x), window=window)
    return taps


@cache
def filters(n_bands: int = 8, taps_per_band: int = 16) -> Float64:
    """Synthesis filters; reversed in time they are the analysis filters.

    Returns
    -------
    np.ndarray, shape (n_bands, n_taps), float64
        Scaled so that analysis and synthesis together neither raise nor lower a sound.
    """
    taps = prototype(n_bands, taps_per_band)
    band = np.arange(n_bands)[:, np.newaxis]
    at = np.arange(len(taps)) - (len(taps) - 1) / 2
    turn = (2 * band + 1) * np.pi / (2 * n_bands) * at - (-1.0) ** band * np.pi / 4
    bank: Float64 = 2 * taps * np.cos(turn)
    return np.asarray(bank * np.sqrt(n_bands))


def analyse_bands(sound: Float64, bank: Float64) -> Float64:
    """Sound to bands.

    Parameters
    ----------
    sound : np.ndarray, shape (n_samples,)
        As many samples as a multiple of the bands.
    bank : np.ndarray, shape (n_bands, n_taps)
        From `filters`.

    Returns
    -------
    np.ndarray, shape (n_samples / n_bands, n_bands)
    """
    n_bands, n_taps = bank.shape
    padded = np.pad(sound, (n_taps // 2, n_taps // 2))
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_taps)[::n_bands]
    return np.asarray(frames @ bank.T)


def join_bands(bands: Float64, bank: Float64) -> Float64:
    """Bands to sound: the inverse of `analyse_bands`, shape (n_frames * n_bands,)."""
    kernel = join_kernel(bank)
    n_beside = len(kernel) // 2
    padded = np.pad(bands, ((n_beside, n_beside), (0, 0)))
    frames = np.lib.stride_tricks.sliding_window_view(
        padded, len(kernel), axis=0
    )  # (n_frames, n_bands, n_beside * 2 + 1)
    return np.asarray(np.einsum("fbk,kbp->fp", frames, kernel).ravel())


def join_kernel(bank: Float64) -> Float64:
    """Synthesis as one convolution at the bands' rate: each frame gives as many samples as there are bands.

    Parameters
    ----------
    bank : np.ndarray, shape (n_bands, n_taps)
        One tap more than an even multiple of the bands.

    Returns
    -------
    np.ndarray, shape (n_taps // n_bands + 1, n_bands, n_bands)
        Frame, band, sample.
    """
    n_bands, n_taps = bank.shape
    n_frames = n_taps // n_bands + 1
    padded = np.pad(bank, ((0, 0), (0, n_frames * n_bands - n_taps)))
    # A frame that lies k frames back is k * n_bands samples further into its filter.
    return np.asarray(padded.reshape(n_bands, n_frames, n_bands)[:, ::-1].transpose(1, 0, 2))
