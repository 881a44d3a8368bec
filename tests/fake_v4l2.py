"""A kernel's side of V4L2, as far as a camera needs it: what is under test, and the package that it drives, are real.

No machine here has a camera. This stands in below the package's system calls: buffers are lent, filled and taken back,
a frame without a buffer is lost, a named pipe wakes whoever polls, and a camera that is pulled out answers ENODEV.
"""

from __future__ import annotations

import errno
import mmap
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from linuxpy.video import device as v4l2
from linuxpy.video import raw

from device.core.exposure import ExposureSettings
from device.edges.camera_v4l2 import CameraV4l2
from device.engine.cameras import check_node

Grey = npt.NDArray[np.uint8]
EXPOSURE = ExposureSettings(brightness=90.0, step_s=10.0)
MONOTONIC = int(raw.BufferFlag.TIMESTAMP_MONOTONIC)
ROW_PADDING = 32
"""Bytes after each row that are none of the picture's."""


@dataclass
class Control:
    """A control of the camera."""

    name: str
    low: int
    high: int
    value: int
    kind: int = int(raw.CtrlType.INTEGER)


def webcam_controls() -> dict[int, Control]:
    """Controls of a common USB camera, that exposes by itself and gives fewer frames in the dark."""
    return {
        raw.ControlID.GAIN: Control("Gain", 0, 255, 64),
        raw.ControlID.EXPOSURE_AUTO: Control("Auto Exposure", 0, 3, 3, int(raw.CtrlType.MENU)),
        raw.ControlID.EXPOSURE_ABSOLUTE: Control("Exposure Time, Absolute", 3, 2047, 250),
        raw.ControlID.EXPOSURE_AUTO_PRIORITY: Control(
            "Exposure, Dynamic Framerate", 0, 1, 1, int(raw.CtrlType.BOOLEAN)
        ),
        raw.ControlID.FOCUS_AUTO: Control("Focus, Automatic Continuous", 0, 1, 1, int(raw.CtrlType.BOOLEAN)),
    }


