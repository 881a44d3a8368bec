"""Locks on folders, which the system lets go when their process ends, however it ends."""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from pathlib import Path

if sys.platform != "win32":
    import fcntl


LOOK_S = 0.5
"""Long enough to wait for all who only look whether a folder is locked."""


class FolderLock:
    """A folder that one process at a time works in. It writes nothing.

    Parameters
    ----------
    path : Path
        The folder.
    wait_s : float
        How long to wait for whoever has it, seconds; `LOOK_S` where others may look.

    Raises
    ------
    BlockingIOError
        Another process, or another lock of this one, holds it, and did so for all that time.
    OSError
        There is no such folder.
    """

    def __init__(self, path: Path, *, wait_s: float = 0.0) -> None:
        self._descriptor = -1
        if sys.platform == "win32":
            return
        self._descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            self._take(time.monotonic() + wait_s)
        except BlockingIOError:
            self.release()
            raise
        except OSError:
            self.release()  # A file system without locks: what can be done without them goes on.

    @property
    def descriptor(self) -> int:
        """A process that is given it keeps the folder after this one; -1 where there are no locks."""
        return self._descriptor

    def _take(self, until_s: float) -> None:
        while True:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() >= until_s:
                    raise
            time.sleep(0.002)

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
