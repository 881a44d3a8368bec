"""A camera that Linux drives through V4L2, such as a USB camera: the newest frame, only its grey touched."""

from __future__ import annotations

import errno
import logging
import mmap
import select
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt
from linuxpy.video import device as v4l2

from device.core.camera_mode import JPEGS, LUMA, CameraMode, choose_mode
from device.core.downscale import Downscale, full_range
from device.core.errors import CameraError
from device.core.exposure import ExposureFollower, ExposureSettings
from device.core.frame import Frame
from device.edges.bounded import within
from device.edges.jpeg_grey import JpegGrey
from device.edges.v4l2_exposure import V4l2Exposure

_log = logging.getLogger(__name__)

Grey = npt.NDArray[np.uint8]

CAPTURE = v4l2.BufferType.VIDEO_CAPTURE
N_BUFFERS = 4
FIRST_S, READ_S = 5.0, 1.5
"""A USB camera may take seconds until its first frame, then it is given up within the time after which it counts as
hung."""
CLOSE_S = 1.0
FULL_RANGE = ("GREY", *JPEGS)
"""Formats of full range; others are of limited range unless the camera says more."""
SIMULATED = ("vivid", "v4l2 loopback")
LIKELY_SIZES = ((320, 240), (640, 480))
"""Tried where a camera takes any size within bounds."""


