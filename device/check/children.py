"""What a check does with a device it does in a process of its own, which can be ended when the device hangs."""

from __future__ import annotations

import time
from typing import Any

from device.engine.process import Child, PartEndedError, wait_for_any

POLL_S = 0.2


def result_of(child: Child, timeout_s: float) -> Any:
    """Wait for what a process says at its end, with the word 'done', and end it.

    Raises
    ------
    DanceSamplerError
        What it failed with; or it ended without a word, or took too long.
    """
    deadline_s = time.monotonic() + timeout_s
    try:
        while time.monotonic() < deadline_s:
            wait_for_any([child], POLL_S)
            for word, content in child.heard():
                if word == "done":
                    return content
                if isinstance(content, Exception):
                    raise content
                if word == "gone":
                    raise PartEndedError(f"the {child.name}'s process ended unasked: look at what it said above")
        raise PartEndedError(f"the {child.name} did not answer within {timeout_s:g} s: unplug it and plug it in again")
    finally:
        child.end()
