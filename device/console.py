"""What long commands share: how they are ended early, and how they show that they get on."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

PROGRESS_PERIOD_S = 0.25


@contextmanager
def until_stopped() -> Iterator[threading.Event]:
    """Let the first SIGINT or SIGTERM end the work with what it makes whole, and the second as it always does."""
    stop = threading.Event()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - a handler is called so
        stop.set()
        restore()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    for number in before:
        signal.signal(number, end)
    try:
        yield stop
    finally:
        restore()


class Progress:
    """One line on a terminal that says how far it has come; nothing in a pipe.

    Parameters
    ----------
    words : str
        What is said, with places for numbers as `str.format` has them.
    """

    def __init__(self, words: str) -> None:
        self._words = words
        self._is_shown = sys.stderr.isatty()
        self._next_s = 0.0

    def __enter__(self) -> Progress:
        return self

    def __call__(self, *values: float) -> None:
        """Show the newest numbers, now and then."""
        if self._is_shown and time.monotonic() >= self._next_s:
            self._next_s = time.monotonic() + PROGRESS_PERIOD_S
            sys.stderr.write(f"\r\033[K{self._words.format(*values)}")
            sys.stderr.flush()

    def __exit__(self, *_: object) -> None:
        if self._is_shown:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()
