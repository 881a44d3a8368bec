"""The parts of the engine as processes: how one is started, what it says and what it is told.

They are forked from a server that has imported the program and done nothing else: a part starts within milliseconds,
shares the program's memory, and inherits no thread and no driver.
"""

from __future__ import annotations

import logging
import multiprocessing
import pickle
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from device.core.errors import DanceSamplerError
from device.engine.realtime import be_child

_log = logging.getLogger(__name__)

PRELOADED = [
    "device.engine.camera_process",
    "device.capture.microphone",
    "device.engine.model_process",
    "device.capture.recorder_process",
    "device.engine.sound_process",
]
END_S = 2.0
"""A process that was killed is gone by then, unless a driver keeps it."""

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(PRELOADED)


class PartEndedError(DanceSamplerError, RuntimeError):
    """A process of the engine ended unasked."""


class Part:
    """The child's end: what it says to its parent and hears from it."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def say(self, word: str, content: Any = None) -> None:
        """Tell the parent."""
        self.connection.send((word, content))

    def hear(self) -> tuple[str, Any]:
        """Wait for what the parent says: a word and its content.

        Raises
        ------
        EOFError
            The parent is gone.
        """
        word, content = self.connection.recv()
        return word, content

    def wait_for(self, word: str) -> Any:
        """Wait until the parent says this word; give its content."""
        while True:
            heard, content = self.hear()
            if heard == word:
                return content


def run_part(name: str, part: Part, body: Callable[[], None]) -> None:
    """Run the body of a process; what goes wrong is told to the parent."""
    be_child(name)
    try:
        body()
    except DanceSamplerError as error:
        part.say("failed", error)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # The parent is gone: nobody is left to be told.
    except Exception as error:  # noqa: BLE001 - logged here, and raised again by the parent
        _log.exception("the %s's process has failed", name)
        part.say("failed", _sendable(error))


def _sendable(error: Exception) -> Exception:
    try:
        pickle.dumps(error)
    except Exception:  # noqa: BLE001 - whatever keeps it from being sent
        return PartEndedError(f"{type(error).__name__}: {error}")
    return error


class Child:
    """The parent's end of a process.

    Parameters
    ----------
    name : str
    main : callable
        Called in the process with its `Part` and the setup.
    setup : object
        Picklable.
    """

    def __init__(self, name: str, main: Callable[[Part, Any], None], setup: object) -> None:
        self.name = name
        self._connection, theirs = _context.Pipe()
        self._process: BaseProcess = _context.Process(
            target=main, args=(Part(theirs), setup), name=f"dance-{name}", daemon=True
        )
        self._process.start()
        theirs.close()
        self._is_told = False

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid or 0

    @property
    def is_alive(self) -> bool:
        """Whether it still runs."""
        return self._process.is_alive()

    def tell(self, word: str, content: Any = None) -> None:
        """Say something to the process; one that has ended does not hear it."""
        try:
            self._connection.send((word, content))
        except (BrokenPipeError, ConnectionResetError):
            _log.debug("the %s's process has ended and was not told '%s'", self.name, word)

    def heard(self) -> list[tuple[str, Any]]:
        """Give what the process has said since the last call; at its end, once, ('gone', None)."""
        said: list[tuple[str, Any]] = []
        try:
            while self._connection.poll():
                said.append(self._connection.recv())
        except (EOFError, ConnectionResetError):
            if not self._is_told:
                self._is_told = True
                said.append(("gone", None))
        return said

    @property
    def ear(self) -> Connection:
        """For `wait_for_any`."""
        return self._connection

    @property
    def is_gone(self) -> bool:
        """Whether 'gone' was heard."""
        return self._is_told

    def end(self, patience_s: float = 0.0) -> None:
        """End the process, by force if it has not ended by itself in this time."""
        self._process.join(patience_s)
        if self._process.is_alive():
            # No gentler: it tidies nothing up at a signal, and one that is stopped would only hear this one.
            self._process.kill()
            self._process.join(END_S)
        self._connection.close()


def wait_for_any(children: list[Child], timeout_s: float) -> None:
    """Wait until one of them says something or ends."""
    wait([child.ear for child in children if not child.is_gone], timeout_s)
