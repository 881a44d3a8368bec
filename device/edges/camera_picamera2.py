"""A Raspberry Pi camera: small YUV pictures of which only the grey is touched, at a steady rate, focus locked.

libcamera does not say when a cable has come loose: frames stop, and stopping the camera may wait for ever. So every
call has its time-out, and whoever runs this is ready to end the process.
"""

from __future__ import annotations

import logging
import math
import time
from concurrent.futures import TimeoutError as NotInTimeError
from contextlib import suppress
from typing import Any

import libcamera
import numpy as np
import numpy.typing as npt
from picamera2 import MappedArray, Picamera2

from device.core.downscale import Downscale
from device.core.errors import CameraError
from device.core.exposure import Exposure, ExposureFollower, ExposureLimits, ExposureSettings
from device.core.frame import Frame
from device.core.sensors import sensor_mode
from device.edges.bounded import within

_log = logging.getLogger(__name__)

Grey = npt.NDArray[np.uint8]

WIDTH = 640
N_BUFFERS = 3
"""One is filled, one waits to be, one is looked at. More would only make frames older."""
OPEN_S, READ_S, CLOSE_S = 10.0, 1.5, 1.0
LONGEST_SHARE = 0.98
"""Of a frame's time that may be exposed: the rest is the sensor's."""
GREEN = {"BGR888": 3, "RGB888": 3, "XBGR8888": 4, "XRGB8888": 4}
"""Bytes of a pixel in formats without grey, where green, the second byte, stands for it."""


