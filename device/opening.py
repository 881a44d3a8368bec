"""Opening hours by this machine's clock and zone; see `device.core.hours` for the calendar itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo

from device.config import HoursConfig
from device.core.hours import FIRST_YEAR, Hours, is_clock_set

LOCAL_ZONE = Path("/etc/localtime")


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
    """Looks at the calendar. It keeps nothing: a clock may be set, forwards or backwards, at any time.

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

    def look(self, unix_s: float) -> Opened:
        """Tell what holds.

        Parameters
        ----------
        unix_s : float
            As of time.time().
        """
        now = datetime.fromtimestamp(unix_s, self._zone)
        if not is_clock_set(now):
            note = f"the clock says {now.year}, before {FIRST_YEAR}: it plays at all hours until it is set"
            return Opened(True, None, note if self._has_calendar else None)
        change = self._hours.next_change(now)
        next_change = None if change is None else change.isoformat(timespec="minutes")
        return Opened(self._hours.is_open(now), next_change, None)


def local_zone(path: Path = LOCAL_ZONE) -> tzinfo:
    """Read the machine's time zone, with the nights in which its clocks change; universal time where there is none."""
    try:
        with path.open("rb") as file:
            return ZoneInfo.from_file(file)
    except (OSError, ValueError):
        return timezone.utc
