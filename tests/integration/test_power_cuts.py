"""The plug is pulled after every single thing that the store does to a disk, with every fate of what was not synced.

`POWER_CUT_MIXES=500` before the command looks at that many more mixed fates of each cut.
"""

from __future__ import annotations

import ast
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from device.store import files
from tests.power_cut.box import BEFORE, DOINGS, Box, Promised, cheap_syncs, problems
from tests.power_cut.disk import cut_everywhere
from tests.power_cut.watched_os import InPlace, NoFileSync, NoFolderSync, RemoveFirst, RenameBeforeSync, WatchedOs

MEMORY = Path("/dev/shm")  # noqa: S108  # a folder of its own is made there: so many small ones are slow on a disk
N_MIXED = int(os.environ.get("POWER_CUT_MIXES", "6"))
# Disks that differ, after cuts that differ: what is far below has stopped looking.
LEAST_DISKS = {
    "records": 300,
    "records_where_takes_were_deleted": 60,
    "salvages": 6,
    "abandons": 80,
    "installs": 120,
    "tries_models": 100,
    "learns_the_room": 20,
    "starts_again_and_again": 20,
}
LEAST_CUTS = 250


def watched(tmp_path: Path, doing: str, kind: type[WatchedOs] = WatchedOs) -> Box:
    """Do something on a watched disk."""
    root = tmp_path / "disk"
    (root / "state").mkdir(parents=True)
    with cheap_syncs():
        promised = BEFORE[doing](root / "state") if doing in BEFORE else Promised()
    box = Box(kind(root), promised)
    with box.disk.in_place():
        box.promise()
        DOINGS[doing](box)
    return box


def cut(box: Box, n_mixed: int = N_MIXED) -> Iterator[tuple[str, list[str]]]:
    """Cut the power everywhere, start again, and give where it was cut with what is wrong then."""
    with cheap_syncs(), tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        root = Path(folder) / "disk"
        for remains in cut_everywhere(box.disk.start, box.disk.operations, Promised(), n_mixed):
            remains.tree.write_to(root)
            yield f"{remains.fate}, {remains.done}", problems(root / "state", remains.promised)
            shutil.rmtree(root)


@pytest.mark.parametrize("doing", DOINGS)
def test_nothing_that_was_promised_is_lost_wherever_the_power_is_cut(tmp_path: Path, doing: str) -> None:
    box = watched(tmp_path, doing)
    assert box.disk.unseen() == [], "the store wrote past device.store.files, where no power can be cut"
    n_disks = 0
    for where, wrong in cut(box):
        assert wrong == [], where
        n_disks += 1
    assert n_disks >= LEAST_DISKS[doing]


def test_the_power_is_cut_often_enough(tmp_path: Path) -> None:
    assert sum(watched(tmp_path / doing, doing).disk.n_changes for doing in DOINGS) >= LEAST_CUTS


ROOT = Path(__file__).parents[2]
# What these write is made on a workstation, or lies in a scratch folder that nobody misses.
NOT_OF_THE_STATE = ("bundle_folder.py", "bundles.py", "remote/models.py")
WRITERS = sorted(
    path
    for folder in ("store", "models", "remote")
    for path in (ROOT / "device" / folder).glob("*.py")
    if not str(path).endswith(NOT_OF_THE_STATE)
)
CHANGES = {
    "copyfile", "copytree", "fsync", "hardlink_to", "link", "makedirs", "mkdir", "move", "remove", "removedirs",
    "rename", "rmdir", "rmtree", "symlink", "symlink_to", "touch", "truncate", "unlink", "write_bytes", "write_text",
}  # fmt: skip


def changes_of_a_disk(source: str) -> list[str]:
    """Give the calls in a source that change a disk, but for those of `os` in the one file whose `os` is watched."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            name, of = node.func.attr, ast.unparse(node.func.value)
            given = [*node.args, *(keyword.value for keyword in node.keywords)]
            modes = [each.value for each in given if isinstance(each, ast.Constant)]
            is_path_replaced = name == "replace" and len(node.args) == 1
            is_written = (
                name == "open"
                and of != "tarfile"
                and any(isinstance(mode, str) and set(mode) & set("wax+") for mode in modes)
            )
            if name in CHANGES or is_path_replaced or is_written:
                found.append(f"{of}.{name}")
    return found


@pytest.mark.parametrize("path", WRITERS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_the_store_changes_the_disk_in_one_place_only(path: Path) -> None:
    is_that_place = path == Path(files.__file__)
    found = changes_of_a_disk(path.read_text(encoding="utf-8"))
    assert [call for call in found if not (is_that_place and call.startswith("os."))] == []
    assert bool(found) == is_that_place


@pytest.mark.parametrize(
    "call",
    ['a.open("wb")', "a.write_text(b)", "new.replace(a)", "shutil.rmtree(a)", 'path.open(mode="x")', "a.unlink()"],
)
def test_a_call_that_changes_a_disk_is_found(call: str) -> None:
    assert len(changes_of_a_disk(call)) == 1


REPLACING = ["installs", "learns_the_room", "starts_again_and_again"]
ONCE = ["records_where_takes_were_deleted", "salvages", "abandons"]
CAUGHT: dict[type[WatchedOs], list[str]] = {
    NoFileSync: ["records", *ONCE, *REPLACING],
    NoFolderSync: ["records", *ONCE, *REPLACING],
    RenameBeforeSync: [*ONCE, *REPLACING],
    InPlace: [*ONCE, *REPLACING],
    RemoveFirst: REPLACING,  # of a take nothing is ever replaced
}


@pytest.mark.parametrize(("bug", "doing"), [(bug, doing) for bug, doings in CAUGHT.items() for doing in doings])
def test_a_bug_that_is_planted_is_caught(tmp_path: Path, bug: type[WatchedOs], doing: str) -> None:
    """Each stands for a bug that stores have had; it is planted where `device.store.files` meets the disk."""
    assert any(wrong for _, wrong in cut(watched(tmp_path, doing, bug), n_mixed=1))


def test_a_write_past_the_watched_disk_is_seen(tmp_path: Path) -> None:
    box = watched(tmp_path, "starts_again_and_again")
    (box.state / "starts.json").write_text("{}")
    (box.state / "more.json").write_text("{}")
    assert box.disk.unseen() == ["state/more.json", "state/starts.json"]
