"""The panel: what a person at the box sees it do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from device.core.lights import Light
from device.core.panel_events import (
    CAMERA,
    CARD,
    MICROPHONE,
    ButtonDown,
    ButtonUp,
    EngineReady,
    Event,
    FaultBegins,
    FaultEnds,
    SafeAsked,
    Show,
    StopAsked,
    TakeFailed,
    TakeMustStop,
    TakeSaved,
    TakeStarted,
    Tick,
)
from device.core.panel_settings import PanelSettings
from device.core.panel_table import Action, State
from tests.panel_box import PanelBox

DEFAULTS = PanelSettings()


def switched_off(gesture: str) -> PanelSettings:
    change: dict[str, Any] = {gesture: False}
    return replace(DEFAULTS, **change)


def test_a_press_records_after_the_count_in_and_another_saves() -> None:
    box = PanelBox(answers=False).started()
    assert (box.state, box.panel.light) == (State.PERFORMING, Light.PERFORMING)
    pressed_s = box.now_s
    box.press()
    assert box.taken() == [Action.START_TAKE]
    assert (box.state, box.panel.light) == (State.RECORDING, Light.COUNT_IN)
    assert box.panel.take_begins_s == pytest.approx(pressed_s + 0.225 + DEFAULTS.count_in_s)
    box.tell(TakeStarted())
    box.wait(1.8)
    assert box.shows(Light.COUNT_IN)
    box.wait(0.2)
    assert box.shows(Light.RECORDING)
    box.wait(600.0)
    box.press()
    assert box.taken() == [Action.STOP_TAKE]
    assert (box.state, box.panel.light) == (State.SAVING, Light.SAVING)
    box.tell(TakeSaved())
    assert (box.state, box.panel.light, box.panel.note) == (State.PERFORMING, Light.PERFORMING, "")
    assert box.panel.take_begins_s is None


def test_the_light_does_not_say_recording_before_the_recorder_does() -> None:
    box = PanelBox(answers=False).started()
    for _ in range(2):
        box.press()
        box.wait(5.0)
        assert box.shows(Light.COUNT_IN)
        box.tell(TakeStarted())
        assert box.shows(Light.RECORDING)
        box.press()
        box.tell(TakeSaved())


def test_held_while_recording_it_cancels_when_let_go_and_the_light_says_so_before() -> None:
    box = PanelBox().recording()
    box.tell(ButtonDown())
    box.wait(2.9)
    assert box.shows(Light.RECORDING)
    box.wait(0.1)
    assert box.shows(Light.LET_GO)
    box.wait(4.0)
    assert box.taken() == []
    box.tell(ButtonUp())
    box.wait(0.1)
    assert box.taken() == [Action.CANCEL_TAKE]
    assert (box.state, box.panel.light) == (State.PERFORMING, Light.PERFORMING)


def test_held_while_performing_it_is_the_next_model_when_let_go() -> None:
    box = PanelBox().started()
    box.press(4.0)
    assert box.taken() == [Action.NEXT_MODEL]
    assert box.state is State.PERFORMING


def test_held_for_eight_seconds_while_recording_the_take_is_saved_not_cancelled_and_then_the_power_goes() -> None:
    box = PanelBox(answers=False).started()
    box.press()
    box.tell(TakeStarted())
    box.wait(60.0)
    box.taken()
    box.tell(ButtonDown())
    box.wait(8.0)
    assert box.taken() == [Action.STOP_TAKE]
    assert (box.state, box.panel.light) == (State.SAVING, Light.SAVING)
    box.wait(3.0)
    box.tell(TakeSaved())
    assert box.taken() == [Action.POWER_OFF]
    assert (box.state, box.panel.light) == (State.STOPPING, Light.STOPPING)
    box.tell(ButtonUp())
    box.wait(5.0)
    box.tell(StopAsked())
    assert box.taken() == [Action.STOP]
    assert box.panel.due_s is None


def test_on_the_way_to_power_off_the_model_stays() -> None:
    box = PanelBox().started()
    box.press(9.0)
    assert box.taken() == [Action.POWER_OFF]


def test_a_power_off_that_does_not_come_is_given_up() -> None:
    box = PanelBox().started()
    box.press(9.0)
    box.wait(DEFAULTS.power_off_limit_s)
    assert (box.state, box.panel.light) == (State.PERFORMING, Light.REFUSED)
    assert "did not power off" in box.panel.note
    box.wait(DEFAULTS.notice_s)
    assert (box.panel.light, box.panel.note) == (Light.PERFORMING, "")


def test_a_power_off_given_up_is_not_tried_again_after_the_next_take() -> None:
    box = PanelBox().recording()
    box.press(9.0)
    assert box.taken() == [Action.STOP_TAKE, Action.POWER_OFF]
    box.wait(DEFAULTS.power_off_limit_s)
    box.press()
    box.wait(5.0)
    box.press()
    assert (box.taken(), box.state) == ([Action.START_TAKE, Action.STOP_TAKE], State.PERFORMING)


def test_a_stop_while_recording_waits_until_the_take_is_saved() -> None:
    box = PanelBox(answers=False).started()
    box.press()
    box.tell(TakeStarted())
    box.wait(30.0)
    box.taken()
    box.tell(StopAsked())
    assert (box.taken(), box.state) == ([Action.STOP_TAKE], State.SAVING)
    box.tell(StopAsked())
    box.wait(5.0)
    assert box.taken() == []
    box.tell(TakeSaved())
    assert (box.taken(), box.state) == ([Action.STOP], State.STOPPING)


def test_a_press_during_the_count_in_calls_it_off_without_a_complaint() -> None:
    box = PanelBox(answers=False).started()
    box.press()
    box.tell(TakeStarted())
    box.wait(0.5)
    box.press()
    assert box.taken() == [Action.START_TAKE, Action.CANCEL_TAKE]
    box.tell(TakeFailed("nothing was recorded"))
    assert (box.state, box.panel.light) == (State.PERFORMING, Light.PERFORMING)


def test_a_recorder_that_never_gets_ready_is_asked_to_end_and_then_given_up() -> None:
    box = PanelBox(answers=False).started()
    box.press()
    box.wait(DEFAULTS.count_in_s + DEFAULTS.start_limit_s)
    assert (box.taken(), box.state) == ([Action.START_TAKE, Action.STOP_TAKE], State.SAVING)
    box.wait(DEFAULTS.saving_limit_s)
    assert (box.taken(), box.state, box.panel.light) == ([Action.ABANDON_TAKE], State.PERFORMING, Light.REFUSED)
    assert "salvaged" in box.panel.note


def test_a_saving_without_an_answer_ends_and_what_was_asked_for_meanwhile_is_done() -> None:
    box = PanelBox(answers=False).started()
    box.press()
    box.tell(TakeStarted())
    box.wait(5.0)
    box.press()
    box.wait(1.0)
    box.tell(StopAsked())
    box.taken()
    box.wait(DEFAULTS.saving_limit_s)
    assert (box.taken(), box.state) == ([Action.ABANDON_TAKE, Action.STOP], State.STOPPING)


@pytest.mark.parametrize(("is_full", "light"), [(True, Light.FULL), (False, Light.REFUSED)])
def test_a_take_that_fails_is_said_for_some_seconds(is_full: bool, light: Light) -> None:
    box = PanelBox(answers=False).started()
    box.press()
    box.tell(TakeFailed("no room left", is_full))
    assert (box.state, box.panel.light, box.panel.note) == (State.PERFORMING, light, "no room left")
    box.wait(DEFAULTS.notice_s)
    assert box.shows(Light.PERFORMING)


def test_a_card_that_gets_full_ends_the_take_saves_it_and_says_why() -> None:
    box = PanelBox(answers=False).started()
    box.press()
    box.tell(TakeStarted())
    box.wait(5.0)
    box.taken()
    box.tell(TakeMustStop("the card is nearly full", is_full=True))
    assert (box.taken(), box.state) == ([Action.STOP_TAKE], State.SAVING)
    box.wait(10.0)
    box.tell(TakeSaved())
    assert (box.state, box.panel.light) == (State.PERFORMING, Light.FULL)


def test_the_longest_take_is_saved_without_a_complaint() -> None:
    box = PanelBox().recording()
    box.tell(TakeMustStop("an hour is over"))
    assert (box.taken(), box.state, box.panel.light) == ([Action.STOP_TAKE], State.PERFORMING, Light.PERFORMING)


@pytest.mark.parametrize("names", [(CAMERA,), (CARD,), (CARD, CAMERA), ("model", CAMERA, CARD)])
def test_it_performs_again_when_the_last_fault_has_ended(names: tuple[str, ...]) -> None:
    box = PanelBox().started()
    for name in names:
        box.tell(FaultBegins(name))
        box.tell(FaultBegins(name))  # told twice, mended once
        assert (box.state, box.panel.light) == (State.FAULT, Light.FAULT)
    for name in names:
        assert box.state is State.FAULT
        box.tell(FaultEnds(name))
    assert (box.state, box.panel.light) == (State.PERFORMING, Light.PERFORMING)


def test_a_fault_at_the_start_is_seen_when_the_engine_is_ready() -> None:
    box = PanelBox()
    box.tell(FaultBegins(CAMERA))
    assert (box.state, box.panel.light) == (State.STARTING, Light.STARTING)
    box.tell(EngineReady())
    assert (box.state, box.panel.light) == (State.FAULT, Light.FAULT)


@pytest.mark.parametrize(("name", "state"), [(CAMERA, State.FAULT), (MICROPHONE, State.PERFORMING)])
def test_without_what_takes_need_a_press_is_refused_and_the_light_says_so(name: str, state: State) -> None:
    box = PanelBox().started()
    box.tell(FaultBegins(name))
    assert box.state is state
    box.press()
    assert (box.taken(), box.state, box.panel.light) == ([], state, Light.REFUSED)
    assert box.panel.note == f"no take can be recorded: {name} missing"
    box.wait(DEFAULTS.notice_s)
    box.tell(FaultEnds(name))
    box.press()
    assert box.taken() == [Action.START_TAKE]


def test_without_a_sound_card_to_be_heard_on_a_take_can_be_recorded() -> None:
    box = PanelBox().started()
    box.tell(FaultBegins(CARD))
    box.press()
    assert (box.taken(), box.state) == ([Action.START_TAKE], State.RECORDING)
    box.wait(100.0)
    assert (box.state, box.panel.light) == (State.RECORDING, Light.RECORDING)
    box.press()
    assert box.state is State.FAULT


@pytest.mark.parametrize("name", [CAMERA, MICROPHONE])
def test_a_take_outlives_a_cable_that_is_put_back(name: str) -> None:
    box = PanelBox().recording()
    box.tell(FaultBegins(name))
    assert (box.state, box.panel.light) == (State.RECORDING, Light.FAULT)
    box.wait(DEFAULTS.fault_patience_s - 1.0)
    box.tell(FaultEnds(name))
    box.wait(300.0)
    assert (box.state, box.panel.light, box.taken()) == (State.RECORDING, Light.RECORDING, [])


def test_a_take_without_its_camera_is_saved_before_long() -> None:
    box = PanelBox().recording()
    box.tell(FaultBegins(CAMERA))
    box.wait(5.0)
    box.tell(FaultBegins(MICROPHONE))
    box.wait(DEFAULTS.fault_patience_s - 5.0)
    assert (box.taken(), box.state, box.panel.light) == ([Action.STOP_TAKE], State.FAULT, Light.REFUSED)
    assert box.panel.note == "the take was ended: camera, microphone missing"
    box.wait(DEFAULTS.notice_s)
    assert box.shows(Light.FAULT)


def test_held_at_the_start_it_is_safe_mode_until_a_press() -> None:
    box = PanelBox()
    box.tell(ButtonDown())
    box.wait(1.0)
    assert (box.taken(), box.state, box.panel.light) == ([Action.ENTER_SAFE], State.SAFE, Light.SAFE)
    box.wait(20.0)
    box.tell(ButtonUp())
    box.wait(5.0)
    box.tell(EngineReady())
    assert (box.taken(), box.state, box.panel.is_safe) == ([], State.SAFE, True)
    box.press()
    assert (box.taken(), box.state, box.panel.is_safe) == ([Action.LEAVE_SAFE], State.STARTING, False)
    box.tell(EngineReady())
    assert box.state is State.PERFORMING


def test_held_at_the_start_of_an_engine_that_is_ready_at_once_it_is_safe_mode_all_the_same() -> None:
    box = PanelBox()
    box.tell(ButtonDown())
    box.tell(EngineReady())
    box.wait(1.0)
    assert (box.taken(), box.state) == ([Action.ENTER_SAFE], State.SAFE)


def test_a_button_pressed_briefly_at_the_start_does_nothing() -> None:
    box = PanelBox()
    box.press(0.5)
    box.tell(EngineReady())
    box.wait(10.0)
    assert (box.taken(), box.state) == ([], State.PERFORMING)


def test_safe_mode_ends_after_an_hour_and_not_before() -> None:
    box = PanelBox()
    box.tell(SafeAsked())
    box.wait(DEFAULTS.safe_s - 1.0)
    assert (box.taken(), box.state) == ([Action.ENTER_SAFE], State.SAFE)
    box.wait(1.0)
    assert (box.taken(), box.state) == ([Action.LEAVE_SAFE], State.STARTING)


def test_in_safe_mode_a_fault_is_seen_and_safe_mode_goes_on() -> None:
    box = PanelBox()
    box.tell(SafeAsked())
    box.tell(FaultBegins(CARD))
    assert (box.state, box.panel.light) == (State.SAFE, Light.FAULT)
    box.tell(FaultEnds(CARD))
    assert (box.state, box.panel.light) == (State.SAFE, Light.SAFE)


def test_a_power_off_given_up_in_safe_mode_leads_back_to_it() -> None:
    box = PanelBox().started()
    box.tell(SafeAsked())
    box.press(9.0)
    box.wait(DEFAULTS.power_off_limit_s)
    assert (box.state, box.panel.is_safe) == (State.SAFE, True)


def test_safe_mode_asked_for_while_recording_waits_for_the_take() -> None:
    box = PanelBox(answers=False).recording()
    box.tell(SafeAsked())
    assert (box.taken(), box.state) == ([Action.STOP_TAKE], State.SAVING)
    box.tell(TakeSaved())
    assert (box.taken(), box.state) == ([Action.ENTER_SAFE], State.SAFE)


def test_of_all_that_waits_for_a_take_the_most_urgent_is_done() -> None:
    box = PanelBox(answers=False).recording()
    for event in (SafeAsked(), StopAsked(), SafeAsked()):
        box.tell(event)
    box.taken()
    box.tell(TakeFailed("the card was pulled out"))
    assert (box.taken(), box.state) == ([Action.STOP], State.STOPPING)


def test_an_engine_that_does_not_get_ready_is_tried_in_safe_mode() -> None:
    box = PanelBox()
    box.wait(DEFAULTS.engine_limit_s)
    assert (box.taken(), box.state) == ([Action.ENTER_SAFE], State.SAFE)


@pytest.mark.parametrize(
    ("gesture", "seconds", "left"),
    [("record", 0.2, []), ("next_model", 4.0, []), ("power_off", 9.0, [Action.NEXT_MODEL])],
)
def test_a_gesture_can_be_switched_off(gesture: str, seconds: float, left: list[Action]) -> None:
    box = PanelBox(switched_off(gesture)).started()
    box.tell(ButtonDown())
    box.wait(3.5)
    assert box.shows(Light.LET_GO) is (gesture != "next_model")
    box.tell(ButtonUp())
    box.wait(1.0)
    box.taken()
    box.press(seconds)
    assert (box.taken(), box.state) == (left, State.PERFORMING)


def test_cancelling_can_be_switched_off_and_stopping_a_take_cannot() -> None:
    box = PanelBox(switched_off("cancel")).recording()
    box.press(4.0)
    assert box.taken() == []
    box.press()
    assert box.taken() == [Action.STOP_TAKE]


def test_safe_mode_by_the_button_can_be_switched_off() -> None:
    box = PanelBox(switched_off("safe_mode"))
    box.press(30.0)
    assert box.taken() == []


def test_in_an_installation_the_button_is_good_for_safe_mode_at_the_start_alone() -> None:
    settings = PanelSettings(is_installation=True)
    box = PanelBox(settings).started()
    for seconds in (0.2, 4.0, 9.0, 30.0):
        box.tell(ButtonDown())
        box.wait(seconds)
        assert box.shows(Light.PERFORMING)
        box.tell(ButtonUp())
        box.wait(0.1)
    assert (box.taken(), box.state) == ([], State.PERFORMING)
    box = PanelBox(settings)
    box.press(1.5)
    assert (box.taken(), box.state) == ([Action.ENTER_SAFE], State.SAFE)
    box.press()
    assert (box.taken(), box.state) == ([], State.SAFE)


@pytest.mark.parametrize(
    ("before", "seen"),
    [
        ([], Light.COPYING),
        ([FaultBegins(CAMERA)], Light.COPYING),
        ([ButtonDown(), ButtonUp(), Tick()], Light.COPYING),
        ([StopAsked()], Light.STOPPING),
    ],
)
def test_something_else_is_shown_while_nothing_more_important_is(before: list[Event], seen: Light) -> None:
    box = PanelBox().started()
    for event in before:
        box.tell(event)
    box.tell(Show(Light.COPYING, 5.0, "a stick: 3 of 7 takes"))
    assert box.panel.light is seen
    box.wait(5.0)
    assert not box.shows(Light.COPYING)


def test_a_stick_does_not_hide_that_a_take_is_recorded_nor_that_there_is_no_room() -> None:
    box = PanelBox().recording()
    box.tell(Show(Light.COPYING, 60.0))
    assert box.shows(Light.RECORDING)
    box.tell(TakeFailed("no room", is_full=True))
    assert box.shows(Light.FULL)
    box.wait(DEFAULTS.notice_s)
    assert box.shows(Light.COPYING)
