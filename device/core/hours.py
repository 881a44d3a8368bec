"""Opening hours: a week's calendar with days off, asked what holds at a moment. It knows no clock of its own.

An opening belongs to the day on which it begins: `sat 22:00-02:00` ends on Sunday, and is left out when Saturday is
closed. Times are those of the wall clock, whatever it does in spring and autumn.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
FIRST_YEAR = 2024
"""A clock that says an earlier year has not been set: a box has no battery, and may never see a network."""
FURTHEST_DAYS = 400

_SPAN = re.compile(r"([a-z,-]+) (\d{1,2}):(\d\d)-(\d{1,2}):(\d\d)")
_MINUTES = 24 * 60


@dataclass(frozen=True)
class Span:
    """An opening that comes every week.

    Attributes
    ----------
    weekdays : frozenset of int
        Days on which it begins; 0 is Monday.
    from_min, to_min : int
        Minutes after that day's midnight; above 1440 it ends on the next day.
    """

    weekdays: frozenset[int]
    from_min: int
    to_min: int


def check_span(text: str) -> Span:
    """Read an opening such as 'mon-fri 10:00-18:00', 'sat,sun 11:00-02:00' or 'daily 00:00-24:00'.

    Raises
    ------
    ValueError
        It is none.
    """
    match = _SPAN.fullmatch(" ".join(text.lower().split()))
    if match is None:
        raise ValueError(f"{text!r} is no opening: write it as mon-fri 10:00-18:00")
    from_h, from_min, to_h, to_min = map(int, match.groups()[1:])
    begin, end = 60 * from_h + from_min, 60 * to_h + to_min
    if from_min > 59 or to_min > 59 or begin >= _MINUTES or end > _MINUTES or begin == end:
        raise ValueError(f"{text!r} holds no time of the day: hours go from 0:00 to 24:00")
    return Span(_weekdays(match.group(1)), begin, end if end > begin else end + _MINUTES)


def check_days(text: str) -> tuple[date, date]:
    """Read a day '2026-12-24', or days from first to last, '2026-12-24..2026-12-26'.

    Raises
    ------
    ValueError
        It is none.
    """
    first, has_last, last = (part.strip() for part in text.partition(".."))
    days = date.fromisoformat(first), date.fromisoformat(last if has_last else first)
    if days[1] < days[0]:
        raise ValueError(f"{text!r} ends before it begins: write the earlier day first")
    return days


def _weekdays(text: str) -> frozenset[int]:
    if text == "daily":
        return frozenset(range(7))
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        names = (first, last if "-" in part else first)
        if not all(name in WEEKDAYS for name in names):
            raise ValueError(f"{part!r} is no day of the week: they are {', '.join(WEEKDAYS)} and daily")
        begin, end = map(WEEKDAYS.index, names)
        found.update(day % 7 for day in range(begin, end + 1 if end >= begin else end + 8))
    return frozenset(found)


class Hours:
    """A calendar.

    Parameters
    ----------
    openings : sequence of str
        As `check_span` reads them; none: always open, but for the days that are closed.
    closed : sequence of str
        As `check_days` reads them.
    """

    def __init__(self, openings: Sequence[str] = (), closed: Sequence[str] = ()) -> None:
        self._spans = tuple(map(check_span, openings or ("daily 00:00-24:00",)))
        self._closed = tuple(map(check_days, closed))

    def is_open(self, now: datetime) -> bool:
        """Tell whether it is open.

        Parameters
        ----------
        now : datetime
            The local time. With its zone, nights in which clocks change are right; a clock that was never set
            (`is_clock_set`) counts as open: silence for want of a clock would be the worse mistake.
        """
        if not is_clock_set(now):
            return True
        at = _instant(now)
        days = (now.date() - timedelta(days=1), now.date())
        return any(begin <= at < end for begin, end in self._openings(days, now))

    def next_change(self, now: datetime) -> datetime | None:
        """When it opens or closes next, in the zone of `now`; None if not in `FURTHEST_DAYS`, or without a clock."""
        if not is_clock_set(now):
            return None
        is_open, at = self.is_open(now), _instant(now)
        for n_days in range(FURTHEST_DAYS):
            days = [now.date() + timedelta(days=n_days - 1)]
            edges = sorted({edge for opening in self._openings(days, now) for edge in opening if edge > at})
            for edge in edges:
                if self._is_open_at(edge, now) != is_open:
                    return edge.astimezone(now.tzinfo) if now.tzinfo else edge
        return None

    def _is_open_at(self, edge: datetime, now: datetime) -> bool:
        return self.is_open(edge.astimezone(now.tzinfo) if now.tzinfo else edge)

    def _openings(self, days: Sequence[date], now: datetime) -> Iterator[tuple[datetime, datetime]]:
        """Give all openings that begin on these days, as instants."""
        for day in days:
            if any(first <= day <= last for first, last in self._closed):
                continue
            for span in self._spans:
                if day.weekday() in span.weekdays:
                    # Of an hour that comes twice, the first time opens and the second closes: nothing comes twice.
                    end = max(_at(day, span.to_min, now, fold) for fold in (0, 1))
                    yield _at(day, span.from_min, now, 0), end


def is_clock_set(now: datetime) -> bool:
    """Tell whether the clock can have been set."""
    return now.year >= FIRST_YEAR


def _at(day: date, minutes: int, now: datetime, fold: int) -> datetime:
    """Give the instant of a wall time; one that is skipped in spring (`fold` 0) is what it would have been before."""
    day += timedelta(days=minutes // _MINUTES)
    wall = time(minutes % _MINUTES // 60, minutes % 60, fold=fold)
    return _instant(datetime.combine(day, wall, now.tzinfo))


def _instant(local: datetime) -> datetime:
    """What times are compared by: the universal time, where the zone is known."""
    return local.astimezone(timezone.utc) if local.tzinfo else local.replace(fold=0)
