"""A command on a terminal of its own, as a user has it: what is typed, what is seen, Ctrl-C."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

PATIENCE_S = 60.0
CTRL_C = "\x03"
_TAKE_IT = """
import fcntl, os, signal, sys, termios
signal.signal(signal.SIGINT, signal.SIG_DFL)
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""
"""Only where the terminal is its session's own, Ctrl-C is a signal; who was started in the background ignores it."""


class Terminal:
    """The command runs until `ended`.

    Parameters
    ----------
    command : sequence of str
    cwd : Path
    environment : mapping of str to str

    Attributes
    ----------
    seen : str
        All that was shown.
    """

    def __init__(self, command: Sequence[str], cwd: Path, environment: Mapping[str, str]) -> None:
        self.seen = ""
        self._ours, theirs = pty.openpty()
        self._process = subprocess.Popen(
            [sys.executable, "-c", _TAKE_IT, *command], cwd=cwd, env=dict(environment),
            stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        )  # fmt: skip
        os.close(theirs)

    def until(self, words: str) -> None:
        """Wait until something is seen."""
        until_s = time.monotonic() + PATIENCE_S
        while words not in self.seen:
            assert time.monotonic() < until_s, self.seen
            assert self._read(), self.seen

    def type(self, text: str) -> None:
        """Type."""
        os.write(self._ours, text.encode())

    def ended(self) -> int:
        """Wait for the end; give the exit code."""
        while self._read():
            pass
        os.close(self._ours)
        return self._process.wait(PATIENCE_S)

    def _read(self) -> bool:
        """Take in what is shown; tell whether there may be more."""
        assert select.select([self._ours], [], [], PATIENCE_S)[0], self.seen
        data = b""
        with suppress(OSError):  # the other end is closed
            data = os.read(self._ours, 4096)
        self.seen += data.decode(errors="replace")
        return bool(data)
