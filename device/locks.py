"""Locks on folders, which the system lets go when their process ends, however it ends."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

if sys.platform != "win32":
    import fcntl


class FolderLock:
    """A folder that one process at a time works in. It writes nothing.

    Parameters
    ----------
    path : Path
        The folder.
    wait : bool
        Until it is free; for a folder that nobody else does more with than look whether it is locked.

    Raises
    ------
    BlockingIOError
        Another process, or another lock of this one, holds it, and `wait` is false.
    OSError
        There is no such folder.
    """

    def __init__(self, path: Path, *, wait: bool = False) -> None:
        self._descriptor = -1
        if sys.platform == "win32":
            return
        self._descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            self.release()
            raise
        except OSError:
            self.release()  # A file system without locks: what can be done without them goes on.

    def release(self) -> None:
        """Let others in. May be called twice."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def is_locked(path: Path) -> bool:
    """Whether somebody works in a folder now."""
    with suppress(FileNotFoundError, NotADirectoryError):
        try:
            FolderLock(path).release()
        except BlockingIOError:
            return True
    return False
