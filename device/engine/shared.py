"""Memory and doorbells that processes share; both go to a process when it is started, and vanish with the last one."""

from __future__ import annotations

import mmap
import os
import select
import threading
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing import reduction
from multiprocessing.connection import Connection, Pipe
from typing import Any

import numpy as np
import numpy.typing as npt

Layout = Mapping[str, tuple[tuple[int, ...], str]]
"""Name of an array -> its shape and dtype."""

_ALIGNMENT = 64  # a cache line: what two processes write does not share one
_lock = threading.Lock()


def fence() -> None:
    """Return when all that was written before is seen by other processors before what is written after.

    Processors such as the Pi's may reorder writes. Python has no fence of its own, but taking a lock is one: nothing
    moves up over its taking, nothing down over its letting go, and the second taking not over the first letting go.
    """
    with _lock:
        pass
    with _lock:
        pass


class SharedArrays:
    """Named arrays in memory that processes share.

    Parameters
    ----------
    layout : Layout
        What to make; all zeros.

    Notes
    -----
    An anonymous file of the system's memory (memfd_create(2)): it has no name that could be left behind, and pages that
    nobody wrote take no memory. It is sent with the arguments of a process that is started, in no other way.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = dict(layout)
        self._fd = os.memfd_create("dance-sampler", os.MFD_CLOEXEC)
        os.ftruncate(self._fd, max(self._n_bytes(), mmap.PAGESIZE))
        self._map()

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        return self._arrays[name]

    def __getstate__(self) -> dict[str, Any]:
        return {"layout": self._layout, "fd": reduction.DupFd(self._fd)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._layout = state["layout"]
        self._fd = state["fd"].detach()
        self._map()

    def __del__(self) -> None:
        # The arrays keep the mapping; the descriptor is not needed for it.
        if fd := self.__dict__.pop("_fd", None):
            os.close(fd)

    def _n_bytes(self) -> int:
        return sum(_padded(shape, dtype) for shape, dtype in self._layout.values())

    def _map(self) -> None:
        memory = mmap.mmap(self._fd, max(self._n_bytes(), mmap.PAGESIZE))
        self._arrays: dict[str, npt.NDArray[Any]] = {}
        start = 0
        for name, (shape, dtype) in self._layout.items():
            self._arrays[name] = np.ndarray(shape, dtype, memory, start)
            start += _padded(shape, dtype)


def _padded(shape: tuple[int, ...], dtype: str) -> int:
    n_bytes = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    return -(-n_bytes // _ALIGNMENT) * _ALIGNMENT


class Bell:
    """Wakes another process: many may ring, one waits."""

    def __init__(self) -> None:
        self._reader, self._writer = Pipe(duplex=False)
        for end in (self._reader, self._writer):
            os.set_blocking(end.fileno(), False)

    def ring(self) -> None:
        """Wake whoever waits; never waits itself."""
        with suppress(BlockingIOError):  # It has been rung 65,536 times and not been heard: it is ringing.
            os.write(self._writer.fileno(), b"\0")

    def wait(self, timeout_s: float, *also: Connection) -> bool:
        """Wait until it rings; all rings up to now count as one.

        Parameters
        ----------
        timeout_s : float
        *also : Connection
            What else ends the wait, when it can be read.

        Returns
        -------
        bool
            Whether it rang.
        """
        poll = select.poll()
        for each in (self._reader, *also):
            poll.register(each.fileno(), select.POLLIN)
        if all(fd != self._reader.fileno() for fd, _ in poll.poll(1000.0 * timeout_s)):
            return False
        os.read(self._reader.fileno(), 1 << 16)
        return True
