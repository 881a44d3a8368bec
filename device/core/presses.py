"""The button's grammar: raw edges, which bounce, become presses. Pure: times come in, nothing is waited for.

A contact counts once it has kept its level for the debounce time, and then from when it took that level: bounces of any
number, at either edge, are one edge, and what is shorter than the debounce time never was.

A press is judged when it ends, so that the way to a longer one does nothing: up to `hold_s` it is short, then it is a
hold. Only `long_s` acts at once, while the button is still down. A press that begins as the box starts is meant for
the start alone: held for `start_hold_s` it asks for safe mode, and is nothing else, however long or short.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from enum import Enum

from device.core.errors import ConfigError

AT_START_S = 1.0
"""A press that begins within this time of the first thing that is heard was there when the box started."""


class Press(str, Enum):
    """What a finger meant."""

    SHORT = "short"
    HOLD = "hold"
    LONG = "long"
    AT_START = "at start"


@dataclass(frozen=True)
class PressSettings:
    """How presses are told apart.

    Attributes
    ----------
    debounce_s : float
        A contact counts after so many seconds without bouncing.
    hold_s : float
        From here on a press is a hold when it ends, in seconds.
    long_s : float or None
        Here a press is long and acts at once, in seconds. None: a hold may last for ever.
    start_hold_s : float
        So long must a press last that was there at the start, in seconds.

    Raises
    ------
    ConfigError
        The times are not in this order.
    """

    debounce_s: float = 0.025
    hold_s: float = 3.0
    long_s: float | None = 8.0
    start_hold_s: float = 1.0

    def __post_init__(self) -> None:
        times_s = [0.0, self.debounce_s, self.hold_s, *([] if self.long_s is None else [self.long_s])]
        if any(later <= earlier for earlier, later in itertools.pairwise(times_s)):
            said = " < ".join(f"{time_s:g} s" for time_s in times_s)
            raise ConfigError(f"a button cannot tell {said} apart: make debounce, hold and power-off times grow")


class Presses:
    """Hears the edges of one button, which is up at first.

    Parameters
    ----------
    settings : PressSettings

    Attributes
    ----------
    is_holding : bool
        The button has been down for `hold_s` and nothing has come of it yet: let go, it is a hold.

    Notes
    -----
    Edges must be told in their order and with their own times, and those that have happened before time passes: an
    edge may lie before the time that passed last, as when its driver was late.
    """

    def __init__(self, settings: PressSettings) -> None:
        self.is_holding = False
        self._settings = settings
        self._first_s: float | None = None
        # As it is seen, since when; and as it counts.
        self._seen, self._seen_s = False, 0.0
        self._is_down, self._began_s = False, 0.0
        self._is_at_start = self._is_spent = False

    @property
    def due_s(self) -> float | None:
        """When `pass_time` must be called next; None: not before the next edge."""
        settled_s = self._seen_s + self._settings.debounce_s
        if self._seen != self._is_down:
            return settled_s
        if not self._is_down or self._is_spent:
            return None
        if self._is_at_start:
            wanted_s: float | None = self._settings.start_hold_s
        else:
            wanted_s = self._settings.long_s if self.is_holding else self._settings.hold_s
        return None if wanted_s is None else max(self._began_s + wanted_s, settled_s)

    def edge(self, is_down: bool, time_s: float) -> list[Press]:
        """Hear one edge, bounce or not.

        Parameters
        ----------
        is_down : bool
            Whether the button is down from now on.
        time_s : float
            When it happened.
        """
        given = self.pass_time(time_s)
        if is_down != self._seen:
            self._seen, self._seen_s = is_down, time_s
        return given

    def pass_time(self, time_s: float) -> list[Press]:
        """Give the presses that are certain by now; more than one only where time was not passed when it was due."""
        if self._first_s is None:
            self._first_s = time_s
        given = []
        if self._seen != self._is_down and time_s >= self._seen_s + self._settings.debounce_s:
            given += self._settled(self._seen, self._seen_s)
        # Where it was seen to be up just now, it may have been let go of in time.
        is_sure = self._seen and time_s >= self._seen_s + self._settings.debounce_s
        if self._is_down and is_sure and not self._is_spent:
            given += self._held(time_s)
        return given

    def _settled(self, is_down: bool, time_s: float) -> list[Press]:
        """Take the new level to have begun at this time."""
        self._is_down = is_down
        if is_down:
            self._began_s = time_s
            self._is_at_start = self._first_s is not None and time_s < self._first_s + AT_START_S
            self._is_spent = False
            return []
        self.is_holding = False
        if self._is_spent or self._is_at_start:
            return []
        return [Press.HOLD if time_s >= self._began_s + self._settings.hold_s else Press.SHORT]

    def _held(self, time_s: float) -> list[Press]:
        """See what a button that is still down has come to."""
        if self._is_at_start:
            self._is_spent = time_s >= self._began_s + self._settings.start_hold_s
            return [Press.AT_START] if self._is_spent else []
        self.is_holding = time_s >= self._began_s + self._settings.hold_s
        if self._settings.long_s is not None and time_s >= self._began_s + self._settings.long_s:
            self.is_holding, self._is_spent = False, True
            return [Press.LONG]
        return []
