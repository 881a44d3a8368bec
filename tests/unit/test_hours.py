"""Opening hours: what is open when, nights that clocks change in, and clocks that were never set."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from device.config import load_config
from device.core.errors import ConfigError
from device.core.hours import Hours, check_days, check_span

MUSEUM = Hours(["tue-fri 10:00-18:00", "sat,sun 11:00-20:30"], ["2026-12-24..2026-12-26"])
CLUB = Hours(["fri-sat 22:00-04:00"])
BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("now", "is_open"),
    [
        ("2026-11-24 09:59:59", False),  # a Tuesday
        ("2026-11-24 10:00", True),
        ("2026-11-24 17:59:59", True),
        ("2026-11-24 18:00", False),
        ("2026-11-23 12:00", False),  # a Monday
        ("2026-11-28 10:30", False),  # a Saturday
        ("2026-11-29 20:29", True),
        ("2026-12-23 12:00", True),
        ("2026-12-24 12:00", False),
        ("2026-12-26 12:00", False),
        ("2026-12-27 12:00", True),
    ],
)
def test_a_week_with_days_off(now: str, is_open: bool) -> None:
    assert MUSEUM.is_open(at(now)) == is_open


@pytest.mark.parametrize(
    ("now", "is_open"),
    [
        ("2026-11-27 21:59", False),  # a Friday
        ("2026-11-27 23:00", True),
        ("2026-11-28 03:59", True),
        ("2026-11-28 04:00", False),
        ("2026-11-29 01:00", True),
        ("2026-11-30 01:00", False),  # Sunday has no night
    ],
)
def test_a_night_belongs_to_the_day_that_it_begins_on(now: str, is_open: bool) -> None:
    assert CLUB.is_open(at(now)) == is_open


def test_a_night_that_begins_before_a_closed_day_goes_on_into_it_and_one_that_begins_on_it_does_not() -> None:
    hours = Hours(["daily 22:00-04:00"], ["2026-12-24"])
    assert hours.is_open(at("2026-12-24 02:00"))
    assert not hours.is_open(at("2026-12-24 23:00"))
    assert not hours.is_open(at("2026-12-25 02:00"))


def test_without_a_calendar_it_is_always_open_but_for_closed_days() -> None:
    assert Hours().is_open(at("2026-11-23 03:00"))
    assert Hours().next_change(at("2026-11-23 03:00")) is None
    hours = Hours([], ["2026-12-24..2026-12-25"])
    assert not hours.is_open(at("2026-12-24 00:00"))
    assert hours.next_change(at("2026-11-23 03:00")) == at("2026-12-24 00:00")
    assert hours.next_change(at("2026-12-24 10:00")) == at("2026-12-26 00:00")


@pytest.mark.parametrize(
    ("now", "change"),
    [
        ("2026-11-24 09:00", "2026-11-24 10:00"),
        ("2026-11-24 10:00", "2026-11-24 18:00"),
        ("2026-11-29 21:00", "2026-12-01 10:00"),  # over Monday
        ("2026-12-23 19:00", "2026-12-27 11:00"),  # over Christmas
    ],
)
def test_the_next_change_is_found(now: str, change: str) -> None:
    assert MUSEUM.next_change(at(now)) == at(change)


def test_openings_that_touch_are_one() -> None:
    hours = Hours(["mon 20:00-24:00", "tue 00:00-02:00"])
    assert hours.next_change(at("2026-11-23 21:00")) == at("2026-11-24 02:00")


def test_changes_follow_each_other_as_minutes_looked_at_one_by_one_say() -> None:
    hours = Hours(["mon-wed 09:10-12:00", "tue 11:00-13:30", "fri-mon 23:00-00:30"], ["2026-11-25"])
    now, end = at("2026-11-23 00:00"), at("2026-12-02 00:00")
    minutes = [now + timedelta(minutes=n) for n in range(int((end - now).total_seconds()) // 60)]
    looked = [b for a, b in pairwise(minutes) if hours.is_open(a) != hours.is_open(b)]
    found = []
    while (change := hours.next_change(now)) is not None and change < end:
        found.append(change)
        now = change
    assert found == looked
    assert len(found) > 8


@pytest.mark.parametrize("night", ["2026-03-28", "2026-10-24"])
def test_the_night_in_which_clocks_change_opens_and_closes_once(night: str) -> None:
    hours = Hours(["sat 22:00-02:30"])
    begin = datetime.fromisoformat(f"{night}T20:00").replace(tzinfo=BERLIN).astimezone(timezone.utc)
    states = [hours.is_open((begin + timedelta(minutes=n)).astimezone(BERLIN)) for n in range(600)]
    assert sum(a != b for a, b in pairwise(states)) == 2
    # 2:30 is skipped in spring, and comes twice in autumn.
    assert sum(states) == 60 * {"2026-03-28": 4.5, "2026-10-24": 5.5}[night]


def test_by_day_it_opens_by_the_wall_clock_in_summer_and_in_winter() -> None:
    for day in ("2026-07-07", "2026-11-24"):
        assert not MUSEUM.is_open(at(f"{day} 09:59").replace(tzinfo=BERLIN))
        assert MUSEUM.is_open(at(f"{day} 10:00").replace(tzinfo=BERLIN))
    before_winter = at("2026-10-24 21:00").replace(tzinfo=BERLIN)
    change = MUSEUM.next_change(before_winter)
    assert change is not None
    assert (change.isoformat(), change.utcoffset()) == ("2026-10-25T11:00:00+01:00", timedelta(hours=1))


def test_a_clock_that_was_never_set_counts_as_open() -> None:
    for year in (1970, 2023):
        assert Hours(["mon 10:00-11:00"]).is_open(datetime(year, 5, 4, 3, 0))  # noqa: DTZ001 - the wall's time
    assert Hours(["mon 10:00-11:00"]).next_change(at("1970-01-01 00:00")) is None


def test_a_calendar_that_never_opens_has_no_next_change() -> None:
    assert Hours(["mon 10:00-11:00"], ["2026-01-01..2036-01-01"]).next_change(at("2026-11-23 03:00")) is None


@pytest.mark.parametrize(
    "text",
    [
        "", "10:00-18:00", "mon", "mon 10-18", "mn 10:00-18:00", "mon 10:60-18:00", "mon 24:00-02:00",
        "mon 10:00-24:01", "mon 10:00-10:00", "mon- 10:00-18:00", "mon,,tue 10:00-18:00", "mon 10:00-18:00 x",
    ],
)  # fmt: skip
def test_what_is_no_opening_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"mon|day"):
        check_span(text)


@pytest.mark.parametrize("text", ["", "24.12.2026", "2026-02-30", "2026-12-26..2026-12-24", "2026-12-24..", "x"])
def test_what_is_no_day_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        check_days(text)


def test_days_of_the_week_may_go_round_its_end_and_be_written_large() -> None:
    assert check_span("Fri-Mon  9:00-10:00").weekdays == {4, 5, 6, 0}
    assert check_span("sun 9:00-10:00").weekdays == {6}
    assert check_span("daily 9:00-10:00").weekdays == set(range(7))


def test_a_wrong_calendar_is_an_error_of_the_configuration_that_says_how_to_write_it(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('[hours]\nopen = ["mon-fri 10-18"]\n')
    with pytest.raises(ConfigError, match=r"hours\.open = \[\"mon-fri 10-18\"\] cannot be used.*mon-fri 10:00-18:00"):
        load_config(file, tmp_path / "none")


def test_days_may_be_written_as_tomls_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('[hours]\nclosed = [2026-12-24, "2026-12-31"]\n')
    assert load_config(file, tmp_path / "none").hours.closed == ("2026-12-24", "2026-12-31")
    file.write_text("[hours]\nclosed = [2026-12-24, 3]\n")
    with pytest.raises(ConfigError, match=r"hours\.closed"):
        load_config(file, tmp_path / "none")