@dataclass
class FakeV4l2:
    """A camera.

    Attributes
    ----------
    path : Path
        Where its node is made.
    modes : list of (pixel format, width, height, fps)
    controls : dict of int to Control
    scene : callable
        Gives the picture, shape (height, width), uint8, that is seen now.
    n_lost : int
        Frames for which no buffer was free.
    """

    path: Path
    modes: list[tuple[str, int, int, float]]
    controls: dict[int, Control] = field(default_factory=webcam_controls)
    scene: Callable[[FakeV4l2], Grey] = field(default=lambda it: np.full(it.size, 90, np.uint8))
    colorspace: int = int(raw.Colorspace.SRGB)
    driver: bytes = b"uvcvideo"
    bus: bytes = b"usb-0000:00:14.0-6"
    encoded: Callable[[Grey], bytes] | None = None
    flags: int = MONOTONIC
    n_lost: int = 0

    def __post_init__(self) -> None:
        os.mkfifo(self.path)
        self._wake = os.open(self.path, os.O_RDWR | os.O_NONBLOCK)
        self.format, self.fps, self.is_on, self.is_gone = self.modes[0][:3], 0.0, False, False
        self.memories: list[mmap.mmap] = []
        self.used: dict[int, tuple[int, float, int]] = {}
        self.free: deque[int] = deque()
        self.filled: deque[int] = deque()

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the pictures."""
        return self.format[2], self.format[1]

    def install(self, replace: Callable[[Any, str, Any], object] = setattr) -> None:
        """Take the place of the kernel for this process."""
        replace(v4l2, "ioctl", self.ioctl)
        replace(v4l2, "mem_map", lambda _fd, _length, offset: self.memories[offset // mmap.PAGESIZE])

    def open(self, height: int = 48, width: int = 64, fps: float = 60.0) -> CameraV4l2:
        """Open it as the box does."""
        return CameraV4l2(self.path, height, width, fps, EXPOSURE)

    def shoot(self, time_s: float | None = None, flags: int | None = None) -> None:
        """Take a frame; it is lost where no buffer is free."""
        if not self.is_on:
            return
        if not self.free:
            self.n_lost += 1
            return
        index = self.free.popleft()
        data = self._bytes(self.scene(self))
        self.memories[index][: len(data)] = data
        moment_s = time.monotonic() if time_s is None else time_s
        self.used[index] = (len(data), moment_s, self.flags if flags is None else flags)
        self.filled.append(index)
        os.write(self._wake, b"f")

    @contextmanager
    def filming(self, fps: float = 200.0) -> Iterator[None]:
        """Take frames again and again."""
        stop = threading.Event()

        def film() -> None:
            while not stop.wait(1.0 / fps):
                self.shoot()

        thread = threading.Thread(target=film, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def pull_out(self) -> None:
        """Pull the plug: the node goes, whoever has it open is woken and hears ENODEV."""
        self.is_gone = True
        self.path.unlink(missing_ok=True)
        os.write(self._wake, b"x")

    def _bytes(self, grey: Grey) -> bytes:
        if self.encoded is not None:
            return self.encoded(grey)
        rows = np.full((self.size[0], self._row_bytes), 255, np.uint8)
        first, step = {"YUYV": (0, 2), "UYVY": (1, 2)}.get(self.format[0], (0, 1))
        rows[:, : step * self.size[1]] = 77  # colour
        rows[:, first : first + step * self.size[1] : step] = grey
        return rows.tobytes()

    @property
    def _row_bytes(self) -> int:
        return self.size[1] * (2 if self.format[0] in ("YUYV", "UYVY") else 1) + ROW_PADDING

    def ioctl(self, _fd: object, request: Any, *args: Any) -> Any:
        """Answer a system call."""
        if self.is_gone:
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
        answer = getattr(self, f"_on_{request.name.lower()}", None)
        if answer is None:
            raise OSError(errno.ENOTTY, os.strerror(errno.ENOTTY))
        answer(*args)
        return args[0] if args else None

    def _on_querycap(self, caps: Any) -> None:
        caps.driver, caps.card, caps.bus_info = self.driver, b"Fake Camera", self.bus
        caps.device_caps = raw.Capability.VIDEO_CAPTURE | raw.Capability.STREAMING

    def _on_enum_fmt(self, found: Any) -> None:
        names = list(dict.fromkeys(mode[0] for mode in self.modes))
        found.pixelformat = raw.PixelFormat[_at(names, found.index)]

    def _on_enum_framesizes(self, found: Any) -> None:
        sizes = list(dict.fromkeys(mode[1:3] for mode in self.modes if raw.PixelFormat[mode[0]] == found.pixel_format))
        found.type = raw.Frmsizetypes.DISCRETE
        found.m1.discrete.width, found.m1.discrete.height = _at(sizes, found.index)

    def _on_enum_frameintervals(self, found: Any) -> None:
        wanted = (found.pixel_format, found.width, found.height)
        rates = [mode[3] for mode in self.modes if (raw.PixelFormat[mode[0]], *mode[1:3]) == wanted]
        found.type = raw.Frmivaltypes.DISCRETE
        found.discrete.numerator, found.discrete.denominator = 1000, round(1000 * _at(rates, found.index))

    def _on_s_fmt(self, asked: Any) -> None:
        pix = asked.fmt.pix
        self.format = (raw.PixelFormat(pix.pixelformat).name, pix.width, pix.height)
        self._on_g_fmt(asked)

    def _on_g_fmt(self, found: Any) -> None:
        pix = found.fmt.pix
        name, pix.width, pix.height = self.format
        pix.pixelformat, pix.bytesperline = raw.PixelFormat[name], self._row_bytes
        pix.sizeimage, pix.colorspace = self._row_bytes * pix.height, self.colorspace

    def _on_s_parm(self, asked: Any) -> None:
        period = asked.parm.capture.timeperframe
        best = max(mode[3] for mode in self.modes if mode[:3] == self.format)
        self.fps = min(period.denominator / period.numerator, best)
        self._on_g_parm(asked)

    def _on_g_parm(self, found: Any) -> None:
        period = found.parm.capture.timeperframe
        period.numerator, period.denominator = 1000, round(1000 * self.fps)

    def _on_reqbufs(self, asked: Any) -> None:
        length = self._row_bytes * self.size[0]
        self.memories = [mmap.mmap(-1, length) for _ in range(asked.count)]
        self.free.clear()

    def _on_querybuf(self, found: Any) -> None:
        found.length, found.m.offset = len(self.memories[found.index]), found.index * mmap.PAGESIZE

    def _on_qbuf(self, buffer: Any) -> None:
        assert buffer.index not in self.free, "a buffer was given back twice"
        assert buffer.index not in self.filled, "a buffer was given back that was never taken"
        self.free.append(buffer.index)

    def _on_dqbuf(self, found: Any) -> None:
        os.read(self._wake, 1)  # EAGAIN where nothing is filled
        if not self.filled:
            raise BlockingIOError(errno.EAGAIN, "nothing is filled")
        found.index = self.filled.popleft()
        found.bytesused, time_s, found.flags = self.used[found.index]
        found.timestamp.secs, found.timestamp.usecs = int(time_s), round(time_s % 1 * 1e6)

    def _on_streamon(self, _kind: object) -> None:
        self.is_on = True

    def _on_streamoff(self, _kind: object) -> None:
        self.is_on = False

    def _on_query_ext_ctrl(self, found: Any) -> None:
        nxt = int(raw.ControlFlag.NEXT_CTRL | raw.ControlFlag.NEXT_COMPOUND)
        later = [number for number in sorted(self.controls) if number > (found.id & ~nxt)]
        found.id = _at(later, 0)
        control = self.controls[found.id]
        found.name, found.type, found.flags = control.name.encode(), control.kind, 0
        found.minimum, found.maximum, found.step = control.low, control.high, 1

    def _on_querymenu(self, found: Any) -> None:
        if found.index not in (1, 3):  # as USB cameras have it: manual, and priority to the aperture
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    def _on_s_ext_ctrls(self, asked: Any) -> None:
        for number in range(asked.count):
            self.controls[asked.controls[number].id].value = asked.controls[number].value


def _at(values: list[Any], index: int) -> Any:
    """Give one of a list, or what the kernel answers at its end."""
    if index >= len(values):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    return values[index]


def patches(fake: FakeV4l2) -> Grey:
    """Patches that come and go: the steadiest motion there is."""
    small = np.random.default_rng(time.monotonic_ns() // 16_000_000).integers(0, 181, (6, 8), np.uint8)
    return np.kron(small, np.ones((fake.size[0] // 6, fake.size[1] // 8), np.uint8))


def open_plugged(socket: Path) -> CameraV4l2:
    """Open a moving scene's camera, for a process of its own: it is plugged in as long as the file `socket` exists."""
    check_node(socket)
    node = socket.with_name(f"video-{os.getpid()}")
    fake = FakeV4l2(node, [("YUYV", 320, 240, 60.0)], scene=patches)
    fake.install()

    def film() -> None:
        while socket.exists():
            time.sleep(1 / 60)
            fake.shoot()
        fake.pull_out()

    threading.Thread(target=film, daemon=True).start()
    return fake.open()
