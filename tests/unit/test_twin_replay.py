"""The crash replay without a disk: its log, where it cuts, what a cut may leave, and what it makes of that."""

from __future__ import annotations

import shutil
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from device.core.errors import TakeError
from device.models.bundles import FACTORY
from device.store.store import TakeWriter
from tests.power_cut import box as doings
from tests.twin.replay import control, groups, layer, logged_disk, workload
from tests.twin.replay.bugs import BUGS
from tests.twin.replay.control import Written, what_became_of
from tests.twin.replay.cuts import KEPT, LAST_ONLY, LAST_TORN, LOST, MIXED, NOT_THE_FIRST, SECTOR, Cuts, mark
from tests.twin.replay.look import from_json, to_json
from tests.twin.replay.real_box import Played, hashes, what_is_missing
from tests.twin.replay.replayed import apply, copy_sparse
from tests.twin.replay.worker import Report
from tests.twin.replay.write_log import MAGIC, Discard, Entry, Flush, Write, build_log, count_entries, read_log
from tests.twin.results import Results
from tests.twin.workbench import Workbench

DISK_BYTES = 64 * 4096


def block(number: int, letter: str, n: int = 1) -> Write:
    return Write(number * 4096, letter.encode() * 4096 * n)


def promise(number: int) -> Write:
    return Write(DISK_BYTES, mark(number))


LOG: list[Entry] = [
    block(1, "a"), promise(0), block(2, "b"), block(3, "c"), Flush(), promise(1),
    block(2, "d"), Discard(3 * 4096, 4096), block(4, "e", 2), promise(2), Flush(),
]  # fmt: skip


def write_log(path: Path, entries: list[Entry]) -> Path:
    path.write_bytes(build_log(entries))
    return path


def test_a_log_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = write_log(tmp_path / "log", LOG)
    assert read_log(path) == LOG
    assert count_entries(path) == len(LOG)
    assert read_log(path, 3) == LOG[:3]


def test_a_log_of_qemus_own_layout_is_read(tmp_path: Path) -> None:
    """Sectors of 4096 bytes, a write that is forced (FUA), and rubbish behind what the first sector counts."""
    first = struct.pack("<QQQI", MAGIC, 1, 2, 4096).ljust(4096, b"\0")
    forced = struct.pack("<QQQQ", 5, 1, 2, 0).ljust(4096, b"\0") + b"x" * 4096
    discard = struct.pack("<QQQQ", 7, 3, 4, 0).ljust(4096, b"\0")
    (tmp_path / "log").write_bytes(first + forced + discard + b"rubbish")
    assert read_log(tmp_path / "log") == [Write(5 * 4096, b"x" * 4096), Flush(), Discard(7 * 4096, 3 * 4096)]


@pytest.mark.parametrize("n_missing", [1, 4096, 4097, 4608, 5000])
def test_a_log_that_is_cut_short_is_refused(tmp_path: Path, n_missing: int) -> None:
    data = build_log(LOG[:3])
    (tmp_path / "log").write_bytes(data[:-n_missing])
    with pytest.raises(ValueError, match="flush the disk before its log is read"):
        read_log(tmp_path / "log")


