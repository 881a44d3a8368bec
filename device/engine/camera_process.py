"""The camera's process: it drives the camera and lets its frames be seen. It may hang, be killed and started again."""

from __future__ import annotations

import faulthandler
import logging
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

from device.core.frame import Frame
from device.core.timeline import Timeline
from device.edges.camera import Camera
from device.engine.frame_bus import FrameBus, FrameCheck
from device.engine.paced import Clock, MonotonicClock, PacedCamera
from device.engine.performance import Meter
from device.engine.process import Part, run_part
from device.engine.realtime import Urgency, be_urgent
from device.engine.shared import Bell, SharedArrays

_log = logging.getLogger(__name__)

OPEN_S = 20.0
"""A driver that has not opened its camera by then never will."""

OpenCamera = Callable[[], Camera]
"""Opens the camera, in its own process; must be picklable."""


@dataclass(frozen=True)
class CameraSetup:
    """What the camera's process is given.

    Attributes
    ----------
    open_camera : OpenCamera
    is_clip : bool
        A video, whose frames come at their own times from the first one on.
    frames : FrameBus
    seconds : float or None
        Frames from this time on after the first are left out.
    started : Bell
        Rung at the first frame.
    meter : SharedArrays
        Of `meter_layout`.
    urgency : Urgency
    """

    open_camera: OpenCamera
    is_clip: bool
    frames: FrameBus
    seconds: float | None
    started: Bell
    meter: SharedArrays
    urgency: Urgency


def camera_process(part: Part, setup: CameraSetup) -> None:
    """Open the camera, say so, wait for 'go', then let all of its frames be seen. The body of the process."""
    with _ended_if_stuck(OPEN_S):
        opened = setup.open_camera()
    with closing(opened) as camera:
        part.say("ready", be_urgent(setup.urgency))
        part.wait_for("go")
        clock = MonotonicClock()
        source = PacedCamera(camera, clock) if setup.is_clip else camera
        duration_s = watch(source, setup, clock)
    part.say("ended", duration_s)


@contextmanager
def _ended_if_stuck(timeout_s: float) -> Iterator[None]:
    """End the process, with a line in the log of where it was, if this takes too long.

    Nobody else would: until the camera is ready there is no telling from outside whether it is slow or stuck. It is
    done by a thread that needs no lock of Python's, which a driver may hold.
    """
    faulthandler.dump_traceback_later(timeout_s, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def watch(camera: Camera, setup: CameraSetup, clock: Clock) -> float:
    """Let frames be seen as they come, to the last.

    Returns
    -------
    float
        How long they lasted, in seconds; 0 without any.
    """
    meter, timeline, frames = Meter(1, setup.meter), Timeline(), setup.frames
    check = FrameCheck(*frames.shape, _log.warning)
    first_s: float | None = None
    while (frame := camera.read()) is not None:
        arrival_s = clock.now_s()
        meter.set("last_frame_s", arrival_s)
        time_s = timeline.steady(frame.time_s) if check.is_picture(frame) else None
        meter.set("n_bad_frames", check.n_bad)
        meter.set("n_dropped_frames", timeline.n_dropped)
        if time_s is None:
            continue
        if first_s is None:
            first_s = time_s
            setup.started.ring()
        if setup.seconds is not None and time_s - first_s >= setup.seconds - 1e-9:
            break
        frames.put(Frame(frame.grey, time_s), arrival_s)
    return 0.0 if first_s is None else timeline.duration_s


def camera_main(part: Part, setup: CameraSetup) -> None:
    """Run the camera's process."""
    run_part("camera", part, lambda: camera_process(part, setup))
