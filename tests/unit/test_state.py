"""The folder of the box's state, how full its disk is, and how often it failed to start."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from device.core.motiongram import MotionSettings
from device.store.disk import SHORTEST_S, free_bytes, full_problem, seconds_left, take_bytes_per_s
from device.store.starts import FILE, n_failed_starts, note_healthy, note_start
from device.store.state import state_problem
from device.store.store import TakeWriter


def test_a_folder_that_can_be_written_to_is_no_problem(tmp_path: Path) -> None:
    assert state_problem(tmp_path) is None
    (tmp_path / "takes").mkdir()
    assert state_problem(tmp_path) is None


def test_what_is_not_there_or_no_folder_is_told(tmp_path: Path) -> None:
    assert "cannot be used (No such file or directory): make the folder or mount" in str(state_problem(tmp_path / "a"))
    (tmp_path / "file").write_text("")
    assert "is not a folder" in str(state_problem(tmp_path / "file"))
    assert "cannot be used" in str(state_problem(tmp_path / "file" / "state"))


def test_a_disk_that_is_read_only_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.statvfs", lambda _: SimpleNamespace(f_flag=os.ST_RDONLY | os.ST_NOSUID))
    assert "is read-only: mount it to be written to" in str(state_problem(tmp_path))


@pytest.mark.parametrize("name", ["", "takes", "models"])
def test_what_belongs_to_others_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Asked of the system, which lets root do all: so somebody else is played here."""
    theirs = tmp_path / name
    theirs.mkdir(exist_ok=True)
    monkeypatch.setattr("os.access", lambda path, _: Path(path) != theirs)
    assert f"{theirs} may not be written to: give it to the user" in str(state_problem(tmp_path))


def test_free_space_is_that_of_the_nearest_folder(tmp_path: Path) -> None:
    assert free_bytes(tmp_path / "takes" / "0001") == pytest.approx(free_bytes(tmp_path), rel=0.1)
    assert free_bytes(tmp_path) > 0


def test_a_take_grows_as_fast_as_is_said(tmp_path: Path) -> None:
    writer = TakeWriter(tmp_path, MotionSettings(), 48_000, {})
    writer.add_columns(np.zeros((60 * 60, 112), np.float32), np.arange(60 * 60) / 60.0)
    writer.add_sound(np.zeros(60 * 48_000, np.int16), 0.0)
    n_bytes = sum(path.stat().st_size for path in writer.finish().path.iterdir())
    assert take_bytes_per_s(MotionSettings(), 60.0, 48_000) * 60.0 == pytest.approx(n_bytes, rel=0.01)


def test_recording_is_refused_before_the_reserve_is_reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("device.store.disk.free_bytes", lambda _: 2_000_000)
    assert seconds_left(tmp_path, 1000.0, 500_000) == 1500.0
    assert seconds_left(tmp_path, 1000.0, 3_000_000) == 0.0
    assert full_problem(tmp_path, 1000.0, 500_000) is None
    assert full_problem(tmp_path, 1000.0, int(2_000_000 - SHORTEST_S * 1000.0)) is None
    told = full_problem(tmp_path, 1000.0, int(2_000_001 - SHORTEST_S * 1000.0))
    assert "is full but for its reserve of 2 MB: carry takes away" in str(told)


def test_a_disk_that_does_not_answer_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Path) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("shutil.disk_usage", broken)
    assert "cannot be asked how full it is (Input/output error): check the card" in str(full_problem(tmp_path, 1.0, 1))


def test_failed_starts_are_counted_until_one_is_healthy(tmp_path: Path) -> None:
    state, run = tmp_path / "state", tmp_path / "run"
    assert n_failed_starts(state, run) == 0
    assert [note_start(state, float(now_s), run) for now_s in (5, 3, 9)] == [1, 2, 3]
    note_healthy(state, run)
    note_healthy(state, run)
    assert n_failed_starts(state, run) == 0
    assert note_start(state, 1.0, run) == 1
    assert not run.exists()


def test_starts_are_counted_in_the_run_time_folder_while_the_state_cannot_be_written(tmp_path: Path) -> None:
    state, run = tmp_path / "state", tmp_path / "run"
    assert note_start(state, 1.0, run) == 1
    (state / FILE).rename(tmp_path / "kept")
    state.rmdir()
    state.write_text("no folder: nothing can be written here")
    assert [note_start(state, 1.0, run) for _ in range(2)] == [1, 2]
    note_healthy(state, run)
    assert n_failed_starts(state, run) == 0
    assert [note_start(state, 1.0, run) for _ in range(2)] == [1, 2]
    state.unlink()
    state.mkdir()
    (tmp_path / "kept").rename(state / FILE)
    assert n_failed_starts(state, run) == 2, "what lies in the run-time folder is newer"
    assert note_start(state, 1.0, run) == 3
    assert not (run / FILE).exists()
    assert n_failed_starts(state, run) == 3


def test_without_any_place_to_count_a_box_still_starts(tmp_path: Path) -> None:
    nowhere = tmp_path / "file"
    nowhere.write_text("")
    assert note_start(nowhere, 1.0, nowhere) == 1
    note_healthy(nowhere, nowhere)


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b'{"n_starts": -1}', b'{"n_starts": true}', b'{"n_starts": 1e99}', b"[" * 9999, b"\xff"]
)
def test_a_count_that_cannot_be_read_is_none(tmp_path: Path, data: bytes) -> None:
    (tmp_path / FILE).write_bytes(data)
    assert n_failed_starts(tmp_path, tmp_path / "run") == 0
    assert note_start(tmp_path, 1.0, tmp_path / "run") == 1
