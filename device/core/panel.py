"""The appliance's state machine: button, engine, takes and faults go in, actions and a light come out. Pure.

`panel_table` says what is done about what, `presses` what a press is, `lights` how a light looks. What is decided here:

- An open take is asked to end once, and its answer awaited for `saving_limit_s`. Only then comes what else was asked
  for: to stop (SIGTERM), to power off (held for 8 s), safe mode. Without an answer the take is abandoned, to be
  salvaged, and the performance goes on.
- A fault does not end a take at once: a cable is put back within seconds, and what was lost is marked in the take. Only
  when what takes need has been missing for `fault_patience_s` is the take ended and saved.
- An engine that does not get ready is tried in safe mode. Safe mode ends by a press or after `safe_s`.
- Without what takes need a press does not record, and the light says so. A power-off that does not come within
  `power_off_limit_s` is given up.
- In an installation the button is good for safe mode at the start alone, which ends by itself or by the plug.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from device.core.lights import Light
from device.core.panel_events import (
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
from device.core.panel_table import LATER, Action, Goes, Happening, State, Step, step_for
from device.core.presses import Press, Presses


class _Notice(NamedTuple):
    light: Light
    until_s: float
    text: str


_HAPPENINGS: dict[type, Happening] = {
    EngineReady: Happening.READY,
    FaultBegins: Happening.FAULT_BEGINS,
    FaultEnds: Happening.FAULT_ENDS,
    TakeStarted: Happening.TAKE_STARTED,
    TakeSaved: Happening.TAKE_SAVED,
    TakeFailed: Happening.TAKE_FAILED,
    TakeMustStop: Happening.TAKE_MUST_STOP,
    SafeAsked: Happening.SAFE_ASKED,
    StopAsked: Happening.STOP_ASKED,
}


class Panel:
    """The state machine. One thread calls it.

    Parameters
    ----------
    settings : PanelSettings

    Attributes
    ----------
    state : State
    is_safe : bool
        Safe mode has been entered and not been left, whatever the state.
    faults : frozenset of str
        What is missing.
    take_begins_s : float or None
        When the open take begins, or began: the end of the count-in.
    """

    def __init__(self, settings: PanelSettings) -> None:
        self.state = State.STARTING
        self.is_safe = False
        self.faults: frozenset[str] = frozenset()
        self.take_begins_s: float | None = None
        has_long = settings.power_off and not settings.is_installation
        self._settings = settings
        self._presses = Presses(settings.presses if has_long else replace(settings.presses, long_s=None))
        self._now_s = self._entered_s = self._safe_until_s = -math.inf
        self._spoiled_s: float | None = None
        self._is_ready = self._is_started = self._is_stopped = False
        # Of the open take: it holds nothing that would be missed; what waits for its end; what is said then.
        self._is_empty = False
        self._later: frozenset[Action] = frozenset()
        self._afterwards: tuple[Light, str] | None = None
        self._notice: _Notice | None = None
        self._shown: _Notice | None = None

    @property
    def due_s(self) -> float | None:
        """When `Tick` must be told next; None: not before something happens. The light may change then, too."""
        times_s = [self._presses.due_s, self._limit_s()]
        times_s += [notice.until_s for notice in (self._notice, self._shown) if notice is not None]
        if self._is_before_take():
            times_s.append(self.take_begins_s)
        return min((time_s for time_s in times_s if time_s is not None), default=None)

    @property
    def light(self) -> Light:
        """What the LED says."""
        if self._presses.is_holding and self._is_meant(Press.HOLD):
            return Light.LET_GO
        if self.state is State.RECORDING:
            return self._light_of_take()
        if self.state in (State.SAVING, State.STOPPING):
            return Light(self.state.value)
        notice = self._notice or self._shown
        if notice is not None:
            return notice.light
        return Light.FAULT if self.state is State.SAFE and self._keeps_from_playing() else Light(self.state.value)

    @property
    def note(self) -> str:
        """Why the light says what it says, in one line for people; empty: there is nothing more to say."""
        notice = self._notice or self._shown
        return "" if notice is None else notice.text

    def on(self, event: Event, now_s: float) -> list[Action]:
        """Hear what happened; give what is to be done about it, in order.

        Parameters
        ----------
        event : Event
            Edges of the button come with the times at which they happened, and before a `Tick` of a later time.
        now_s : float
            On a clock that does not go back, in seconds.
        """
        if self._entered_s == -math.inf:
            self._entered_s = now_s
        self._now_s = max(self._now_s, now_s)
        actions: list[Action] = []
        for happening in self._happenings(event, now_s):
            actions += self._do(happening)
        if self._notice is not None and self._now_s >= self._notice.until_s:
            self._notice = None
        if self._shown is not None and self._now_s >= self._shown.until_s:
            self._shown = None
        return actions

    def _happenings(self, event: Event, time_s: float) -> Iterator[Happening]:
        """Give what this comes to; each is done before the next is looked for."""
        if isinstance(event, (ButtonDown, ButtonUp)):
            presses = self._presses.edge(isinstance(event, ButtonDown), time_s)
        else:
            presses = self._presses.pass_time(time_s) if isinstance(event, Tick) else []
        for press in presses:
            meaning = self._meaning(press)
            if meaning is not None:
                yield meaning
        limit_s = self._limit_s()
        if isinstance(event, Tick) and limit_s is not None and self._now_s >= limit_s:
            yield Happening.TIME_UP
        elif isinstance(event, Show):
            self._shown = _Notice(event.light, self._now_s + event.duration_s, event.text)
        elif type(event) in _HAPPENINGS:
            self._note_fact(event)
            yield _HAPPENINGS[type(event)]

    def _note_fact(self, event: Event) -> None:
        if isinstance(event, EngineReady):
            self._is_ready = True
        elif isinstance(event, TakeStarted):
            self._is_started = True
        elif isinstance(event, (FaultBegins, FaultEnds)):
            named = frozenset({event.name})
            self.faults = self.faults | named if isinstance(event, FaultBegins) else self.faults - named
            if not self.faults & self._settings.takes_need:
                self._spoiled_s = None
            elif self._spoiled_s is None:
                self._spoiled_s = self._now_s
        elif isinstance(event, (TakeFailed, TakeMustStop)) and self.take_begins_s is not None:
            if event.is_full:
                self._afterwards = (Light.FULL, event.reason)
            elif isinstance(event, TakeFailed) and not self._is_empty:
                self._afterwards = (Light.REFUSED, event.reason)

    def _meaning(self, press: Press) -> Happening | None:
        """Tell what a press means here and now, if anything."""
        settings = self._settings
        if press is Press.AT_START:
            return Happening.HELD_AT_START if settings.safe_mode else None
        if settings.is_installation:
            return None
        if press is Press.LONG:
            return Happening.LONG
        if press is Press.HOLD:
            is_on = (
                settings.cancel if self.state is State.RECORDING else settings.next_model or self.state is State.SAFE
            )
            return Happening.HOLD if is_on else None
        if self.state is State.RECORDING and self._is_before_take():
            return Happening.PRESS_IN_COUNT_IN
        if self.state not in (State.PERFORMING, State.FAULT):
            return Happening.PRESS
        if not settings.record:
            return None
        return Happening.PRESS if self._spoiled_s is None else Happening.PRESS_IN_VAIN

    def _is_meant(self, press: Press) -> bool:
        """Tell whether this press would do something."""
        meaning = self._meaning(press)
        return meaning is not None and step_for(self.state, meaning) != Step()

    def _do(self, happening: Happening) -> list[Action]:
        """Do what the table says."""
        self._say_why(happening)
        step = step_for(self.state, happening)
        if step.later is not None:
            self._later |= {step.later}
        actions = self._act(step.actions)
        goes = step.goes
        if goes is Goes.ENDS_TAKE:
            waited = next((LATER[action] for action in LATER if action in self._later), Step(Goes.RESTS))
            actions += self._act(waited.actions)
            goes = waited.goes
        if goes is not Goes.STAYS:
            self._enter(goes if isinstance(goes, State) else self._rest())
        return actions

    def _act(self, actions: tuple[Action, ...]) -> list[Action]:
        """Note what is about to be done."""
        given = []
        for action in actions:
            if action is Action.STOP and self._is_stopped:
                continue
            given.append(action)
            if action is Action.STOP:
                self._is_stopped = True
            elif action is Action.START_TAKE:
                self.take_begins_s = self._now_s + self._settings.count_in_s
                self._is_started = self._is_empty = False
                self._notice = None
            elif action is Action.ENTER_SAFE:
                self.is_safe, self._safe_until_s = True, self._now_s + self._settings.safe_s
            elif action is Action.LEAVE_SAFE:
                self.is_safe = self._is_ready = False
        return given

    def _enter(self, state: State) -> None:
        self.state, self._entered_s = state, self._now_s
        if state not in (State.RECORDING, State.SAVING):
            self.take_begins_s, self._later = None, frozenset()
            if self._afterwards is not None:
                self._tell(*self._afterwards)

    def _rest(self) -> State:
        if self.is_safe:
            return State.SAFE
        if not self._is_ready:
            return State.STARTING
        return State.FAULT if self._keeps_from_playing() else State.PERFORMING

    def _keeps_from_playing(self) -> bool:
        return bool(self.faults - self._settings.only_takes_need)

    def _is_before_take(self) -> bool:
        return self.take_begins_s is not None and self._now_s < self.take_begins_s

    def _light_of_take(self) -> Light:
        if self._is_before_take() or not self._is_started:
            return Light.COUNT_IN
        return Light.RECORDING if self._spoiled_s is None else Light.FAULT

    def _limit_s(self) -> float | None:
        """When this state has lasted long enough; None: it may last."""
        settings = self._settings
        if self.state is State.RECORDING:
            if self.take_begins_s is not None and not self._is_started:
                return self.take_begins_s + settings.start_limit_s
            return None if self._spoiled_s is None else self._spoiled_s + settings.fault_patience_s
        if self.state is State.STARTING:
            return self._entered_s + settings.engine_limit_s
        if self.state is State.SAVING:
            return self._entered_s + settings.saving_limit_s
        if self.state is State.SAFE:
            return self._safe_until_s
        if self.state is State.STOPPING and not self._is_stopped:
            return self._entered_s + settings.power_off_limit_s
        return None

    def _say_why(self, happening: Happening) -> None:
        """Have the light say why something is not done, now or when the take is closed."""
        settings = self._settings
        if happening is Happening.PRESS_IN_VAIN:
            self._tell(Light.REFUSED, f"no take can be recorded: {self._missing()} missing")
        elif self.state is State.RECORDING and happening in (Happening.PRESS_IN_COUNT_IN, Happening.HOLD):
            self._is_empty = self._is_before_take()
        elif happening is Happening.TIME_UP and self.state is State.RECORDING:
            why = f"{self._missing()} missing" if self._is_started else "the recorder did not get ready"
            self._afterwards = (Light.REFUSED, f"the take was ended: {why}")
        elif happening is Happening.TIME_UP and self.state is State.SAVING:
            said = f"the take was not saved within {settings.saving_limit_s:g} s: what there is of it will be salvaged"
            self._afterwards = (Light.REFUSED, said)
        elif happening is Happening.TIME_UP and self.state is State.STOPPING:
            said = f"the system did not power off within {settings.power_off_limit_s:g} s: see its journal"
            self._tell(Light.REFUSED, said)

    def _missing(self) -> str:
        return ", ".join(sorted(self.faults & self._settings.takes_need))

    def _tell(self, light: Light, text: str) -> None:
        self._notice = _Notice(light, self._now_s + self._settings.notice_s, text)
        self._afterwards = None
