"""A camera's process whose driver never comes back from opening the camera, and lets nothing else of Python run."""

from __future__ import annotations

import ctypes

import device.camera_process
from device.camera_process import CameraSetup, camera_main
from device.edges.camera import Camera
from device.frame_bus import FrameBus
from device.performance import meter_layout
from device.process import Part
from device.realtime import Urgency
from device.shared import Bell, SharedArrays


def open_for_ever() -> Camera:
    """Sleep in C with Python's lock held, as a driver's binding may."""
    ctypes.PyDLL(None).sleep(60)
    raise AssertionError("it should have been ended")


def stuck_setup() -> CameraSetup:
    """Say that this is the camera."""
    return CameraSetup(
        open_for_ever, False, FrameBus(48, 64, []), None, Bell(), SharedArrays(meter_layout()), Urgency(0, False)
    )


def stuck_main(part: Part, setup: CameraSetup) -> None:
    """Run the camera's process with little patience."""
    vars(device.camera_process)["OPEN_S"] = 0.3
    camera_main(part, setup)
