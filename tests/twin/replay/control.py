"""A writer that never asks the disk for anything: what it has written must be seen lost, old and torn after cuts.

If it were not, the replay would be too kind a disk to say anything about a writer that does ask. Its own pages go to
the disk when Linux finds time, which is made to be often here; beside it, another writer syncs what is its own.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from tests.twin.replay.logged_disk import LoggedDisk

N_ROUNDS = 12
BLOCK = 4096
N_BLOCKS = 6
GROWING, OVERWRITTEN, REPLACED, NEW = "growing", "overwritten", "replaced", "new"
FATES = ("missing", "empty", "old", "torn")


@dataclass(frozen=True)
class Written:
    """What the writer believes to be on the disk, by name; each block of it holds its round's letter."""

    files: dict[str, bytes]


def write_without_sync(disk: LoggedDisk) -> None:
    """Let a file grow, write over another, replace a third, give a fourth its name when it is written: many times."""
    content = {GROWING: b""}
    for index in range(N_ROUNDS):
        block = bytes([ord("A") + index]) * BLOCK
        content[GROWING] += block
        content[OVERWRITTEN] = content[REPLACED] = content[f"{NEW}{index}"] = block * N_BLOCKS
        _write(disk.root / GROWING, block, os.O_APPEND)
        _write(disk.root / OVERWRITTEN, content[OVERWRITTEN], 0)
        for name in (REPLACED, f"{NEW}{index}"):
            _write(disk.root / "next", content[name], os.O_TRUNC)
            (disk.root / "next").replace(disk.root / name)
        disk.promise(Written(dict(content)))
        if index % 3 == 2:
            _sync_another(disk.root / "another")


def _write(path: Path, data: bytes, flags: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | flags, 0o644)
    os.write(descriptor, data)
    if not flags & os.O_TRUNC:  # Linux begins to write these pages now, and flushes nothing.
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


def _sync_another(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"another writer")
        file.flush()
        os.fsync(file.fileno())


def what_became_of(root: Path, written: Written) -> list[str]:
    """Say of each file that is not as it was written what became of it: 'missing', 'empty', 'old' or 'torn'."""
    return [f"{name} {fate}" for name, due in written.files.items() if (fate := _fate(root / name, due))]


def _fate(path: Path, due: bytes) -> str:
    if not path.exists():
        return "missing"
    found = path.read_bytes()
    if found == due or (path.name == GROWING and found.startswith(due)):
        return ""
    if not found:
        return "empty"
    if path.name == GROWING:
        return "old" if due.startswith(found) and len(found) % BLOCK == 0 else "torn"
    return "old" if len(found) == len(due) and len(set(found)) == 1 and found[:1] < due[:1] else "torn"