class CameraPicamera2:
    """A camera on the Pi's own connector.

    Parameters
    ----------
    number : int
        Which, as `Picamera2.global_camera_info` counts them.
    height, width : int
        Size of the grey pictures, squeezed from the camera's whole picture.
    fps : float
        The rate to ask for.
    exposure : ExposureSettings
    focus : float
        Where a lens that moves is locked, in dioptres; below 0 it is left to itself.

    Raises
    ------
    CameraError
        There is no camera, or it does not answer.

    Notes
    -----
    When this returns, frames come. The camera is configured once: each time takes memory that does not come back. One
    thread calls it.
    """

    def __init__(
        self, number: int, height: int, width: int, fps: float, exposure: ExposureSettings, focus: float
    ) -> None:
        self._shape, self._fps, self._focus = (height, width), fps, focus
        self._camera: Any = None
        self._is_answering = True
        try:
            self._call(OPEN_S, lambda: self._open(number, exposure))
            self._settle()
        except BaseException:
            self.close()
            raise

    def read(self) -> Frame:
        """Wait for the next frame.

        Raises
        ------
        CameraError
            None comes: the cable is loose, say.
        """
        if self._camera is None:
            raise CameraError("the camera is closed: open it again")
        frame = self._next()
        self._expose(frame)
        return frame

    def close(self) -> None:
        """Let the camera go. May be called twice; a camera that does not answer is left to the end of the process."""
        camera, self._camera = self._camera, None
        if camera is not None and self._is_answering:
            with suppress(CameraError):
                self._call(CLOSE_S, camera.close)

    def _open(self, number: int, exposure: ExposureSettings) -> None:
        """Set the camera up and start it. In a thread, for it may hang."""
        info = Picamera2.global_camera_info()
        if number >= len(info):
            raise CameraError("there is no camera on the Pi's connector: put in its cable, blank side to the clip")
        camera = self._camera = Picamera2(number)
        model = str(info[number].get("Model", ""))
        mode = sensor_mode(model, self._fps)
        width, height = self._main_size(3 / 4 if mode is None else mode.height / mode.width)
        fps = self._fps if mode is None else min(self._fps, mode.fps)
        self._controls: dict[str, tuple[Any, Any, Any]] = camera.camera_controls
        self._follower = ExposureFollower(exposure, self._limits(1.0 / fps))
        camera.configure(
            camera.create_video_configuration(
                main={"size": (width, height), "format": "YUV420"},
                raw=None,
                sensor=None if mode is None else {"output_size": (mode.width, mode.height), "bit_depth": mode.bits},
                colour_space=libcamera.ColorSpace.Sycc(),  # full range
                buffer_count=N_BUFFERS,
                queue=False,  # the next frame, not one that has waited
                controls=self._first_controls(fps),
            )
        )
        main = camera.camera_configuration()["main"]
        self._width, self._height = main["size"]
        self._pixel_bytes = GREEN.get(main["format"], 0)
        self._downscale = Downscale((self._height, self._width), self._shape)
        camera.start()
        _log.info("camera %s: %s %d x %d at %g fps", model, main["format"], self._width, self._height, fps)

    def _main_size(self, shape: float) -> tuple[int, int]:
        """Give the size of the camera's pictures, even numbers, of the sensor's shape: its whole view."""
        least_height, least_width = self._shape
        width = max(WIDTH, least_width, math.ceil(least_height / shape))
        return 2 * math.ceil(width / 2), 2 * max(round(width * shape / 2), math.ceil(least_height / 2))

    def _limits(self, frame_s: float) -> ExposureLimits:
        shortest_us, longest_us, _ = self._controls.get("ExposureTime", (100, 1_000_000, None))
        _, largest_gain, _ = self._controls.get("AnalogueGain", (1.0, 1.0, None))
        shortest_s = max(1e-6 * (shortest_us or 0), 1e-5)
        longest_s = LONGEST_SHARE * frame_s
        if longest_us:
            longest_s = min(longest_s, 1e-6 * longest_us)
        return ExposureLimits(shortest_s, max(longest_s, shortest_s), max(1.0, largest_gain or 1.0))

    def _first_controls(self, fps: float) -> dict[str, Any]:
        """Give all that is held from the first frame on, as far as this camera knows of it."""
        frame_us = round(1e6 / fps)
        wanted = {
            "FrameDurationLimits": (frame_us, frame_us),
            "AeEnable": False,
            "AwbEnable": False,  # its steps would change the grey too
            **_controls_of(self._follower.exposure),
        }
        if self._focus >= 0.0 and "AfMode" in self._controls:
            nearest = self._controls["LensPosition"][1]
            wanted["AfMode"] = libcamera.controls.AfModeEnum.Manual
            wanted["LensPosition"] = min(self._focus, nearest)
        return {name: value for name, value in wanted.items() if name in self._controls}

    def _settle(self) -> None:
        """Wait for the first frames, until exposure is found: nobody needs to see it being searched for."""
        frame = self._next()
        while not self._follower.is_found:
            self._expose(frame)
            frame = self._next()

    def _expose(self, frame: Frame) -> None:
        changed = self._follower.look(frame.grey, frame.time_s)
        if changed is not None:
            controls = {name: value for name, value in _controls_of(changed).items() if name in self._controls}
            self._camera.set_controls(controls)

    def _next(self) -> Frame:
        job = self._camera.capture_request(wait=False)
        try:
            request = self._camera.wait(job, timeout=READ_S)
        except NotInTimeError as error:
            self._is_answering = False
            raise CameraError("the camera gives no frames: check its cable, with the power off") from error
        try:
            time_s = monotonic_s(int(request.get_metadata()["SensorTimestamp"]))
            with MappedArray(request, "main", write=False) as mapped:
                return Frame(self._downscale.apply(self._grey(mapped.array)), time_s)
        finally:
            request.release()

    def _grey(self, picture: Grey) -> Grey:
        """Give the part of a camera's buffer that is grey, without touching it."""
        if self._pixel_bytes:
            return picture.reshape(self._height, -1)[:, 1 : self._pixel_bytes * self._width : self._pixel_bytes]
        return picture[: self._height, : self._width]

    def _call(self, timeout_s: float, call: Any) -> None:
        """Call the driver, in one line of trouble at most."""
        try:
            within(timeout_s, "the camera does not answer: check its cable, with the power off", call)
        except CameraError:
            self._is_answering = False
            raise
        except Exception as error:  # picamera2 raises RuntimeError, IndexError and others
            self._is_answering = False
            reason = " ".join(str(error).split()) or type(error).__name__
            raise CameraError(
                f"the camera cannot be used ({reason}): end what else uses it, check its cable"
            ) from error


def find_pi_cameras() -> list[tuple[int, str]]:
    """List the cameras on the Pi's own connectors, each with its number and model; USB cameras are V4L2's."""
    info = Picamera2.global_camera_info()
    return [(n, str(each.get("Model", ""))) for n, each in enumerate(info) if "/usb" not in str(each["Id"])]


def _controls_of(exposure: Exposure) -> dict[str, Any]:
    return {"ExposureTime": round(1e6 * exposure.time_s), "AnalogueGain": exposure.gain}


def monotonic_s(stamp_ns: int) -> float:
    """Turn a sensor's time stamp into CLOCK_MONOTONIC, in seconds.

    Parameters
    ----------
    stamp_ns : int
        Of a frame that has come, on CLOCK_MONOTONIC (as drivers give it) or CLOCK_BOOTTIME (as libcamera's
        documentation has it): they differ where a machine has slept, and then a stamp of the one would lie in the
        other's future.
    """
    ahead_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.monotonic_ns()
    return 1e-9 * (stamp_ns - ahead_ns if stamp_ns > time.monotonic_ns() else stamp_ns)
