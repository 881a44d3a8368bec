"""Which of a camera's modes is used: the rate that was asked for, from pictures that are little work."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

LUMA: dict[str, tuple[int, int]] = {
    "GREY": (0, 1),
    "NV12": (0, 1),
    "NV21": (0, 1),
    "NV16": (0, 1),
    "YUV420": (0, 1),
    "YVU420": (0, 1),
    "YUV422P": (0, 1),
    "YUYV": (0, 2),
    "YVYU": (0, 2),
    "UYVY": (1, 2),
    "VYUY": (1, 2),
}
"""Formats whose grey lies open: the first byte of a row that is grey, and from one to the next."""
JPEGS = ("MJPEG", "JPEG")

RATE_TOLERANCE = 0.97
"""A camera that says 29.97 means 30."""
OVERSAMPLING = 4
"""Each side should be so many times what is wanted: a mean over 16 pixels has a quarter of their noise."""
JPEG_WORK = 10.0
"""To decode a pixel takes so many times what it takes to look at one."""


@dataclass(frozen=True)
class CameraMode:
    """What a camera offers.

    Attributes
    ----------
    pixel_format : str
        As V4L2 calls it.
    width, height : int
        In pixels.
    fps : float
        The highest rate; 0 if it is not known.
    """

    pixel_format: str
    width: int
    height: int
    fps: float

    def __str__(self) -> str:
        return f"{self.pixel_format} {self.width} x {self.height}"


def choose_mode(modes: Iterable[CameraMode], height: int, width: int, fps: float) -> CameraMode | None:
    """Choose the least work among the modes that keep the rate, or come nearest to it.

    Parameters
    ----------
    modes : iterable of CameraMode
    height, width : int
        Of the pictures that are wanted, in pixels.
    fps : float
        The rate that is wanted.

    Returns
    -------
    CameraMode or None
        None if there is no picture large enough in a format that we read.
    """
    fit = [
        mode
        for mode in modes
        if (mode.pixel_format in LUMA or mode.pixel_format in JPEGS) and mode.width >= width and mode.height >= height
    ]
    if not fit:
        return None
    enough = RATE_TOLERANCE * min(fps, max(mode.fps for mode in fit))
    return min((mode for mode in fit if mode.fps >= enough), key=lambda mode: _work(mode, height, width))


def _work(mode: CameraMode, height: int, width: int) -> tuple[bool, float, float]:
    """Give what is the smaller the better: too few pixels, then work, then the excess of the rate."""
    is_coarse = mode.width < OVERSAMPLING * width or mode.height < OVERSAMPLING * height
    n_pixels = mode.width * mode.height
    if is_coarse:
        return True, -n_pixels, mode.fps
    each = JPEG_WORK if mode.pixel_format in JPEGS else float(LUMA[mode.pixel_format][1])
    return False, n_pixels * each, mode.fps