class CameraV4l2:
    """A V4L2 camera.

    Parameters
    ----------
    path : Path
        /dev/videoN, or a link to it, such as those in /dev/v4l/by-id.
    height, width : int
        Size of the grey pictures, squeezed from the camera's whole picture.
    fps : float
        The rate to ask for.
    exposure : ExposureSettings

    Attributes
    ----------
    mode : CameraMode
        What was chosen, with the rate that the camera has agreed to.

    Raises
    ------
    CameraError
        There is no camera, it may not be used, or it cannot be.

    Notes
    -----
    When this returns, frames come. Times are the driver's, CLOCK_MONOTONIC. One thread calls it.
    """

    def __init__(self, path: Path, height: int, width: int, fps: float, exposure: ExposureSettings) -> None:
        self._path, self._shape = path, (height, width)
        self._device = v4l2.Device(path)
        self._memories: list[mmap.mmap] = []
        self._pictures: list[Grey] = []
        self._is_streaming = False
        try:
            with self._explained():
                self._device.open()
                self._capture = v4l2.VideoCapture(self._device, N_BUFFERS)
                self.mode = self._agree(fps)
                self._exposure = V4l2Exposure(self._device, 1.0 / self.mode.fps)
                limits = self._exposure.limits
                self._follower = None if limits is None else ExposureFollower(exposure, limits)
                self._start()
            self._settle()
        except BaseException:
            self.close()
            raise
        _log.info("camera %s: %s at %g fps", path, self.mode, self.mode.fps)

    def read(self) -> Frame:
        """Wait for the next frame.

        Raises
        ------
        CameraError
            The camera was pulled out, or gives nothing.
        """
        frame = self._next(READ_S)
        self._expose(frame)
        return frame

    def close(self) -> None:
        """Let the camera go. May be called twice."""
        if not self._device.closed:
            with suppress(CameraError):  # A driver that never answers is left to the end of the process.
                within(CLOSE_S, f"camera {self._path} cannot be closed", self._let_go)

    def _agree(self, fps: float) -> CameraMode:
        """Settle on a mode with the camera."""
        if v4l2.Capability.VIDEO_CAPTURE not in self._device.info.device_capabilities:
            raise CameraError(f"{self._path} is no camera: name another, such as the next lower number")
        asked = choose_mode(offered(self._device), *self._shape, fps)
        if asked is None:
            raise CameraError(
                f"camera {self._path} gives no picture of {self._shape[1]} x {self._shape[0]} or more in a format that "
                "can be read here: open it with gst:, or use another"
            )
        self._capture.set_format(asked.width, asked.height, v4l2.PixelFormat[asked.pixel_format].human_str())
        got_fps = 0.0
        with suppress(OSError):  # Not every driver lets its rate be set.
            self._capture.set_fps(fps)
            got_fps = float(self._capture.get_fps())
        got = self._capture.get_format()
        return CameraMode(got.pixel_format.name, got.width, got.height, got_fps or fps)

    def _start(self) -> None:
        raw = v4l2.get_raw_format(self._device, CAPTURE).fmt.pix
        size = (self.mode.height, self.mode.width)
        self._is_limited = _is_limited(self.mode.pixel_format, raw.colorspace, raw.quantization)
        self._jpeg = JpegGrey(size) if self.mode.pixel_format in JPEGS else None
        self._downscale = Downscale(size, self._shape)
        buffers = self._capture.create_buffers(v4l2.Memory.MMAP)
        self._memories = [v4l2.mmap_from_buffer(self._device, buffer) for buffer in buffers]
        if self._jpeg is None:
            first, step = LUMA[self.mode.pixel_format]
            for memory in self._memories:
                row_bytes = raw.bytesperline or step * size[1]
                rows = np.frombuffer(memory, np.uint8)[: size[0] * row_bytes].reshape(size[0], row_bytes)
                self._pictures.append(rows[:, first : first + step * size[1] : step])
        for index in range(len(buffers)):
            self._capture.enqueue_buffer(v4l2.Memory.MMAP, 0, index)
        self._poll = select.poll()
        self._poll.register(self._device.fileno(), select.POLLIN)
        self._set_exposure()
        self._capture.stream_on()
        self._is_streaming = True

    def _settle(self) -> None:
        """Wait for the first frames, until exposure is found: nobody needs to see it being searched for."""
        frame = self._next(FIRST_S)
        while self._follower is not None and not self._follower.is_found:
            self._expose(frame)
            frame = self._next(READ_S)

    def _expose(self, frame: Frame) -> None:
        if self._follower is not None and self._follower.look(frame.grey, frame.time_s) is not None:
            with self._explained():
                self._set_exposure()

    def _set_exposure(self) -> None:
        if self._follower is not None:
            self._exposure.set(self._follower.exposure)

    def _next(self, patience_s: float) -> Frame:
        """Give the newest frame that is whole."""
        give_up_s = time.monotonic() + patience_s
        while True:
            left_s = give_up_s - time.monotonic()
            if left_s <= 0.0 or not self._poll.poll(1000.0 * left_s):
                raise CameraError(f"camera {self._path} gives no frames: check its cable")
            with self._explained():
                buffer = self._newest()
                if buffer is None:
                    continue
                grey = self._grey(buffer)
                self._capture.enqueue_buffer(v4l2.Memory.MMAP, 0, buffer.index)
            if grey is not None:
                return Frame(grey, _time_s(buffer))

    def _newest(self) -> v4l2.raw.v4l2_buffer | None:
        """Take the newest buffer that is filled, and give the older ones back."""
        newest = None
        while True:
            try:
                buffer = self._capture.dequeue_buffer(v4l2.Memory.MMAP)
            except BlockingIOError:
                return newest
            if newest is not None:
                self._capture.enqueue_buffer(v4l2.Memory.MMAP, 0, newest.index)
            newest = buffer

    def _grey(self, buffer: v4l2.raw.v4l2_buffer) -> Grey | None:
        """Give the small picture; None if the large one is damaged."""
        if buffer.flags & v4l2.BufferFlag.ERROR or not buffer.bytesused:
            return None
        if self._jpeg is None:
            picture: Grey | None = self._pictures[buffer.index]
        else:
            picture = self._jpeg.decode(self._memories[buffer.index][: buffer.bytesused])
        if picture is None:
            return None
        small = self._downscale.apply(picture)
        return full_range(small) if self._is_limited else small

    def _let_go(self) -> None:
        with suppress(OSError):
            if self._is_streaming:
                self._capture.stream_off()
        self._pictures.clear()
        self._memories.clear()  # unmapped once nothing looks at them any more
        with suppress(OSError):
            self._device.close()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn the driver's errors into ours."""
        try:
            yield
        except CameraError:
            raise
        except OSError as error:
            reasons = {
                errno.ENOENT: "is not there: plug it in, or name another",
                errno.ENODEV: "was pulled out: plug it in again",
                errno.ENXIO: "was pulled out: plug it in again",
                errno.EBUSY: "is in use by another program: end that one",
                errno.EACCES: "may not be used: put the user into the group 'video'",
                errno.ENOTTY: "is no camera: name another",
            }
            reason = reasons.get(error.errno or 0, f"fails ({error.strerror}): plug it in again, or use another")
            raise CameraError(f"camera {self._path} {reason}") from error


