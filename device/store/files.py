"""The one low level under all that the box writes: nothing here is done before the disk has it.

Every write of the store goes through this file, and every call that changes a disk through `os` here, so that a test
can stand in for the disk and pull the plug between any two of them. A file is new, or it is written beside its old
self, synced and renamed over it; a name is there for certain only after its folder was synced.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from device.core.errors import TakeError

_ROOM = "free some space or choose another folder"
_RIGHTS = "choose a folder that you may write to"
_REMEDIES = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EACCES: _RIGHTS,
    errno.EPERM: _RIGHTS,
    errno.EROFS: _RIGHTS,
    errno.ENOTDIR: _RIGHTS,
    errno.EEXIST: _RIGHTS,
}
_BINARY = getattr(os, "O_BINARY", 0)


@contextmanager
def explained(path: Path, kind: type[Exception] = TakeError) -> Iterator[None]:
    """Turn what the system says about a failed write into an error of ours that says what to do."""
    try:
        yield
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0, "check the disk")
        raise kind(f"{path} cannot be written ({error.strerror or error}): {remedy}") from error


class SyncedFile:
    """A file that is being written, byte after byte, without a buffer of ours.

    Parameters
    ----------
    path : Path
    fresh : bool
        It must not exist; otherwise what it held is gone at once.
    keeps : bool
        What it held stays instead: `cut` says where to go on.
    """

    def __init__(self, path: Path, *, fresh: bool, keeps: bool = False) -> None:
        kind = os.O_EXCL if fresh else 0 if keeps else os.O_TRUNC
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | kind | _BINARY, 0o666)
        self._lost: OSError | None = None

    def write(self, data: memoryview | bytes) -> None:
        """Append all of `data`."""
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]

    def cut(self, size: int) -> None:
        """Forget what lies beyond `size` bytes, and go on there."""
        os.ftruncate(self._descriptor, size)
        os.lseek(self._descriptor, size, os.SEEK_SET)

    def sync(self) -> None:
        """Wait until the disk has all of it.

        Raises
        ------
        OSError
            The disk failed, now or before: what it once lost, no later sync of Linux would tell of.
        """
        if self._lost is not None:
            raise self._lost
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            self._lost = error
            raise

    def close(self) -> None:
        """Let the file go. May be called twice."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def write_synced(path: Path, data: bytes) -> None:
    """Write a file and wait until the disk has its content; its name is there once the folder is synced."""
    file = SyncedFile(path, fresh=False)
    try:
        file.write(data)
        file.sync()
    finally:
        file.close()


def replace_synced(path: Path, data: bytes) -> None:
    """Write a file so that at any time, a pulled plug included, the old content is there or the new."""
    new = path.with_name(path.name + ".new")
    try:
        write_synced(new, data)
        os.replace(new, path)
    except OSError:
        with suppress(OSError):
            os.unlink(new)
        raise
    sync_path(path.parent)


def link_synced(path: Path, target: str) -> None:
    """Point a symbolic link elsewhere: at any time it is there as it was, or as it will be."""
    new = path.with_name(path.name + ".new")
    with suppress(FileNotFoundError):
        os.unlink(new)
    os.symlink(target, new)
    sync_path(path.parent)  # a link cannot be synced itself: only so is it there before it takes the other's place
    os.replace(new, path)
    sync_path(path.parent)


def rename_synced(old: Path, new: Path) -> None:
    """Rename what is synced itself, within its folder, and wait until the disk has the name."""
    os.rename(old, new)
    sync_path(new.parent)


def make_folders(path: Path) -> None:
    """Make a folder and those above it that are missing, each known to the disk before the next is made."""
    if path.is_dir():
        return
    make_folders(path.parent)
    with suppress(FileExistsError):
        os.mkdir(path)
    if not path.is_dir():
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    sync_path(path.parent)


def make_folder(path: Path) -> None:
    """Make one folder, which must not exist, and wait until the disk has its name."""
    os.mkdir(path)
    sync_path(path.parent)


def remove_file(path: Path) -> None:
    """Remove a file if it is there; nobody is kept waiting, and after a pulled plug it may be back."""
    with suppress(FileNotFoundError):
        os.unlink(path)


def remove_tree(path: Path) -> None:
    """Remove a folder with all that is in it, links as links; what cannot be removed is left.

    A pulled plug may leave any part of it: give the folder a name that means nothing first.
    """
    with suppress(OSError):
        for entry in sorted(path.iterdir()):
            if stat.S_ISDIR(entry.lstat().st_mode):
                remove_tree(entry)
            else:
                os.unlink(entry)
        os.rmdir(path)


def sync_path(path: Path) -> None:
    """Wait until the disk has a file, or the names in a folder. Where folders cannot be opened the system does so."""
    if sys.platform != "win32":
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
