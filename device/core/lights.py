"""What the LED says: each light is a pattern of brightness over time. Pure functions.

All are told apart by an LED that can only be on and off, too: it is on where the brightness is a half or more.
"""

from __future__ import annotations

import math
from enum import Enum
from typing import NamedTuple

STEP_S = 0.04
"""How often the brightness of an LED is set anew while it rises or falls."""


class Light(str, Enum):
    """What is said; `SEEN` tells how it looks."""

    DARK = "dark"
    STARTING = "starting"
    PERFORMING = "performing"
    COUNT_IN = "count-in"
    RECORDING = "recording"
    SAVING = "saving"
    FAULT = "fault"
    SAFE = "safe"
    STOPPING = "stopping"
    LET_GO = "let go"
    REFUSED = "refused"
    FULL = "full"
    COPYING = "copying"


class Part(NamedTuple):
    """A stretch of a pattern: brightness from 0 to 1, going evenly from `start` to `end` in `duration_s` seconds."""

    duration_s: float
    start: float
    end: float


class Seen(NamedTuple):
    """How a light looks, and what it means to who sees it."""

    looks: str
    means: str


SEEN: dict[Light, Seen] = {
    Light.STARTING: Seen("breathes slowly, in 3 s", "starting: wait"),
    Light.PERFORMING: Seen("lit", "performing: dance"),
    Light.COUNT_IN: Seen("a short blip twice a second", "count-in: the take is about to begin"),
    Light.RECORDING: Seen("blinks evenly, once a second", "recording: dance, with your music"),
    Light.SAVING: Seen("blinks evenly and fast", "saving the take: leave the plug alone"),
    Light.FAULT: Seen(
        "two flashes and a pause", "camera or sound card missing: look at its cable; something else: see the status"
    ),
    Light.SAFE: Seen("one flash every 3 s", "safe mode: the factory's sound and settings; press to leave it"),
    Light.STOPPING: Seen("lit, with a wink twice a second", "stopping: leave the plug alone until it is dark"),
    Light.LET_GO: Seen(
        "flickers while the button is down", "let go: take cancelled, or next model; hold on: power off"
    ),
    Light.REFUSED: Seen("five quick flashes and a pause", "that cannot be done now, or it failed: see the status"),
    Light.FULL: Seen("three long flashes and a pause", "no room for another take: copy takes to a stick, delete them"),
    Light.COPYING: Seen("lit, with two winks now and then", "copying to or from a stick: leave it in"),
    Light.DARK: Seen("dark", "off: the plug may be pulled"),
}
"""In the order in which a person meets them."""


def _flashes(n: int, on_s: float, off_s: float, pause_s: float) -> tuple[Part, ...]:
    flash = (Part(on_s, 1.0, 1.0), Part(off_s, 0.0, 0.0))
    return (*(flash * n)[:-1], Part(pause_s, 0.0, 0.0))


def _winks(n: int, off_s: float, on_s: float, pause_s: float) -> tuple[Part, ...]:
    return tuple(Part(part.duration_s, 1.0 - part.start, 1.0 - part.end) for part in _flashes(n, off_s, on_s, pause_s))


PATTERNS: dict[Light, tuple[Part, ...]] = {
    Light.DARK: (Part(math.inf, 0.0, 0.0),),
    Light.STARTING: (Part(1.5, 0.0, 1.0), Part(1.5, 1.0, 0.0)),
    Light.PERFORMING: (Part(math.inf, 1.0, 1.0),),
    Light.COUNT_IN: _flashes(1, 0.1, 0.0, 0.4),
    Light.RECORDING: _flashes(1, 0.5, 0.0, 0.5),
    Light.SAVING: _flashes(1, 0.125, 0.0, 0.125),
    Light.FAULT: _flashes(2, 0.15, 0.2, 1.5),
    Light.SAFE: _flashes(1, 0.2, 0.0, 2.8),
    Light.STOPPING: _winks(1, 0.1, 0.0, 0.4),
    Light.LET_GO: _flashes(1, 0.04, 0.0, 0.04),
    Light.REFUSED: _flashes(5, 0.1, 0.1, 0.8),
    Light.FULL: _flashes(3, 0.6, 0.3, 1.2),
    Light.COPYING: _winks(2, 0.15, 0.2, 1.5),
}
"""Repeated for ever, from the moment a light is first shown."""


def period_s(light: Light) -> float:
    """After how many seconds a light begins anew; infinite for one that is steady."""
    return sum(part.duration_s for part in PATTERNS[light])


def brightness(light: Light, elapsed_s: float) -> float:
    """Brightness of a light, 0 to 1.

    Parameters
    ----------
    light : Light
    elapsed_s : float
        Since it was first shown, in seconds.
    """
    part, within_s = _part(light, elapsed_s)
    return part.start + (part.end - part.start) * within_s / part.duration_s


def until_change_s(light: Light, elapsed_s: float) -> float:
    """After how many seconds the brightness must be set anew; infinite for a light that is steady."""
    part, within_s = _part(light, elapsed_s)
    left_s = part.duration_s - within_s
    return left_s if part.start == part.end else min(STEP_S, left_s)


def _part(light: Light, elapsed_s: float) -> tuple[Part, float]:
    """Find the part of the pattern that this time lies in, and how far within it."""
    parts = PATTERNS[light]
    within_s = math.fmod(max(0.0, elapsed_s), period_s(light))
    for part in parts[:-1]:
        if within_s < part.duration_s:
            return part, within_s
        within_s -= part.duration_s
    return parts[-1], min(within_s, parts[-1].duration_s)


def lights_markdown() -> str:
    """Write a table of all lights for people."""
    rows = [f"| {light.value} | {seen.looks} | {seen.means} |" for light, seen in SEEN.items()]
    return "\n".join(["| light | how it looks | what it means |", "| --- | --- | --- |", *rows])
