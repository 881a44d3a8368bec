"""A sound that follows the body by another mapping than the factory's: one gliding voice with some air."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.signal import butter, sosfilt

from trainer.filming.film import Body
from trainer.filming.instrument import GESTURE_RATE_HZ, at_rate, gesture, harmonics, smooth


def play_theremin(
    body: Body, times_s: npt.NDArray[np.float64], n: int, rate_hz: int, seed: int = 0
) -> npt.NDArray[np.float32]:
    """Height is pitch, without steps, over an octave; energy is loudness; reach is brightness.

    Parameters
    ----------
    body : Body
    times_s : np.ndarray, shape (n_times,), float64
        Times of the dance, evenly spaced at `GESTURE_RATE_HZ`.
    n : int
        Samples to make.
    rate_hz, seed : int

    Returns
    -------
    np.ndarray, shape (n,), float32
    """
    made = gesture(body, times_s)
    f0_hz = 160.0 * 2.0 ** (1.0 * np.clip((smooth(smooth(made.height, 0.1), 0.1) - 0.30) / 0.3, 0, 1))
    level = smooth(np.clip((made.energy - 0.02) / 1.3, 0, 1.3), 0.02)
    reach = np.clip((smooth(made.spread, 0.1) - 0.18) / 0.2, 0, 1)
    voice = harmonics(at_rate(f0_hz, n, rate_hz), at_rate(2.4 - 1.3 * reach, n, rate_hz), 20, rate_hz)
    air = sosfilt(butter(2, 2500, "highpass", fs=rate_hz, output="sos"), np.random.default_rng(seed).standard_normal(n))
    sound = at_rate(level, n, rate_hz) * (0.30 * voice + 0.02 * at_rate(reach, n, rate_hz) * air)
    out: npt.NDArray[np.float32] = np.clip(sound, -1, 1).astype(np.float32)
    return out


def body_times(duration_s: float, still_s: float) -> npt.NDArray[np.float64]:
    """Times of a dance that begins after the body has stood still for a while."""
    return np.arange(int(duration_s * GESTURE_RATE_HZ) + 2) / GESTURE_RATE_HZ - still_s
