"""gpiozero's pins on Linux's GPIO character device, through libgpiod: for Jetson and every board that is no Pi.

gpiozero knows it as the pin factory `gpiod` (GPIOZERO_PIN_FACTORY=gpiod) wherever this checkout is on Python's path:
`dance_sampler.dist-info` beside the program registers it, for there is nothing to install. A pin is a line of one chip:
its number, or its name as `gpioinfo` prints it. Lines can be read, watched and set; there is no PWM.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable
from types import MethodType
from typing import Any
from weakref import WeakMethod, ref

import gpiod
from gpiod.line import Bias, Clock, Direction, Edge, Value
from gpiozero.exc import PinFixedPull, PinInvalidEdges, PinInvalidFunction, PinInvalidPin, PinInvalidPull, PinSetInput
from gpiozero.pins import BoardInfo, Factory, HeaderInfo, Pin, PinInfo

from device.core.errors import PanelError

CONSUMER = "dance-sampler"
CHIP_VARIABLE = "GPIOZERO_GPIOD_CHIP"
FIRST_CHIP = "/dev/gpiochip0"
END_S = 1.0

_BIASES = {"up": Bias.PULL_UP, "down": Bias.PULL_DOWN, "floating": Bias.DISABLED}
_EDGES = {"none": Edge.NONE, "rising": Edge.RISING, "falling": Edge.FALLING, "both": Edge.BOTH}
_VALUES = {False: Value.INACTIVE, True: Value.ACTIVE}


class GpiodFactory(Factory):
    """The lines of one GPIO chip.

    Parameters
    ----------
    chip : str or None
        Its device. None: what GPIOZERO_GPIOD_CHIP names, or the first chip.
    open_chip : callable
        As `gpiod.Chip`.

    Raises
    ------
    PanelError
        The chip cannot be opened.
    """

    def __init__(self, chip: str | None = None, open_chip: Callable[[str], Any] = gpiod.Chip) -> None:
        super().__init__()
        self.pins: dict[int, GpiodPin] = {}
        self._path = chip or os.environ.get(CHIP_VARIABLE, FIRST_CHIP)
        try:
            self.chip = open_chip(self._path)
        except OSError as error:
            said = f"the GPIO chip {self._path} cannot be opened: {error.strerror}"
            raise PanelError(f"{said}; set panel.chip to one that gpiodetect lists, and join its group") from error
        self._board = _board_info(self.chip)

    def close(self) -> None:
        """Let all lines and the chip go. May be called twice."""
        for pin in list(self.pins.values()):
            pin.close()
        self.chip.close()

    def pin(self, name: int | str) -> GpiodPin:
        """Give the line of this number or name, the same object while it is open."""
        for _, info in self._board.find_pin(name):
            if info.number not in self.pins:
                self.pins[info.number] = GpiodPin(self, info)
            return self.pins[info.number]
        raise PinInvalidPin(f"{name} is no line of {self._path}")

    @staticmethod
    def ticks() -> float:
        """CLOCK_MONOTONIC in seconds, as the kernel's edges have it."""
        return time.monotonic()

    @staticmethod
    def ticks_diff(later: float, earlier: float) -> float:
        """Seconds between two ticks."""
        return later - earlier

    def _get_board_info(self) -> BoardInfo:
        return self._board


