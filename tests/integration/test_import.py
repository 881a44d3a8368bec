"""Videos of every kind, good and bad, become takes or one line that says why not."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest

from device.core.motiongram import Motiongram, MotionSettings
from device.edges.camera_file import CameraFile
from device.store.store import Take, allocate, list_takes
from tests.media_files import make_sound_file, make_text_file, make_truncated, make_video, moving_bar, tone
from trainer.importing.command import import_videos
from trainer.importing.jobs import ImportTask, Outcome, side_by_side
from trainer.importing.media import read_sound
from trainer.importing.video import Advance

SETTINGS = MotionSettings()
RATE_HZ = 48_000
ROOT = Path(__file__).parents[2]


def dance(path: Path, duration_s: float = 1.0, **options: object) -> Path:
    """A bar that moves to a tone."""
    options.setdefault("sound", tone(duration_s, 48_000))
    return make_video(path, moving_bar(round(duration_s * 25)), **options)  # type: ignore[arg-type]


def imported(*videos: Path, n_jobs: int = 1) -> list[Outcome]:
    return import_videos(videos, videos[0].parent / "takes", SETTINGS, RATE_HZ, n_jobs)


def take_of(video: Path) -> Take:
    (outcome,) = imported(video)
    assert outcome.take is not None, outcome.error
    return Take.open(outcome.take)


def run_import(
    *videos: Path, limit: Callable[[], None] | None = None, jobs: int = 1
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "trainer", "import", *map(str, videos), "--jobs", str(jobs)]
    takes = ["--takes", str(videos[0].parent / "takes")]
    return subprocess.run([*command, *takes], cwd=ROOT, capture_output=True, text=True, check=False, preexec_fn=limit)


def loudest_hz(sound: npt.NDArray[np.float32]) -> float:
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    return float(np.argmax(spectrum)) * RATE_HZ / len(sound)


def test_a_take_has_the_columns_of_the_camera_and_the_sound_of_the_file(tmp_path: Path) -> None:
    video = dance(tmp_path / "dance.mp4", 2.0)
    take = take_of(video)
    camera, motiongram = CameraFile(video, SETTINGS.height, SETTINGS.width), Motiongram(SETTINGS)
    motions = [motiongram.push(frame) for frame in iter(camera.read, None)]
    assert np.array_equal(take.columns, np.stack([motion.column for motion in motions]))
    assert np.array_equal(take.times_s, [motion.time_s for motion in motions])
    sound = take.sound_at(4000, 92_000)
    assert loudest_hz(sound) == pytest.approx(440.0, abs=1.0)
    assert np.sqrt(np.mean(sound**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.02)
    assert take.facts.source["name"] == "dance.mp4"


@pytest.mark.parametrize(
    ("rate_hz", "n_channels", "codec"),
    [
        (8000, 1, "pcm_s16le"),
        (44_100, 2, "pcm_f32le"),
        (192_000, 6, "pcm_s32le"),
        (22_050, 1, "pcm_u8"),
        (48_000, 2, "flac"),
    ],
)
def test_sound_of_any_rate_and_number_of_channels(tmp_path: Path, rate_hz: int, n_channels: int, codec: str) -> None:
    sound = tone(1.0, rate_hz, n_channels=n_channels)
    take = take_of(dance(tmp_path / "dance.mkv", sound=sound, sound_rate_hz=rate_hz, sound_codec=codec))
    assert take.n_samples == pytest.approx(RATE_HZ, abs=4)
    ideal = tone(1.0, RATE_HZ)[:, 0]
    inner = slice(2000, -2000)
    assert np.abs(take.sound_at(0, RATE_HZ)[inner] - ideal[inner]).max() < (0.01 if codec == "pcm_u8" else 2e-4)


def test_channels_are_averaged(tmp_path: Path) -> None:
    left_only = tone(1.0, 48_000, n_channels=2) * np.array([1.0, 0.0], np.float32)
    take = take_of(dance(tmp_path / "dance.mkv", sound=left_only))
    assert np.abs(take.sound_at(0, RATE_HZ)).max() == pytest.approx(0.25, abs=0.001)


@pytest.mark.parametrize("sound_start_s", [0.0, 0.25, 1.5])
@pytest.mark.parametrize("name", ["dance.mkv", "dance.mp4", "dance.mov"])
def test_a_flash_and_a_click_at_one_time_stay_together(tmp_path: Path, name: str, sound_start_s: float) -> None:
    flash_s = 2.0
    pictures = [np.full((48, 64), 255 if index == 50 else 0, np.uint8) for index in range(75)]
    sound = np.zeros(3 * 48_000, np.float32)
    sound[round((flash_s - sound_start_s) * 48_000) :][:480] = 0.9
    take = take_of(make_video(tmp_path / name, pictures, sound=sound, sound_start_s=sound_start_s))
    flash = take.times_s[np.argmax(take.columns.mean(axis=1))]
    first_loud = int(np.argmax(np.abs(take.sound_at(0, take.n_samples)) > 0.45))
    assert take.time_of(first_loud) == pytest.approx(flash, abs=0.002)
    assert flash == pytest.approx(flash_s, abs=0.001)


def test_variable_frame_rate_keeps_its_times(tmp_path: Path) -> None:
    times_s = np.cumsum(np.tile([0.02, 0.05, 0.03, 0.1], 10)) - 0.02
    video = make_video(tmp_path / "phone.mp4", moving_bar(40), times_s, sound=tone(2.0, 48_000))
    assert take_of(video).times_s == pytest.approx(times_s, abs=1e-4)


def make_sound_with_jumps(path: Path, starts_s: list[float], rate_hz: int = 48_000) -> Path:
    """Blocks of half a second of a constant, each at its own time."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=rate_hz, layout="mono")
        for start_s in starts_s:
            frame = av.AudioFrame.from_ndarray(np.full((1, rate_hz // 2), 8192, np.int16), "s16", "mono")
            frame.sample_rate, frame.time_base = rate_hz, Fraction(1, rate_hz)
            frame.pts = round(start_s * rate_hz)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def joined(blocks: Iterator[tuple[float, npt.NDArray[np.float32]]]) -> tuple[list[float], npt.NDArray[np.float32]]:
    times_s, samples = zip(*blocks, strict=True)
    return list(times_s), np.concatenate(samples)


def test_a_gap_in_the_sound_is_silence(tmp_path: Path) -> None:
    times_s, sound = joined(read_sound(make_sound_with_jumps(tmp_path / "gap.mkv", [0.0, 1.5, 2.0]), RATE_HZ))
    assert len(sound) == pytest.approx(2.5 * RATE_HZ, abs=2)
    assert np.abs(sound[25_000:71_000]).max() < 1e-3
    assert sound[73_000:110_000] == pytest.approx(0.25, abs=1e-3)
    assert times_s[0] == pytest.approx(0.0, abs=0.002)


def test_sound_that_overlaps_is_heard_once(tmp_path: Path) -> None:
    _, sound = joined(read_sound(make_sound_with_jumps(tmp_path / "overlap.mkv", [0.0, 0.4, 0.9]), RATE_HZ))
    assert len(sound) == pytest.approx(1.4 * RATE_HZ, abs=2)


def test_sound_whose_clock_drifts_keeps_its_samples_and_its_times(tmp_path: Path) -> None:
    starts_s = [index * 0.5005 for index in range(40)]
    blocks = list(read_sound(make_sound_with_jumps(tmp_path / "drift.mkv", starts_s), RATE_HZ))
    times_s, sound = joined(iter(blocks))
    n_last = len(blocks[-1][1])
    assert len(sound) == pytest.approx(20.0 * RATE_HZ, abs=2)
    assert sound == pytest.approx(0.25, abs=0.04)
    assert times_s[-1] - (len(sound) - n_last) / RATE_HZ == pytest.approx(39 * 0.0005, abs=0.001)


def test_a_rate_that_changes_on_the_way_is_followed(tmp_path: Path) -> None:
    both = tmp_path / "both.ts"
    with both.open("wb") as file:
        for rate_hz in (48_000, 32_000):
            part = make_sound_file(tmp_path / f"{rate_hz}.ts", tone(2.0, rate_hz), rate_hz, "mp2")
            file.write(part.read_bytes())
    _, sound = joined(read_sound(both, RATE_HZ))
    assert len(sound) / RATE_HZ == pytest.approx(4.0, abs=0.1)
    for heard in (sound[20_000:80_000], sound[110_000:170_000]):
        assert loudest_hz(heard) == pytest.approx(440.0, abs=2.0)


def test_the_time_of_each_block_is_that_of_the_file_at_any_rate(tmp_path: Path) -> None:
    video = make_sound_file(tmp_path / "song.mkv", tone(3.0, 8000), 8000)
    n_before = 0
    for time_s, samples in read_sound(video, RATE_HZ):
        assert time_s == pytest.approx(n_before / RATE_HZ, abs=0.0015)
        n_before += len(samples)


def test_4k_at_120_fps_becomes_a_take_in_flat_memory(tmp_path: Path) -> None:
    def pictures(n: int) -> Iterator[npt.NDArray[np.uint8]]:
        picture = np.zeros((2160, 3840), np.uint8)
        for index in range(n):
            picture[:] = 0
            picture[:, index * 20 : index * 20 + 400] = 255
            yield picture

    options = {"preset": "ultrafast"}
    peaks_mb = []
    for n in (20, 56):
        video = tmp_path / f"{n}.mp4"
        make_video(video, pictures(n), fps=120, sound=tone(n / 120, 48_000), options=options)
        script = (
            "import resource, sys; from pathlib import Path; from tests.integration.test_import import *\n"
            "assert take_of(Path(sys.argv[1])).n_columns == int(sys.argv[2])\n"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"
        )
        command = [sys.executable, "-c", script, str(video), str(n)]
        peaks_mb.append(float(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    assert peaks_mb[1] < peaks_mb[0] + 100, "36 frames more, of 12 MB each, must not stay in memory"


def no_picture(path: Path) -> Path:
    return make_sound_file(path, tone(1.0, 48_000), 48_000)


def nothing_in_it(path: Path) -> Path:
    path.touch()
    return path


def folder(path: Path) -> Path:
    path.mkdir()
    return path


BAD: dict[str, tuple[Callable[[Path], Path], str]] = {
    "no sound": (lambda path: make_video(path, moving_bar(25)), "has no sound"),
    "no picture": (no_picture, "has no picture"),
    "one frame": (lambda path: make_video(path, moving_bar(1), sound=tone(1.0, 48_000)), "too short"),
    "short sound": (lambda path: dance(path, sound=tone(0.03, 48_000)), "too short"),
    "late sound": (lambda path: dance(path, sound_start_s=5.0), "too short"),
    "text": (make_text_file, "not a video"),
    "nothing in it": (nothing_in_it, "not a video"),
    "not there": (lambda path: path, "there is no video"),
    "a folder": (folder, "not a file"),
    "no index": (lambda path: make_truncated(dance(path.with_name("whole.mp4")), path), "cut off"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_video_is_one_line_and_leaves_nothing(tmp_path: Path, what: str) -> None:
    make, message = BAD[what]
    (outcome,) = imported(make(tmp_path / "bad.mp4"))
    assert outcome.take is None
    assert message in outcome.error
    assert "bad.mp4" in outcome.error
    assert "\n" not in outcome.error
    assert not (tmp_path / "takes").exists()


def test_a_video_cut_off_is_imported_as_far_as_it_goes_and_says_so(tmp_path: Path) -> None:
    whole = dance(tmp_path / "whole.mkv", 8.0)
    done = run_import(make_truncated(whole, tmp_path / "cut.mkv", keep=0.6))
    (take,) = list_takes(tmp_path / "takes")
    assert done.returncode == 0
    assert "cut off" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert 0.5 < take.duration_s < 7.9


def test_bad_videos_do_not_stop_good_ones(tmp_path: Path) -> None:
    good = [dance(tmp_path / f"{name}.mp4", sound=tone(1.0, 48_000, f0_hz)) for name, f0_hz in (("a", 300), ("b", 400))]
    text, silent = make_text_file(tmp_path / "list.mp4"), make_video(tmp_path / "silent.mp4", moving_bar(25))
    done = run_import(good[0], text, silent, good[1], jobs=2)
    assert done.returncode == 1
    assert [line.split(":")[0] for line in done.stderr.splitlines()] == ["trainer", "trainer"]
    assert sorted(line.split()[1] for line in done.stdout.splitlines()) == ["a.mp4", "b.mp4"]
    takes = list_takes(tmp_path / "takes")
    assert [take.facts.source["name"] for take in takes] == ["a.mp4", "b.mp4"]
    assert {path.name for path in (tmp_path / "takes").iterdir() if path.is_dir()} == {take.path.name for take in takes}


def test_several_at_once_are_numbered_in_order_and_equal_one_by_one(tmp_path: Path) -> None:
    videos = [dance(tmp_path / f"{n}.mp4", duration_s) for n, duration_s in enumerate((3.0, 0.5, 1.0))]
    outcomes = imported(*videos, n_jobs=3)
    assert [outcome.take and outcome.take.name for outcome in outcomes] == ["0001", "0002", "0003"]
    for again, outcome in zip(imported(*videos), outcomes, strict=True):
        assert again.take is not None
        assert outcome.take is not None
        for name in ("columns.bin", "sound.bin", "take.json"):
            assert (again.take / name).read_bytes() == (outcome.take / name).read_bytes()


def test_the_same_video_twice_is_allowed_and_said(tmp_path: Path) -> None:
    video = dance(tmp_path / "dance.mp4")
    assert imported(video)[0].notes == ()
    (again,) = imported(video)
    assert again.take is not None
    assert "also in take 0001" in again.notes[0]


def test_sound_that_ends_early_is_said(tmp_path: Path) -> None:
    (outcome,) = imported(dance(tmp_path / "dance.mp4", 3.0, sound=tone(1.0, 48_000)))
    assert outcome.take is not None
    assert "ends 1.9 s before" in outcome.notes[0] or "ends 2.0 s before" in outcome.notes[0]


def test_quiet_in_a_pipe_and_a_bar_when_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    video = dance(tmp_path / "dance.mp4")
    assert run_import(video).stderr == ""
    import_videos([video], tmp_path / "takes", SETTINGS, RATE_HZ, 1, progress=True)
    assert "importing: 100%" in capsys.readouterr().err


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path, jobs: int) -> None:
    """Files may not grow beyond 60 kB, which stands for a full disk."""
    videos = [dance(tmp_path / f"{n}.mp4", 3.0) for n in range(2)]
    done = run_import(*videos, jobs=jobs, limit=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000)))
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 2
    assert all("cannot be written" in line for line in done.stderr.splitlines())
    assert "0.mp4" in done.stderr
    assert not (tmp_path / "takes").exists()


def test_a_place_that_cannot_hold_takes_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "takes").write_text("not a folder")
    done = run_import(dance(tmp_path / "dance.mp4"))
    assert done.returncode == 1
    assert "cannot be written" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_no_jobs_is_wrong_use(tmp_path: Path) -> None:
    assert run_import(dance(tmp_path / "dance.mp4"), jobs=0).returncode == 2


class Fragile(ImportTask):
    """A decoder that takes its process with it at one video."""

    def run(self, video: Path, folder: Path, advance: Advance) -> Outcome:
        if video.name == "poison.mp4":
            (folder / "columns.bin").write_bytes(b"half")
            os.kill(os.getpid(), signal.SIGKILL)
        return super().run(video, folder, advance)


def test_a_video_that_kills_its_decoder_stops_no_other(tmp_path: Path) -> None:
    videos = [tmp_path / "poison.mp4", dance(tmp_path / "dance.mp4")]
    task = Fragile(tmp_path / "takes", SETTINGS, RATE_HZ)
    outcomes = dict(side_by_side(task, videos, 2, lambda _: None))
    assert outcomes[0].take is None
    assert "poison.mp4 ended its decoder" in outcomes[0].error
    assert [take.path for take in list_takes(tmp_path / "takes")] == [outcomes[1].take]
    assert not (tmp_path / "takes" / "0001").exists()


def test_an_interrupted_import_leaves_nothing(tmp_path: Path) -> None:
    videos = [dance(tmp_path / f"{n}.mp4") for n in range(2)]
    command = [sys.executable, "-m", "trainer", "import", *map(str, videos), "--jobs", "2"]
    takes_dir = tmp_path / "takes"
    with subprocess.Popen(
        [*command, "--takes", str(takes_dir)], cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        while not (takes_dir / "0002").exists():
            with suppress(subprocess.TimeoutExpired):
                assert process.wait(timeout=0.01) is None
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert errors.splitlines() == ["trainer: interrupted"]
    assert not takes_dir.exists()


def test_help_names_what_is_needed() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "trainer", "import", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "VIDEO" in done.stdout
    assert "--takes" in done.stdout


def test_prepare_counts_what_import_made(tmp_path: Path) -> None:
    imported(dance(tmp_path / "dance.mp4", 5.0))
    command = [sys.executable, "-m", "trainer", "prepare", "--takes", str(tmp_path / "takes"), "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    counted = json.loads(done.stdout)
    assert counted["n_training"] > 50
    assert counted["takes"][0]["fps"] == pytest.approx(25.0, abs=0.1)
    allocate(tmp_path / "takes")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "0002 was cut short" in done.stderr
