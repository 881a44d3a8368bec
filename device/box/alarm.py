"""Somebody is told of faults: a command is run, a web address posted to. Whatever becomes of that, the box goes on.

A fault that comes and goes is told of at once, then at most once in a while, and in the end as it is.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shlex
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any

from device.config import FaultsConfig

_log = logging.getLogger(__name__)

MOST_FAULTS = 64
"""Different faults that are remembered: a box has some ten."""
LONGEST_REASON = 200


@dataclass(frozen=True)
class Alarm:
    """A fault that has begun or ended.

    Attributes
    ----------
    fault : str
        Its name, always the same: 'camera', 'card', ...
    is_on : bool
        Whether it has begun.
    what : str
        In one line: what is wrong, and what to do.
    time : str
        When, ISO 8601 in universal time.
    n_left_out : int
        How often it came or went since it was told of last.
    """

    fault: str
    is_on: bool
    what: str
    time: str
    n_left_out: int = 0

    def to_json(self, box: str) -> bytes:
        """Write what command and web address are given.

        Parameters
        ----------
        box : str
            The machine's name.
        """
        event = "begins" if self.is_on else "ends"
        content: dict[str, Any] = {"event": event, "fault": self.fault, "what": self.what, "time": self.time}
        return (json.dumps({**content, "box": box, "n_left_out": self.n_left_out}) + "\n").encode()


class Pending:
    """What is still to be told: of each fault the newest, and when.

    Parameters
    ----------
    every_s : float
        One fault is told of so often at most.
    """

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._waiting: dict[str, Alarm] = {}
        self._told: dict[str, tuple[bool, float]] = {}

    def put(self, alarm: Alarm) -> None:
        """Remember an alarm in place of an older one of the same fault."""
        older = self._waiting.get(alarm.fault)
        n_left_out = 0 if older is None else older.n_left_out + 1
        if len(self._waiting) < MOST_FAULTS or older is not None:
            self._waiting[alarm.fault] = replace(alarm, n_left_out=n_left_out)

    def take(self, now_s: float) -> Alarm | None:
        """Give one that is due; one that says what was told last is due to nobody."""
        for fault, alarm in list(self._waiting.items()):
            was_on, told_s = self._told.get(fault, (False, -float("inf")))
            if now_s < told_s + self._every_s:
                continue
            del self._waiting[fault]
            if alarm.is_on != was_on or alarm.n_left_out:
                self._remember(fault, alarm.is_on, now_s)
                return alarm
        return None

    def due_s(self) -> float | None:
        """When the next is due; None when there is none."""
        times_s = (self._told.get(fault, (False, -float("inf")))[1] + self._every_s for fault in self._waiting)
        return min(times_s, default=None)

    def _remember(self, fault: str, is_on: bool, now_s: float) -> None:
        self._told.pop(fault, None)
        self._told[fault] = (is_on, now_s)
        if len(self._told) > MOST_FAULTS:
            del self._told[next(iter(self._told))]


class Alarms:
    """Tells of faults, as configured; nothing of it keeps the caller waiting.

    Parameters
    ----------
    config : FaultsConfig
    box : str, optional
        The machine's name; its host name unless given.

    Notes
    -----
    A thread for the command and one for the web address. Each tells one thing after the other, so that nothing piles
    up, however long it takes.
    """

    def __init__(self, config: FaultsConfig, box: str = "") -> None:
        box = box or socket.gethostname()
        self._tellers: list[_Teller] = []
        if config.command:
            self._tellers.append(_Teller("command", lambda a: run_command(config, a.to_json(box)), config.every_s))
        if config.webhook:
            self._tellers.append(_Teller("webhook", lambda a: post(config, a.to_json(box)), config.every_s))

    def tell(self, fault: str, is_on: bool, what: str = "") -> None:
        """Tell that a fault has begun or ended; returns at once."""
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        for teller in self._tellers:
            teller.put(Alarm(fault, is_on, " ".join(what.split()), now))

    def close(self, patience_s: float = 0.0) -> None:
        """End, once what is due has been told, or after so long."""
        deadline_s = time.monotonic() + patience_s
        for teller in self._tellers:
            teller.close(max(0.0, deadline_s - time.monotonic()))


class _Teller:
    """A thread that tells one alarm after the other."""

    def __init__(self, name: str, tell: Callable[[Alarm], None], every_s: float) -> None:
        self._name = name
        self._tell = tell
        self._pending = Pending(every_s)
        self._changed = threading.Condition()
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name=f"alarm {name}", daemon=True)
        self._thread.start()

    def put(self, alarm: Alarm) -> None:
        with self._changed:
            self._pending.put(alarm)
            self._changed.notify()

    def close(self, patience_s: float) -> None:
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        self._thread.join(patience_s)

    def _run(self) -> None:
        while (alarm := self._next()) is not None:
            self._try_to_tell(alarm)

    def _try_to_tell(self, alarm: Alarm) -> None:
        try:
            self._tell(alarm)
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            reason = " ".join(str(error).split())[:LONGEST_REASON]
            _log.warning("the %s for faults has failed: %s; see [faults] in the configuration", self._name, reason)

    def _next(self) -> Alarm | None:
        """Wait for one that is due; None when there will be none."""
        with self._changed:
            while True:
                now_s = time.monotonic()
                if (alarm := self._pending.take(now_s)) is not None:
                    return alarm
                if self._is_closing:
                    return None
                due_s = self._pending.due_s()
                self._changed.wait(None if due_s is None else max(0.0, due_s - now_s))


def run_command(config: FaultsConfig, content: bytes) -> None:
    """Run the configured command with this on its standard input; one that takes too long is ended, and all it started.

    Raises
    ------
    OSError, ValueError, subprocess.SubprocessError
        It cannot be started, fails, or takes too long.
    """
    command = shlex.split(config.command)
    pipe, null = subprocess.PIPE, subprocess.DEVNULL
    with subprocess.Popen(command, stdin=pipe, stdout=null, stderr=pipe, start_new_session=True) as process:
        try:
            _, said = process.communicate(content, config.timeout_s)
        except subprocess.TimeoutExpired as error:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise ValueError(f"it timed out after {config.timeout_s:g} s") from error
    if process.returncode != 0:
        lines = said.decode(errors="replace").split("\n")
        reason = next((line.strip() for line in reversed(lines) if line.strip()), "it says nothing")
        raise ValueError(f"{command[0]} ended with {process.returncode}: {reason}")


def post(config: FaultsConfig, content: bytes) -> None:
    """Post this to the configured web address.

    Raises
    ------
    OSError, ValueError
        Nobody answers there, or not well.
    """
    import http.client
    import urllib.request  # here, since most boxes never post and all start

    # Only http and https pass the configuration's check.
    request = urllib.request.Request(  # noqa: S310
        config.webhook, content, {"Content-Type": "application/json", "User-Agent": "dance-sampler"}
    )
    try:
        with urllib.request.urlopen(request, timeout=config.timeout_s) as answer:  # noqa: S310
            answer.read(1)
    except http.client.HTTPException as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error
