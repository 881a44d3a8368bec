"""Takes on disk: what is written comes back, whatever happens in between."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from itertools import chain, count
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from device.core.errors import TakeError
from device.core.motiongram import MotionSettings
from device.core.take import COLUMN_MAGIC, SAMPLES_PER_CHUNK, column_dtype, seal
from device.store.locks import FolderLock
from device.store.store import (
    Take,
    TakeWriter,
    allocate,
    incomplete_takes,
    is_being_recorded,
    list_takes,
    salvage,
    salvage_all,
)

SETTINGS = MotionSettings(height=4, width=6)
RATE_HZ = 8000
FPS = 50.0

Columns = npt.NDArray[np.float32]


def columns_of(n: int) -> Columns:
    return np.random.default_rng(n).random((n, 10), dtype=np.float32)


def sound_of(n: int) -> npt.NDArray[np.int16]:
    return np.random.default_rng(n).integers(-32768, 32768, n).astype(np.int16)


def record(takes_dir: Path, n_columns: int = 100, n_samples: int = 16_000, **options: object) -> TakeWriter:
    """A take that is not finished yet."""
    writer = TakeWriter(takes_dir, SETTINGS, RATE_HZ, {"name": "test"}, **options)  # type: ignore[arg-type]
    writer.add_columns(columns_of(n_columns), np.arange(n_columns) / FPS)
    writer.add_sound(sound_of(n_samples), 0.0)
    return writer


@pytest.mark.parametrize("n_columns", [1, 15, 16, 17, 100])
@pytest.mark.parametrize("n_samples", [1, 4096, 10_000])
def test_what_was_recorded_comes_back(tmp_path: Path, n_columns: int, n_samples: int) -> None:
    take = record(tmp_path, n_columns, n_samples).finish()
    assert take.path == tmp_path / "0001"
    assert (take.n_columns, take.n_samples, take.rate_hz, take.settings) == (n_columns, n_samples, RATE_HZ, SETTINGS)
    assert np.array_equal(take.columns, columns_of(n_columns))
    assert np.array_equal(take.times_s, np.arange(n_columns) / FPS)
    assert np.array_equal(take.sound_at(0, n_samples) * 32768, sound_of(n_samples))
    assert sorted(path.name for path in take.path.iterdir()) == ["columns.bin", "sound.bin", "take.json"]


def test_pieces_of_any_size_give_the_same_files(tmp_path: Path) -> None:
    whole = record(tmp_path, n_columns=98).finish()
    writer = TakeWriter(tmp_path, SETTINGS, RATE_HZ, {"name": "test"})
    steps = np.random.default_rng(3)
    first = 0
    while first < 16_000:
        n = int(steps.integers(0, 700))
        writer.add_sound(sound_of(16_000)[first : first + n], first / RATE_HZ)
        first += n
    for index in range(98):
        writer.add_columns(columns_of(98)[index : index + 1], np.array([index / FPS]))
    pieced = writer.finish()
    written = (whole.path / "columns.bin").read_bytes()
    assert written == (pieced.path / "columns.bin").read_bytes()
    assert not any(written[-2 * 10 * 4 :]), "what is not used of the last chunk holds earlier columns"
    assert np.array_equal(whole.sound_at(0, 16_000), pieced.sound_at(0, 16_000))
    assert pieced.sample_of(1.0) == pytest.approx(8000.0, abs=0.01)


def test_a_take_of_the_first_format_is_read_and_salvaged(tmp_path: Path) -> None:
    """Its chunks hold 16 columns, and its facts know nothing of cancelled takes."""
    take = record(tmp_path).finish()
    chunks = np.zeros(7, column_dtype(10, 16))
    for index, first in enumerate(range(0, 100, 16)):
        n = min(100 - first, 16)
        chunks["columns"][index, :n] = columns_of(100)[first : first + n]
        chunks["times_s"][index, :n] = np.arange(first, first + n) / FPS
        seal(chunks[index : index + 1], COLUMN_MAGIC, index, n)
    (take.path / "columns.bin").write_bytes(chunks.tobytes())
    facts = json.loads((take.path / "take.json").read_text())
    for name in ("cancelled", "notes", "columns_per_chunk"):
        del facts[name]
    (take.path / "take.json").write_text(json.dumps({**facts, "format": 1}))
    old = Take.open(take.path)
    assert np.array_equal(old.columns, columns_of(100))
    assert np.array_equal(old.columns_at(13, 37), columns_of(100)[13:37])
    assert (old.facts.cancelled, old.facts.notes) == (False, {})
    (take.path / "take.json").rename(take.path / "take.json.part")
    assert np.array_equal(salvage(take.path).columns, columns_of(100))
    assert Take.open(take.path).facts.columns_per_chunk == 16


def test_a_cancelled_take_is_kept_and_marked(tmp_path: Path) -> None:
    path = record(tmp_path).finish(cancelled=True, n_dropped=3, clipped=False, camera="a").path
    (take,) = list_takes(tmp_path)
    assert take.path == path
    assert take.facts.cancelled
    assert take.facts.notes == {"n_dropped": 3, "clipped": False, "camera": "a"}
    assert not record(tmp_path).finish().facts.cancelled


def test_a_note_that_cannot_be_written_is_told_and_the_take_can_still_be_finished(tmp_path: Path) -> None:
    writer = record(tmp_path)
    with pytest.raises(TakeError, match="notes"):
        writer.finish(levels=[1, 2])
    writer.add_sound(sound_of(10), 2.0)
    assert writer.finish(level_dbfs=-12.5).facts.notes == {"level_dbfs": -12.5}


def test_slices_are_those_of_the_whole(tmp_path: Path) -> None:
    take = record(tmp_path).finish()
    columns, sound = take.columns, take.sound_at(0, 16_000)
    for start, stop in [(0, 0), (0, 1), (15, 17), (16, 32), (31, 99), (90, 200), (-5, 3), (50, 40), (200, 300)]:
        assert np.array_equal(take.columns_at(start, stop), columns[max(start, 0) : max(stop, 0)])
    for start, stop in [(0, 4096), (4095, 4097), (5000, 15_999), (8192, 8192)]:
        assert np.array_equal(take.sound_at(start, stop), sound[start:stop])


def test_outside_of_the_take_is_silence(tmp_path: Path) -> None:
    take = record(tmp_path).finish()
    around = take.sound_at(-100, 16_100)
    assert np.array_equal(around[100:-100], take.sound_at(0, 16_000))
    assert not around[:100].any()
    assert not around[-100:].any()
    assert not take.sound_at(20_000, 20_010).any()


def test_clocks_with_jitter_and_an_offset_line_up(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    with_offset_s, rate_hz = 2.5, RATE_HZ * (1 + 100e-6)
    writer = TakeWriter(tmp_path, SETTINGS, RATE_HZ, {})
    writer.add_columns(columns_of(10), np.arange(10) / FPS)
    n_blocks, block = 7500, np.zeros(128, np.int16)
    for index in range(n_blocks):
        writer.add_sound(block, with_offset_s + index * 128 / rate_hz + rng.uniform(-0.002, 0.002))
    take = writer.finish()
    for sample in range(0, n_blocks * 128, 50_000):
        assert take.sample_of(with_offset_s + sample / rate_hz) == pytest.approx(sample, abs=0.002 * RATE_HZ)
        assert take.time_of(sample) == pytest.approx(with_offset_s + sample / rate_hz, abs=0.002)


def test_numbers_only_grow(tmp_path: Path) -> None:
    first, second, third = (record(tmp_path).finish() for _ in range(3))
    shutil.rmtree(first.path)
    shutil.rmtree(third.path)
    assert record(tmp_path).finish().path.name == "0004"
    assert [take.number for take in list_takes(tmp_path)] == [second.number, 4]


def test_numbers_go_beyond_four_digits(tmp_path: Path) -> None:
    (tmp_path / "9999").mkdir()
    assert allocate(tmp_path).name == "10000"


def allocate_25(takes_dir: Path) -> list[str]:
    return [allocate(takes_dir).name for _ in range(25)]


def test_processes_never_share_a_number(tmp_path: Path) -> None:
    with ProcessPoolExecutor(4, get_context("spawn")) as pool:
        names = list(chain.from_iterable(pool.map(allocate_25, [tmp_path] * 4)))
    assert sorted(names) == [f"{number:04d}" for number in range(1, 101)]


def test_other_things_in_the_folder_are_left_alone(tmp_path: Path) -> None:
    record(tmp_path).finish()
    (tmp_path / "notes.txt").write_text("louder")
    (tmp_path / "old").mkdir()
    assert len(list_takes(tmp_path)) == 1
    assert list_takes(tmp_path / "nowhere") == []


def test_abandoned_leaves_nothing(tmp_path: Path) -> None:
    writer = record(tmp_path)
    writer.abandon()
    writer.abandon()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(TakeError, match="ended"):
        writer.add_sound(sound_of(10), 0.0)


def test_abandoning_a_finished_take_keeps_it(tmp_path: Path) -> None:
    writer = record(tmp_path)
    take = writer.finish()
    writer.abandon()
    assert Take.open(take.path).n_columns == 100


@pytest.mark.parametrize("missing", ["motion", "sound"])
def test_a_take_needs_motion_and_sound(tmp_path: Path, missing: str) -> None:
    writer = record(tmp_path, n_columns=0) if missing == "motion" else record(tmp_path, n_samples=0)
    with pytest.raises(TakeError, match=f"no {missing}"):
        writer.finish()
    writer.close()
    assert incomplete_takes(tmp_path) == [tmp_path / "0001"]


def test_columns_that_cannot_be_are_refused_and_spoil_nothing(tmp_path: Path) -> None:
    writer = record(tmp_path)
    one = columns_of(1)
    bad: list[tuple[Columns, list[float]]] = [
        (one[:, :9], [9.0]),
        (one, [9.0, 9.1]),
        (one * np.float32(np.nan), [9.0]),
        (one, [float("nan")]),
        (one, [1.98]),
        (np.concatenate([one, one]), [9.0, 9.0]),
    ]
    for columns, times_s in bad:
        with pytest.raises(TakeError):
            writer.add_columns(columns, np.array(times_s))
    for samples, time_s in ((np.zeros((2, 2), np.float32), 0.0), (np.zeros(2, np.float32), float("inf"))):
        with pytest.raises(TakeError):
            writer.add_sound(samples, time_s)
    assert np.array_equal(writer.finish().columns, columns_of(100))


def test_an_incomplete_take_says_how_to_salvage_it(tmp_path: Path) -> None:
    record(tmp_path).close()
    with pytest.raises(TakeError, match=r"cut short.*takes salvage .*0001"):
        Take.open(tmp_path / "0001")
    assert list_takes(tmp_path) == []
    assert incomplete_takes(tmp_path) == [tmp_path / "0001"]


def test_salvage_keeps_whole_chunks_and_cuts_nothing_off(tmp_path: Path) -> None:
    writer = record(tmp_path, n_columns=99, n_samples=10_000)
    writer.close()
    folder = tmp_path / "0001"
    for name in ("columns.bin", "sound.bin"):
        with (folder / name).open("ab") as file:
            file.write(b"half a chunk")
    sizes = {name: (folder / name).stat().st_size for name in ("columns.bin", "sound.bin")}
    take = salvage(folder)
    assert take.facts.salvaged
    assert (take.n_columns, take.n_samples) == (96, 2 * SAMPLES_PER_CHUNK)
    assert np.array_equal(take.columns, columns_of(99)[:96])
    assert {name: (folder / name).stat().st_size for name in sizes} == sizes
    assert [found.path for found in list_takes(tmp_path)] == [folder]
    assert incomplete_takes(tmp_path) == []


@pytest.mark.parametrize("name", ["columns.bin", "sound.bin"])
def test_a_damaged_chunk_is_an_error_and_salvage_goes_up_to_it(tmp_path: Path, name: str) -> None:
    take = record(tmp_path).finish()
    data = bytearray((take.path / name).read_bytes())
    data[len(data) // 2] ^= 1
    (take.path / name).write_bytes(data)
    with pytest.raises(TakeError, match=r"damaged.*salvage"):
        Take.open(take.path)
    saved = salvage(take.path)
    assert saved.facts.salvaged
    assert saved.n_columns == (48 if name == "columns.bin" else 100)
    assert saved.n_samples == (2 * SAMPLES_PER_CHUNK if name == "sound.bin" else 16_000)


def test_salvage_leaves_a_whole_take_as_it_is(tmp_path: Path) -> None:
    take = record(tmp_path).finish()
    before = (take.path / "take.json").read_bytes()
    assert not salvage(take.path).facts.salvaged
    assert (take.path / "take.json").read_bytes() == before


@pytest.mark.parametrize("cut", [0, 1, 500, 5000, 17_000])
@pytest.mark.parametrize("name", ["columns.bin", "sound.bin"])
def test_a_file_cut_anywhere_is_an_error(tmp_path: Path, name: str, cut: int) -> None:
    take = record(tmp_path).finish()
    path = take.path / name
    os.truncate(path, min(cut, path.stat().st_size - 1))
    with pytest.raises(TakeError):
        Take.open(take.path)


@pytest.mark.parametrize(
    "left", [[], ["take.json.part"], ["take.json.part", "columns.bin"], ["columns.bin", "sound.bin"]]
)
def test_nothing_to_salvage_says_delete(tmp_path: Path, left: list[str]) -> None:
    record(tmp_path).close()
    for path in (tmp_path / "0001").iterdir():
        if path.name not in left:
            path.unlink()
    with pytest.raises(TakeError, match="delete"):
        salvage(tmp_path / "0001")
    with pytest.raises(TakeError, match="when it is not, delete it, nothing in it can be salvaged"):
        Take.open(tmp_path / "0001")


@pytest.mark.parametrize("name", ["columns.bin", "sound.bin"])
@pytest.mark.parametrize("finish", [True, False])
def test_a_first_chunk_that_is_spoilt_says_delete_at_once(tmp_path: Path, name: str, finish: bool) -> None:
    writer = record(tmp_path)
    if finish:
        writer.finish()
    writer.close()
    data = bytearray((writer.path / name).read_bytes())
    data[100] ^= 1
    (writer.path / name).write_bytes(data)
    with pytest.raises(TakeError, match="delete it, nothing in it can be salvaged"):
        Take.open(writer.path)
    with pytest.raises(TakeError, match="nothing can be salvaged"):
        salvage(writer.path)


def test_facts_of_a_newer_program_are_no_reason_to_delete(tmp_path: Path) -> None:
    record(tmp_path).close()
    part = tmp_path / "0001" / "take.json.part"
    part.write_text(json.dumps({**json.loads(part.read_text()), "format": 3}))
    with pytest.raises(TakeError, match="takes salvage"):
        Take.open(tmp_path / "0001")
    with pytest.raises(TakeError, match="update the program"):
        salvage(tmp_path / "0001")


def edited(take: Take, **changes: object) -> Path:
    path = take.path / "take.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return take.path


@pytest.mark.parametrize(
    "changes",
    [
        {"n_columns": 10**18},
        {"n_samples": 2**63},
        {"n_columns": 99},
        {"n_samples": 15_999},
        {"n_columns": 0},
        {"n_columns": 16},
        {"motion": {"height": 40, "width": 60, "difference_time_s": 0.04, "threshold": 0.04, "filter": "regular"}},
    ],
)
def test_a_take_that_is_not_as_it_says_is_refused(tmp_path: Path, changes: dict[str, object]) -> None:
    path = edited(record(tmp_path).finish(), **changes)
    with pytest.raises(TakeError):
        Take.open(path)


def test_links_and_folders_in_place_of_files_are_refused(tmp_path: Path) -> None:
    take = record(tmp_path).finish()
    for name in ("columns.bin", "sound.bin", "take.json"):
        for replace in (lambda path: path.symlink_to("/etc/passwd"), Path.mkdir):
            kept = (take.path / name).rename(tmp_path / name)
            replace(take.path / name)
            with pytest.raises(TakeError):
                Take.open(take.path)
            (take.path / name).rename(tmp_path / "away")
            shutil.rmtree(tmp_path / "away") if (tmp_path / "away").is_dir() else (tmp_path / "away").unlink()
            kept.rename(take.path / name)
    assert Take.open(take.path).n_columns == 100


def test_no_folder_and_no_place_are_told(tmp_path: Path) -> None:
    with pytest.raises(TakeError, match="no take"):
        Take.open(tmp_path / "0009")
    (tmp_path / "file").write_text("")
    with pytest.raises(TakeError, match="cannot be written"):
        TakeWriter(tmp_path / "file" / "takes", SETTINGS, RATE_HZ, {})


RECORDER = """
import sys
from itertools import count
from pathlib import Path
import numpy as np
from tests.unit.test_store import FPS, RATE_HZ, SETTINGS, ticking
from device.store.store import TakeWriter
writer = TakeWriter(Path(sys.argv[1]), SETTINGS, RATE_HZ, {}, clock=ticking())
for index in count():
    writer.add_columns(np.full((1, 10), index, np.float32), np.array([index / FPS]))
    writer.add_sound(np.full(160, index % 1000, np.int16), index / FPS)
    print(writer.n_safe_columns, writer.n_safe_samples, flush=True)
