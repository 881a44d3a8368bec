"""What a process of the engine asks of the system: to be first, to stay in memory, and not to outlive its parent."""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import sys
import threading
from dataclasses import dataclass
from multiprocessing import parent_process

SWITCH_INTERVAL_S = 0.0005
"""CPython hands its lock over every 5 ms: two blocks. No thread of ours may keep another waiting that long."""

_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4  # <sys/mman.h>
_PR_SET_NAME = 15  # <sys/prctl.h>


@dataclass(frozen=True)
class Urgency:
    """How urgent a process is.

    Attributes
    ----------
    priority : int
        Of SCHED_FIFO, 1 to 99; 0 does not ask for it.
    lock_memory : bool
        Whether its memory stays in RAM.
    """

    priority: int
    lock_memory: bool

    def below(self, steps: int) -> Urgency:
        """Give one that is less urgent, but real-time still."""
        return Urgency(max(1, self.priority - steps) if self.priority else 0, self.lock_memory)


def be_child(name: str) -> None:
    """Set a process up as a part of its parent: it leaves signals to it, and ends with it. Call it first."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(_PR_SET_NAME, f"dance-{name}".encode()[:15])
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def be_urgent(urgency: Urgency) -> list[str]:
    """Ask the system for real-time priority and locked memory for this thread and this process.

    Threads that are started later are ordinary ones again.

    Returns
    -------
    list of str
        What was not allowed, in plain words, with what to do; empty when all was.
    """
    refused = []
    if urgency.priority:
        try:
            os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(urgency.priority))
        except OSError:
            refused.append("real-time priority is not allowed (give this user an rtprio limit in limits.conf)")
    if urgency.lock_memory and ctypes.CDLL(None).mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT) != 0:
        refused.append("memory cannot be locked (raise this user's memlock limit in limits.conf)")
    return refused


def freeze_garbage() -> None:
    """Switch the garbage collector off for good, once all that lives long is there."""
    gc.collect()
    gc.freeze()
    gc.disable()
