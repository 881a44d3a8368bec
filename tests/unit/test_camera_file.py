from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest

from device.core.errors import CameraError
from device.core.frame import Frame
from device.edges.camera_file import CameraFile
from tests.media_files import make_sound_file, make_text_file, make_truncated, make_video, moving_bar, tone

Picture = npt.NDArray[np.uint8]


def noise(n_frames: int, height: int = 48, width: int = 64) -> list[Picture]:
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (height, width), dtype=np.uint8) for _ in range(n_frames)]


def frames_of(camera: CameraFile) -> list[Frame]:
    frames = [frame for frame in iter(camera.read, None) if frame is not None]
    assert camera.read() is None
    camera.close()
    camera.close()
    assert camera.read() is None
    return frames


def times_of(path: Path) -> list[float]:
    return [frame.time_s for frame in frames_of(CameraFile(path))]


def test_every_picture_comes_once_with_its_time(tmp_path: Path) -> None:
    pictures = noise(30)
    camera = CameraFile(
        make_video(tmp_path / "a.mkv", pictures, sound=tone(3, 48_000), fps=50, codec="ffv1", pix_fmt="gray")
    )
    assert (camera.fps, camera.start_s) == (50, 0)
    frames = frames_of(camera)
    assert [frame.time_s for frame in frames] == pytest.approx([index / 50 for index in range(30)])
    for frame, picture in zip(frames, pictures, strict=True):
        np.testing.assert_array_equal(frame.grey, picture)
    assert frames[0].grey.dtype == np.uint8
    assert (camera.truncated, camera.n_dropped) == (False, 0)


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv", "a.avi", "a.webm", "a.ts", "a.flv"])
def test_every_container_gives_every_frame(tmp_path: Path, name: str) -> None:
    codec = "libvpx" if name.endswith("webm") else "libx264"
    camera = CameraFile(make_video(tmp_path / name, moving_bar(30), fps=30, codec=codec))
    frames = frames_of(camera)
    assert len(frames) == 30
    steps_s = np.diff([frame.time_s for frame in frames])
    np.testing.assert_allclose(steps_s, 1 / 30, atol=0.0011)
    assert camera.fps == pytest.approx(30, rel=0.02)
    assert (camera.truncated, camera.n_dropped) == (False, 0)


