"""Opening hours by this machine's clock and zone; see `device.core.hours` for the calendar itself."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timezone, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo

from device.config import HoursConfig
from device.core.hours import FIRST_YEAR, Hours, is_clock_set

LOCAL_ZONE = Path("/etc/localtime")
LOOK_AGAIN_S = 3600.0
"""Where nothing is known to change."""


@dataclass(frozen=True)
class Opened:
    """What the calendar says of a moment.

    Attributes
    ----------
    is_open : bool
        Whether there is to be sound.
    next_change : str or None
        When that changes, local time in ISO 8601.
    note : str or None
        What keeps the calendar from being kept, with what to do.
    """

    is_open: bool
    next_change: str | None
    note: str | None


class Opening:
    """Looks at the calendar, as often as one likes; the clock may be set, forwards or backwards, at any time.

    Parameters
    ----------
    config : HoursConfig
    zone : tzinfo, optional
        The machine's own unless given.
    """

    def __init__(self, config: HoursConfig, zone: tzinfo | None = None) -> None:
        self.fade_s = config.fade_s
        self._hours = Hours(config.open, config.closed)
        self._has_calendar = bool(config.open or config.closed)
        self._zone = zone or local_zone()
        self._looked = Opened(True, None, None)
        self._from_s, self._until_s = math.inf, -math.inf

    def look(self, unix_s: float) -> Opened:
        """Tell what holds.

        Parameters
        ----------
        unix_s : float
            As of time.time().
        """
        if not self._from_s <= unix_s < self._until_s:
            self._from_s, self._looked = unix_s, self._look(unix_s)
        return self._looked

    def _look(self, unix_s: float) -> Opened:
        """Look, and note until when nothing changes."""
        now = datetime.fromtimestamp(unix_s, self._zone)
        self._until_s = unix_s + LOOK_AGAIN_S
        if not is_clock_set(now):
            note = f"the clock says {now.year}, before {FIRST_YEAR}: it plays at all hours until it is set"
            return Opened(True, None, note if self._has_calendar else None)
        if not self._has_calendar:
            return Opened(True, None, None)
        change = self._hours.next_change(now)
        if change is not None:
            self._until_s = change.timestamp()
        next_change = None if change is None else change.isoformat(timespec="minutes")
        return Opened(self._hours.is_open(now), next_change, None)


def local_zone(path: Path = LOCAL_ZONE) -> tzinfo:
    """Read the machine's time zone, with the nights in which its clocks change; universal time where there is none."""
    try:
        with path.open("rb") as file:
            return ZoneInfo.from_file(file)
    except (OSError, ValueError):
        return timezone.utc
