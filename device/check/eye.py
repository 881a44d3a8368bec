"""A camera as the box uses it, in a process of its own, looked at for a while."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from device.box.box_engine import open_live_camera
from device.config import Config
from device.core.errors import CameraError
from device.core.motiongram import MotionSettings
from device.engine.camera_process import CameraSetup, OpenCamera, camera_main
from device.engine.frame_bus import Arrival, FrameBus
from device.engine.openers import sized
from device.engine.performance import meter_layout
from device.engine.process import Child, PartEndedError, wait_for_any
from device.engine.realtime import Urgency
from device.engine.shared import Bell, SharedArrays

OPEN_S = 20.0
"""A camera on a cold Pi takes seconds to open."""
SILENT_S = 3.0
POLL_S = 0.05


class Eye:
    """A camera's process, and what it sees; `open_eye` makes it.

    Parameters
    ----------
    child : Child
    frames : FrameBus
    """

    def __init__(self, child: Child, frames: FrameBus) -> None:
        self._child = child
        self._frames = frames
        self._next = 0

    def watch(self, duration_s: float) -> list[Arrival]:
        """Look for a while; give what has come since the last look.

        Raises
        ------
        CameraError
            Nothing has come.
        """
        end_s = time.monotonic() + duration_s
        while (left_s := end_s - time.monotonic()) > 0.0:
            self._listen(min(left_s, POLL_S))
        arrivals = self._frames.read_from(self._next)
        if arrivals:
            self._next = arrivals[-1].serial + 1
        return arrivals

    def wait_for_ready(self) -> None:
        """Wait until the camera is open, and gives frames."""
        deadline_s = time.monotonic() + OPEN_S
        while not self._listen(POLL_S):
            if time.monotonic() > deadline_s:
                raise CameraError(f"the camera did not open within {OPEN_S:g} s: unplug it and plug it in again")
        self._child.tell("go")
        deadline_s = time.monotonic() + SILENT_S
        while not self.watch(POLL_S):
            if time.monotonic() > deadline_s:
                raise CameraError("the camera is open and gives no frames: check its cable")

    def _listen(self, timeout_s: float) -> bool:
        """Hear whether the process is ready."""
        wait_for_any([self._child], timeout_s)
        said = self._child.heard()
        for word, content in said:
            if isinstance(content, Exception):
                raise content
            if word in ("gone", "ended"):
                raise PartEndedError("the camera gives no more frames: check its cable")
        return any(word == "ready" for word, _ in said)


@contextmanager
def open_eye(config: Config, motion: MotionSettings) -> Iterator[Eye]:
    """Open the configured camera, in pictures of a model's size."""
    urgency = Urgency(config.engine.realtime_priority, lock_memory=False).below(20)
    camera = sized(config.camera, motion)
    with eye_of(partial(open_live_camera, camera), camera.height, camera.width, urgency) as eye:
        yield eye


@contextmanager
def eye_of(open_camera: OpenCamera, height: int, width: int, urgency: Urgency) -> Iterator[Eye]:
    """Open a camera; end its process, even one that hangs.

    Parameters
    ----------
    open_camera : OpenCamera
    height, width : int
        Of its pictures, in pixels.
    urgency : Urgency
    """
    frames = FrameBus(height, width, ())
    setup = CameraSetup(open_camera, False, frames, None, Bell(), SharedArrays(meter_layout()), urgency)
    child = Child("camera", camera_main, setup)
    try:
        eye = Eye(child, frames)
        eye.wait_for_ready()
        yield eye
    finally:
        child.end()
