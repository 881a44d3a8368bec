"""V4L2 cameras: the newest frame, only its grey, at the rate that was asked for, and what goes wrong in one line.

The camera is a stand-in, below the package's system calls: see `tests.fake_v4l2`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from linuxpy.video import raw

from device.core.errors import CameraError
from device.core.exposure import ExposureSettings
from device.edges import camera_v4l2
from device.edges.camera_v4l2 import CameraV4l2, find_v4l2
from device.edges.jpeg_grey import JpegGrey
from tests.fake_v4l2 import EXPOSURE, MONOTONIC, Control, FakeV4l2, Grey

MODES = [("YUYV", 640, 480, 60.0)]


def ramp(fake: FakeV4l2) -> Grey:
    """What is dark to the left and light to the right."""
    return np.tile(np.linspace(20, 230, fake.size[1]).astype(np.uint8), (fake.size[0], 1))


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeV4l2:
    made = FakeV4l2(tmp_path / "video0", list(MODES), controls={}, scene=ramp)
    made.install(monkeypatch.setattr)
    return made


@contextmanager
def opened(fake: FakeV4l2, **how: float) -> Iterator[CameraV4l2]:
    """An open camera, that takes no more frames by itself."""
    with fake.filming():
        camera = fake.open(**how)  # type: ignore[arg-type] # as it says
    try:
        yield camera
    finally:
        camera.close()


def small(picture: Grey, height: int = 48, width: int = 64) -> Grey:
    blocks = picture.reshape(height, picture.shape[0] // height, width, picture.shape[1] // width)
    return np.asarray(np.rint(blocks.mean(axis=(1, 3))), np.uint8)


@pytest.mark.parametrize("pixel_format", ["GREY", "NV12", "YUYV", "UYVY"])
def test_the_picture_is_the_grey_of_the_frame_in_full_range(fake: FakeV4l2, pixel_format: str) -> None:
    fake.modes[:] = [(pixel_format, 640, 480, 60.0)]
    fake.format = fake.modes[0][:3]
    with opened(fake) as camera:
        fake.shoot(time_s=12.345678)
        frame = camera.read()
    expected = small(ramp(fake)).astype(float)
    if pixel_format != "GREY":  # black is 16, white 235
        expected = (expected - 16) * 255 / 219
    assert np.abs(frame.grey - np.clip(expected, 0, 255)).max() <= 1.8  # a level of the narrow range is 1.2
    assert frame.time_s == pytest.approx(12.345678, abs=1e-6)


def test_a_camera_that_says_that_it_is_of_full_range_is_believed(fake: FakeV4l2) -> None:
    fake.colorspace = int(raw.Colorspace.JPEG)
    with opened(fake) as camera:
        fake.shoot()
        assert np.abs(camera.read().grey.astype(int) - small(ramp(fake))).max() <= 1


def test_it_is_always_the_newest_frame_and_every_buffer_comes_back(fake: FakeV4l2) -> None:
    seen = iter(range(40, 200))
    with opened(fake) as camera:
        fake.scene = lambda it: np.full(it.size, next(seen), np.uint8)
        while fake.filled:
            camera.read()
        for late in range(1, 5):
            for n in range(late):
                fake.shoot(time_s=1000.0 * late + n)
            assert camera.read().time_s == 1000.0 * late + late - 1
            assert not fake.filled
            assert len(fake.free) == len(fake.memories)
    assert fake.n_lost == 0


def test_frames_that_are_damaged_are_left_out(fake: FakeV4l2) -> None:
    with opened(fake) as camera, fake.filming(fps=20):
        fake.shoot(time_s=1.0, flags=MONOTONIC | int(raw.BufferFlag.ERROR))
        assert camera.read().time_s > 1.0


def test_a_clock_that_is_not_known_gives_the_arrival(fake: FakeV4l2) -> None:
    with opened(fake) as camera:
        before_s = time.monotonic()
        fake.shoot(time_s=5.0, flags=0)
        assert before_s <= camera.read().time_s <= time.monotonic()


def jpeg(grey: Grey) -> bytes:
    """Encode as USB cameras do."""
    height, width = grey.shape
    encoder = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuvj422p"  # type: ignore[attr-defined]
    encoder.time_base = Fraction(1, 60)
    picture = av.VideoFrame(width, height, "yuvj422p")
    for number, plane in enumerate(picture.planes):
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
        rows[:] = 128
        if number == 0:
            rows[:, :width] = grey
    picture.pts = 0
    return b"".join(bytes(packet) for packet in [*encoder.encode(picture), *encoder.encode(None)])  # type: ignore[attr-defined]


def test_jpeg_is_decoded_at_once_and_damaged_ones_are_left_out(fake: FakeV4l2) -> None:
    fake.modes[:], fake.encoded = [("MJPEG", 320, 240, 120.0)], jpeg
    fake.format = fake.modes[0][:3]
    with opened(fake, fps=120.0) as camera:
        assert camera.mode.fps == 120.0
        fake.shoot(time_s=1.0)
        frame = camera.read()
        assert frame.time_s == 1.0
        assert np.abs(frame.grey.astype(int) - small(ramp(fake))).max() <= 3
        fake.encoded = lambda grey: jpeg(grey)[:300]
        fake.shoot(time_s=2.0)
        fake.encoded = jpeg
        with fake.filming(fps=20):
            assert camera.read().time_s > 2.0


def test_a_jpeg_of_another_size_is_no_picture() -> None:
    decoder = JpegGrey((48, 64))
    assert decoder.decode(jpeg(np.zeros((96, 64), np.uint8))) is None
    assert decoder.decode(b"") is None
    found = decoder.decode(jpeg(np.full((48, 64), 200, np.uint8)))
    assert found is not None
    assert np.abs(found.astype(int) - 200).max() <= 1


def test_the_rate_is_asked_for_and_what_is_got_is_known(fake: FakeV4l2) -> None:
    fake.modes[:] = [("YUYV", 640, 480, 30.0), ("YUYV", 320, 240, 60.0), ("MJPEG", 640, 480, 60.0)]
    with opened(fake, fps=60.0) as camera:
        assert (camera.mode.pixel_format, camera.mode.width, camera.mode.fps) == ("YUYV", 320, 60.0)
        assert fake.format == ("YUYV", 320, 240)


def test_what_a_camera_does_by_itself_is_switched_off_and_exposure_fits_the_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeV4l2(tmp_path / "video0", list(MODES), scene=lambda it: np.full(it.size, 18, np.uint8))  # a dark room
    fake.install(monkeypatch.setattr)
    values = {raw.ControlID(number).name: control for number, control in fake.controls.items()}
    with opened(fake) as camera:
        assert values["EXPOSURE_AUTO"].value == 1
        assert values["EXPOSURE_AUTO_PRIORITY"].value == values["FOCUS_AUTO"].value == 0
        assert values["EXPOSURE_ABSOLUTE"].value == 166  # of 100 us: 16.7 ms, though it could be 204.7
        assert values["GAIN"].value == 255  # it is as bright as it gets
        assert camera.mode.fps == 60.0


def test_exposure_and_gain_that_were_set_are_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeV4l2(tmp_path / "video0", list(MODES))
    fake.install(monkeypatch.setattr)
    with fake.filming():
        camera = CameraV4l2(fake.path, 48, 64, 60.0, ExposureSettings(90.0, 10.0, time_s=0.004, gain=8.0))
        camera.read()
        camera.close()
    assert fake.controls[raw.ControlID.EXPOSURE_ABSOLUTE].value == 40
    assert fake.controls[raw.ControlID.GAIN].value == 255


def test_exposure_is_found_before_anybody_sees_and_then_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lit(it: FakeV4l2) -> Grey:
        exposed = it.controls[raw.ControlID.EXPOSURE_ABSOLUTE].value * 3.0 ** (
            it.controls[raw.ControlID.GAIN].value / 100
        )
        return np.full(it.size, np.clip(16 + 219 * (exposed / 150) ** (1 / 2.2), 0, 255), np.uint8)

    fake = FakeV4l2(tmp_path / "video0", list(MODES), scene=lit)
    fake.install(monkeypatch.setattr)
    with fake.filming():
        camera = fake.open()
        means = [float(camera.read().grey.mean()) for _ in range(50)]
        camera.close()
    assert 90 / 1.3 < means[0] < 90 * 1.3
    assert len(set(means)) == 1


def test_a_camera_without_controls_plays(fake: FakeV4l2) -> None:
    fake.controls = {raw.ControlID.BRIGHTNESS: Control("Brightness", 0, 255, 128)}
    with opened(fake) as camera:
        fake.shoot()
        assert camera.read().grey.shape == (48, 64)


def test_a_camera_that_is_pulled_out_says_so_at_once_and_is_let_go(fake: FakeV4l2) -> None:
    with opened(fake) as camera:
        while fake.filled:
            camera.read()
        began_s = time.monotonic()
        fake.pull_out()
        with pytest.raises(CameraError, match="was pulled out: plug it in again"):
            camera.read()
        assert time.monotonic() - began_s < 1.0
    camera.close()  # twice


def test_a_camera_that_gives_nothing_is_given_up(fake: FakeV4l2, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(fake) as camera:
        while fake.filled:
            camera.read()
        monkeypatch.setattr(camera_v4l2, "READ_S", 0.05)
        with pytest.raises(CameraError, match="gives no frames: check its cable"):
            camera.read()
    monkeypatch.setattr(camera_v4l2, "FIRST_S", 0.05)
    with pytest.raises(CameraError, match="gives no frames"):
        fake.open()
    assert not fake.is_on


def test_a_camera_that_is_absent_busy_or_none_is_said_in_one_line(
    fake: FakeV4l2, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(CameraError, match=r"camera .*video9 is not there: plug it in"):
        CameraV4l2(tmp_path / "video9", 48, 64, 60.0, EXPOSURE)
    fake.modes[:] = [("SBGGR8", 1920, 1080, 60.0)]
    with pytest.raises(CameraError, match="in a format that can be read here"):
        fake.open()
    fake.modes[:] = [("YUYV", 32, 24, 60.0)]
    with pytest.raises(CameraError, match="no picture of 64 x 48 or more"):
        fake.open()
    fake.modes[:] = MODES

    def busy(_kind: object) -> None:
        raise OSError(16, "Device or resource busy")

    monkeypatch.setattr(fake, "_on_streamon", busy)
    with pytest.raises(CameraError, match="is in use by another program"):
        fake.open()


@pytest.mark.parametrize(
    ("driver", "bus", "is_found"),
    [(b"uvcvideo", b"usb-1", True), (b"vivid", b"platform:vivid", True), (b"bcm2835-isp", b"platform:isp", False)],
)
def test_cameras_are_found_and_picture_processors_are_not(
    fake: FakeV4l2, tmp_path: Path, driver: bytes, bus: bytes, is_found: bool
) -> None:
    fake.driver, fake.bus = driver, bus
    assert find_v4l2(tmp_path) == ([(tmp_path / "video0", "Fake Camera")] if is_found else [])
    by_id = tmp_path / "v4l" / "by-id"
    by_id.mkdir(parents=True)
    (by_id / "usb-maker-index0").symlink_to(fake.path)
    assert [path for path, _ in find_v4l2(tmp_path)] == ([by_id / "usb-maker-index0"] if is_found else [])
