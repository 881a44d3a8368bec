"""The card is full from any operation on: what was there is there, and all goes on once there is room."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from device.core.errors import DanceSamplerError
from device.store.starts import n_failed_starts, note_healthy, note_start
from device.store.store import list_takes, salvage_all
from tests.power_cut.box import (
    BLOCK,
    FPS,
    Box,
    Promised,
    Recording,
    cheap_syncs,
    installs,
    learns_the_room,
    problems,
    record,
)
from tests.power_cut.watched_os import FullDisk


def full_boxes(tmp_path: Path, step: int = 1) -> Iterator[tuple[FullDisk, Box]]:
    """Give boxes whose disk is full from the nth operation on, for each n or every few, until one never was."""
    n_left = 0
    while True:
        root = tmp_path / str(n_left) / "disk"
        (root / "state").mkdir(parents=True)
        disk = FullDisk(root, n_left)
        with disk.in_place(), cheap_syncs():
            yield disk, Box(disk, Promised())
        if not disk.was_full:
            assert n_left > 5
            return
        n_left += step


def said_by(doing: Callable[[], object]) -> str:
    """What goes wrong, if anything does."""
    try:
        doing()
    except DanceSamplerError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(("doing", "step"), [(installs, 4), (learns_the_room, 1)])
def test_a_full_card_is_told_and_leaves_what_was_there(tmp_path: Path, doing: Callable[[Box], None], step: int) -> None:
    for disk, box in full_boxes(tmp_path, step):
        said = said_by(lambda box=box: doing(box))  # type: ignore[misc]  # bound at once
        assert ("free some space" in said) == disk.was_full
        disk.has_room = True
        assert problems(box.state, box.promised) == []
        assert [path.name for path in box.state.rglob("*.new*")] == []


def test_starts_are_counted_beside_a_full_card(tmp_path: Path) -> None:
    run = tmp_path / "run"
    for disk, box in full_boxes(tmp_path):
        assert [note_start(box.state, 0.0, run) for _ in range(4)] == [1, 2, 3, 4]
        disk.has_room = True
        assert note_start(box.state, 0.0, run) == 5
        assert n_failed_starts(box.state, tmp_path / "none") == 5
        note_healthy(box.state, run)
        assert n_failed_starts(box.state, run) == 0


def test_a_recording_on_a_full_card_keeps_all_before_it_and_can_be_ended_once_there_is_room(tmp_path: Path) -> None:
    n_kept = 0
    for disk, box in full_boxes(tmp_path):
        recordings: list[Recording] = []
        said = said_by(lambda box=box, recordings=recordings: recordings.append(Recording(box, 1.2, seed=1)))  # type: ignore[misc]
        if not recordings:
            assert "free some space" in said
            assert list_takes(box.takes_dir) == []
            continue
        recording = recordings[0]
        said = said_by(lambda recording=recording: record_all(recording))  # type: ignore[misc]
        assert ("free some space" in said) == disk.was_full
        if said:
            disk.has_room = True
            recording.writer.finish(reason="full")
            n_kept += recording.n_added > 0
        check_kept(recording, box)
    assert n_kept > 15


def record_all(recording: Recording) -> None:
    while recording.n_added < recording.n_frames:
        recording.add()
    recording.writer.finish()


def check_kept(recording: Recording, box: Box) -> None:
    (take,) = list_takes(box.takes_dir)
    assert not take.facts.salvaged
    # The frame that met the full card may be there without its sound.
    assert take.n_columns - recording.n_added in (0, 1)
    assert np.array_equal(take.columns, recording.columns[: take.n_columns])
    assert recording.n_added * BLOCK <= take.n_samples <= (recording.n_added + 1) * BLOCK
    sound = np.rint(take.sound_at(0, take.n_samples) * 32768).astype(np.int16)
    assert np.array_equal(sound, recording.sound[: take.n_samples])


def test_a_recording_on_a_full_card_can_be_let_go_and_salvaged(tmp_path: Path) -> None:
    """So it is with a box that is switched off while its card is full."""
    root = tmp_path / "disk"
    (root / "state").mkdir(parents=True)
    disk = FullDisk(root, 20)
    box = Box(disk, Promised())
    with disk.in_place(), cheap_syncs():
        recording = Recording(box, 3.0, seed=1)
        assert "free some space" in said_by(lambda: record_all(recording))
        assert "free some space" in said_by(recording.writer.finish)
        recording.writer.close()
        disk.has_room = True
        (saved,) = salvage_all(box.takes_dir)
        assert saved.take is not None
        assert saved.take.n_columns >= recording.n_added - FPS
        record(box, 0.4, seed=2)
    assert problems(box.state, box.promised) == []
