"""Waits for a condition, not for a time."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_S = 20.0


def eventually(condition: Callable[[], object], what: str) -> None:
    """Return when the condition holds; fail if that takes longer than any busy machine needs."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline_s, f"it never came true: {what}"
        time.sleep(0.005)
