"""Calls into drivers that may never return, for those who can go on without."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from device.core.errors import CameraError

Result = TypeVar("Result")


def within(timeout_s: float, hung: str, call: Callable[[], Result]) -> Result:
    """Call, and wait for no longer than this.

    Parameters
    ----------
    timeout_s : float
    hung : str
        What is said if it has not returned by then, in one line.
    call : callable
        Made in a thread of its own, which is left behind if it hangs: the process should end soon after.

    Raises
    ------
    CameraError
        It has not returned in time; else whatever it raised.
    """
    results: list[Result] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(call())
        except BaseException as error:  # noqa: BLE001 - raised again by whoever waits
            errors.append(error)

    thread = threading.Thread(target=run, name="driver", daemon=True)
    thread.start()
    thread.join(timeout_s)
    if errors:
        raise errors[0]
    if not results:
        raise CameraError(hung)
    return results[0]
