"""The motiongram: one grey frame in, one column of motion out, as the frames come.

A column is the mean over each row, then over each column, of the filtered absolute difference between a frame and
an earlier one (A. R. Jensenius, "Some video abstraction techniques for displaying body movement in analysis and
performance", Leonardo 46(1), 2013). The earlier frame is the one nearest to a fixed time before, not the frame
before, so that one dance gives the same columns at any frame rate.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from device.core.errors import CameraError, ConfigError
from device.core.frame import Frame

FILTERS = ("regular", "binary", "blob")
FULL_SCALE = 255
LONGEST_GAP_S = 1.0
# A difference over less than this part of the difference time is left out rather than scaled up: right after the
# start it would be mostly noise, several times too loud. Two frames at 60 fps are enough.
SHORTEST_PART = 0.4


@dataclass(frozen=True)
class MotionSettings:
    """What makes columns comparable: two motiongrams with equal settings may be mixed, others may not.

    Attributes
    ----------
    height, width : int
        Size of a frame in pixels.
    difference_time_s : float
        How far back the frame lies that each frame is compared with, 0 to 1 s; 0 means the frame before.
    threshold : float
        Differences up to this fraction of full scale are taken for noise, from 0 to below 1.
    filter : str
        'regular' keeps the size of a difference above the threshold, 'binary' makes it full scale, 'blob' keeps
        what is left after an erosion with 3 x 3 pixels: lone pixels vanish. An erosion is not proportional to
        motion: 'blob' suits larger pictures, and its columns do depend on the frame rate (by 2 dB and more).

    Raises
    ------
    ConfigError
        A value lies outside its range.
    """

    height: int = 48
    width: int = 64
    difference_time_s: float = 0.04
    threshold: float = 0.04
    filter: str = "regular"

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1:
            raise ConfigError(f"a frame of {self.width} x {self.height} pixels is empty: set both to 1 or more")
        if not 0.0 <= self.difference_time_s <= LONGEST_GAP_S:
            raise ConfigError(f"a difference time of {self.difference_time_s} s cannot be used: set it from 0 to 1 s")
        if not 0.0 <= self.threshold < 1.0:
            raise ConfigError(f"a threshold of {self.threshold} cannot be used: set a fraction, 0 to below 1")
        if self.filter not in FILTERS:
            raise ConfigError(f"there is no motion filter '{self.filter}': set one of {', '.join(FILTERS)}")

    @property
    def n_features(self) -> int:
        """Values in a column: height + width."""
        return self.height + self.width


@dataclass(frozen=True)
class Motion:
    """The motion of one frame.

    Attributes
    ----------
    column : np.ndarray, shape (height + width,), float32
        Mean of each row from the top, then of each column from the left, in grey levels; 0 is still.
    time_s : float
        Capture time of the frame.
    quantity : float
        Quantity of motion: the mean of the filtered difference over all pixels, in grey levels.
    centroid_x, centroid_y : float
        Where the motion is, 0 (left, top) to 1 (right, bottom); 0.5 when still.
    area : float
        Fraction of the pixels that moved, 0 to 1.
    """

    column: npt.NDArray[np.float32]
    time_s: float
    quantity: float
    centroid_x: float
    centroid_y: float
    area: float


class Motiongram:
    """Turns frames into columns, one by one, keeping only the frames that it still needs.

    Parameters
    ----------
    settings : MotionSettings
        Size, difference time, threshold and filter.

    Notes
    -----
    A camera seldom has a frame exactly `difference_time_s` old (at 60 fps: 33.3 or 50 ms), and what moves farther
    differs more: the difference is scaled by the time asked for over the time had. The threshold comes first, for
    noise does not grow with time. Belongs to one thread.
    """

    def __init__(self, settings: MotionSettings) -> None:
        self.settings = settings
        self._past: deque[tuple[float, npt.NDArray[np.uint8]]] = deque()
        self._spare: list[npt.NDArray[np.uint8]] = []
        self._threshold = math.floor(settings.threshold * FULL_SCALE)
        self._x = (np.arange(settings.width) + 0.5) / settings.width
        self._y = (np.arange(settings.height) + 0.5) / settings.height

    def push(self, frame: Frame) -> Motion:
        """Take the next frame and give its motion.

        Parameters
        ----------
        frame : Frame
            Grey, of the size in the settings; its picture is copied. A time before the last one's, or more than
            1 s after it, starts anew, as `reset` does.

        Returns
        -------
        Motion
            Zeros where there is no frame yet that is old enough (at least `SHORTEST_PART` of the difference time).

        Raises
        ------
        CameraError
            The picture has another size or type, or the time is not a number.
        """
        self._check(frame)
        if self._past and not 0.0 <= frame.time_s - self._past[-1][0] <= LONGEST_GAP_S:
            self.reset()
        found = self._earlier(frame.time_s)
        motion = self._still(frame.time_s) if found is None else self._compare(frame, *found)
        self._remember(frame)
        return motion

    def reset(self) -> None:
        """Forget all frames: the next one is the first."""
        self._spare.extend(grey for _, grey in self._past)
        self._past.clear()

    def _check(self, frame: Frame) -> None:
        height, width = self.settings.height, self.settings.width
        if frame.grey.shape != (height, width) or frame.grey.dtype != np.uint8:
            shape = " x ".join(str(n) for n in frame.grey.shape[::-1])
            raise CameraError(
                f"the camera gave a picture of {shape} pixels, {frame.grey.dtype}, not of {width} x {height}, uint8: "
                "let it scale to grey pictures of that size, or change width and height in the configuration"
            )
        if not math.isfinite(frame.time_s):
            raise CameraError(f"the camera gave a frame at time {frame.time_s}: use a driver that gives seconds")

    def _earlier(self, time_s: float) -> tuple[npt.NDArray[np.uint8], float] | None:
        """Find the picture to compare with and the scale of the difference; None without a fit one."""
        if not self._past:
            return None
        wanted_s = self.settings.difference_time_s
        if wanted_s == 0.0:
            return self._past[-1][1], 1.0
        # Wanted times only grow: what lies before the last frame that is old enough will never be nearest again.
        while len(self._past) > 1 and self._past[1][0] <= time_s - wanted_s:
            self._spare.append(self._past.popleft()[1])
        earlier_s, grey = min(self._past, key=lambda past: abs(time_s - past[0] - wanted_s))
        actual_s = time_s - earlier_s
        return None if actual_s < SHORTEST_PART * wanted_s else (grey, wanted_s / actual_s)

    def _compare(self, frame: Frame, earlier: npt.NDArray[np.uint8], scale: float) -> Motion:
        moved = self._filtered(frame.grey, earlier)
        height, width = moved.shape
        # Sums of integers are exact; a mean below one grey level keeps its fraction.
        rows = moved.sum(axis=1, dtype=np.int64)
        columns = moved.sum(axis=0, dtype=np.int64)
        total = int(rows.sum())
        if total == 0:
            return self._still(frame.time_s)
        column = np.empty(height + width, np.float32)
        column[:height] = rows * (scale / width)
        column[height:] = columns * (scale / height)
        return Motion(
            column=column,
            time_s=frame.time_s,
            quantity=total * scale / moved.size,
            centroid_x=float(columns @ self._x) / total,
            centroid_y=float(rows @ self._y) / total,
            area=np.count_nonzero(moved) / moved.size,
        )

    def _filtered(self, grey: npt.NDArray[np.uint8], earlier: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        # The larger less the smaller: uint8 would wrap round in a plain subtraction.
        difference = np.maximum(grey, earlier)
        difference -= np.minimum(grey, earlier)
        if self.settings.filter == "blob":
            difference = erode(difference)
        above = difference > self._threshold
        return np.multiply(above, FULL_SCALE if self.settings.filter == "binary" else difference, dtype=np.uint8)

    def _still(self, time_s: float) -> Motion:
        return Motion(np.zeros(self.settings.n_features, np.float32), time_s, 0.0, 0.5, 0.5, 0.0)

    def _remember(self, frame: Frame) -> None:
        if self.settings.difference_time_s == 0.0 and self._past:
            self._spare.append(self._past.popleft()[1])
        grey = self._spare.pop() if self._spare else np.empty((self.settings.height, self.settings.width), np.uint8)
        grey[:] = frame.grey  # a camera may reuse its buffer
        self._past.append((frame.time_s, grey))


def erode(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Grey erosion: the least of each pixel and its neighbours, 3 x 3; beyond the border there is nothing.

    Parameters
    ----------
    picture : np.ndarray, shape (height, width), uint8

    Returns
    -------
    np.ndarray, shape (height, width), uint8
        A new picture. Erosion before the threshold and after it give the same, for the threshold keeps order.
    """
    tall = picture.copy()
    np.minimum(tall[1:], picture[:-1], out=tall[1:])
    np.minimum(tall[:-1], picture[1:], out=tall[:-1])
    least = tall.copy()
    np.minimum(least[:, 1:], tall[:, :-1], out=least[:, 1:])
    np.minimum(least[:, :-1], tall[:, 1:], out=least[:, :-1])
    return least
