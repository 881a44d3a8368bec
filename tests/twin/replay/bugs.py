"""Bugs that stores have had, planted where `device.store.files` meets the system: the replay must see each of them."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.twin.replay.logged_disk import LoggedDisk


class Sound:
    """`os`, without a bug, for others to have one."""

    def __init__(self, disk: LoggedDisk) -> None:
        self.disk = disk

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def fsync(self, descriptor: int) -> None:
        os.fsync(descriptor)


class FilesNotSynced(Sound):
    """A file's content is left to the system's own time."""

    def fsync(self, descriptor: int) -> None:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.fsync(descriptor)


class FoldersNotSynced(Sound):
    """A new name is left to the system's own time."""

    def fsync(self, descriptor: int) -> None:
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            os.fsync(descriptor)


class Late(Sound):
    """Remembers what is to be synced until it may be."""

    def __init__(self, disk: LoggedDisk) -> None:
        super().__init__(disk)
        self._late: list[int] = []

    def sync_later(self, descriptor: int) -> None:
        self._late.append(os.dup(descriptor))

    def sync_now(self) -> None:
        for descriptor in self._late:
            os.fsync(descriptor)
            os.close(descriptor)
        self._late = []


class RenamedFirst(Late):
    """A new file takes its name, and is synced then; between the two falls another writer's sync.

    Without that ext4 would hide it: the sync itself writes the name down.
    """

    def fsync(self, descriptor: int) -> None:
        path = str(Path(f"/proc/self/fd/{descriptor}").readlink())
        if stat.S_ISREG(os.fstat(descriptor).st_mode) and (path.endswith(".new") or "/.new-" in path):
            self.sync_later(descriptor)
        else:
            os.fsync(descriptor)

    def replace(self, old: Path, new: Path) -> None:
        Path(old).replace(new)
        other = os.open(self.disk.root / "other", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(other, b"another writer")
        os.fsync(other)
        os.close(other)
        self.sync_now()

    rename = replace


class PromisedFirst(Late):
    """What is done is told before the disk has it."""

    def __init__(self, disk: LoggedDisk) -> None:
        super().__init__(disk)
        self._tell = disk.promise
        disk.promise = self._promise  # type: ignore[method-assign]

    def fsync(self, descriptor: int) -> None:
        self.sync_later(descriptor)

    def _promise(self, what: object) -> None:
        self._tell(what)
        self.sync_now()


def _planted(kind: type[Sound]) -> Callable[[LoggedDisk], AbstractContextManager[None]]:
    @contextmanager
    def plant(disk: LoggedDisk) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("device.store.files.os", kind(disk))
            yield

    return plant


BUGS = {
    "files-not-synced": _planted(FilesNotSynced),
    "folders-not-synced": _planted(FoldersNotSynced),
    "renamed-first": _planted(RenamedFirst),
    "promised-first": _planted(PromisedFirst),
}
