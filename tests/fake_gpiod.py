"""A GPIO chip without hardware: lines that are driven by hand behave as the kernel's do, edges with times included."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace

import gpiod
from gpiod.line import Bias, Direction, Edge, Value

PULLED = {Bias.PULL_UP: 1, Bias.PULL_DOWN: 0}
RISING, FALLING = gpiod.EdgeEvent.Type.RISING_EDGE, gpiod.EdgeEvent.Type.FALLING_EDGE


@dataclass
class Line:
    """A line: what drives it from outside (None: nothing), and who has requested it."""

    name: str | None
    driven: int | None = None
    output: int = 0
    settings: gpiod.LineSettings = field(default_factory=gpiod.LineSettings)
    request: FakeRequest | None = None

    @property
    def level(self) -> int:
        if self.settings.direction is Direction.OUTPUT:
            return self.output
        return PULLED.get(self.settings.bias, 0) if self.driven is None else self.driven


class FakeRequest:
    """A request of one line, with gpiod's methods."""

    def __init__(self, line: Line, offset: int, now_s: Callable[[], float]) -> None:
        self._line, self._offset, self._now_s = line, offset, now_s
        self.fd, self._told = os.pipe()
        self._events: list[SimpleNamespace] = []
        self.is_released = False

    def reconfigure_lines(self, config: dict[int, gpiod.LineSettings]) -> None:
        self._check()
        before = self._line.level
        settings = config[self._offset]
        if settings.direction is Direction.OUTPUT:
            assert settings.edge_detection is Edge.NONE, "the kernel refuses edges of an output"
            self._line.output = int(bool(settings.output_value))
        self._line.settings = settings
        self.see_edge(before)

    def get_value(self, offset: int) -> Value:
        self._check(offset)
        return Value.ACTIVE if self._line.level else Value.INACTIVE

    def set_value(self, offset: int, value: Value) -> None:
        self._check(offset)
        if self._line.settings.direction is not Direction.OUTPUT:
            raise PermissionError(errno.EPERM, "Operation not permitted")
        self._line.output = int(bool(value))

    def read_edge_events(self) -> list[SimpleNamespace]:
        self._check()
        n_events = len(os.read(self.fd, 16))  # Waits for the first, as the kernel does.
        events, self._events = self._events[:n_events], self._events[n_events:]
        return events

    def release(self) -> None:
        if not self.is_released:
            self.is_released = True
            self._line.request = None
            os.close(self.fd)
            os.close(self._told)

    def see_edge(self, before: int) -> None:
        """Note an edge if the level has changed and is watched."""
        after, watched = self._line.level, self._line.settings.edge_detection
        if after != before and watched in (Edge.BOTH, Edge.RISING if after else Edge.FALLING):
            kind = RISING if after else FALLING
            self._events.append(SimpleNamespace(event_type=kind, timestamp_ns=round(self._now_s() * 1e9)))
            os.write(self._told, b".")

    def _check(self, offset: int | None = None) -> None:
        assert offset in (None, self._offset)
        if self.is_released:
            raise gpiod.RequestReleasedError


class FakeChip:
    """A chip with gpiod's methods, whose lines are driven with `drive`."""

    def __init__(self, *names: str | None, now_s: Callable[[], float] = time.monotonic) -> None:
        self.lines = [Line(name) for name in names]
        self.now_s = now_s
        self.is_closed = False

    def get_info(self) -> SimpleNamespace:
        return SimpleNamespace(name="gpiochip0", label="fake", num_lines=len(self.lines))

    def get_line_info(self, offset: int) -> SimpleNamespace:
        return SimpleNamespace(name=self.lines[offset].name)

    def request_lines(self, config: dict[int, gpiod.LineSettings], consumer: str) -> FakeRequest:
        assert consumer
        ((offset, settings),) = config.items()
        line = self.lines[offset]
        if line.request is not None:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        line.request = FakeRequest(line, offset, self.now_s)
        line.request.reconfigure_lines({offset: settings})
        return line.request

    def drive(self, offset: int, level: int | None) -> None:
        """Connect a line to a level, or to nothing."""
        line = self.lines[offset]
        before, line.driven = line.level, level
        if line.request is not None:
            line.request.see_edge(before)

    def close(self) -> None:
        self.is_closed = True