def test_what_is_no_log_is_refused(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(bytes(8192))
    for read in (read_log, count_entries):
        with pytest.raises(ValueError, match="let QEMU's blklogwrites write one"):
            read(tmp_path / "log")


def test_what_was_flushed_is_never_lost_and_no_later_promise_is_looked_for() -> None:
    at = {cut.after: cut for cut in Cuts(LOG, DISK_BYTES, 0).all()}
    assert min(at) == 2, "nothing was promised before"
    assert [at[after].promise for after in range(2, 12)] == [0, 0, 0, 0, 1, 1, 1, 1, 2, 2]
    assert [at[after].flushed for after in range(2, 12)] == [0, 0, 0, 5, 5, 5, 5, 5, 5, 11]


@pytest.mark.parametrize(
    ("fate", "kept"),
    [(LOST, []), (KEPT, [0, 2, 3]), (LAST_ONLY, [3]), (NOT_THE_FIRST, [2, 3])],
)
def test_of_what_was_not_flushed_any_part_is_kept(fate: str, kept: list[int]) -> None:
    cuts = Cuts(LOG, DISK_BYTES, 0)
    (cut,) = (cut for cut in cuts.all() if (cut.after, cut.fate) == (4, fate))
    assert cuts.kept(cut) == [LOG[index] for index in kept], "and a mark is no part of the file system"


def test_the_last_write_is_torn_between_sectors() -> None:
    cuts = Cuts(LOG, DISK_BYTES, 0)
    (cut,) = (cut for cut in cuts.all() if (cut.after, cut.fate) == (9, LAST_TORN))
    (*before,) = cuts.kept(cut)
    assert before[:2] == [LOG[6], LOG[7]]
    places = [each.offset - 4 * 4096 for each in before[2:]]
    assert all(isinstance(each, Write) and each.data == b"e" * SECTOR for each in before[2:])
    assert set(places) < set(range(0, 8192, SECTOR)), "some sectors, not all"
    assert places


def test_fates_that_are_drawn_by_lot_tear_keep_and_lose() -> None:
    entries = [promise(0), *(block(index, "x") for index in range(1, 30))]
    cuts = Cuts(entries, DISK_BYTES, 1)
    drawn = [cuts.kept(cut) for cut in cuts.all() if cut.fate == MIXED and cut.after == len(entries)]
    assert len(drawn) == 3
    assert len({tuple(each) for each in map(tuple, drawn)}) == 3
    for kept in drawn:
        whole = [each for each in kept if isinstance(each, Write) and len(each.data) == 4096]
        parts = {each.offset // 4096 for each in kept} - {each.offset // 4096 for each in whole}
        assert len(whole) > 4
        assert len(parts) > 2
        assert len(whole) + len(parts) < 29


def test_the_superblock_is_not_torn() -> None:
    entries: list[Entry] = [promise(0), Write(0, b"s" * 8192)]
    for seed in range(20):
        cuts = Cuts(entries, DISK_BYTES, seed)
        (cut,) = (cut for cut in cuts.all() if cut.fate == LAST_TORN)
        n_sectors = sum(each.offset < 4096 for each in cuts.kept(cut))
        assert n_sectors in (0, 8)


def test_each_promise_is_looked_at_first_and_no_disk_twice() -> None:
    entries: list[Entry] = []
    for index in range(20):
        entries += [block(index + 1, "x"), block(index + 2, "y"), Flush(), promise(index)]
    entries += [block(1, "z"), promise(20)]
    cuts = Cuts(entries, DISK_BYTES, 0)
    for n, least, most in ((0, 21, 23), (60, 60, 60), (10_000, 150, 400)):
        chosen = cuts.chosen(n)
        assert least <= len(chosen) <= most
        assert {cut.promise for cut in chosen} == set(range(21))
        assert {cut.fate for cut in chosen if cut.promise == 20} >= {LOST, KEPT}
        disks = {(cut.flushed, cut.promise, frozenset(map(repr, cuts.kept(cut)))) for cut in chosen}
        assert len(disks) == len(chosen)
        assert [cut.after for cut in chosen] == sorted(cut.after for cut in chosen)


def test_a_disk_is_made_of_the_log_without_its_marks(tmp_path: Path) -> None:
    disk, copy = tmp_path / "disk", tmp_path / "copy"
    with disk.open("wb") as file:
        file.truncate(DISK_BYTES)
    apply(disk, [block(2, "a"), block(40, "b", 2), Write(logged_disk.DISK_BYTES, mark(3)), Discard(40 * 4096, 4096)])
    due = bytes(2 * 4096) + b"a" * 4096 + bytes(38 * 4096) + b"b" * 4096
    assert disk.read_bytes() == due.ljust(DISK_BYTES, b"\0")
    copy.write_bytes(b"old" * 1_000_000)
    copy_sparse(disk, copy)
    assert copy.read_bytes() == disk.read_bytes()
    assert copy.stat().st_blocks < 64 * 8, "what was empty stays empty"


@pytest.mark.parametrize(
    ("name", "found", "fate"),
    [
        (control.GROWING, None, "missing"),
        (control.GROWING, b"A" * 4096, "old"),
        (control.GROWING, b"A" * 4096 + b"B" * 100, "torn"),
        (control.GROWING, b"A" * 4096 + b"B" * 4096 + b"C" * 4096, None),
        (control.OVERWRITTEN, b"", "empty"),
        (control.OVERWRITTEN, b"A" * 8192, "old"),
        (control.OVERWRITTEN, b"B" * 4096 + b"A" * 4096, "torn"),
        (control.OVERWRITTEN, b"A" * 4096 + b"B" * 4096, "torn"),
        (control.OVERWRITTEN, bytes(8192), "old"),
        (control.OVERWRITTEN, b"B" * 8192, None),
    ],
)
def test_what_became_of_the_controls_files_is_told(
    tmp_path: Path, name: str, found: bytes | None, fate: str | None
) -> None:
    if found is not None:
        (tmp_path / name).write_bytes(found)
    due = b"A" * 4096 + b"B" * 4096 if name == control.GROWING else b"B" * 8192
    assert what_became_of(tmp_path, Written({name: due})) == ([f"{name} {fate}"] if fate else [])


def test_all_that_the_simulated_disk_sees_goes_through_ext4_too() -> None:
    assert set(doings.DOINGS) < set(workload.DOINGS)
    tried = {doing for group in groups.GROUPS for doing in group.doings}
    assert tried == {*workload.DOINGS, *workload.OTHERS} - {workload.CONTROL}
    assert sum(n for group in groups.GROUPS for n in group.doings.values()) >= 500
    assert all(set(group.bugs.values()) <= set(group.doings) for group in groups.GROUPS)
    assert {bug for group in groups.GROUPS for bug in group.bugs} == set(BUGS)


def results_in(folder: Path, *, planted: bool = False) -> Results:
    (folder / "replay").mkdir(parents=True)
    return Results(folder, {each.name for each in layer.CHECKS} if planted else None, say=lambda _: None)


def replayed(monkeypatch: pytest.MonkeyPatch, folder: Path, *, odd: str = "", planted: bool = False) -> list[str]:
    """Run the layer with workers that find what they should, but for one thing to do, or one bug."""

    def report(job: layer.Job) -> Report:
        is_control = job.doing == workload.CONTROL
        broken = [f"new {fate}" for fate in control.FATES] if is_control else ["a take is lost"]
        is_seen = (is_control == (job.bug is None)) != (odd in (job.doing, job.bug))
        return Report(job.doing, n_cuts=job.n_cuts, broken=broken if is_seen else [])

    monkeypatch.setattr(layer, "replay_all", lambda _work, jobs: [report(job) for job in jobs])
    monkeypatch.setattr(layer, "why_not", lambda: "")
    results = results_in(folder, planted=planted)
    with Workbench(folder / "out") as work:
        layer.run(results, work)
    assert len(results.outcomes) == len(layer.CHECKS)
    return results.failures


def test_one_broken_promise_fails_its_check(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert replayed(monkeypatch, tmp_path / "all") == []
    assert replayed(monkeypatch, tmp_path / "one", odd="tries_models") == ["replay-models"]
    assert replayed(monkeypatch, tmp_path / "control", odd=workload.CONTROL) == ["replay-can-tell"]


def test_one_bug_that_is_not_seen_fails_its_check(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert replayed(monkeypatch, tmp_path / "all", planted=True) == []
    missed = replayed(monkeypatch, tmp_path / "one", odd="renamed-first", planted=True)
    assert missed == ["replay-takes", "replay-models", "replay-deployments"]


def test_a_machine_that_cannot_replay_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(layer, "PROGRAMS", ("no-such-program",))
    results = results_in(tmp_path)
    with Workbench(tmp_path / "out") as work:
        layer.run(results, work)
    assert len(results.failures) == len(layer.CHECKS)
    assert {outcome.verdict for outcome in results.outcomes.values()} == {"NOT TESTED"}
    assert "no-such-program missing: make twin installs" in results.outcomes["replay-takes"].said


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A box that has saved a take of 2 s, and was cut off 3 s after another began."""
    state = tmp_path / "state"
    state.mkdir()
    cut_short = doings.take_was_cut_short(state)
    assert cut_short.running is not None
    writer = TakeWriter(state / "takes", doings.SETTINGS, doings.RATE_HZ, {})
    n = round(2.0 * doings.FPS)
    writer.add_columns(doings.columns_of(n, 0), np.arange(n) / doings.FPS)
    writer.add_sound(doings.sound_of(2 * doings.RATE_HZ, 0), 0.0)
    writer.finish()
    return state


def promised(state: Path, **changes: object) -> Played:
    saved = Played({"0002": hashes(state / "takes/0002")}, ("0001", 1.0), (FACTORY.name,))
    return replace(saved, **changes)  # type: ignore[arg-type]


def test_a_box_that_kept_its_promises_lacks_nothing(state: Path) -> None:
    assert what_is_missing(state, promised(state)) == []
    assert what_is_missing(state, promised(state)) == [], "nor when it starts once more"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"running": ("0001", 2.5)}, "take 0001: 2.5 s must be there"),
        ({"running": ("0003", 0.5)}, "take 0003: 0.5 s must be there"),
        ({"models": ("0123456789abcdef",)}, "bundle plays, not one of"),
    ],
)
def test_a_promise_that_was_not_kept_is_told(state: Path, changes: dict[str, object], said: str) -> None:
    (problem,) = what_is_missing(state, promised(state, **changes))
    assert said in problem


@pytest.mark.parametrize("name", ["take.json", "columns.bin", "sound.bin"])
def test_a_take_that_was_saved_and_is_not_there_as_it_was_is_told(state: Path, name: str) -> None:
    due = promised(state)
    path = state / "takes/0002" / name
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(TakeError, match="0002"):
        what_is_missing(state, due)
    shutil.rmtree(state / "takes/0002")
    assert what_is_missing(state, due) == ["take 0002 was saved, and is not there as it was"]


def test_a_take_that_was_saved_and_had_to_be_salvaged_is_told(state: Path) -> None:
    due = promised(state)
    take = state / "takes/0002"
    (take / "take.json").rename(take / "take.json.part")
    assert what_is_missing(state, due) == ["take 0002 was saved, and is not there as it was"]


def test_a_promise_is_read_as_it_was_written(state: Path) -> None:
    for due in (promised(state), promised(state, running=None, takes={})):
        assert from_json(to_json(due)) == due
