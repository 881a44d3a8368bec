"""Writes that survive a pulled plug: synced before they are renamed, chunks that are whole or not there."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from device.core.errors import TakeError
from device.core.take import Chunks, seal

_REMEDIES = {
    errno.ENOSPC: "free some space or choose another folder",
    errno.EDQUOT: "free some space or choose another folder",
    errno.EACCES: "choose a folder that you may write to",
    errno.EPERM: "choose a folder that you may write to",
    errno.EROFS: "choose a folder that you may write to",
    errno.ENOTDIR: "choose a folder that you may write to",
    errno.EEXIST: "choose a folder that you may write to",
}


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what the system says about a failed write into a TakeError that says what to do."""
    try:
        yield
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0, "check the disk")
        raise TakeError(f"{path} cannot be written ({error.strerror or error}): {remedy}") from error


def write_synced(path: Path, data: bytes) -> None:
    """Write a file and wait until the disk has it."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def replace_synced(path: Path, data: bytes) -> None:
    """Write a file so that at any time, a pulled plug included, the old content is there or the new."""
    new = path.with_name(path.name + ".new")
    try:
        write_synced(new, data)
        new.replace(path)
    except OSError:
        new.unlink(missing_ok=True)
        raise
    sync_path(path.parent)


def sync_path(path: Path) -> None:
    """Wait until the disk has a file, or the names in a folder. Where folders cannot be opened the system does so."""
    if os.name == "posix":
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class ChunkFile:
    """Chunks on their way to a new file. The caller fills `chunk` where `places` says.

    Parameters
    ----------
    path : Path
        Must not exist.
    dtype : np.dtype
        `column_dtype` or `sound_dtype`.
    capacity : int
        Columns or samples in a full chunk.

    Attributes
    ----------
    chunk : np.ndarray, shape (1,), of `dtype`
        The chunk that is being filled.
    n_added : int
        Columns or samples so far.
    n_synced_chunks : int
        Chunks that the disk has.
    """

    def __init__(self, path: Path, dtype: np.dtype[np.void], magic: bytes, capacity: int) -> None:
        self.chunk: Chunks = np.zeros(1, dtype)
        self.n_added = 0
        self.n_synced_chunks = 0
        self._magic = magic
        self._capacity = capacity
        self._n_chunks = 0
        self._count = 0
        self._file = path.open("xb", buffering=0)

    def places(self, n: int) -> Iterator[tuple[int, int, int]]:
        """Where `n` new columns or samples go: (first of them, how many, place in `chunk`); full chunks are written."""
        first = 0
        while first < n:
            if self._count == self._capacity:
                self.flush()
            n_here = min(self._capacity - self._count, n - first)
            yield first, n_here, self._count
            self._count += n_here
            self.n_added += n_here
            first += n_here
        if self._count == self._capacity:
            self.flush()

    def flush(self) -> None:
        """Write the chunk as it is; a file that cannot take all of it keeps none of it.

        Raises
        ------
        OSError
            The chunk is kept, and written by the next call that succeeds.
        """
        if self._count == 0:
            return
        seal(self.chunk, self._magic, self._n_chunks, self._count)
        data = self.chunk.view(np.uint8).data
        try:
            while data:
                data = data[self._file.write(data) :]
        except OSError:
            whole = self._n_chunks * self.chunk.itemsize
            self._file.truncate(whole)
            self._file.seek(whole)
            raise
        self._n_chunks += 1
        self._count = 0
        # What a part-filled last chunk has beyond its count is zeros, so that equal takes are equal files.
        self.chunk.view(np.uint8)[:] = 0

    def sync(self) -> None:
        """Wait until the disk has every chunk that was written."""
        if not self._file.closed:
            os.fsync(self._file.fileno())
            self.n_synced_chunks = self._n_chunks

    def close(self) -> None:
        """Let the file go; what is in `chunk` is lost unless it was flushed. May be called twice."""
        self._file.close()
