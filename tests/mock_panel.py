"""The other end of `panel.mock_control`: a finger on the button and an eye on the LED of a program that runs apart."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from pathlib import Path

from device.core.lights import Light, brightness, period_s
from tests.eventually import eventually

SAMPLE_S = 0.02


class MockPanel:
    """Connects to the program's socket as soon as it is there.

    Parameters
    ----------
    path : Path

    Attributes
    ----------
    changes : list of (float, float)
        Time (CLOCK_MONOTONIC, in seconds) and brightness of each change seen.
    """

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)

        def is_connected() -> bool:
            with contextlib.suppress(OSError):
                self._socket.connect(str(path))
                return True
            return False

        eventually(is_connected, f"{path} can be connected to")
        self.changes: list[tuple[float, float]] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def push(self, is_down: bool) -> None:
        """Press the button, or let it go."""
        self._socket.sendall(b"down\n" if is_down else b"up\n")

    def press(self, seconds: float = 0.2) -> None:
        """Press for so long: a finger takes its time."""
        self.push(True)
        threading.Event().wait(seconds)
        self.push(False)

    @property
    def brightness(self) -> float | None:
        """What the LED does now."""
        return self.changes[-1][1] if self.changes else None

    def shows(self, light: Light, seconds: float = 2.0) -> bool:
        """Tell whether the last seconds of what was seen look like this light, whenever it began.

        Parameters
        ----------
        light : Light
        seconds : float
            How long to look back; longer than two periods is not needed.
        """
        end_s = time.monotonic()
        seen = [self._seen_at(end_s - SAMPLE_S * index) for index in range(round(seconds / SAMPLE_S))][::-1]
        span_s = min(period_s(light), 4.0)
        shifts = (SAMPLE_S * index for index in range(max(1, round(span_s / SAMPLE_S))))
        return any(
            sum(
                abs(level - brightness(light, shift_s + SAMPLE_S * index)) < 0.3
                for index, level in enumerate(seen)
                if level is not None
            )
            >= 0.85 * len(seen)
            for shift_s in shifts
        )

    def close(self) -> None:
        """Look away."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._reader.join(5.0)
        self._socket.close()

    def _seen_at(self, time_s: float) -> float | None:
        levels = [level for at_s, level in self.changes if at_s <= time_s]
        return levels[-1] if levels else None

    def _read(self) -> None:
        with self._socket.makefile("r") as lines, contextlib.suppress(OSError):
            for line in lines:
                _, level, time_s = line.split()
                self.changes.append((float(time_s), float(level)))