class GpiodPin(Pin):
    """One line of a chip, held from here until `close`.

    Parameters
    ----------
    factory : GpiodFactory
    info : PinInfo
    """

    when_changed: Any  # gpiozero's property, which it has not annotated

    def __init__(self, factory: GpiodFactory, info: PinInfo) -> None:
        super().__init__()
        self._factory, self._info, self._offset = factory, info, info.number
        self._lock = threading.RLock()  # gpiod's objects are for one thread at a time.
        self._function, self._pull, self._edges = "input", "", "both"
        self._when_changed: Any = None
        self._listener: _Listener | None = None
        self._request = factory.chip.request_lines({self._offset: self._settings()}, consumer=CONSUMER)

    def close(self) -> None:
        """Let the line go. May be called twice."""
        self.when_changed = None
        with self._lock:
            self._factory.pins.pop(self._offset, None)
            self._request.release()

    def output_with_state(self, state: float) -> None:
        """Make it an output of this state, without another state between."""
        self._stop_listening()
        settings = gpiod.LineSettings(direction=Direction.OUTPUT, output_value=_VALUES[bool(state)])
        with self._lock:
            self._function = "output"
            self._request.reconfigure_lines({self._offset: settings})

    def input_with_pull(self, pull: str) -> None:
        """Make it an input with this pull, without another pull between."""
        self._check_pull(pull)
        self._pull = pull
        self._set_function("input")

    def __repr__(self) -> str:
        return str(self._info.name)

    def _get_info(self) -> PinInfo:
        return self._info

    def _get_function(self) -> str:
        return self._function

    def _set_function(self, value: str) -> None:
        if value not in ("input", "output"):
            raise PinInvalidFunction(f"invalid function '{value}' for pin {self!r}")
        if value == "output":
            self.output_with_state(0)
        else:
            with self._lock:
                self._function = value
                self._apply()

    def _get_state(self) -> int:
        with self._lock:
            return int(bool(self._request.get_value(self._offset)))

    def _set_state(self, value: float) -> None:
        if self._function == "input":
            raise PinSetInput(f"cannot set state of pin {self!r}")
        with self._lock:
            self._request.set_value(self._offset, _VALUES[bool(value)])

    def _get_pull(self) -> str:
        return self._pull or "floating"

    def _set_pull(self, value: str) -> None:
        if self._function != "input":
            raise PinFixedPull(f"cannot set pull on non-input pin {self!r}")
        self._check_pull(value)
        with self._lock:
            self._pull = value
            self._apply()

    def _check_pull(self, value: str) -> None:
        if value not in _BIASES:
            raise PinInvalidPull(f"invalid pull '{value}' for pin {self!r}")

    def _get_edges(self) -> str:
        return self._edges

    def _set_edges(self, value: str) -> None:
        if value not in _EDGES:
            raise PinInvalidEdges(f"invalid edges '{value}' for pin {self!r}")
        with self._lock:
            self._edges = value
            self._apply()

    def _get_when_changed(self) -> Any:
        return None if self._when_changed is None else self._when_changed()

    def _set_when_changed(self, value: Any) -> None:
        # As gpiozero's other pins: who listens is not kept alive by it.
        self._stop_listening()
        if value is None:
            self._when_changed = None
            return
        self._when_changed = WeakMethod(value) if isinstance(value, MethodType) else ref(value)
        with self._lock:
            self._listener = _Listener(self._request, self._lock, self._tell)
            self._apply()
            self._listener.start()

    def _stop_listening(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.end()
            with self._lock:
                self._apply()

    def _tell(self, time_s: float, state: int) -> None:
        method = self._get_when_changed()
        if method is not None:
            method(time_s, state)

    def _settings(self) -> gpiod.LineSettings:
        return gpiod.LineSettings(
            direction=Direction.INPUT,
            bias=_BIASES[self._pull] if self._pull else Bias.AS_IS,
            edge_detection=_EDGES[self._edges] if self._listener is not None else Edge.NONE,
            event_clock=Clock.MONOTONIC,
        )

    def _apply(self) -> None:
        """Have an input be as it is to be; call it with the lock."""
        if self._function == "input":
            self._request.reconfigure_lines({self._offset: self._settings()})


class _Listener:
    """A thread that waits for a line's edges and for its end, and for nothing else."""

    def __init__(self, request: Any, lock: threading.RLock, tell: Callable[[float, int], None]) -> None:
        self._request, self._lock, self._tell = request, lock, tell
        self._woken, self._wake = os.pipe()
        self._ending = threading.Lock()
        self._is_over = False
        self._thread = threading.Thread(target=self._run, name="gpiod", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        with self._ending:
            if not self._is_over:
                os.write(self._wake, b".")
        if self._thread is not threading.current_thread():
            self._thread.join(END_S)

    def _run(self) -> None:
        try:
            while not self._is_told_to_end():
                with self._lock:
                    events = self._request.read_edge_events()
                for event in events:
                    is_rising = event.event_type is gpiod.EdgeEvent.Type.RISING_EDGE
                    self._tell(event.timestamp_ns / 1e9, int(is_rising))
        finally:
            with self._ending:
                self._is_over = True
                os.close(self._woken)
                os.close(self._wake)

    def _is_told_to_end(self) -> bool:
        """Wait for edges, or for the end."""
        ready, _, _ = select.select([self._request.fd, self._woken], [], [])
        return self._woken in ready


def _board_info(chip: Any) -> BoardInfo:
    """Describe a chip as a board with one header, for gpiozero looks pins up there."""
    info = chip.get_info()
    line_names = [chip.get_line_info(offset).name for offset in range(info.num_lines)]
    pins = {}
    for offset, line_name in enumerate(line_names):
        names = {offset, f"line {offset}", line_name or offset}
        if str(offset) not in line_names:  # A name goes before a number.
            names.add(str(offset))
        pins[offset] = PinInfo(
            number=offset, name=f"line {offset}", names=frozenset(names), pull="", row=offset + 1, col=1,
            interfaces=frozenset({"gpio"}),
        )  # fmt: skip
    header = HeaderInfo(name=info.name, rows=len(pins), columns=1, pins=pins)
    return BoardInfo(
        revision="", model=info.label, pcb_revision="", released="", soc="", manufacturer="", memory=0, storage="",
        usb=0, usb3=0, ethernet=0, eth_speed=0, wifi=False, bluetooth=False, csi=0, dsi=0,
        headers={info.name: header}, board="",
    )  # fmt: skip