"""


def test_what_is_being_recorded_is_not_salvaged(tmp_path: Path) -> None:
    recording, cut = record(tmp_path), record(tmp_path)
    cut.close()
    (tmp_path / "0003").mkdir()
    assert [is_being_recorded(path) for path in (recording.path, cut.path)] == [True, False]
    with pytest.raises(TakeError, match="is being recorded: stop"):
        salvage(recording.path)
    saved, lost = salvage_all(tmp_path)
    assert (saved.path, saved.why_not) == (cut.path, "")
    assert saved.take is not None
    assert saved.take.n_columns == 100
    assert (lost.path, lost.take) == (tmp_path / "0003", None)
    assert "delete it" in lost.why_not
    assert recording.finish().n_columns == 100
    assert salvage_all(tmp_path / "nowhere") == []


def test_two_do_not_record_into_one_folder(tmp_path: Path) -> None:
    first = record(tmp_path)
    with pytest.raises(TakeError, match="another take is being recorded into"):
        TakeWriter(tmp_path, SETTINGS, RATE_HZ, {}, folder=first.path)
    assert first.finish().n_columns == 100


def test_who_looks_whether_a_folder_is_locked_is_in_nobodys_way(tmp_path: Path) -> None:
    folder = allocate(tmp_path)
    looks = FolderLock(folder)
    threading.Timer(0.05, looks.release).start()
    writer = record(tmp_path, folder=folder)
    writer.close()
    looks = FolderLock(folder)
    threading.Timer(0.05, looks.release).start()
    assert salvage(folder).n_columns == 100


def test_a_clock_that_ran_backwards_changes_no_order(tmp_path: Path) -> None:
    first, second = record(tmp_path).finish(), record(tmp_path).finish()
    os.utime(first.path, (4e9, 4e9))
    os.utime(second.path, (0, 0))
    assert [take.path for take in list_takes(tmp_path)] == [first.path, second.path]
    assert allocate(tmp_path).name == "0003"


def test_a_killed_recorder_loses_nothing_that_it_called_safe(tmp_path: Path) -> None:
    command = [sys.executable, "-c", RECORDER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as recorder:
        assert recorder.stdout is not None
        safe = (0, 0)
        while safe < (200, 0):
            n_columns, n_samples = recorder.stdout.readline().split()
            safe = (int(n_columns), int(n_samples))
        assert is_being_recorded(tmp_path / "0001")
        assert salvage_all(tmp_path) == []
        os.kill(recorder.pid, signal.SIGKILL)
        *_, last = [safe, *(tuple(map(int, line.split())) for line in recorder.stdout if line.endswith("\n"))]
    (saved,) = salvage_all(tmp_path)
    take = saved.take
    assert take is not None
    assert take.n_columns >= last[0] >= 200
    assert take.n_samples >= last[1] > SAMPLES_PER_CHUNK
    assert np.array_equal(take.columns[:, 0], np.arange(take.n_columns, dtype=np.float32))
    expected = np.repeat(np.arange(take.n_samples // 160 + 1) % 1000, 160)[: take.n_samples]
    assert np.array_equal(take.sound_at(0, take.n_samples) * 32768, expected)


def ticking() -> Callable[[], float]:
    """A clock that goes on by a second whenever it is read, so that everything is synced."""
    return map(float, count()).__next__


def test_a_full_disk_keeps_what_was_recorded(tmp_path: Path) -> None:
    """Files may not grow beyond a limit of the process, which stands for a full disk; what fits can be salvaged."""
    script = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from device.core.errors import TakeError\n"
        "from tests.unit.test_store import *\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "writer = record(Path(sys.argv[1]), 100, 8192)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))\n"
        "try:\n"
        "    writer.add_sound(sound_of(20_000), 1.0)\n"
        "except TakeError as error:\n"
        "    print(error)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))\n"
        "print(writer.finish().n_samples)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True)
    message, n_samples = done.stdout.splitlines()
    assert "cannot be written" in message
    assert int(n_samples) == 8192 + 4096
    take = Take.open(tmp_path / "0001")
    assert take.n_columns == 100
    assert np.array_equal(take.sound_at(0, 8192) * 32768, sound_of(8192))


def test_what_a_failing_disk_lost_is_never_called_safe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux tells of a failed sync once; the next succeeds, and the data is gone."""
    writer = record(tmp_path, clock=ticking())
    safe = writer.n_safe_columns
    real, fails = os.fsync, iter([True])

    def fsync(descriptor: int) -> None:
        if next(fails, False):
            raise OSError(errno.EIO, "Input/output error")
        real(descriptor)

    monkeypatch.setattr("device.store.files.os.fsync", fsync)
    with pytest.raises(TakeError, match=r"Input/output error.*check the disk"):
        writer.add_columns(columns_of(50), np.arange(100, 150) / FPS)
    for go_on in (lambda: writer.add_columns(columns_of(8), np.arange(150, 158) / FPS), writer.finish):
        with pytest.raises(TakeError, match="Input/output error"):
            go_on()
    assert writer.n_safe_columns == safe > 0
    writer.close()
    assert salvage(writer.path).n_columns >= safe


def test_ten_minutes_are_one_take(tmp_path: Path) -> None:
    writer = TakeWriter(tmp_path, SETTINGS, 48_000, {})
    writer.add_columns(np.zeros((36_000, 10), np.float32), np.arange(36_000) / 60)
    writer.add_sound(np.zeros(48_000 * 600, np.int16), 0.0)
    take = Take.open(writer.finish().path, check=False)
    assert take.sample_of(300.0) == pytest.approx(48_000 * 300, abs=1)
    assert take.columns_at(18_000, 18_050).shape == (50, 10)
    assert take.n_columns == 36_000
