"""systemd: what runs the box's program, starts it again when it is stuck, and keeps its log.

Where the program was not started by systemd, on a workstation or in a test, all of this does nothing and says so once,
in the debug log.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any

from device.core.errors import ServiceError

_log = logging.getLogger(__name__)

IDENTIFIER = "dance-sampler"
"""What `journalctl -t` knows the program by."""
BEATS_PER_PERIOD = 4
"""Signs of life that are sent in the time after which systemd holds the program for dead."""
_FIELD = re.compile(r"[A-Z][A-Z0-9_]{0,55}")
_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
_DEBUG = 7

Fact = str | int | float
Notify = Callable[[str], object]
Send = Callable[..., object]


class Service:
    """The service that the program runs as: what it tells systemd.

    Parameters
    ----------
    notify : callable or None
        Takes lines such as 'READY=1'; None where there is no systemd.
    watchdog_s : float or None
        After so long without `alive` the program is killed and started again; None: never.

    Notes
    -----
    A systemd that cannot be told stops nothing: that is logged once, and the program goes on.
    """

    def __init__(self, notify: Notify | None, watchdog_s: float | None = None) -> None:
        self.watchdog_s = watchdog_s
        self._notify = notify
        self._is_unheard = False
        self._last_beat_s = float("-inf")
        self._status = ""

    def ready(self, status: str) -> None:
        """Say that the program does what it is for; what waits for it goes on."""
        self._status = status
        self._tell("READY=1", _status(status))

    def tell(self, status: str) -> None:
        """Say in one line what the program is at, for `systemctl status`; the same again is not sent."""
        if status != self._status:
            self._status = status
            self._tell(_status(status))

    def alive(self, now_s: float) -> None:
        """Give a sign of life: call it when all that must progress has progressed, as often as that is seen.

        Parameters
        ----------
        now_s : float
            Time, CLOCK_MONOTONIC, in seconds. What comes too soon after the last sign is not sent.
        """
        if self.watchdog_s is not None and now_s - self._last_beat_s >= self.watchdog_s / BEATS_PER_PERIOD:
            self._last_beat_s = now_s
            self._tell("WATCHDOG=1")

    def stopping(self, status: str) -> None:
        """Say that the program is about to end."""
        self._tell("STOPPING=1", _status(status))

    def _tell(self, *lines: str) -> None:
        if self._notify is None:
            return
        try:
            self._notify("\n".join(lines))
            self._is_unheard = False
        except OSError as error:
            if not self._is_unheard:
                _log.warning("systemd cannot be told %s (%s); the program goes on", lines[0], error.strerror)
            self._is_unheard = True


def open_service(environ: Mapping[str, str] | None = None) -> Service:
    """Find out whether systemd started the program, and how often it wants a sign of life.

    Parameters
    ----------
    environ : mapping of str to str, optional
        The program's environment.

    Raises
    ------
    ServiceError
        It did, and waits to be told, and systemd-python is not installed.
    """
    environ = os.environ if environ is None else environ
    if not environ.get("NOTIFY_SOCKET"):
        _log.debug("not started by systemd: nobody is told that the program is ready or alive")
        return Service(None)
    try:
        from systemd.daemon import notify
    except ImportError as error:
        raise ServiceError(
            "systemd waits to be told that the program is ready, which needs systemd-python: run install.sh again"
        ) from error
    return Service(notify, _watchdog_s(environ))


def _watchdog_s(environ: Mapping[str, str]) -> float | None:
    """How long systemd waits for a sign of life of this very process, as sd_watchdog_enabled(3) finds out."""
    period_us, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if not period_us.isdecimal() or int(period_us) == 0 or (pid and pid != str(os.getpid())):
        return None
    return int(period_us) / 1e6


def _status(status: str) -> str:
    """One line, whatever the text holds: a second line would be another message."""
    return f"STATUS={' '.join(status.split())}"


class JournalHandler(logging.Handler):
    """Sends log records to the journal, each with the newest facts about the box as fields of its own.

    `journalctl -t dance-sampler DANCE_STATE=fault` gives what was logged in that state; `-o json` gives all fields.

    Parameters
    ----------
    send : callable
        `systemd.journal.send`, or what stands in for it.
    """

    def __init__(self, send: Send) -> None:
        super().__init__()
        # Level and logger are fields; a formatter that is there already is not replaced by logging.basicConfig.
        self.setFormatter(logging.Formatter("%(message)s"))
        self._send = send
        self._facts: dict[str, str] = {}

    def set_facts(self, **facts: Fact) -> None:
        """Replace what is known of the box: `state="fault"` becomes the field DANCE_STATE.

        Raises
        ------
        ServiceError
            The journal takes no field of that name: letters, digits and _, at most 56.
        """
        for name in facts:
            if not _FIELD.fullmatch(name.upper()):
                raise ServiceError(f"the journal takes no field {name!r}: use letters, digits and _")
        self._facts = {f"DANCE_{name.upper()}": str(value) for name, value in facts.items()}

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record; one that cannot be sent is handled as `logging` does."""
        try:
            fields: dict[str, Any] = {
                "PRIORITY": next((each for level, each in _PRIORITIES if record.levelno >= level), _DEBUG),
                "SYSLOG_IDENTIFIER": IDENTIFIER,
                "LOGGER": record.name,
                "CODE_FILE": record.pathname,
                "CODE_LINE": record.lineno,
                "CODE_FUNC": record.funcName,
                **self._facts,
            }
            self._send(self.format(record), **fields)
        except Exception:  # noqa: BLE001 - a log line must never stop the program; handleError reports it
            self.handleError(record)


def journal_handler(environ: Mapping[str, str] | None = None) -> JournalHandler | None:
    """Give a handler for the root logger if standard error goes to the journal, else None.

    Parameters
    ----------
    environ : mapping of str to str, optional
        The program's environment.
    """
    environ = os.environ if environ is None else environ
    if not _goes_to_journal(environ.get("JOURNAL_STREAM", "")):
        _log.debug("standard error does not go to the journal: the log is plain text")
        return None
    try:
        from systemd.journal import send
    except ImportError:
        _log.debug("systemd-python is not installed: the journal has the log as plain text")
        return None
    return JournalHandler(send)


def _goes_to_journal(stream: str) -> bool:
    """Whether standard error is the stream that systemd made, as systemd.exec(5) says to find out."""
    try:
        stat = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return stream == f"{stat.st_dev}:{stat.st_ino}"
