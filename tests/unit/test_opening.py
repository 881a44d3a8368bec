"""Opening hours by a machine's own clock and zone."""

from __future__ import annotations

from datetime import datetime, timezone
from importlib.resources import files
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from device.box.opening import Opened, Opening, local_zone
from device.config import HoursConfig
from device.core.hours import Hours

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


def test_looked_at_every_second_it_says_what_the_calendar_says_whatever_becomes_of_the_clock() -> None:
    opening = Opening(MUSEUM, BERLIN)
    times_s = [unix_s("2026-07-06 09:59:57") + n for n in range(6)]
    assert [opening.look(each).is_open for each in times_s] == [False] * 3 + [True] * 3
    assert [opening.look(each).is_open for each in reversed(times_s)] == [True] * 3 + [False] * 3
    assert opening.look(unix_s("2026-07-06 12:00")).is_open
    assert not opening.look(unix_s("2026-07-05 12:00")).is_open  # set back by a day
    assert not opening.look(unix_s("2026-07-06 20:00")).is_open


def test_a_look_at_the_same_calendar_again_costs_next_to_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for config in (MUSEUM, HoursConfig((), (), 8.0), HoursConfig(("daily 00:00-24:00",), (), 8.0)):
        opening = Opening(config, BERLIN)
        first = opening.look(unix_s("2026-07-06 12:00"))
        with monkeypatch.context() as patched:
            patched.setattr(Hours, "next_change", lambda *_: pytest.fail("it was reckoned again"))
            assert opening.look(unix_s("2026-07-06 12:00:01")) == first


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
