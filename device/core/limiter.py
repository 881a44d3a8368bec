"""The last guard before the sound card: what is quiet passes untouched, what is too loud is bent, never cut off."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

PEAK_DB = -1.0
"""Level that nothing passes, in dBFS, unless another is configured."""
KNEE_DB = 1.0
"""How far below the peak bending begins: a sine that just reaches the peak gets 1.0% of harmonics, mostly the third,
one 3 dB louder 17%. With a knee of 3 dB it would be 2.8% and 16%, and much of a loud instrument would be bent."""


def amplitude(level_db: float) -> float:
    """Amplitude of a level, 1 at 0 dBFS."""
    return float(10.0 ** (level_db / 20.0))


def limit_peaks(block: npt.NDArray[np.float32], peak: float = amplitude(PEAK_DB)) -> None:
    """Bend what rises above the knee towards the peak, in place.

    A waveshaper without memory: it cannot pump and its result does not depend on the block's size. Above the knee it
    is a hyperbolic tangent with the same slope where they meet.

    Parameters
    ----------
    block : np.ndarray, shape (n_samples,), float32
        Any values; NaN becomes silence. Afterwards all lie from -peak to peak, whatever they were.
    peak : float
        Amplitude above 0, up to 1.
    """
    knee = peak * amplitude(-KNEE_DB)
    # NaN compares false, so a block that holds one takes the slow way too.
    if len(block) == 0 or (block.max() <= knee and block.min() >= -knee):
        return
    block[np.isnan(block)] = 0.0
    loud = np.flatnonzero(np.abs(block) > knee)
    # Far above the peak the tangent is 1, and 1e38 over a small knee would be more than float32 holds.
    above = np.minimum(np.abs(block[loud]) - knee, 32 * (peak - knee))
    # In float32 the sum may be rounded up: the peak is a promise.
    bent = np.minimum(knee + (peak - knee) * np.tanh(above / (peak - knee)), rounded_down(peak))
    block[loud] = np.copysign(bent, block[loud])


def rounded_down(value: float) -> np.float32:
    """Largest float32 that is not above a value."""
    nearest = np.float32(value)
    return nearest if float(nearest) <= value else np.nextafter(nearest, np.float32(0.0))