@pytest.mark.parametrize(("height", "width"), [(2160, 3840), (1080, 1920), (480, 640), (496, 518), (640, 480)])
def test_pictures_are_scaled_by_area(tmp_path: Path, height: int, width: int) -> None:
    picture = noise(1, height, width)[0]
    picture[:, : width // 2] //= 2
    frame = frames_of(CameraFile(make_video(tmp_path / "a.mkv", [picture], codec="ffv1", pix_fmt="gray")))[0]
    exact = area_weights(height, 48) @ picture.astype(np.float64) @ area_weights(width, 64).T
    assert np.abs(frame.grey - exact).max() < 0.53
    assert abs(np.mean(frame.grey - exact)) < 0.02


def area_weights(n_from: int, n_to: int) -> npt.NDArray[np.float64]:
    """How much of each old pixel lies in each new one; shape (n_to, n_from)."""
    edges = np.linspace(0, n_from, n_to + 1)
    pixel = np.arange(n_from)
    overlap = np.minimum(pixel + 1, edges[1:, None]) - np.maximum(pixel, edges[:-1, None])
    return np.asarray(np.clip(overlap, 0, None) * n_to / n_from)


def test_size_can_be_chosen(tmp_path: Path) -> None:
    camera = CameraFile(make_video(tmp_path / "a.mp4", moving_bar(2)), height=24, width=30)
    assert frames_of(camera)[0].grey.shape == (24, 30)


@pytest.mark.parametrize(("full_range", "stored"), [(False, (16, 235)), (True, (0, 255))])
@pytest.mark.parametrize("size", [(48, 64), (96, 128)])
def test_black_and_white_are_0_and_255_in_either_range(
    tmp_path: Path, full_range: bool, stored: tuple[int, int], size: tuple[int, int]
) -> None:
    pictures = [np.full(size, value, np.uint8) for value in (0, 255, 128)]
    path = make_video(tmp_path / "a.mp4", pictures, full_range=full_range, options={"qp": "0"})
    with av.open(str(path)) as container:
        planes = [np.frombuffer(bytes(frame.planes[0]), np.uint8) for frame in container.decode(video=0)]
    assert tuple(int(plane[0]) for plane in planes[:2]) == stored
    assert [np.unique(frame.grey).tolist() for frame in frames_of(CameraFile(path))] == [[0], [255], [128]]


def test_variable_rate_keeps_its_times(tmp_path: Path) -> None:
    times_s = np.cumsum(np.random.default_rng(0).uniform(0.005, 0.1, 40))
    camera = CameraFile(make_video(tmp_path / "a.mp4", moving_bar(40), times_s))
    assert camera.start_s == pytest.approx(times_s[0], abs=1e-3)  # The start in .mp4 is kept in milliseconds.
    frames_s = [frame.time_s for frame in frames_of(camera)]
    assert frames_s[0] == camera.start_s
    np.testing.assert_allclose(np.diff(frames_s), np.diff(times_s), atol=2e-5)
    assert not camera.truncated


def test_frames_at_the_same_time_are_dropped(tmp_path: Path) -> None:
    times_s = [0.0, 0.0003, 0.04, 0.0402, 0.08]  # Matroska keeps milliseconds.
    camera = CameraFile(make_video(tmp_path / "a.mkv", noise(5), times_s, codec="ffv1", pix_fmt="gray"))
    assert [frame.time_s for frame in frames_of(camera)] == [0.0, 0.04, 0.08]
    assert camera.n_dropped == 2


def test_joined_clips_go_on_where_the_clock_had_been(tmp_path: Path) -> None:
    clip = make_video(tmp_path / "a.ts", noise(75))
    joined = tmp_path / "joined.ts"
    joined.write_bytes(clip.read_bytes() * 2)
    times_s = times_of(joined)
    assert len(times_s) == 150
    np.testing.assert_allclose(np.diff(times_s), 0.04)


def test_frames_without_times_get_the_nominal_rate(tmp_path: Path) -> None:
    clip = make_video(tmp_path / "a.h264", moving_bar(30))  # A bare stream: pictures and nothing else.
    with av.open(str(clip)) as container:
        assert {picture.time for picture in container.decode(video=0)} == {None}
    np.testing.assert_allclose(times_of(clip), np.arange(30) / 25, atol=1e-9)


@pytest.mark.parametrize("quarter_turns", [1, 2, 3])
def test_rotation_that_a_player_applies_is_applied(tmp_path: Path, quarter_turns: int) -> None:
    upright = noise(1)[0]
    stored = np.ascontiguousarray(np.rot90(upright, -quarter_turns))
    path = make_video(tmp_path / "a.mov", [stored], rotation_deg=90 * quarter_turns, options={"qp": "0"})
    grey = frames_of(CameraFile(path))[0].grey
    assert np.abs(grey.astype(int) - upright).max() <= 2


def test_one_frame_is_a_clip(tmp_path: Path) -> None:
    camera = CameraFile(make_video(tmp_path / "a.mp4", moving_bar(1)))
    assert [frame.time_s for frame in frames_of(camera)] == [0.0]


@pytest.mark.parametrize(
    ("name", "codec", "with_sound"),
    [
        ("a.mp4", "libx264", True),
        ("a.mov", "libx264", False),
        ("a.mkv", "libx264", True),
        ("a.mkv", "libx264", False),
        ("a.avi", "mpeg4", True),
    ],
)
def test_truncated_clip_is_played_as_far_as_it_goes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, codec: str, with_sound: bool
) -> None:
    sound = tone(4, 48_000) if with_sound else None
    whole = make_video(tmp_path / name, noise(100), codec=codec, sound=sound, index_first=name[-1] in "4v")
    camera = CameraFile(make_truncated(whole, tmp_path / f"cut_{name}", keep=0.6))
    with caplog.at_level(logging.WARNING):
        frames = frames_of(camera)
    assert 40 <= len(frames) <= 65
    assert camera.truncated
    assert len(caplog.messages) == 1
    assert f"is damaged or cut off: played up to {frames[-1].time_s:.2f} s" in caplog.text


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: path, "there is no video .*: check the path"),
        (lambda path: (path.mkdir(), path)[1], "is not a file: give the path of one video"),
        (lambda path: (path.write_bytes(b""), path)[1], "is not a video, or is cut off before its index"),
        (make_text_file, "is not a video, or is cut off before its index"),
        (lambda path: make_text_file(path.with_suffix(".txt")), "is a text, not a video"),
        (lambda path: make_sound_file(path, tone(1, 48_000), 48_000), "has no picture: give a video"),
        (lambda path: make_sound_file(path.with_suffix(".wav"), tone(1, 8_000), 8_000), "has no picture: give a video"),
        (
            lambda path: make_truncated(make_video(path.with_suffix(".mov"), noise(50)), path),
            "is not a video, or is cut off before its index",
        ),
        (
            lambda path: make_truncated(make_video(path.with_suffix(".mkv"), noise(50)), path, keep=0.02),
            "holds no picture that can be decoded",
        ),
    ],
    ids=["missing", "folder", "empty", "text", "text.txt", "sound", "wav", "no index", "no frame"],
)
def test_what_is_no_video_is_refused_in_one_line(tmp_path: Path, make: object, says: str) -> None:
    assert callable(make)
    path = make(tmp_path / "dance.mp4")
    with pytest.raises(CameraError, match=says) as refusal:
        CameraFile(path)
    assert "\n" not in str(refusal.value)
    assert str(path) in str(refusal.value)


