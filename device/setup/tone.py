"""A tone to hear whether a sound card plays."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

TONE_HZ = 440.0
TONE_S = 1.0
TONE_DB = -20.0
FADE_S = 0.05
TAIL_S = 0.1
"""Silence behind the tone, so that all of it has left the card's buffer when the card is let go."""


def tone(rate_hz: int) -> npt.NDArray[np.float32]:
    """Make a soft tone that begins and ends without a click, with silence behind it.

    Parameters
    ----------
    rate_hz : int
        Samples per second.

    Returns
    -------
    np.ndarray, shape (n_samples,), float32
    """
    time_s = np.arange(round((TONE_S + TAIL_S) * rate_hz)) / rate_hz
    envelope = np.clip(np.minimum(time_s, TONE_S - time_s) / FADE_S, 0.0, 1.0)
    sound: npt.NDArray[np.float64] = 10.0 ** (TONE_DB / 20.0) * envelope * np.sin(2.0 * np.pi * TONE_HZ * time_s)
    return sound.astype(np.float32)
