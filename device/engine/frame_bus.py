"""Frames on their way from the camera's process to whoever looks at them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from device.core.frame import Frame
from device.core.ring import Ring
from device.engine.shared import Bell, SharedArrays, fence

N_FRAMES = 512
"""How many of the last are kept: 4 s at 120 fps, so that a new model finds a whole window of what was before it."""


@dataclass(frozen=True)
class Arrival:
    """A frame that has come.

    Attributes
    ----------
    frame : Frame
    arrival_s : float
        When it came; CLOCK_MONOTONIC.
    serial : int
        Its number.
    """

    frame: Frame
    arrival_s: float
    serial: int


class FrameBus:
    """The last frames, in memory that processes share; one process writes, any number read.

    Parameters
    ----------
    height, width : int
        Of the pictures, in pixels.
    bells : sequence of Bell
        Rung for each frame.
    """

    def __init__(self, height: int, width: int, bells: Sequence[Bell]) -> None:
        self.shape = (height, width)
        self._bells = tuple(bells)
        self._memory = SharedArrays(
            {
                "n_frames": ((1,), "i8"),
                "grey": ((N_FRAMES, height, width), "u1"),
                "time_s": ((N_FRAMES,), "f8"),
                "arrival_s": ((N_FRAMES,), "f8"),
            }
        )
        self._open()

    def __getstate__(self) -> dict[str, Any]:
        return {"shape": self.shape, "_bells": self._bells, "_memory": self._memory}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open()

    def _open(self) -> None:
        memory = self._memory
        self._ring = Ring(memory["n_frames"], {name: memory[name] for name in ("grey", "time_s", "arrival_s")}, fence)

    def put(self, frame: Frame, arrival_s: float) -> None:
        """Let a frame be seen; its picture is copied."""
        self._ring.append(grey=frame.grey, time_s=frame.time_s, arrival_s=arrival_s)
        for bell in self._bells:
            bell.ring()

    @property
    def n_put(self) -> int:
        """How many frames there were."""
        return self._ring.n_written

    def read(self, serial: int) -> Arrival | None:
        """Give a frame; None when it is gone or has not come yet."""
        record = self._ring.read(serial)
        if record is None:
            return None
        return Arrival(Frame(record["grey"], float(record["time_s"])), float(record["arrival_s"]), serial)

    def read_from(self, serial: int) -> list[Arrival]:
        """Give all frames from this one on that are still there."""
        found = (self.read(each) for each in range(max(serial, self._ring.oldest), self.n_put))
        return [each for each in found if each is not None]


class FrameCheck:
    """Tells pictures of the right size from what a driver gives besides.

    Parameters
    ----------
    height, width : int
    complain : callable
        Told once, in one line.

    Attributes
    ----------
    n_bad : int
        How many were none.
    """

    def __init__(self, height: int, width: int, complain: Callable[[str], None]) -> None:
        self.n_bad = 0
        self._shape = (height, width)
        self._complain = complain

    def is_picture(self, frame: Frame) -> bool:
        """Tell whether the frame can be used."""
        grey = frame.grey
        if grey.shape == self._shape and grey.dtype == np.uint8 and math.isfinite(frame.time_s):
            return True
        if self.n_bad == 0:
            self._complain(
                f"the camera gave a picture of {' x '.join(map(str, grey.shape[::-1]))}, {grey.dtype}, at time "
                f"{frame.time_s}, not of {self._shape[1]} x {self._shape[0]}, uint8: such frames are left out"
            )
        self.n_bad += 1
        return False