def test_cover_of_an_album_is_not_a_picture(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    make_video(path, noise(1), codec="mjpeg", pix_fmt="yuvj420p", is_cover=True, sound=tone(1, 48_000))
    with pytest.raises(CameraError, match="has no picture: give a video"):
        CameraFile(path)


def test_name_that_looks_like_an_address_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_video(tmp_path / "salsa:1.mp4", moving_bar(3))
    monkeypatch.chdir(tmp_path)
    assert len(times_of(Path("salsa:1.mp4"))) == 3


@pytest.fixture(scope="module")
def clips_4k(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """4K at 120 fps, short and three times as long."""
    folder = tmp_path_factory.mktemp("4k")
    short, long = (
        make_video(
            folder / f"{n_frames}.mp4",
            (np.full((2160, 3840), 5 * index, np.uint8) for index in range(n_frames)),
            fps=120,
            options={"preset": "ultrafast", "qp": "0"},
        )
        for n_frames in (12, 36)
    )
    return short, long


def test_4k_at_120_fps(clips_4k: tuple[Path, Path]) -> None:
    frames = frames_of(CameraFile(clips_4k[0]))
    np.testing.assert_allclose([frame.time_s for frame in frames], np.arange(12) / 120, atol=1e-5)
    assert [int(frame.grey[0, 0]) for frame in frames] == pytest.approx([5 * index for index in range(12)], abs=1)


def test_memory_does_not_grow_with_the_clip(clips_4k: tuple[Path, Path]) -> None:
    program = (
        "import os, resource, sys\n"
        "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"  # As many pictures in flight on every machine.
        "from device.edges.camera_file import CameraFile\n"
        "n_frames = sum(1 for _ in iter(CameraFile(sys.argv[1]).read, None))\n"
        "print(n_frames, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    root = str(Path(__file__).parents[2])
    peaks_kib = {}
    for clip in clips_4k:
        done = subprocess.run(
            [sys.executable, "-c", program, clip],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONPATH": root},
        )
        n_frames, peak_kib = map(int, done.stdout.split())
        peaks_kib[n_frames] = peak_kib
    picture_kib = 3840 * 2160 * 1.5 / 1024
    assert peaks_kib[36] - peaks_kib[12] < 4 * picture_kib
