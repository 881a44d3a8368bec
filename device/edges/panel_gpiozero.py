"""Button and LED on pins, through gpiozero and a factory that is named: lgpio on a Pi, `pins_gpiod` on other boards.

The button is only listened to here; bounces and presses are the core's (`device.core.presses`): gpiozero's own
bounce time loses edges.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from gpiozero import LED, PWMLED, InputDevice
from gpiozero.exc import PinPWMUnsupported

from device.core.errors import PanelError
from device.core.lights import Light
from device.edges.light_player import LightPlayer
from device.edges.panel import OnEdge, PanelEdge, PanelPins
from device.edges.panel_none import NoPanel

FACTORY_VARIABLE = "GPIOZERO_PIN_FACTORY"
BOARD = Path("/proc/device-tree/model")
OLDEST_EDGE_S = 60.0
"""An edge that its driver says is older has a time of another clock: it is taken to be new."""
_PULLS = {"up": True, "down": False, "none": None}


def open_panel(pins: PanelPins, on_edge: OnEdge, board: Path = BOARD) -> PanelEdge:
    """Open button and LED, or none on a machine whose pins nobody has named.

    Parameters
    ----------
    pins : PanelPins
    on_edge : OnEdge
    board : Path
        File that holds the name of the board.

    Raises
    ------
    PanelError
        A pin or its driver cannot be used; the message says which.
    """
    name = pins.factory if pins.factory != "auto" else _usual_factory(board)
    if not name:
        return NoPanel("this is no Raspberry Pi; for pins of another board set panel.factory, chip, button and led")
    return GpiozeroPanel(pins, open_factory(name, pins.chip), name, on_edge)


def _usual_factory(board: Path) -> str:
    """Choose the driver by what is known, not by trying; empty: there is none."""
    try:
        is_pi = board.read_bytes().startswith(b"Raspberry Pi")
    except OSError:
        is_pi = False
    return os.environ.get(FACTORY_VARIABLE, "lgpio" if is_pi else "")


def open_factory(name: str, chip: str) -> Any:
    """Open a pin factory.

    Parameters
    ----------
    name : str
        Of gpiozero's entry points, or 'gpiod'.
    chip : str
        Device of the factory 'gpiod'.

    Raises
    ------
    PanelError
        There is no such factory, or nothing that it could drive.
    """
    try:
        if name == "gpiod":
            from device.edges.pins_gpiod import GpiodFactory

            return GpiodFactory(chip)
        if name == "mock":
            from device.edges.panel_mock import WatchedMockFactory

            return WatchedMockFactory()
        named = entry_points(group="gpiozero_pin_factories", name=name)
        if not named:
            raise PanelError(f"there is no pin factory {name}: set panel.factory to auto, lgpio or gpiod")
        with _lgpio_at_home():
            return next(iter(named)).load()()
    except PanelError:
        raise
    except Exception as error:
        # Drivers raise what they like.
        said = f"the pin driver {name} cannot be used: {error}; install it, or set panel.factory and panel.chip"
        raise PanelError(said) from error


@contextmanager
def _lgpio_at_home() -> Iterator[None]:
    """Keep lgpio's pipe out of the working directory, and the working directory where it is.

    lgpio leaves a pipe in its folder when it is imported, which nothing needs any more once it is open, and changes to
    that folder if it is named.
    """
    here = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="lgpio-", ignore_cleanup_errors=True) as folder:
        is_ours = "LG_WD" not in os.environ
        if is_ours:
            os.environ["LG_WD"] = folder
        try:
            yield
        finally:
            os.chdir(here)
            if is_ours:
                del os.environ["LG_WD"]


class GpiozeroPanel:
    """Button and LED on gpiozero's pins; `open_panel` makes it.

    Parameters
    ----------
    pins : PanelPins
    factory : gpiozero.pins.Factory
        Closed with the panel.
    factory_name : str
    on_edge : OnEdge

    Raises
    ------
    PanelError
        A pin or its driver cannot be used.
    """

    def __init__(self, pins: PanelPins, factory: Any, factory_name: str, on_edge: OnEdge) -> None:
        self._pins, self._factory, self._on_edge = pins, factory, on_edge
        self._telling = threading.Lock()
        self._closing = ExitStack()
        with ExitStack() as undo:
            undo.callback(self.close)
            self._closing.callback(factory.close)
            button = _opened("button", pins.button, self._open_button)
            led = _opened("led", pins.led, self._open_led)
            if pins.mock_control and factory_name == "mock":
                self._control(button, led)
            self._player = LightPlayer(partial(_set, led)) if led is not None else None
            if self._player is not None:
                self._closing.callback(self._player.close)
            self._button = button
            if button is not None:
                self._listen(button)
            undo.pop_all()
        parts = [f"{what} on {pin}" for what, pin in (("button", pins.button), ("LED", pins.led)) if pin]
        self.description = f"{' and '.join(parts)}, driven by {factory_name}"

    def show(self, light: Light) -> None:
        """Have the LED say this from now on."""
        if self._player is not None:
            self._player.show(light)

    def shine(self, brightness: float) -> None:
        """Set the LED by hand until the next `show`."""
        if self._player is not None:
            self._player.shine(brightness)

    def close(self) -> None:
        """Leave the LED dark, and let the pins go. May be called twice."""
        self._closing.close()

    def _open_button(self, pin: str) -> Any:
        pull_up = _PULLS[self._pins.button_pull]
        is_high = self._pins.button_pressed == "high"
        button = InputDevice(
            pin, pull_up=pull_up, active_state=is_high if pull_up is None else None, pin_factory=self._factory
        )
        self._closing.callback(button.close)
        return button

    def _open_led(self, pin: str) -> Any:
        is_high = self._pins.led_lit == "high"
        try:
            led = PWMLED(pin, active_high=is_high, pin_factory=self._factory)
        except PinPWMUnsupported:
            led = LED(pin, active_high=is_high, pin_factory=self._factory)
        self._closing.callback(led.close)
        return led

    def _listen(self, button: Any) -> None:
        pin = button.pin
        pin.bounce = None
        pin.edges = "both"
        with self._telling:  # No edge is told before the level that it changes.
            pin.when_changed = self._changed
            self._closing.callback(setattr, pin, "when_changed", None)
            if self._is_pressed(pin.state):
                self._on_edge(True, time.monotonic())

    def _changed(self, ticks: Any, state: Any) -> None:
        """Tell an edge, at the time at which the driver says that it happened."""
        with self._telling:
            age_s = self._factory.ticks_diff(self._factory.ticks(), ticks)
            now_s = time.monotonic()
            self._on_edge(self._is_pressed(state), now_s - age_s if 0.0 <= age_s <= OLDEST_EDGE_S else now_s)

    def _is_pressed(self, state: Any) -> bool:
        return bool(state) is (self._pins.button_pressed == "high")

    def _control(self, button: Any, led: Any) -> None:
        """Let others press the mock button and watch the mock LED."""
        from device.edges.panel_mock import MockControl

        def push(is_down: bool) -> None:
            if button is not None:
                is_high = is_down is (self._pins.button_pressed == "high")
                (button.pin.drive_high if is_high else button.pin.drive_low)()

        control = MockControl(Path(self._pins.mock_control), push)
        self._closing.callback(control.close)
        led_pin = None if led is None else led.pin
        is_lit_high = self._pins.led_lit == "high"
        self._factory.on_change = lambda pin, state: (
            control.see(state if is_lit_high else 1.0 - state) if pin is led_pin else None
        )


def _set(led: Any, brightness: float) -> None:
    led.value = brightness if isinstance(led, PWMLED) else brightness >= 0.5


def _opened(key: str, pin: str, open_pin: Callable[[str], Any]) -> Any:
    """Open a pin, or say which one it is that cannot be used; None where none is configured."""
    if not pin:
        return None
    try:
        return open_pin(pin)
    except Exception as error:
        # Drivers raise what they like.
        raise PanelError(f"panel.{key} = {pin} cannot be used: {error}; name another pin") from error
