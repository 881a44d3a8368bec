"""Raspberry Pi cameras: small grey pictures in time, and a loose cable that sticks nothing.

picamera2 and libcamera are stand-ins that behave: see `tests.fake_picamera2`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from device.core.errors import CameraError
from device.core.exposure import ExposureSettings
from device.engine.cameras import find_cameras, the_camera
from tests.fake_picamera2 import Cable, installed

AUTO = ExposureSettings(brightness=90.0, step_s=10.0)


@pytest.fixture
def cable(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cable]:
    with installed(monkeypatch.setitem) as made:
        yield made


@pytest.fixture
def module(cable: Cable) -> ModuleType:  # noqa: ARG001 - it must be there first
    import device.edges.camera_picamera2

    return device.edges.camera_picamera2


def open_camera(module: ModuleType, fps: float = 60.0, exposure: ExposureSettings = AUTO, focus: float = 0.5) -> Any:
    return module.CameraPicamera2(0, 48, 64, fps, exposure, focus)


def test_the_picture_is_the_grey_and_nothing_else_with_its_time(cable: Cable, module: ModuleType) -> None:
    camera = open_camera(module)
    before_s = time.monotonic()
    frame = camera.read()
    expected = cable.opened[0].picture()[:360, :640].reshape(360, 64, 10).mean(axis=(0, 2))
    assert frame.grey.shape == (48, 64)
    assert np.abs(frame.grey - expected).max() <= 0.51
    assert before_s <= frame.time_s <= time.monotonic()
    camera.close()
    assert cable.opened[0].is_closed


def test_every_buffer_is_given_back(cable: Cable, module: ModuleType) -> None:
    camera = open_camera(module)
    times_s = [camera.read().time_s for _ in range(30)]
    assert times_s == sorted(set(times_s))
    assert cable.n_out == 0
    camera.close()


def test_it_is_configured_once_for_the_next_frame_at_a_steady_rate_and_does_nothing_by_itself(
    cable: Cable, module: ModuleType
) -> None:
    camera = open_camera(module, fps=50.0, focus=2.5)
    for _ in range(5):
        camera.read()
    (configured,) = cable.opened[0].configured
    assert (configured["queue"], configured["buffer_count"], configured["raw"]) == (False, 3, None)
    assert configured["colour_space"] == "sycc"
    held = cable.opened[0].values
    assert held["FrameDurationLimits"] == (20_000, 20_000)
    assert (held["AeEnable"], held["AwbEnable"]) == (False, False)
    assert (held["AfMode"], held["LensPosition"]) == (0, 2.5)
    camera.close()


@pytest.mark.parametrize(
    ("model", "fps", "sensor", "size", "frame_us"),
    [
        ("imx708_wide", 60.0, (2304, 1296), (640, 360), 17_857),
        ("imx708", 100.0, (1536, 864), (640, 360), 10_000),
        ("imx219", 40.0, (1640, 1232), (640, 480), 25_000),
        ("imx219", 60.0, (640, 480), (640, 480), 16_667),
        ("ov5647", 60.0, (640, 480), (640, 480), 16_978),
    ],
)
def test_the_sensor_shows_as_much_of_the_room_as_the_rate_allows(
    cable: Cable,
    module: ModuleType,
    model: str,
    fps: float,
    sensor: tuple[int, int],
    size: tuple[int, int],
    frame_us: int,
) -> None:
    cable.models[:] = [model]
    open_camera(module, fps=fps).close()
    configured = cable.opened[0].configured[0]
    assert configured["sensor"]["output_size"] == sensor
    assert configured["main"]["size"] == size
    assert configured["controls"]["FrameDurationLimits"] == (frame_us, frame_us)


def test_a_still_as_large_as_the_camera_s_own_pictures_can_be_had(cable: Cable, module: ModuleType) -> None:
    camera = module.CameraPicamera2(0, 480, 640, 60.0, AUTO, 0.5)
    assert camera.read().grey.shape == (480, 640)
    assert cable.opened[0].configured[0]["main"]["size"] == (854, 480)
    camera.close()


def test_a_sensor_that_nobody_knows_and_a_camera_that_can_nothing_play(cable: Cable, module: ModuleType) -> None:
    cable.models[:], cable.main_format = ["vimc"], "BGR888"
    cable.controls.clear()
    camera = open_camera(module)
    assert cable.opened[0].configured[0]["sensor"] is None
    expected = cable.opened[0].picture()[..., 1].reshape(480, 64, 10).mean(axis=(0, 2))
    assert np.abs(camera.read().grey - expected).max() <= 0.51
    camera.close()


def test_a_loose_cable_is_said_in_time_and_a_stop_that_hangs_sticks_nothing(
    cable: Cable, module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    camera = open_camera(module)
    camera.read()
    monkeypatch.setattr(module, "READ_S", 0.1)
    cable.is_loose = True
    with pytest.raises(CameraError, match="gives no frames: check its cable"):
        camera.read()
    began_s = time.monotonic()
    camera.close()
    camera.close()
    assert time.monotonic() - began_s < module.CLOSE_S / 2  # it is not even tried
    with pytest.raises(CameraError, match="closed"):
        camera.read()


def test_a_stop_that_hangs_unforeseen_is_waited_for_no_longer_than_allowed(
    cable: Cable, module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    camera = open_camera(module)
    monkeypatch.setattr(module, "CLOSE_S", 0.1)
    cable.is_loose = True
    camera.close()
    assert not cable.opened[0].is_closed


def test_a_camera_that_hangs_when_opened_or_is_absent_is_said_in_one_line(
    cable: Cable, module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "OPEN_S", 0.1)
    cable.hangs_when_opened = True
    with pytest.raises(CameraError, match="does not answer: check its cable"):
        open_camera(module)
    cable.models.clear()
    with pytest.raises(CameraError, match="no camera on the Pi's connector"):
        open_camera(module)
    cable.models.append("imx708")
    cable.hangs_when_opened, cable.controls = False, {}
    monkeypatch.setattr(cable, "controls", None)
    with pytest.raises(CameraError, match="cannot be used") as raised:
        open_camera(module)
    assert "\n" not in str(raised.value)


def test_exposure_is_found_before_anybody_sees_within_a_frame_and_then_stays(cable: Cable, module: ModuleType) -> None:
    for light in (400.0, 20.0, 3.0):
        cable.light = light
        camera = open_camera(module)
        held = dict(cable.opened[-1].values)
        means = [float(camera.read().grey.mean()) for _ in range(30)]
        assert 90 / 1.3 < means[0] < 90 * 1.3, light
        assert set(means) == {means[0]}
        assert held["ExposureTime"] <= held["FrameDurationLimits"][0]
        camera.close()


def test_exposure_and_gain_that_were_set_are_held(cable: Cable, module: ModuleType) -> None:
    cable.light = 0.5
    camera = open_camera(module, exposure=ExposureSettings(90.0, 10.0, time_s=0.004, gain=2.0))
    camera.read()
    held = cable.opened[0].values
    assert (held["ExposureTime"], held["AnalogueGain"]) == (4000, 2.0)
    camera.close()


@pytest.mark.parametrize("ahead_ns", [0, 3_600_000_000_000])
def test_times_are_monotonic_whichever_clock_the_driver_uses(
    cable: Cable, module: ModuleType, monkeypatch: pytest.MonkeyPatch, ahead_ns: int
) -> None:
    real = time.clock_gettime_ns

    def slept(clock: int) -> int:
        """For an hour."""
        return real(time.CLOCK_MONOTONIC) + 3_600_000_000_000 if clock == time.CLOCK_BOOTTIME else real(clock)

    monkeypatch.setattr(module.time, "clock_gettime_ns", slept)
    cable.boot_ahead_ns = ahead_ns
    camera = open_camera(module)
    before_s = time.monotonic()
    assert before_s - 0.01 <= camera.read().time_s <= time.monotonic()
    camera.close()


def test_it_is_the_camera_that_is_meant_and_usb_cameras_are_not_its_own(
    cable: Cable, module: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("device.engine.cameras.DEVICES", tmp_path)
    (tmp_path / "video0").touch()
    cable.models[:] = ["imx708", "imx219", "webcam"]
    assert module.find_pi_cameras() == [(0, "imx708"), (1, "imx219")]
    monkeypatch.setattr("device.edges.camera_v4l2.find_v4l2", lambda _: [("/dev/video0", "webcam")])
    assert [found.source for found in find_cameras()] == ["picamera2", "picamera2:1", "v4l2:/dev/video0"]
    assert the_camera() == "picamera2"
    cable.models[:] = ["webcam"]
    assert the_camera() == "v4l2:/dev/video0"
