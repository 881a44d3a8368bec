"""A camera's process whose driver never comes back from opening the camera, and lets nothing else of Python run."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

import device.engine.camera_process
from device.edges.camera import Camera
from device.engine.camera_process import CameraSetup, camera_main
from device.engine.frame_bus import FrameBus
from device.engine.performance import meter_layout
from device.engine.process import Part
from device.engine.realtime import Urgency
from device.engine.shared import Bell, SharedArrays


def open_for_ever() -> Camera:
    """Sleep in C with Python's lock held, as a driver's binding may."""
    ctypes.PyDLL(None).sleep(60)
    raise AssertionError("it should have been ended")


def stuck_setup() -> CameraSetup:
    """Say that this is the camera."""
    return CameraSetup(
        open_for_ever, False, FrameBus(48, 64, []), None, Bell(), SharedArrays(meter_layout()), Urgency(0, False)
    )


def stuck_main(part: Part, setup_and_log: tuple[CameraSetup, Path]) -> None:
    """Run the camera's process with little patience, and its standard error, which may be anyone's, in a file."""
    setup, log = setup_and_log
    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT), 2)
    vars(device.engine.camera_process)["OPEN_S"] = 0.3
    camera_main(part, setup)
