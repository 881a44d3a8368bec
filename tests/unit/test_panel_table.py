"""Every state and every event: what is done and what comes next, on the real panel, against what was agreed on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from device.core.lights import Light
from device.core.panel_events import (
    CAMERA,
    CARD,
    MICROPHONE,
    ButtonDown,
    EngineReady,
    FaultBegins,
    FaultEnds,
    SafeAsked,
    Show,
    StopAsked,
    TakeFailed,
    TakeMustStop,
    TakeSaved,
    TakeStarted,
)
from device.core.panel_settings import PanelSettings
from device.core.panel_table import LATER, TABLE, Action, Goes, Happening, State, Step, step_for, table_markdown
from tests.panel_box import PanelBox

DEFAULTS = PanelSettings()


def _starting() -> PanelBox:
    box = PanelBox(answers=False)
    box.wait(2.0)
    return box


def _performing() -> PanelBox:
    return PanelBox(answers=False).started()


def _told(box: PanelBox, *events: object) -> PanelBox:
    for event in events:
        box.tell(event)  # type: ignore[arg-type]
    return box


def _pressed(box: PanelBox, seconds: float = 0.2) -> PanelBox:
    box.press(seconds)
    return box


def _in_fault() -> PanelBox:
    return _told(_performing(), FaultBegins(CARD))


def _recording() -> PanelBox:
    return PanelBox(answers=False).recording()


def _held_from_the_start() -> PanelBox:
    box = PanelBox(answers=False)
    box.tell(ButtonDown())
    return box


SETUPS: dict[str, Callable[[], PanelBox]] = {
    "starting": _starting,
    "performing": _performing,
    "fault": _in_fault,
    "count-in": lambda: _told(_pressed(_performing()), TakeStarted()),
    "recording": _recording,
    "saving": lambda: _pressed(_recording()),
    "safe": lambda: _told(_performing(), SafeAsked()),
    "stopping": lambda: _told(_performing(), StopAsked()),
    "powering off": lambda: _pressed(_performing(), 9.0),
}

EVENTS: dict[str, Callable[[PanelBox], object]] = {
    "short": lambda box: box.press(0.2),
    "hold": lambda box: box.press(4.0),
    "long": lambda box: box.press(9.0),
    "engine_ready": lambda box: box.tell(EngineReady()),
    "camera_lost": lambda box: box.tell(FaultBegins(CAMERA)),
    "microphone_lost": lambda box: box.tell(FaultBegins(MICROPHONE)),
    "card_back": lambda box: box.tell(FaultEnds(CARD)),
    "take_started": lambda box: box.tell(TakeStarted()),
    "take_saved": lambda box: box.tell(TakeSaved()),
    "take_failed": lambda box: box.tell(TakeFailed("no")),
    "take_must_stop": lambda box: box.tell(TakeMustStop("long")),
    "safe_asked": lambda box: box.tell(SafeAsked()),
    "stop_asked": lambda box: box.tell(StopAsked()),
    "shown": lambda box: box.tell(Show(Light.COPYING, 5.0)),
    "two_minutes": lambda box: box.wait(121.0),
    "an_hour": lambda box: box.wait(3601.0),
}

# What was agreed on. What is not here stays as it is.
AGREED = """
starting     long            stopping    power_off
starting     engine_ready    performing
starting     safe_asked      safe        enter_safe
starting     stop_asked      stopping    stop
starting     two_minutes     safe        enter_safe
starting     an_hour         safe        enter_safe
performing   short           recording   start_take
performing   hold            performing  next_model
performing   long            stopping    power_off
performing   camera_lost     fault
performing   safe_asked      safe        enter_safe
performing   stop_asked      stopping    stop
fault        short           recording   start_take
fault        hold            fault       next_model
fault        long            stopping    power_off
fault        card_back       performing
fault        safe_asked      safe        enter_safe
fault        stop_asked      stopping    stop
count-in     short           saving      cancel_take
count-in     hold            saving      cancel_take
count-in     long            saving      stop_take
count-in     take_saved      performing
count-in     take_failed     performing
count-in     take_must_stop  saving      stop_take
count-in     safe_asked      saving      stop_take
count-in     stop_asked      saving      stop_take
recording    short           saving      stop_take
recording    hold            saving      cancel_take
recording    long            saving      stop_take
recording    take_saved      performing
recording    take_failed     performing
recording    take_must_stop  saving      stop_take
recording    safe_asked      saving      stop_take
recording    stop_asked      saving      stop_take
saving       take_saved      performing
saving       take_failed     performing
saving       two_minutes     performing  abandon_take
saving       an_hour         performing  abandon_take
safe         short           starting    leave_safe
safe         hold            starting    leave_safe
safe         long            stopping    power_off
safe         stop_asked      stopping    stop
safe         an_hour         starting    leave_safe
powering-off stop_asked      stopping    stop
powering-off two_minutes     performing
powering-off an_hour         performing
"""


def _agreed() -> dict[tuple[str, str], tuple[str, list[str]]]:
    lines = [line.split() for line in AGREED.strip().splitlines()]
    return {(line[0].replace("powering-", "powering "), line[1]): (line[2], line[3:]) for line in lines}


@pytest.mark.parametrize("event", list(EVENTS))
@pytest.mark.parametrize("setup", list(SETUPS))
def test_each_state_does_about_each_event_what_was_agreed_on(setup: str, event: str) -> None:
    box = SETUPS[setup]()
    before = box.state.value
    box.taken()
    EVENTS[event](box)
    expected = _agreed().get((setup, event), (before, []))
    assert (box.state.value, [action.value for action in box.taken()]) == expected


def test_the_setups_cover_every_state_and_what_was_agreed_on_is_all_tested() -> None:
    assert {SETUPS[setup]().state for setup in SETUPS} == set(State)
    assert {key for key in _agreed() if key[0] not in SETUPS or key[1] not in EVENTS} == set()


@pytest.mark.parametrize(
    ("asked", "done"), [("long", "power_off"), ("safe_asked", "enter_safe"), ("stop_asked", "stop")]
)
@pytest.mark.parametrize("answer", ["take_saved", "take_failed", "two_minutes"])
def test_what_is_asked_for_while_a_take_is_saved_is_done_after_its_answer(asked: str, done: str, answer: str) -> None:
    box = SETUPS["saving"]()
    EVENTS[asked](box)
    assert box.state is State.SAVING
    box.taken()
    EVENTS[answer](box)
    assert [action.value for action in box.taken()][-1] == done


def test_every_state_can_be_left_but_for_a_stop_and_a_stop_is_heard_in_all() -> None:
    for state in State:
        nexts = {step.goes for step in TABLE[state].values()}
        assert nexts - {state, Goes.STAYS}
        stop = step_for(state, Happening.STOP_ASKED)
        assert Action.STOP in (*stop.actions, stop.later)


def test_only_open_takes_are_ended_and_each_way_out_of_recording_ends_one_or_answers() -> None:
    ends = {Action.STOP_TAKE, Action.CANCEL_TAKE}
    for state in State:
        for happening, step in TABLE[state].items():
            if ends & set(step.actions):
                assert (state, step.goes) == (State.RECORDING, State.SAVING), happening
            if state is State.RECORDING and step.goes is not State.SAVING:
                assert happening in (Happening.TAKE_SAVED, Happening.TAKE_FAILED)
            if Action.START_TAKE in step.actions:
                assert step.goes is State.RECORDING
            assert step.later is None or (state in (State.RECORDING, State.SAVING) and step.later in LATER)


def test_the_printed_table_has_a_cell_for_every_state_and_happening() -> None:
    header, _, *rows = [line for line in table_markdown().splitlines() if line.startswith("|")]
    assert header.split("|")[2:-1] == [f" {state.value} " for state in State]
    assert [row.split("|")[1].strip() for row in rows] == [happening.value for happening in Happening]
    for row, happening in zip(rows, Happening, strict=True):
        cells = [cell.strip() for cell in row.split("|")[2:-1]]
        for state, cell in zip(State, cells, strict=True):
            assert (cell == "-") is (step_for(state, happening) == Step())
            assert all(action.value in cell for action in step_for(state, happening).actions)


def test_the_page_about_the_panel_holds_the_table_as_it_is() -> None:
    page = (Path(__file__).parents[2] / "device/core/PANEL.md").read_text(encoding="utf-8")
    assert table_markdown() in page, "print(table_markdown()) has the new one"


def test_held_at_the_start_means_the_same_in_whatever_the_engine_has_got_to() -> None:
    for events in ([], [EngineReady()], [EngineReady(), FaultBegins(CAMERA)]):
        box = _told(_held_from_the_start(), *events)
        box.wait(1.0)
        assert (box.taken(), box.state) == ([Action.ENTER_SAFE], State.SAFE)
