"""What is missing, as it comes and goes: told to the panel, kept for the status, and told to whoever wants to know."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone

from device.core.panel_events import FaultBegins, FaultEnds

N_KEPT = 20
TellAlarm = Callable[[str, bool, str], None]


@dataclass(frozen=True)
class _Kept:
    time: str
    began_s: float
    what: str


class Faults:
    """Compares what is missing now with what was.

    Parameters
    ----------
    tell : callable
        Told of each fault that begins and ends: name, whether it begins, and one line about it.
    silent : frozenset of str
        Faults that nobody is told of but the panel: what was never set up.
    """

    def __init__(self, tell: TellAlarm, silent: frozenset[str] = frozenset()) -> None:
        self._tell = tell
        self._silent = silent
        self._now: dict[str, str] = {}
        self._history: deque[_Kept] = deque(maxlen=N_KEPT)

    @property
    def now(self) -> Mapping[str, str]:
        """What is missing: a line for each fault, by its name."""
        return self._now

    def see(self, missing: Mapping[str, str], now_s: float) -> list[FaultBegins | FaultEnds]:
        """Hear what is missing now; give what has changed.

        Parameters
        ----------
        missing : mapping of str to str
            What is missing, in one line with what to do, by the fault's name.
        now_s : float
            CLOCK_MONOTONIC.
        """
        events: list[FaultBegins | FaultEnds] = []
        for name in [each for each in self._now if each not in missing]:
            events.append(FaultEnds(name))
            self._report(name, is_on=False, what=self._now.pop(name))
        for name, what in missing.items():
            if name not in self._now:
                events.append(FaultBegins(name))
                self.keep(name, what, now_s)
                self._report(name, is_on=True, what=what)
            self._now[name] = what
        return events

    def keep(self, name: str, what: str, now_s: float) -> None:
        """Remember something that went wrong, for the status."""
        if name not in self._silent:
            time = datetime.now(timezone.utc).isoformat(timespec="seconds")
            self._history.append(_Kept(time, now_s, what))

    def history(self, now_s: float) -> list[dict[str, str | float]]:
        """Give the last `N_KEPT` faults, the newest last."""
        return [
            {"time": each.time, "age_s": round(now_s - each.began_s, 1), "what": each.what} for each in self._history
        ]

    def _report(self, name: str, *, is_on: bool, what: str) -> None:
        if name not in self._silent:
            self._tell(name, is_on, what)
