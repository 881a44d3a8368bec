"""A frame: one grey picture with its capture time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Frame:
    """One grey picture.

    Attributes
    ----------
    grey : np.ndarray, shape (height, width), uint8
        Full range: 0 is black, 255 is white.
    time_s : float
        Capture time in seconds: CLOCK_MONOTONIC for a camera, the time in the clip for a video.
    """

    grey: npt.NDArray[np.uint8]
    time_s: float
