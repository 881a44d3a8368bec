"""A station: what becomes of a process that ends, hangs or says what went wrong."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from device.core.errors import CameraError
from device.engine.process import Child, PartEndedError
from device.engine.station import HUNG_S, LONGEST_RETRY_S, RETRY_S, Station
from tests.hand_clock import HandClock


class Process:
    """A process without one: says what it is given to say."""

    def __init__(self) -> None:
        self.said: list[tuple[str, Any]] = []
        self.told: list[str] = []
        self.is_ended = False

    def heard(self) -> list[tuple[str, Any]]:
        said, self.said = self.said, []
        return said

    def tell(self, word: str, content: object = None) -> None:
        self.told.append(f"{word}{content or ''}")

    def end(self, patience_s: float = 0.0) -> None:
        assert patience_s == 0.0
        self.is_ended = True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> HandClock:
    clock = HandClock()
    monkeypatch.setattr("device.engine.station.time", SimpleNamespace(monotonic=clock.now_s))
    return clock


@pytest.fixture
def processes() -> list[Process]:
    return []


@pytest.fixture
def station(clock: HandClock, processes: list[Process]) -> Station:  # noqa: ARG001 - it goes by that clock
    def launch() -> Child:
        processes.append(Process())
        return cast(Child, processes[-1])

    made = Station("camera", launch)
    made.start()
    made.is_ready = True
    return made


def test_what_is_said_is_passed_on_in_order(station: Station, processes: list[Process]) -> None:
    processes[0].said = [("ready", 1), ("ended", 2.0)]
    assert station.heard() == [("ready", 1), ("ended", 2.0)]
    assert station.heard() == []


def test_an_end_unasked_is_a_failure_that_names_the_process(station: Station, processes: list[Process]) -> None:
    processes[0].said = [("ready", None), ("gone", None)]
    (ready, (word, error)) = station.heard()
    assert (ready[0], word) == ("ready", "failed")
    assert isinstance(error, PartEndedError)
    assert "camera" in str(error)


@pytest.mark.parametrize("last", [("failed", CameraError("the cable is out")), ("ended", 1.0)])
def test_who_has_said_why_is_not_asked_again(
    station: Station, processes: list[Process], last: tuple[str, object]
) -> None:
    processes[0].said = [last, ("gone", None)]
    assert station.heard() == [last]


def test_who_is_done_may_end(station: Station, processes: list[Process], clock: HandClock) -> None:
    station.is_done = True
    processes[0].said = [("gone", None)]
    assert station.heard() == []
    station.end()
    clock.time_s += 100.0
    station.start_if_due()
    assert len(processes) == 1


def test_what_was_given_up_is_started_again_after_a_while_and_not_before(
    station: Station, processes: list[Process], clock: HandClock
) -> None:
    for n in range(1, 4):
        station.is_ready = True
        station.try_again_later("the cable is out")
        assert processes[-1].is_ended
        assert (station.child, station.is_ready, station.n_restarts) == (None, False, n)
        assert station.last_error == "the cable is out"
        assert station.heard() == []
        station.tell("go")
        clock.time_s += 0.9 * RETRY_S
        station.start_if_due()
        assert len(processes) == n
        clock.time_s += 0.2 * RETRY_S
        station.start_if_due()
        station.start_if_due()
        assert len(processes) == n + 1
    assert [process.told for process in processes] == [[]] * 4


def test_what_stays_missing_is_tried_less_often_until_it_was_there_again(
    station: Station, processes: list[Process], clock: HandClock
) -> None:
    def wait_s() -> float:
        n, begin_s = len(processes), clock.time_s
        station.try_again_later("no camera")
        while len(processes) == n:
            clock.time_s += 0.01
            station.start_if_due()
        return clock.time_s - begin_s

    waits_s = [wait_s() for _ in range(5)]
    station.is_ready = True
    waits_s.append(wait_s())
    assert waits_s == pytest.approx(
        [RETRY_S, 2 * RETRY_S, LONGEST_RETRY_S, LONGEST_RETRY_S, LONGEST_RETRY_S, RETRY_S], abs=0.02
    )


def test_it_hangs_when_it_stands_still_although_it_could_move(station: Station, clock: HandClock) -> None:
    assert not station.is_stuck(1.0, could_move=True)
    clock.time_s += 0.9 * HUNG_S
    assert not station.is_stuck(1.0, could_move=True)
    clock.time_s += 0.2 * HUNG_S
    assert station.is_stuck(1.0, could_move=True)


@pytest.mark.parametrize("what", ["it moves", "it could not move", "it is not ready"])
def test_it_does_not_hang_while(station: Station, clock: HandClock, what: str) -> None:
    progress = 0.0
    station.is_ready = what != "it is not ready"
    for _ in range(20):
        progress += what == "it moves"
        assert not station.is_stuck(progress, could_move=what != "it could not move")
        clock.time_s += 0.5 * HUNG_S


def test_a_process_that_was_started_again_is_given_its_time(station: Station, clock: HandClock) -> None:
    assert not station.is_stuck(1.0, could_move=True)
    clock.time_s += 2 * HUNG_S
    assert station.is_stuck(1.0, could_move=True)
    station.try_again_later("it hangs")
    clock.time_s += RETRY_S
    station.start_if_due()
    station.is_ready = True
    assert not station.is_stuck(1.0, could_move=True)
    clock.time_s += 0.9 * HUNG_S
    assert not station.is_stuck(1.0, could_move=True)
