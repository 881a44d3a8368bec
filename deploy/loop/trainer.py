"""The trainer for `deploy loop`: its commands, each a process of the Python that runs this."""

from __future__ import annotations

import importlib.util
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import IO, Protocol

from deploy.errors import InterruptedWorkError
from deploy.ssh import last_line
from device.core.errors import DanceSamplerError, UsageError

NEEDED = ("trainer", "tensorflow")
_SAYS = "trainer: "
"""How the trainer's own lines begin."""


class TrainerError(DanceSamplerError, RuntimeError):
    """A command of the trainer came to nothing."""


def check_trainer() -> None:
    """Make sure, before any work, that there is a trainer.

    Raises
    ------
    UsageError
        It is not installed.
    """
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f"{missing[0]} is not installed, which trains: run make trainer, then use .venv/bin/python")


class Trainer(Protocol):
    """Runs the trainer's commands."""

    def run(self, *arguments: str) -> str:
        """Run a command to its end, and give what it printed.

        Raises
        ------
        TrainerError
            It failed, and why.
        InterruptedWorkError
            The user ended it.
        """


class TrainerProcesses:
    """Runs `python -m trainer ...`: see `Trainer`.

    Parameters
    ----------
    lock : int
        A descriptor that each process keeps open: should this program be killed, its training is not begun once more
        beside itself.
    """

    def __init__(self, lock: int) -> None:
        self._lock = lock
        self._is_shown = sys.stderr.isatty()

    def run(self, *arguments: str) -> str:
        """Run a command; on a terminal it shows its own progress."""
        with tempfile.TemporaryFile() as said:
            code, out = self._run(arguments, said)
            said.seek(0)
            lines = [line for line in said.read().decode(errors="replace").splitlines() if line.startswith(_SAYS)]
        if code != 0:
            why = last_line("\n".join(lines)).removeprefix(_SAYS) or (
                "look above" if self._is_shown else f"exit {code}"
            )
            raise TrainerError(f"trainer {arguments[0]} failed: {why}")
        for line in lines:
            print(line, file=sys.stderr)
        return out.decode(errors="replace")

    def _run(self, arguments: Sequence[str], said: IO[bytes]) -> tuple[int, bytes]:
        # In a session of its own it does not hear a terminal's Ctrl-C: it is told once, and may end in order.
        process = subprocess.Popen(
            [sys.executable, "-m", "trainer", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=None if self._is_shown else said,
            start_new_session=True,
            pass_fds=(self._lock,) if self._lock >= 0 else (),
        )
        try:
            out, _ = process.communicate()
        except KeyboardInterrupt as error:
            process.send_signal(signal.SIGINT)
            process.communicate()
            raise InterruptedWorkError("interrupted: the same command goes on from there") from error
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        return process.returncode, out