def find_v4l2(devices: Path) -> list[tuple[Path, str]]:
    """List the cameras on USB, and simulated ones, that give a picture: each with its steadiest name and its maker's.

    The nodes of a Pi's or a Jetson's own picture processors are cameras too, to V4L2, and are left out.
    """
    links = {link.resolve(): link for link in sorted((devices / "v4l" / "by-id").glob("*"), reverse=True)}
    nodes = sorted(devices.glob("video*"), key=lambda node: (len(node.name), node.name))
    found = [(links.get(node.resolve(), node), _name_of(node)) for node in nodes]
    return [(path, name) for path, name in found if name is not None]


def _name_of(node: Path) -> str | None:
    """Name a camera; None if it is none, or is not to be had."""
    with suppress(OSError, ValueError), v4l2.Device(node) as device:
        info = device.info
        is_camera = v4l2.Capability.VIDEO_CAPTURE in info.device_capabilities
        if is_camera and (info.bus_info.startswith("usb") or info.driver in SIMULATED):
            return str(info.card)
    return None


def offered(device: v4l2.Device) -> list[CameraMode]:
    """Give all modes of an open camera in formats that we read."""
    modes = []
    for pixel_format in {each.pixel_format for each in device.info.buffer_formats(CAPTURE)}:
        if pixel_format.name not in LUMA and pixel_format.name not in JPEGS:
            continue
        for width, height in _sizes(device, pixel_format):
            rates = [float(each.max_fps) for each in device.info.fps_intervals(pixel_format, width, height)]
            modes.append(CameraMode(pixel_format.name, width, height, max(rates, default=0.0)))
    return modes


def _sizes(device: v4l2.Device, pixel_format: v4l2.PixelFormat) -> list[tuple[int, int]]:
    sizes = []
    for each in device.info.format_frame_sizes(pixel_format):
        if each.type == v4l2.FrameSizeType.DISCRETE:
            sizes.append((each.info.width, each.info.height))
        else:
            low, high = (each.info.min_width, each.info.min_height), (each.info.max_width, each.info.max_height)
            sizes += [(min(max(w, low[0]), high[0]), min(max(h, low[1]), high[1])) for w, h in LIKELY_SIZES]
    return sizes or list(LIKELY_SIZES)


def _is_limited(pixel_format: str, colorspace: int, quantization: int) -> bool:
    """Tell whether black is 16 and white is 235, as V4L2 defines it where a driver does not say."""
    if quantization != v4l2.raw.Quantization.DEFAULT:
        return bool(quantization == v4l2.raw.Quantization.LIM_RANGE)
    return pixel_format not in FULL_RANGE and colorspace != v4l2.raw.Colorspace.JPEG


def _time_s(buffer: v4l2.raw.v4l2_buffer) -> float:
    """When the frame was taken; a driver whose clock is not known gives its arrival."""
    if buffer.flags & v4l2.BufferFlag.TIMESTAMP_MASK != v4l2.BufferFlag.TIMESTAMP_MONOTONIC:
        return time.monotonic()
    return float(buffer.timestamp.secs + 1e-6 * buffer.timestamp.usecs)
