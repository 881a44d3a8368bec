"""The last guard before full scale: what is quiet enough passes untouched, what is too loud is bent, never cut off."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

KNEE = 10.0 ** (-1.0 / 20.0)
"""Amplitude (-1 dBFS) up to which every sample passes to the bit."""


def limit_peaks(block: npt.NDArray[np.float32]) -> None:
    """Bend what rises above the knee towards full scale, in place.

    A waveshaper without memory: it cannot pump and its result does not depend on the block's size. Above the knee it
    is a hyperbolic tangent with the same slope where they meet.

    Parameters
    ----------
    block : np.ndarray, shape (n_samples,), float32
        Any values; NaN becomes silence. Afterwards all lie from -1 to 1.
    """
    # NaN compares false, so a block that holds one takes the slow way too.
    if len(block) == 0 or (block.max() <= KNEE and block.min() >= -KNEE):
        return
    block[np.isnan(block)] = 0.0
    loud = np.flatnonzero(np.abs(block) > KNEE)
    above = np.abs(block[loud]) - KNEE
    block[loud] = np.sign(block[loud]) * (KNEE + (1.0 - KNEE) * np.tanh(above / (1.0 - KNEE)))
