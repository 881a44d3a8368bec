"""No sequence of presses, faults, answers and time loses a take or sticks: all short ones, thousands of long ones."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from functools import partial

from hypothesis import example, given, settings
from hypothesis import strategies as st

from device.core.lights import Light
from device.core.panel import Panel
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

DEFAULTS = PanelSettings()
LONGEST_TICKS = 60


class Watched:
    """A panel under watch: all that it has done must make sense to the recorder, the engine and the system.

    `take` is what the recorder knows: None, 'open' or 'ending'.
    """

    def __init__(self, panel_settings: PanelSettings = DEFAULTS) -> None:
        self.panel = Panel(panel_settings)
        self.now_s = 1000.0
        self.take: str | None = None
        self.is_safe = self.is_stopped = False
        self.n_takes = self.n_answers = 0
        self.tell(Tick())

    def tell(self, event: Event) -> None:
        if isinstance(event, (TakeSaved, TakeFailed)):
            self.take = None
            self.n_answers += 1
        for action in self.panel.on(event, self.now_s):
            self._do(action)
        expected = {"open": State.RECORDING, "ending": State.SAVING}.get(self.take or "")
        assert expected is (self.panel.state if self.panel.state in (State.RECORDING, State.SAVING) else None)
        assert (self.panel.take_begins_s is None) is (self.take is None)
        assert isinstance(self.panel.light, Light)

    def _do(self, action: Action) -> None:
        assert not self.is_stopped
        if action is Action.START_TAKE:
            assert self.take is None
            self.take = "open"
            self.n_takes += 1
        elif action in (Action.STOP_TAKE, Action.CANCEL_TAKE):
            assert self.take == "open"
            self.take = "ending"
        elif action is Action.ABANDON_TAKE:
            assert self.take == "ending"
            self.take = None
            self.n_answers += 1
        else:
            assert self.take is None
        if action in (Action.ENTER_SAFE, Action.LEAVE_SAFE):
            assert self.is_safe is (action is Action.LEAVE_SAFE)
            self.is_safe = action is Action.ENTER_SAFE
        self.is_stopped = action is Action.STOP

    def wait(self, seconds: float) -> None:
        end_s = self.now_s + seconds
        for _ in range(LONGEST_TICKS):
            due_s = self.panel.due_s
            if due_s is None or due_s > end_s:
                self.now_s = end_s
                return
            self.now_s = max(self.now_s, due_s)
            self.tell(Tick())
            assert self.panel.due_s is None or self.panel.due_s > self.now_s
        raise AssertionError("it wants to be woken again and again")

    def settle(self) -> None:
        """Let go of the button, mend all, and give it time; a healthy engine gets ready."""
        self.tell(ButtonUp())
        for name in (CAMERA, CARD, MICROPHONE):
            self.tell(FaultEnds(name))
        for _ in range(40):
            self.wait(100.0)
            if self.panel.state is State.STARTING:
                self.tell(EngineReady())


HAPPENS: dict[str, Callable[[Watched], None]] = {
    "down": lambda box: box.tell(ButtonDown()),
    "up": lambda box: box.tell(ButtonUp()),
    "ready": lambda box: box.tell(EngineReady()),
    "camera lost": lambda box: box.tell(FaultBegins(CAMERA)),
    "camera back": lambda box: box.tell(FaultEnds(CAMERA)),
    "card lost": lambda box: box.tell(FaultBegins(CARD)),
    "card back": lambda box: box.tell(FaultEnds(CARD)),
    "microphone lost": lambda box: box.tell(FaultBegins(MICROPHONE)),
    "started": lambda box: box.tell(TakeStarted()) if box.take == "open" else None,
    "saved": lambda box: box.tell(TakeSaved()) if box.take else None,
    "failed": lambda box: box.tell(TakeFailed("no", is_full=True)) if box.take else None,
    "must stop": lambda box: box.tell(TakeMustStop("long")) if box.take else None,
    "safe asked": lambda box: box.tell(SafeAsked()),
    "stop asked": lambda box: box.tell(StopAsked()),
    "stick": lambda box: box.tell(Show(Light.COPYING, 5.0)),
    **{f"{seconds} s": partial(Watched.wait, seconds=seconds) for seconds in (0.01, 0.03, 1.1, 3.0, 8.0, 61.0)},
}
SHORT_PRESS = ("1.1 s", "down", "1.1 s", "up", "0.03 s")

sequences = st.lists(st.sampled_from(list(HAPPENS)), max_size=40)
kinds_of_panel = st.builds(
    PanelSettings,
    is_installation=st.booleans(),
    record=st.booleans(),
    cancel=st.booleans(),
    next_model=st.booleans(),
    power_off=st.booleans(),
    safe_mode=st.booleans(),
)
thorough = settings(max_examples=300, deadline=None, database=None)


def lived(panel_settings: PanelSettings, names: tuple[str, ...] | list[str]) -> Watched:
    box = Watched(panel_settings)
    for name in names:
        HAPPENS[name](box)
    return box


@thorough
@given(kinds_of_panel, sequences)
@example(DEFAULTS, ["ready", *SHORT_PRESS, "down", "8.0 s", "stop asked", "saved"])
def test_every_take_that_begins_is_ended_once_and_answered_or_abandoned(
    panel_settings: PanelSettings, names: list[str]
) -> None:
    box = lived(panel_settings, names)
    box.tell(StopAsked())
    box.wait(DEFAULTS.saving_limit_s)
    assert box.is_stopped
    assert box.panel.state is State.STOPPING
    assert box.take is None
    assert box.n_answers >= box.n_takes
    assert box.panel.due_s is None or box.panel.light is Light.STOPPING


@thorough
@given(kinds_of_panel, sequences)
def test_left_alone_it_performs_again_or_records_or_has_been_stopped(
    panel_settings: PanelSettings, names: list[str]
) -> None:
    box = lived(panel_settings, names)
    box.settle()
    assert box.is_stopped is (box.panel.state is State.STOPPING)
    assert box.panel.state in (State.PERFORMING, State.RECORDING, State.STOPPING)
    assert box.panel.light.value == box.panel.state.value


@thorough
@given(sequences)
def test_after_anything_a_press_records_and_the_next_one_saves(names: list[str]) -> None:
    box = lived(DEFAULTS, [name for name in names if name != "stop asked"])
    box.settle()
    before = box.panel.state
    for state in (State.RECORDING, State.SAVING) if before is State.PERFORMING else (State.SAVING,):
        for name in SHORT_PRESS:
            HAPPENS[name](box)
        if state is State.RECORDING:
            box.tell(TakeStarted())
            box.wait(DEFAULTS.count_in_s)
        assert box.panel.state is state
    box.tell(TakeSaved())
    assert box.panel.state is State.PERFORMING


def test_every_sequence_of_three_happenings_in_a_running_box_keeps_its_takes() -> None:
    names = [name for name in HAPPENS if name not in ("0.01 s", "0.03 s", "camera back", "card lost", "card back")]
    for start in (("ready",), ("ready", *SHORT_PRESS, "started", "3.0 s"), ("safe asked", "ready")):
        for sequence in itertools.product(names, repeat=3):
            box = lived(DEFAULTS, ["1.1 s", *start, *sequence])
            box.tell(StopAsked())
            box.wait(DEFAULTS.saving_limit_s)
            assert box.is_stopped, (start, sequence)


def test_ten_thousand_random_patterns_of_presses_and_bounces_lose_no_take() -> None:
    random_ = random.Random(7)  # noqa: S311 - patterns, no secrets
    n_takes = 0
    for _ in range(10_000):
        box = lived(DEFAULTS, ["3.0 s", "ready"])
        for _ in range(random_.randrange(1, 5)):
            held_s = random_.choice((0.005, 0.05, 0.3, 2.99, 3.1, 7.9, 8.2))
            for is_down, rest_s in ((True, held_s), (False, random_.choice((0.04, 0.5, 4.0)))):
                for bounce in range(random_.randrange(0, 4) * 2 + 1):
                    box.tell(ButtonDown() if is_down is (bounce % 2 == 0) else ButtonUp())
                    box.wait(random_.uniform(0.0, 0.003))
                box.wait(rest_s)
            if box.take is not None and random_.random() < 0.7:
                box.tell(TakeStarted() if box.take == "open" else TakeSaved())
        box.tell(StopAsked())
        box.wait(DEFAULTS.saving_limit_s)
        assert box.is_stopped
        assert box.n_answers == box.n_takes
        n_takes += box.n_takes
    assert n_takes > 5_000
