"""A folder on a stick that anyone may have prepared: entered name by name, never through a link, plain files only.

Every call is relative to a folder that is open already, so that no link on the stick can lead to the box's own files.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

MOST_NAMES = 10_000
"""A folder with more is not read to its end."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # without waiting, should it be a pipe


class StickFolder:
    """An open folder; close it, or use it in a `with`.

    Parameters
    ----------
    descriptor : int
        Is this one's from now on.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def open(cls, path: Path) -> StickFolder:
        """Open the stick's own folder: where it is mounted."""
        return cls(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))

    def __enter__(self) -> StickFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let it go. May be called twice."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            with suppress(OSError):  # of a stick that was pulled
                os.close(descriptor)

    @property
    def free_bytes(self) -> int:
        """Bytes that can still be written to the stick."""
        status = os.fstatvfs(self._descriptor)
        return status.f_bavail * status.f_frsize

    def enter(self, name: str, *, make: bool = False) -> StickFolder:
        """Open a folder in this one.

        Raises
        ------
        OSError
            There is none, or what has that name is a link or no folder.
        """
        if make:
            with suppress(FileExistsError):
                os.mkdir(name, 0o777, dir_fd=self._descriptor)
        return StickFolder(os.open(name, _FOLDER, dir_fd=self._descriptor))

    def has(self, name: str) -> bool:
        """Whether there is anything of that name."""
        try:
            os.stat(name, dir_fd=self._descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def sizes(self) -> dict[str, int]:
        """Give the plain files in it with their sizes, in bytes; what else lies there is left out."""
        found = {}
        for name in self.names():
            with suppress(FileNotFoundError):
                status = os.stat(name, dir_fd=self._descriptor, follow_symlinks=False)
                if stat.S_ISREG(status.st_mode):
                    found[name] = status.st_size
        return found

    def names(self) -> list[str]:
        """Give the names of all that lies in it, the first `MOST_NAMES`."""
        found = []
        with os.scandir(self._descriptor) as entries:
            for entry in entries:
                found.append(entry.name)
                if len(found) == MOST_NAMES:
                    break
        return found

    @contextmanager
    def file(self, name: str, flags: int) -> Iterator[int]:
        """Open a plain file in it; give its descriptor.

        Raises
        ------
        OSError
            It cannot be opened, or is no plain file.
        """
        descriptor = os.open(name, flags | _FILE, 0o666, dir_fd=self._descriptor)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(errno.EINVAL, "not a plain file", name)
            yield descriptor
        finally:
            with suppress(OSError):
                os.close(descriptor)

    def read(self, name: str, most_bytes: int) -> bytes:
        """Read a plain file, up to so many bytes and one more, so that a longer one is told from one that fits."""
        data = b""
        with self.file(name, os.O_RDONLY) as descriptor:
            while len(data) <= most_bytes and (piece := os.read(descriptor, min(1 << 20, most_bytes + 1 - len(data)))):
                data += piece
        return data

    def write(self, name: str, data: bytes) -> None:
        """Write a plain file, and wait until the stick has it."""
        with self.file(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) as descriptor:
            while data:
                data = data[os.write(descriptor, data) :]
            os.fsync(descriptor)

    def rename(self, name: str, new_name: str) -> None:
        """Give something in it another name, that nothing has."""
        if self.has(new_name):
            raise FileExistsError(errno.EEXIST, "there already", new_name)
        os.rename(name, new_name, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)

    def remove(self, name: str) -> None:
        """Remove a file or link; one that is not there is no error."""
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._descriptor)

    def remove_folder(self, name: str) -> None:
        """Remove a folder and the files in it; a folder in that folder is left, and so is it then."""
        with self.enter(name) as folder:
            for each in folder.names():
                folder.remove(each)
        os.rmdir(name, dir_fd=self._descriptor)

    def sync(self) -> None:
        """Wait until the stick has its names."""
        os.fsync(self._descriptor)
