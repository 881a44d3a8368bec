"""A picamera2 and a libcamera that behave, for machines that have neither: install them with `installed`.

Frames come at their rate as long as buffers come back, the next one to whoever waits, with controls that take effect.
When the cable is loose nothing is raised: frames stop, and stopping the camera waits for ever.
"""

from __future__ import annotations

import importlib.machinery
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

Grey = npt.NDArray[np.uint8]
PADDING = 64
COLOUR, PAD = 77, 255


@dataclass
class Cable:
    """What the test rules, and sees.

    Attributes
    ----------
    models : list of str
        Cameras that are there.
    light : float
        Of the room: exposure (s) times gain times this is 1 where the picture is white.
    is_loose, hangs_when_opened : bool
    main_format : str or None
        What the camera gives whatever was asked for.
    controls : dict of str to tuple
        (lowest, highest, default) of each control.
    n_out : int
        Buffers that were not given back.
    opened : list of Picamera2
    """

    models: list[str] = field(default_factory=lambda: ["imx708"])
    light: float = 20.0
    speed: float = 4.0
    is_loose: bool = False
    hangs_when_opened: bool = False
    main_format: str | None = None
    boot_ahead_ns: int = 0
    controls: dict[str, tuple[Any, Any, Any]] = field(
        default_factory=lambda: {
            "FrameDurationLimits": (8333, 1_000_000, None),
            "AeEnable": (False, True, None),
            "AwbEnable": (False, True, None),
            "ExposureTime": (26, 220_000, None),
            "AnalogueGain": (1.0, 16.0, None),
            "AfMode": (0, 2, 0),
            "LensPosition": (0.0, 15.0, 1.0),
        }
    )
    n_out: int = 0
    opened: list[FakePicamera2] = field(default_factory=list)


class _Request:
    def __init__(self, camera: FakePicamera2) -> None:
        self._camera = camera
        self._is_out = True
        camera.cable.n_out += 1
        stamp_ns = time.monotonic_ns() + camera.cable.boot_ahead_ns
        self._metadata = {"SensorTimestamp": stamp_ns}
        self.array = camera.picture()

    def get_metadata(self) -> dict[str, int]:
        assert self._is_out, "looked at after it was given back"
        return self._metadata

    def release(self) -> None:
        assert self._is_out, "given back twice"
        self._is_out = False
        self._camera.cable.n_out -= 1


class FakePicamera2:
    """See picamera2.Picamera2."""

    cable: Cable

    @classmethod
    def global_camera_info(cls) -> list[dict[str, Any]]:
        return [
            {"Model": model, "Id": f"/base/{'usb' if model == 'webcam' else 'i2c'}@{number}/{model}", "Num": number}
            for number, model in enumerate(cls.cable.models)
        ]

    def __init__(self, number: int) -> None:
        if self.cable.hangs_when_opened:
            threading.Event().wait()
        self.model = self.cable.models[number]
        self.camera_controls = self.cable.controls
        self.configured: list[dict[str, Any]] = []
        self.is_closed = False
        self._values: dict[str, Any] = {}
        self._waiting: list[Future[_Request]] = []
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self.cable.opened.append(self)

    def create_video_configuration(self, **how: Any) -> dict[str, Any]:
        return how

    def configure(self, configuration: dict[str, Any]) -> None:
        unknown = set(configuration["controls"]) - set(self.camera_controls)
        if unknown:
            raise RuntimeError(f"Control {unknown} is not advertised by libcamera")
        self.configured.append(configuration)
        self._values.update(configuration["controls"])

    def camera_configuration(self) -> dict[str, Any]:
        main = self.configured[-1]["main"]
        return {"main": {**main, "format": self.cable.main_format or main["format"]}}

    def start(self) -> None:
        threading.Thread(target=self._run, daemon=True).start()

    def set_controls(self, controls: dict[str, Any]) -> None:
        self._values.update(controls)

    def capture_request(self, wait: bool) -> Future[_Request]:
        assert not wait, "would wait for ever for a loose cable"
        job: Future[_Request] = Future()
        with self._lock:
            self._waiting.append(job)
        return job

    def wait(self, job: Future[_Request], timeout: float) -> _Request:
        return job.result(timeout)

    def close(self) -> None:
        if self.cable.is_loose:
            threading.Event().wait()
        self._stop.set()
        self.is_closed = True

    @property
    def values(self) -> dict[str, Any]:
        """Controls that hold."""
        return self._values

    def picture(self) -> Grey:
        """What a buffer holds: grey, then colour, and padding after each row."""
        width, height = self.configured[-1]["main"]["size"]
        exposed = 1e-6 * self._values.get("ExposureTime", 16_000) * self._values.get("AnalogueGain", 1.0)
        level = 255 * np.clip(self.cable.light * exposed, 0, 1) ** (1 / 2.2)
        shade = np.linspace(0.8, 1.2, width)
        grey = np.tile(np.clip(level * shade, 0, 255).astype(np.uint8), (height, 1))
        n_bytes = {"BGR888": 3}.get(self.cable.main_format or "", 0)
        if n_bytes:
            return np.stack([np.full_like(grey, COLOUR), grey, np.full_like(grey, COLOUR)], axis=2)
        buffer = np.full((height * 3 // 2, width + PADDING), PAD, np.uint8)
        buffer[height:, :width] = COLOUR
        buffer[:height, :width] = grey
        return buffer

    def _run(self) -> None:
        n_buffers = self.configured[-1]["buffer_count"]
        frame_us = self._values.get("FrameDurationLimits", (16_667, 16_667))[0]
        while not self._stop.wait(1e-6 * frame_us / self.cable.speed):
            if self.cable.is_loose or self.cable.n_out >= n_buffers:
                continue
            with self._lock:
                job = self._waiting.pop(0) if self._waiting else None
            if job is not None:
                job.set_result(_Request(self))


class FakeMappedArray:
    """See picamera2.MappedArray."""

    def __init__(self, request: _Request, stream: str, write: bool = True) -> None:
        assert (stream, write) == ("main", False), "nothing is to be written"
        self.array = request.array

    def __enter__(self) -> FakeMappedArray:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to unmap."""


@contextmanager
def installed(replace: Callable[[dict[str, ModuleType], str, ModuleType], object]) -> Iterator[Cable]:
    """Put both packages in place; give what rules the camera."""
    cable = Cable()
    camera_class = type("Picamera2", (FakePicamera2,), {"cable": cable})
    packages: dict[str, dict[str, Any]] = {
        "picamera2": {"Picamera2": camera_class, "MappedArray": FakeMappedArray},
        "libcamera": {
            "ColorSpace": SimpleNamespace(Sycc=lambda: "sycc"),
            "controls": SimpleNamespace(AfModeEnum=SimpleNamespace(Manual=0)),
        },
    }
    for name, content in packages.items():
        module = ModuleType(name)
        module.__spec__ = importlib.machinery.ModuleSpec(name, None)
        vars(module).update(content)
        replace(sys.modules, name, module)
    sys.modules.pop("device.edges.camera_picamera2", None)
    try:
        yield cable
    finally:
        sys.modules.pop("device.edges.camera_picamera2", None)
