from __future__ import annotations

import json

import pytest

from deploy.fleet.ansible import FAILED, OK, SKIPPED, START, UNREACHABLE, Event
from deploy.fleet.push import Told, read_seconds, read_waves
from device.core.errors import UsageError

HOSTS = ["hall", "stage", "loft"]
KEPT = json.dumps({"phase": "committed"})
PENDING = json.dumps({"phase": "pending"})
QUIET = "deploy: ssh://me@stage:22: spring 8 was not kept, the model before it plays: it is too quiet\n"


@pytest.fixture
def told() -> Told:
    return Told(HOSTS, "spring 8")


def hear(told: Told, *events: Event) -> list[str]:
    return [words for words in map(told.hear, events) if words]


def test_it_is_said_what_becomes_of_each_box_and_of_all(told: Told) -> None:
    assert hear(
        told,
        Event(OK, "hall", "look", stdout='{"plays": false}'),
        Event(OK, "hall", "push", is_changed=True, stdout=KEPT),
        Event(OK, "hall", "watch", stdout='{"soak_s": 300.0}'),
        Event(SKIPPED, "stage", "push"),
        Event(SKIPPED, "stage", "watch"),
        Event(START, "loft", "push"),
        Event(OK, "loft", "push", is_changed=True, stdout=PENDING),
        Event(OK, "loft", "watch", stdout='{"soak_s": 0.0}'),
    ) == [
        "hall plays spring 8",
        "hall played it well for 300 s",
        "loft: spring 8 is sent, and tried",
        "loft has spring 8, and is waited for",
        "loft plays spring 8",
    ]
    assert told.outcomes == {"hall": "plays", "stage": "played already", "loft": "plays"}
    assert told.done() == "3 boxes play spring 8, 2 of them since now"


def test_a_second_time_nothing_was_changed(told: Told) -> None:
    assert hear(told, *(Event(SKIPPED, host, step) for host in HOSTS for step in ("push", "watch"))) == []
    assert told.done() == "3 boxes play spring 8 already: nothing was changed"


def test_where_it_stopped_is_one_line_with_what_to_do(told: Told) -> None:
    hear(told, Event(OK, "hall", "push", stdout=KEPT), Event(FAILED, "stage", "push", stderr=QUIET))
    assert told.stopped() == (
        "stopped at stage: spring 8 was not kept, the model before it plays: it is too quiet; "
        "1 of 3 boxes plays spring 8, not touched: loft; mend that, then run this again: it goes on from there"
    )


def test_who_cannot_be_asked_before_anything_was_changed_may_be_left_out(told: Told) -> None:
    off = "deploy: stage: it cannot be reached: is it switched on, and on this network?"
    hear(told, Event(FAILED, "stage", "look", stderr=off), Event(UNREACHABLE, "loft", "look", msg="no \x1b[2J route"))
    assert told.stopped() == (
        "no box was changed: stage: it cannot be reached: is it switched on, and on this network?; loft: no [2J route; "
        "mend that, or leave it out with --limit 'all:!stage:!loft'"
    )


def test_of_many_boxes_a_few_are_named() -> None:
    told = Told([f"box{n}" for n in range(50)], "spring 8")
    hear(told, Event(FAILED, "box0", "push", stderr="deploy: box0: no"))
    assert "not touched: box1, box2, box3, box4, box5 and 44 more;" in told.stopped()


def test_a_failure_without_words_is_one_still(told: Told) -> None:
    assert told.stopped().startswith("no box was changed: Ansible failed, and named no box; ")


@pytest.mark.parametrize(("text", "waves"), [("1,5,100%", [1, 5, "100%"]), ("50%", ["50%"]), ("2", [2])])
def test_waves_are_counts_and_shares(text: str, waves: list[int | str]) -> None:
    assert read_waves(text) == waves


@pytest.mark.parametrize("text", ["", "0", "1,", "101%", "-1", "1;2", "{{ 1 }}"])
def test_what_is_no_wave_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="are no waves"):
        read_waves(text)


@pytest.mark.parametrize("text", ["-1", "nan", "inf", "1e9", "5 min"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no time"):
        read_seconds(text)
