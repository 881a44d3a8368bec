"""Chunks on their way to a file: whole ones, or none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from device.core.take import Chunks, seal
from device.store.files import SyncedFile


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
    n_safe : int
        Columns or samples that the disk has.
    """

    def __init__(self, path: Path, dtype: np.dtype[np.void], magic: bytes, capacity: int) -> None:
        self.chunk: Chunks = np.zeros(1, dtype)
        self.n_added = 0
        self.n_safe = 0
        self._magic = magic
        self._capacity = capacity
        self._n_chunks = 0
        self._count = 0
        self._file = SyncedFile(path, fresh=True)

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
        try:
            self._file.write(self.chunk.view(np.uint8).data)
        except OSError:
            self._file.cut(self._n_chunks * self.chunk.itemsize)
            raise
        self._n_chunks += 1
        self._count = 0
        # What a part-filled last chunk has beyond its count is zeros, so that equal takes are equal files.
        self.chunk.view(np.uint8)[:] = 0

    def sync(self) -> None:
        """Wait until the disk has every chunk that was written; a disk that has them already is left alone."""
        n_written = self.n_added - self._count
        if n_written > self.n_safe:
            self._file.sync()
            self.n_safe = n_written

    def close(self) -> None:
        """Let the file go; what is in `chunk` is lost unless it was flushed. May be called twice."""
        self._file.close()
