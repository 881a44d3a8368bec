"""What systemd and the journal are told, over a real socket such as systemd's."""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from device.core.errors import ServiceError
from device.edges.service_systemd import BEATS_PER_PERIOD, JournalHandler, Service, journal_handler, open_service


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """systemd's end."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(str(tmp_path / "notify"))
        ear.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.delenv("WATCHDOG_USEC", raising=False)
        yield ear


def messages(ear: socket.socket) -> list[str]:
    heard = []
    with suppress(BlockingIOError):
        while True:
            heard.append(ear.recv(4096).decode())
    return heard


def test_systemd_hears_that_the_program_is_ready_what_it_is_at_and_that_it_stops(told: socket.socket) -> None:
    service = open_service()
    service.ready("performing: salsa")
    service.tell("recording take 12")
    service.stopping("saving")
    assert messages(told) == [
        "READY=1\nSTATUS=performing: salsa",
        "STATUS=recording take 12",
        "STOPPING=1\nSTATUS=saving",
    ]


def test_the_same_status_is_said_once(told: socket.socket) -> None:
    service = open_service()
    service.ready("performing")
    for _ in range(3):
        service.tell("performing")
        service.tell("fault: no camera")
    assert (
        messages(told)
        == ["READY=1\nSTATUS=performing", "STATUS=fault: no camera"]
        + [
            "STATUS=performing",
            "STATUS=fault: no camera",
        ]
        * 2
    )


def test_a_status_cannot_smuggle_in_another_message(told: socket.socket) -> None:
    open_service().tell("a camera that is called\nREADY=1")
    assert messages(told) == ["STATUS=a camera that is called READY=1"]


def test_signs_of_life_are_sent_in_good_time_and_no_more_often(
    told: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "20000000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    service = open_service()
    assert service.watchdog_s == 20.0
    beats = []
    for tenth in range(1000):
        service.alive(100.0 + tenth / 10.0)
        beats += messages(told)
    assert set(beats) == {"WATCHDOG=1"}
    assert len(beats) == 100.0 / (20.0 / BEATS_PER_PERIOD)


@pytest.mark.parametrize(("period_us", "pid"), [("", ""), ("0", ""), ("many", ""), ("20000000", "1")])
def test_without_a_watchdog_of_its_own_no_sign_of_life_is_sent(
    told: socket.socket, monkeypatch: pytest.MonkeyPatch, period_us: str, pid: str
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", period_us)
    monkeypatch.setenv("WATCHDOG_PID", pid)
    service = open_service()
    service.alive(1.0)
    assert service.watchdog_s is None
    assert messages(told) == []


def test_without_systemd_nothing_happens_and_that_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        service = open_service({})
        service.ready("performing")
        service.alive(1.0)
        service.stopping("")
    assert [record.levelno for record in caplog.records] == [logging.DEBUG]


def test_a_systemd_that_has_gone_stops_nothing_and_is_logged_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    service = open_service()
    service.ready("performing")
    service.tell("fault")
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "READY=1" in caplog.text


def test_a_service_without_the_package_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "systemd.daemon", None)
    with pytest.raises(ServiceError, match=r"needs systemd-python: run install\.sh again"):
        open_service({"NOTIFY_SOCKET": "/run/systemd/notify"})


class Journal:
    """Keeps what it is sent as the journal does: fields by name."""

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []

    def send(self, message: str, **fields: Any) -> None:
        self.entries.append({"MESSAGE": message, **fields})


def logger_to(journal: Journal) -> tuple[logging.Logger, JournalHandler]:
    handler = JournalHandler(journal.send)
    logger = logging.Logger("device.box.supervisor")  # of its own, not among those of the process
    logger.addHandler(handler)
    return logger, handler


def test_a_line_in_the_journal_carries_the_newest_facts_as_fields() -> None:
    journal = Journal()
    logger, handler = logger_to(journal)
    handler.set_facts(state="performing", model="salsa", latency_ms=17.9, underruns=0)
    logger.warning("the camera is gone")
    handler.set_facts(state="fault", underruns=1)
    logger.error("it is %s", "gone")
    first, second = journal.entries
    assert first["MESSAGE"] == "the camera is gone"
    assert first["PRIORITY"] == 4
    assert first["SYSLOG_IDENTIFIER"] == "dance-sampler"
    assert first["LOGGER"] == "device.box.supervisor"
    assert {name: first[f"DANCE_{name}"] for name in ("STATE", "MODEL", "LATENCY_MS", "UNDERRUNS")} == {
        "STATE": "performing",
        "MODEL": "salsa",
        "LATENCY_MS": "17.9",
        "UNDERRUNS": "0",
    }
    assert (second["PRIORITY"], second["MESSAGE"], second["DANCE_STATE"]) == (3, "it is gone", "fault")
    assert "DANCE_MODEL" not in second


def test_the_message_stays_bare_whatever_else_is_configured() -> None:
    journal = Journal()
    handler = JournalHandler(journal.send)
    logger = logging.Logger("root")
    logging.basicConfig()  # in a program of its own it would give its format to every handler that has none
    for each in (handler, *logging.root.handlers):
        assert each.formatter is not None
    logger.addHandler(handler)
    logger.info("state %s", "saving")
    assert journal.entries[0]["MESSAGE"] == "state saving"


def test_each_level_has_its_priority_and_an_exception_its_traceback() -> None:
    journal = Journal()
    logger, _ = logger_to(journal)
    for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL):
        logger.log(level, "x")
    assert [each["PRIORITY"] for each in journal.entries] == [7, 6, 4, 3, 2]
    try:
        raise ValueError("a broken part")
    except ValueError:
        logger.exception("failed")
    assert "ValueError: a broken part" in journal.entries[-1]["MESSAGE"]


@pytest.mark.parametrize("name", ["a b", "x" * 57, "größe"])
def test_a_fact_that_the_journal_would_drop_is_refused(name: str) -> None:
    with pytest.raises(ServiceError, match="the journal takes no field"):
        JournalHandler(Journal().send).set_facts(**{name: 1})


def test_the_real_journal_module_takes_what_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    journal = pytest.importorskip("systemd.journal")
    lines: list[str] = []
    monkeypatch.setattr(journal, "sendv", lambda *sent: lines.extend(sent))
    handler = JournalHandler(journal.send)
    handler.set_facts(state="saving", rtf=0.03)
    handler.handle(logging.LogRecord("a", logging.INFO, __file__, 7, "done", (), None))
    assert {"MESSAGE=done", "DANCE_STATE=saving", "DANCE_RTF=0.03", "PRIORITY=6", "CODE_LINE=7"} <= set(lines)


def test_the_journal_is_used_where_standard_error_leads_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "stream").open("w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        stat = os.fstat(stream.fileno())
        assert isinstance(journal_handler({"JOURNAL_STREAM": f"{stat.st_dev}:{stat.st_ino}"}), JournalHandler)
        assert journal_handler({"JOURNAL_STREAM": f"{stat.st_dev}:{stat.st_ino + 1}"}) is None
        assert journal_handler({}) is None


def test_a_service_that_is_made_by_hand_needs_no_systemd() -> None:
    said: list[str] = []
    service = Service(said.append, watchdog_s=4.0)
    service.alive(0.0)
    service.alive(0.9)
    service.alive(1.0)
    assert said == ["WATCHDOG=1", "WATCHDOG=1"]
