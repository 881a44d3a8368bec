"""A panel without pins, pressed and looked at by tests in the same process."""

from __future__ import annotations

from collections.abc import Callable

from device.core.lights import Light
from device.edges.panel import OnEdge


class FakePanel:
    """Behaves like a button and an LED.

    Parameters
    ----------
    on_edge : OnEdge
    now_s : callable
        Gives the time of presses, in seconds.
    is_down : bool
        Whether the button is held as it is opened.

    Attributes
    ----------
    lights : list of Light
        What the LED has said, each change once.
    brightness : float or None
        What was set by hand, until the next `show`.
    """

    def __init__(self, on_edge: OnEdge, now_s: Callable[[], float], is_down: bool = False) -> None:
        self.description = "a fake button and a fake LED"
        self.lights: list[Light] = [Light.DARK]
        self.brightness: float | None = None
        self.is_closed = False
        self._on_edge, self._now_s = on_edge, now_s
        if is_down:
            self.press()

    def press(self) -> None:
        """Push the button down, without bouncing."""
        self._edge(True)

    def release(self) -> None:
        """Let it go."""
        self._edge(False)

    def show(self, light: Light) -> None:
        """Say this from now on."""
        self.brightness = None
        if light is not self.lights[-1]:
            self.lights.append(light)

    def shine(self, brightness: float) -> None:
        """Set the LED by hand."""
        self.brightness = brightness

    def close(self) -> None:
        """Nothing is heard any more, and the LED is dark."""
        self.show(Light.DARK)
        self.is_closed = True

    def _edge(self, is_down: bool) -> None:
        if not self.is_closed:
            self._on_edge(is_down, self._now_s())
