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


class NotSynced(Sound):
    """Forgets to sync what is of one kind, and leaves it to the system's own time."""

    kind = ""
    """Name of the function of `stat` that tells it."""

    def fsync(self, descriptor: int) -> None:
        if not getattr(stat, self.kind)(os.fstat(descriptor).st_mode):
            os.fsync(descriptor)


class FilesNotSynced(NotSynced):
    """What a file holds is left to the system's own time."""

    kind = "S_ISREG"


class FoldersNotSynced(NotSynced):
    """What a folder names is left to the system's own time."""

    kind = "S_ISDIR"


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


IN_ALL_PROCESSES = """\
import os, stat
sync = os.fsync
os.fsync = lambda file: None if stat.{kind}(os.fstat(file).st_mode) else sync(file)
"""
"""Python runs a file `sitecustomize.py` at its start, wherever its path leads to one."""


def _planted(kind: type[Sound]) -> Callable[[LoggedDisk], AbstractContextManager[None]]:
    @contextmanager
    def plant(disk: LoggedDisk) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("device.store.files.os", kind(disk))
            if issubclass(kind, NotSynced):
                patch.setenv("PYTHONPATH", f"{_start_file(disk, kind.kind)}:{os.environ.get('PYTHONPATH', '')}")
            yield

    return plant


def _start_file(disk: LoggedDisk, kind: str) -> Path:
    """Plant it in each Python that is started from here on, too."""
    folder = disk.root.parent / "planted"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(IN_ALL_PROCESSES.format(kind=kind))
    return folder


BUGS = {
    "files-not-synced": _planted(FilesNotSynced),
    "folders-not-synced": _planted(FoldersNotSynced),
    "renamed-first": _planted(RenamedFirst),
    "promised-first": _planted(PromisedFirst),
}
