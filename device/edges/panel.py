"""The panel interface: one button and one LED."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from device.core.lights import Light

OnEdge = Callable[[bool, float], None]
"""Called with whether the button is down from now on, and since when (CLOCK_MONOTONIC, in seconds), in a thread of the
driver, and possibly before who opens the panel has been given it: it must return at once. Contacts bounce, and levels
may be told twice."""


@dataclass(frozen=True)
class PanelPins:
    """Where button and LED are.

    Attributes
    ----------
    button, led : str
        Pins as the factory names them: '17' or 'GPIO17' on a Pi, a line's number or name on other boards; empty: none.
    button_pull : str
        'up', 'down' or 'none': what holds the button's pin while nobody does.
    button_pressed, led_lit : str
        'low' or 'high': the level of the pin while the button is down, and while the LED is on.
    factory : str
        Who drives the pins: 'auto', or gpiozero's name of it.
    chip : str
        GPIO character device of the factory 'gpiod'.
    mock_control : str
        Unix socket through which the mock pins of the factory 'mock' are pressed and watched; empty: none.
    """

    button: str = "17"
    led: str = "27"
    button_pull: str = "up"
    button_pressed: str = "low"
    led_lit: str = "high"
    factory: str = "auto"
    chip: str = "/dev/gpiochip0"
    mock_control: str = ""


class PanelEdge(Protocol):
    """A button that is heard and an LED that is seen; edges are told to an `OnEdge` given when it is opened.

    The button is taken to be up at first: one that is down when it is opened is told at once.

    Attributes
    ----------
    description : str
        What it is, for people: one line.
    """

    description: str

    def show(self, light: Light) -> None:
        """Have the LED say this from now on; what it says already it goes on to say. Returns at once."""
        ...

    def shine(self, brightness: float) -> None:
        """Set the LED by hand, 0 to 1, until the next `show`; without dimming a half or more is on."""
        ...

    def close(self) -> None:
        """Leave the LED dark, and let the pins go. May be called twice."""
        ...
