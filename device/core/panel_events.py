"""What the supervisor tells the panel."""

from __future__ import annotations

from dataclasses import dataclass

from device.core.lights import Light

CAMERA, CARD, MICROPHONE = "camera", "card", "microphone"
"""Names of faults that the panel knows the meaning of; others are faults of playing."""


@dataclass(frozen=True)
class ButtonDown:
    """The contact closed; it may bounce."""


@dataclass(frozen=True)
class ButtonUp:
    """The contact opened; it may bounce."""


@dataclass(frozen=True)
class Tick:
    """Time has passed: tell it when `Panel.due_s` is reached, after all edges that happened before."""


@dataclass(frozen=True)
class EngineReady:
    """The engine delivers blocks, at the start and after safe mode was left."""


@dataclass(frozen=True)
class FaultBegins:
    """A part is missing.

    Attributes
    ----------
    name : str
        Which: `CAMERA`, `CARD`, `MICROPHONE`, or another.
    """

    name: str


@dataclass(frozen=True)
class FaultEnds:
    """A part is back.

    Attributes
    ----------
    name : str
        As it was told when it began.
    """

    name: str


@dataclass(frozen=True)
class TakeStarted:
    """The take will be there when its time comes: the recorder is ready."""


@dataclass(frozen=True)
class TakeSaved:
    """The take is whole, on the card."""


@dataclass(frozen=True)
class TakeFailed:
    """There is no take, or one to be salvaged.

    Attributes
    ----------
    reason : str
        One line for people.
    is_full : bool
        For want of room.
    """

    reason: str
    is_full: bool = False


@dataclass(frozen=True)
class TakeMustStop:
    """The take is as long as it may be.

    Attributes
    ----------
    reason : str
        One line for people.
    is_full : bool
        For want of room.
    """

    reason: str
    is_full: bool = False


@dataclass(frozen=True)
class StopAsked:
    """SIGTERM."""


@dataclass(frozen=True)
class SafeAsked:
    """Too many starts came to nothing."""


@dataclass(frozen=True)
class Show:
    """Something else wants to be seen, such as a stick: shown while nothing more important is.

    Attributes
    ----------
    light : Light
    duration_s : float
        For how long; what goes on longer tells it again in time.
    text : str
        One line for people.
    """

    light: Light
    duration_s: float
    text: str = ""


# fmt: off
Event = (
    ButtonDown | ButtonUp | Tick | EngineReady | FaultBegins | FaultEnds | TakeStarted | TakeSaved | TakeFailed
    | TakeMustStop | StopAsked | SafeAsked | Show
)
# fmt: on
