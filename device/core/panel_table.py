"""The appliance's states, and the table of what each does about everything that can happen. Pure data.

`Panel` turns what it is told into happenings, looks them up here, and keeps the few facts that a name such as
`Goes.RESTS` stands for. A cell that is not written down does nothing. `table_markdown` prints all of it.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class State(str, Enum):
    """What the appliance is doing."""

    STARTING = "starting"
    PERFORMING = "performing"
    RECORDING = "recording"
    SAVING = "saving"
    FAULT = "fault"
    SAFE = "safe"
    STOPPING = "stopping"


class Action(str, Enum):
    """What the supervisor is to do."""

    START_TAKE = "start_take"
    """Have a take begin at `Panel.take_begins_s`; the answer is `TakeStarted` or `TakeFailed`."""
    STOP_TAKE = "stop_take"
    """End it and save it; the answer is `TakeSaved` or `TakeFailed`."""
    CANCEL_TAKE = "cancel_take"
    """The same, marked as cancelled."""
    ABANDON_TAKE = "abandon_take"
    """No answer came: end the recorder's process, salvage what it wrote, and tell nothing more of this take."""
    NEXT_MODEL = "next_model"
    """Play the next of the installed models."""
    POWER_OFF = "power_off"
    """Ask the system to power off, and go on until it sends SIGTERM."""
    ENTER_SAFE = "enter_safe"
    """Play the factory's bundle with the default configuration."""
    LEAVE_SAFE = "leave_safe"
    """Play what played before; `EngineReady` is awaited."""
    STOP = "stop"
    """End: no take is open any more."""


class Happening(str, Enum):
    """What can happen to the appliance, after presses were told apart and facts looked at."""

    PRESS = "short press"
    PRESS_IN_VAIN = "short press, but no take can be made now"
    PRESS_IN_COUNT_IN = "short press in the count-in"
    HOLD = "held, then let go"
    LONG = "held longer"
    HELD_AT_START = "held at start"
    READY = "engine ready"
    FAULT_BEGINS = "fault begins"
    FAULT_ENDS = "fault ends"
    TAKE_STARTED = "take started"
    TAKE_SAVED = "take saved"
    TAKE_FAILED = "take failed"
    TAKE_MUST_STOP = "take must stop"
    TIME_UP = "time is up"
    SAFE_ASKED = "safe mode asked"
    STOP_ASKED = "stop asked"


class Goes(str, Enum):
    """Next states that depend on facts."""

    STAYS = "stays"
    RESTS = "rests"
    """Safe, starting, fault or performing: the first that holds."""
    ENDS_TAKE = "ends take"
    """What was asked for while the take was open: to stop, to power off or safe mode; else as `RESTS`."""


class Step(NamedTuple):
    """One cell: what is done, what comes next, and what else waits until the take is closed."""

    goes: State | Goes = Goes.STAYS
    actions: tuple[Action, ...] = ()
    later: Action | None = None


_STOPS = Step(State.STOPPING, (Action.STOP,))
_POWERS_OFF = Step(State.STOPPING, (Action.POWER_OFF,))
_ENTERS_SAFE = Step(State.SAFE, (Action.ENTER_SAFE,))
_LEAVES_SAFE = Step(Goes.RESTS, (Action.LEAVE_SAFE,))
_SAVES = Step(State.SAVING, (Action.STOP_TAKE,))
_CANCELS = Step(State.SAVING, (Action.CANCEL_TAKE,))

_LEAVES = {
    Happening.LONG: _POWERS_OFF,
    Happening.HELD_AT_START: _ENTERS_SAFE,
    Happening.SAFE_ASKED: _ENTERS_SAFE,
    Happening.STOP_ASKED: _STOPS,
}
_RESTING = {
    **_LEAVES,
    Happening.PRESS: Step(State.RECORDING, (Action.START_TAKE,)),
    Happening.HOLD: Step(actions=(Action.NEXT_MODEL,)),
    Happening.FAULT_BEGINS: Step(Goes.RESTS),
    Happening.FAULT_ENDS: Step(Goes.RESTS),
}

TABLE: dict[State, dict[Happening, Step]] = {
    State.STARTING: {
        **_LEAVES,
        Happening.READY: Step(Goes.RESTS),
        Happening.TIME_UP: _ENTERS_SAFE,
    },
    State.PERFORMING: _RESTING,
    State.FAULT: _RESTING,
    State.RECORDING: {
        Happening.PRESS: _SAVES,
        Happening.PRESS_IN_COUNT_IN: _CANCELS,
        Happening.HOLD: _CANCELS,
        Happening.LONG: _SAVES._replace(later=Action.POWER_OFF),
        Happening.HELD_AT_START: _SAVES._replace(later=Action.ENTER_SAFE),
        Happening.TAKE_SAVED: Step(Goes.RESTS),
        Happening.TAKE_FAILED: Step(Goes.RESTS),
        Happening.TAKE_MUST_STOP: _SAVES,
        Happening.TIME_UP: _SAVES,
        Happening.SAFE_ASKED: _SAVES._replace(later=Action.ENTER_SAFE),
        Happening.STOP_ASKED: _SAVES._replace(later=Action.STOP),
    },
    State.SAVING: {
        Happening.LONG: Step(later=Action.POWER_OFF),
        Happening.HELD_AT_START: Step(later=Action.ENTER_SAFE),
        Happening.TAKE_SAVED: Step(Goes.ENDS_TAKE),
        Happening.TAKE_FAILED: Step(Goes.ENDS_TAKE),
        Happening.TIME_UP: Step(Goes.ENDS_TAKE, (Action.ABANDON_TAKE,)),
        Happening.SAFE_ASKED: Step(later=Action.ENTER_SAFE),
        Happening.STOP_ASKED: Step(later=Action.STOP),
    },
    State.SAFE: {
        Happening.PRESS: _LEAVES_SAFE,
        Happening.HOLD: _LEAVES_SAFE,
        Happening.LONG: _POWERS_OFF,
        Happening.TIME_UP: _LEAVES_SAFE,
        Happening.STOP_ASKED: _STOPS,
    },
    State.STOPPING: {
        Happening.TIME_UP: Step(Goes.RESTS),
        Happening.STOP_ASKED: _STOPS,
    },
}

LATER = {Action.STOP: _STOPS, Action.POWER_OFF: _POWERS_OFF, Action.ENTER_SAFE: _ENTERS_SAFE}
"""What waited for a take to be closed, the most urgent first: of several, that one is done."""


def step_for(state: State, happening: Happening) -> Step:
    """Look a cell up; one that is not written down does nothing."""
    return TABLE[state].get(happening, Step())


def table_markdown() -> str:
    """Write the whole table for people: a row for each thing that can happen, a column for each state."""
    states = list(State)
    lines = [
        "| | " + " | ".join(state.value for state in states) + " |",
        "| --- |" + " --- |" * len(states),
    ]
    for happening in Happening:
        cells = [_cell(step_for(state, happening)) for state in states]
        lines.append(f"| {happening.value} | " + " | ".join(cells) + " |")
    legend = "Rest is the first that holds of: safe, starting (the engine is not ready), fault, performing."
    return "\n".join([*lines, "", legend])


def _cell(step: Step) -> str:
    words = {Goes.STAYS: "", Goes.RESTS: "→ rest", Goes.ENDS_TAKE: "→ what was asked, or rest"}
    goes = words[step.goes] if isinstance(step.goes, Goes) else f"→ {step.goes.value}"
    later = f"then {step.later.value}" if step.later else ""
    return ", ".join(word for word in (*(action.value for action in step.actions), goes, later) if word) or "-"
