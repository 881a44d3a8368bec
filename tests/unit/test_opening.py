"""Opening hours by a machine's own clock and zone."""

from __future__ import annotations

from datetime import datetime, timezone
from importlib.resources import files
from pathlib import Path
from zoneinfo import ZoneInfo

from device.config import HoursConfig
from device.opening import Opened, Opening, local_zone

MUSEUM = HoursConfig(("mon-fri 10:00-18:00",), (), 8.0)
BERLIN = ZoneInfo("Europe/Berlin")


def unix_s(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN).timestamp()


def test_the_calendar_is_that_of_the_machines_zone() -> None:
    opening = Opening(MUSEUM, BERLIN)
    assert opening.look(unix_s("2026-07-06 09:59")) == Opened(False, "2026-07-06T10:00+02:00", None)
    assert opening.look(unix_s("2026-07-06 10:00")) == Opened(True, "2026-07-06T18:00+02:00", None)


def test_a_clock_that_was_never_set_plays_and_says_so_only_where_there_is_a_calendar() -> None:
    looked = Opening(MUSEUM, BERLIN).look(3600.0)
    assert (looked.is_open, looked.next_change) == (True, None)
    assert looked.note is not None
    assert "the clock says 1970" in looked.note
    assert Opening(HoursConfig((), (), 8.0), BERLIN).look(3600.0) == Opened(True, None, None)


def test_a_clock_that_is_set_while_it_plays_is_believed_at_once() -> None:
    opening = Opening(MUSEUM, BERLIN)
    assert opening.look(3600.0).is_open
    assert not opening.look(unix_s("2026-07-06 03:00")).is_open


def test_the_machines_zone_knows_summer_and_winter_and_its_want_is_no_failure(tmp_path: Path) -> None:
    path = tmp_path / "localtime"
    assert local_zone(path) is timezone.utc
    path.write_bytes(b"no zone")
    assert local_zone(path) is timezone.utc
    path.write_bytes(files("tzdata").joinpath("zoneinfo", "Europe", "Berlin").read_bytes())
    zone = local_zone(path)
    assert [datetime(2026, month, 1, tzinfo=zone).utcoffset() for month in (1, 7)] == [
        datetime(2026, month, 1, tzinfo=BERLIN).utcoffset() for month in (1, 7)
    ]
