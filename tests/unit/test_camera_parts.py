"""What cameras are made of: small pictures, the choice of a mode, and calls that may hang."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from device.core.camera_mode import CameraMode, choose_mode
from device.core.downscale import Downscale, full_range
from device.core.errors import CameraError, UsageError
from device.core.sensors import SENSORS, sensor_mode
from device.edges.bounded import within
from device.engine import cameras
from device.engine.cameras import FoundCamera, check_source, clip_of, the_camera

Float = npt.NDArray[np.float64]


def shares(n_from: int, n_to: int) -> Float:
    """Weights of a mean over equal areas, shape (n_to, n_from)."""
    edges, old = np.arange(n_to + 1) * n_from / n_to, np.arange(n_from)
    overlap = np.minimum(old + 1, edges[1:, np.newaxis]) - np.maximum(old, edges[:-1, np.newaxis])
    return np.asarray(np.clip(overlap, 0, None) * n_to / n_from)


@pytest.mark.parametrize(
    "size", [(480, 640), (360, 640), (240, 424), (600, 800), (50, 70), (48, 64), (1080, 1920), (14400, 64)]
)
def test_small_pictures_are_means_over_areas_whatever_the_strides(size: tuple[int, int]) -> None:
    height, width = size
    buffer = np.random.default_rng(0).integers(0, 256, (height, 2 * width + 32), np.uint8)
    before = buffer.copy()
    scale = Downscale(size, (48, 64))
    for picture in (buffer[:, : 2 * width : 2], buffer[:, 1 : 2 * width : 2], buffer[:, :width]):
        expected = shares(height, 48) @ picture.astype(np.float64) @ shares(width, 64).T
        found = scale.apply(picture)
        assert found.shape == (48, 64)
        assert found.dtype == np.uint8
        assert np.abs(found - expected).max() <= 0.501
        assert not np.shares_memory(found, buffer)
    np.testing.assert_array_equal(buffer, before)


@pytest.mark.parametrize("size", [(480, 640), (360, 640), (1080, 1920), (14400, 64)])
def test_white_stays_white_and_black_black(size: tuple[int, int]) -> None:
    scale = Downscale(size, (48, 64))
    for level in (0, 255):
        assert (scale.apply(np.full(size, level, np.uint8)) == level).all()


def test_pictures_do_not_grow() -> None:
    with pytest.raises(CameraError, match="pictures of 32 x 24 pixels are smaller than the 64 x 48"):
        Downscale((24, 32), (48, 64))


def test_limited_range_becomes_full() -> None:
    levels = np.array([0, 16, 17, 126, 235, 255], np.uint8)
    assert full_range(levels).tolist() == [0, 0, 1, 128, 255, 255]


def mode(pixel_format: str, width: int, height: int, fps: float) -> CameraMode:
    return CameraMode(pixel_format, width, height, fps)


VGA, SMALL = mode("YUYV", 640, 480, 60.0), mode("YUYV", 320, 240, 60.0)
HD_JPEG, SMALL_JPEG = mode("MJPEG", 1280, 720, 120.0), mode("MJPEG", 320, 240, 120.0)


@pytest.mark.parametrize(
    ("modes", "fps", "chosen"),
    [
        ([VGA, SMALL, HD_JPEG, SMALL_JPEG], 60.0, SMALL),
        ([VGA, SMALL, HD_JPEG, SMALL_JPEG], 120.0, SMALL_JPEG),
        ([VGA, HD_JPEG], 120.0, HD_JPEG),
        ([VGA, SMALL_JPEG], 60.0, VGA),
        ([mode("YUYV", 1920, 1080, 60.0), SMALL_JPEG], 60.0, SMALL_JPEG),
        ([mode("YUYV", 640, 480, 29.97), SMALL], 30.0, SMALL),
        ([mode("YUYV", 640, 480, 15.0), mode("YUYV", 640, 360, 30.0)], 60.0, mode("YUYV", 640, 360, 30.0)),
        ([mode("YUYV", 64, 48, 60.0), VGA], 60.0, VGA),
        ([mode("YUYV", 64, 48, 60.0), mode("YUYV", 160, 120, 60.0)], 60.0, mode("YUYV", 160, 120, 60.0)),
        ([VGA, mode("GREY", 640, 480, 60.0)], 60.0, mode("GREY", 640, 480, 60.0)),
        ([mode("YUYV", 640, 480, 0.0)], 60.0, mode("YUYV", 640, 480, 0.0)),
        ([mode("YUYV", 32, 24, 60.0), mode("RGB3", 640, 480, 60.0)], 60.0, None),
        ([], 60.0, None),
    ],
)
def test_a_mode_keeps_the_rate_with_the_least_work(
    modes: list[CameraMode], fps: float, chosen: CameraMode | None
) -> None:
    assert choose_mode(modes, 48, 64, fps) == chosen
    assert choose_mode(reversed(modes), 48, 64, fps) == chosen


def test_a_sensor_keeps_the_rate_with_the_widest_view() -> None:
    assert sensor_mode("imx708_wide_noir", 60.0) == SENSORS["imx708"][1]
    assert sensor_mode("imx708", 90.0) == SENSORS["imx708"][0]
    assert sensor_mode("imx219", 500.0) == SENSORS["imx219"][0]
    assert sensor_mode("ov5647", 60.0) == SENSORS["ov5647"][0]
    assert sensor_mode("ov9281", 60.0) is None


def test_a_call_that_hangs_is_left_behind_and_others_give_what_they_give() -> None:
    assert within(10.0, "hangs", lambda: 7) == 7
    assert within(10.0, "hangs", lambda: None) is None
    with pytest.raises(ValueError, match="x"):
        within(10.0, "hangs", lambda: int("x"))
    for_ever = threading.Event()
    with pytest.raises(CameraError, match="hangs"):
        within(0.05, "hangs", for_ever.wait)
    for_ever.set()


@pytest.mark.parametrize(
    "source", ["auto", "picamera2", "picamera2:1", "v4l2:/dev/video0", "gst:videotestsrc ! queue", "file:a:b.mp4"]
)
def test_cameras_have_these_names(source: str) -> None:
    assert check_source(source) == source
    assert clip_of(source) == (Path("a:b.mp4") if source.startswith("file") else None)


@pytest.mark.parametrize(
    "source", ["", "magic", "picamera2:", "picamera2:x", "v4l2", "v4l2:", "gst: ", "auto:1", "file:"]
)
def test_others_are_refused_with_those_that_there_are(source: str) -> None:
    with pytest.raises(UsageError, match=r"give one of auto, picamera2, file:CLIP, v4l2:/dev/videoN, gst:PIPELINE"):
        check_source(source)


def test_the_one_camera_is_found_and_several_must_be_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[FoundCamera] = []
    monkeypatch.setattr(cameras, "find_cameras", lambda: found)
    with pytest.raises(CameraError, match="there is no camera: plug one in"):
        the_camera()
    found.append(FoundCamera("v4l2:/dev/video0", "Webcam"))
    assert the_camera() == "v4l2:/dev/video0"
    found.append(FoundCamera("v4l2:/dev/video2", "Other"))
    with pytest.raises(
        CameraError, match=r"2 cameras: set camera.source to one of .*video0 \(Webcam\), .*video2 \(Oth"
    ):
        the_camera()
