"""A camera without a camera: a moving bar, a still picture or noise, at the times that it is given."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import count, islice
from typing import Literal

import numpy as np
import numpy.typing as npt

from device.core.frame import Frame

Scene = Literal["bar", "still", "noise"]

_BLACK = 16
_WHITE = 235


class FakeCamera:
    """Behaves like a camera: frames in order with their times, None at the end and after `close`.

    Parameters
    ----------
    scene : str
        "bar": a bright bar, an eighth of the width, that goes back and forth once in 2 s; "still": the bar does not
        move; "noise": every pixel is drawn anew.
    fps : float
        Frames a second, for times made here.
    duration_s : float or None
        Length of the clip; None never ends.
    times_s : iterable of float, optional
        Capture times in seconds, in any steps; they decide the length instead of `fps` and `duration_s`.
    height, width : int
        Size of the grey pictures.
    seed : int
        For the noise.
    """

    def __init__(
        self,
        scene: Scene = "bar",
        fps: float = 60.0,
        duration_s: float | None = 1.0,
        times_s: Iterable[float] | None = None,
        height: int = 48,
        width: int = 64,
        seed: int = 0,
    ) -> None:
        self.fps = fps
        self._scene = scene
        self._height = height
        self._width = width
        self._random = np.random.default_rng(seed)
        self._times_s = _regular_times(fps, duration_s) if times_s is None else iter(times_s)

    def read(self) -> Frame | None:
        """Give the next frame; None when there will be no more."""
        time_s = next(self._times_s, None)
        return None if time_s is None else Frame(self._picture(time_s), time_s)

    def close(self) -> None:
        """No more frames after this. May be called twice."""
        self._times_s = iter(())

    def _picture(self, time_s: float) -> npt.NDArray[np.uint8]:
        if self._scene == "noise":
            return self._random.integers(0, 256, (self._height, self._width), dtype=np.uint8)
        return _bar(self._height, self._width, 0.5 if self._scene == "still" else _sway(time_s))


def _regular_times(fps: float, duration_s: float | None) -> Iterator[float]:
    times_s = (index / fps for index in count())
    return times_s if duration_s is None else islice(times_s, round(duration_s * fps))


def _sway(time_s: float) -> float:
    """Place of the bar, 0 (left) to 1 (right)."""
    return 0.5 - 0.5 * float(np.cos(np.pi * time_s))


def _bar(height: int, width: int, place: float) -> npt.NDArray[np.uint8]:
    """Draw a bar with soft edges, so that it moves by fractions of a pixel."""
    bar_px = width / 8
    left_px = place * (width - bar_px)
    pixel = np.arange(width)
    covered = np.clip(np.minimum(pixel + 1, left_px + bar_px) - np.maximum(pixel, left_px), 0.0, 1.0)
    row = np.round(_BLACK + covered * (_WHITE - _BLACK)).astype(np.uint8)
    picture = np.full((height, width), _BLACK, np.uint8)
    picture[height // 6 : height - height // 6] = row
    return picture
