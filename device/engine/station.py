"""A station: one process of the engine, and what is done when it ends or hangs."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from device.engine.process import Child, PartEndedError

HUNG_S = 2.0
"""A process that makes no progress for so long, though it could, is ended and started again."""
RETRY_S = 0.5
LONGEST_RETRY_S = 1.5
"""What stays missing is tried less and less often, so that a small box has its time for the rest; up to this."""


class Station:
    """A process that is kept going.

    Parameters
    ----------
    name : str
    launch : callable
        Starts the process.

    Attributes
    ----------
    child : Child or None
        The process, while there is one.
    is_ready : bool
        Whether it has said so.
    is_done : bool
        Its work is over: it may end.
    n_restarts : int
        How often it was given up and tried again.
    last_error : str
        Why it was given up last.
    """

    def __init__(self, name: str, launch: Callable[[], Child]) -> None:
        self.name = name
        self.child: Child | None = None
        self.is_ready = False
        self.is_done = False
        self.n_restarts = 0
        self.last_error = ""
        self._launch = launch
        self._due_s = 0.0
        self._retry_s = 0.0
        self._progress = -1.0
        self._since_s = 0.0

    def start(self) -> None:
        """Start the process."""
        self.is_ready = False
        self.child = self._launch()
        self._since_s = time.monotonic()

    def start_if_due(self) -> None:
        """Start the process again, if it was given up a while ago."""
        if self.child is None and not self.is_done and time.monotonic() >= self._due_s:
            self.start()

    def try_again_later(self, reason: str) -> None:
        """End the process, or what is left of it; `start_if_due` starts it again."""
        self._retry_s = RETRY_S if self.is_ready else min(max(2.0 * self._retry_s, RETRY_S), LONGEST_RETRY_S)
        self.end()
        self.n_restarts += 1
        self.last_error = reason
        self._due_s = time.monotonic() + self._retry_s

    def end(self, patience_s: float = 0.0) -> None:
        """End the process, by force if it has not ended by itself in this time."""
        if self.child is not None:
            self.child.end(patience_s)
        self.child = None
        self.is_ready = False

    def tell(self, word: str, content: Any = None) -> None:
        """Say something to the process, if there is one."""
        if self.child is not None:
            self.child.tell(word, content)

    def heard(self) -> list[tuple[str, Any]]:
        """Give what the process has said; an end unasked is ('failed', error)."""
        if self.child is None:
            return []
        said = self.child.heard()
        if said and said[-1][0] == "gone":
            has_said_why = any(word in ("failed", "ended") for word, _ in said)
            said.pop()
            if not has_said_why and not self.is_done:
                said.append(("failed", PartEndedError(f"the {self.name}'s process ended unasked: look at the log")))
        return said

    def is_stuck(self, progress: float, could_move: bool) -> bool:
        """Tell whether a figure has stood still for too long while it could have moved.

        Parameters
        ----------
        progress : float
            Grows as the process gets on.
        could_move : bool
        """
        now_s = time.monotonic()
        if progress != self._progress or not could_move or not self.is_ready:
            self._progress, self._since_s = progress, now_s
        return now_s - self._since_s > HUNG_S
