"""Waits for a condition, not for a time."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_S = 30.0
"""Longer than any busy machine needs."""


def eventually(holds: Callable[[], object], what: str = "", patience_s: float = PATIENCE_S) -> float:
    """Look every few milliseconds until it holds; give the seconds that it took, or fail if it never comes true."""
    begin_s = time.monotonic()
    while not holds():
        assert time.monotonic() - begin_s < patience_s, f"it never came true: {what or 'what the test waits for'}"
        time.sleep(0.005)
    return time.monotonic() - begin_s
