"""The pitch of a sound, frame by frame."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from scipy import fft

Sound = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

PITCH_FRAME_S = 0.046
PITCH_HOP_S = 0.01
PITCH_HIGHEST_HZ = 2000.0
VOICED_BELOW = 0.15
# Dips this much less deep than the deepest are as good: noise lifts them all alike.
DIP_WITHIN = 0.1


def pitch_frames(sound: Sound, rate_hz: float) -> Iterator[Sound]:
    """Cut a sound into frames of 46 ms every 10 ms, some hundred at a time: shape (n_frames, n_samples)."""
    n_samples = 2 * round(PITCH_FRAME_S * rate_hz / 2)
    frames = np.lib.stride_tricks.sliding_window_view(sound.astype(np.float32), n_samples)
    frames = frames[:: round(PITCH_HOP_S * rate_hz)]
    for start in range(0, len(frames), 256):
        yield frames[start : start + 256]


def yin(frames: Sound, rate_hz: float) -> tuple[Float64, Float64]:
    """Pitch of frames by YIN (de Cheveigne and Kawahara, J. Acoust. Soc. Am. 111(4), 2002).

    Parameters
    ----------
    frames : np.ndarray, shape (n_frames, n_samples)
        Two periods of the lowest pitch: 46 ms reach down to 43.5 Hz. Pitches above 1/20 of the rate may be heard
        an octave too low, for their period falls between samples.
    rate_hz : float

    Returns
    -------
    f0_hz : np.ndarray, shape (n_frames,), float64
        Not a number in digital silence.
    aperiodicity : np.ndarray, shape (n_frames,), float64
        The least of the cumulative mean normalised difference: 0 is periodic, about 1 noise.
    """
    n_lags = frames.shape[1] // 2
    normalised = normalised_difference(frames.astype(np.float64), n_lags)
    lowest_lag = int(rate_hz / PITCH_HIGHEST_HZ)
    inner = normalised[:, lowest_lag:-1]
    least = inner.min(axis=1, initial=np.inf)
    # The first dip nearly as deep as the deepest: the period itself rather than one of its multiples.
    is_dip = (inner <= normalised[:, lowest_lag - 1 : -2]) & (inner < normalised[:, lowest_lag + 1 :])
    is_dip &= inner <= least[:, np.newaxis] + DIP_WITHIN
    lag = np.where(is_dip.any(axis=1), is_dip.argmax(axis=1), inner.argmin(axis=1)) + lowest_lag
    row = np.arange(len(frames))
    before, at, after = (normalised[row, lag + step] for step in (-1, 0, 1))
    curve = before - 2 * at + after
    # A parabola through the dip and its neighbours has its bottom between two samples.
    shift = np.where(curve > 0, 0.5 * (before - after) / np.where(curve > 0, curve, 1.0), 0.0)
    f0_hz = rate_hz / (lag + np.clip(shift, -0.5, 0.5))
    return np.where(frames.any(axis=1), f0_hz, np.nan), np.asarray(least)


def normalised_difference(frames: Float64, n_lags: int) -> Float64:
    """Cumulative mean normalised difference of YIN for lags 0 to n_lags: shape (n_frames, n_lags + 1)."""
    n_fft = fft.next_fast_len(frames.shape[1], real=True)
    spectrum = fft.rfft(frames, n_fft, axis=1) * np.conj(fft.rfft(frames[:, :n_lags], n_fft, axis=1))
    correlation: Float64 = fft.irfft(spectrum, n_fft, axis=1)[:, : n_lags + 1]
    total = np.pad(np.cumsum(frames**2, axis=1), ((0, 0), (1, 0)))
    energy = total[:, n_lags:] - total[:, : n_lags + 1]  # of the part that begins at each lag
    difference = np.maximum(energy[:, :1] + energy - 2 * correlation, 0.0)
    mean = np.cumsum(difference[:, 1:], axis=1) / np.arange(1, n_lags + 1)
    normalised: Float64 = np.ones_like(difference)
    np.divide(difference[:, 1:], mean, out=normalised[:, 1:], where=mean > 0)
    return normalised
