"""Plays lights on an LED, whatever drives it."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable

from device.core.lights import Light, brightness, until_change_s

_log = logging.getLogger(__name__)

LEAST_S = 0.002
"""No LED is set more often than this."""
END_S = 1.0


class LightPlayer:
    """A thread that wakes only when the brightness must change: twice a second for a blink, never for steady light.

    Parameters
    ----------
    set_brightness : callable
        Sets the LED, 0 to 1; called in the thread, and only with what has changed.

    Notes
    -----
    Any thread may call `show`, `shine` and `close`; none waits for the LED.
    """

    def __init__(self, set_brightness: Callable[[float], None]) -> None:
        self._set = set_brightness
        self._news = threading.Condition()
        self._n_news = 0
        self._light = Light.DARK
        self._began_s = time.monotonic()
        self._by_hand: float | None = None
        self._is_ending = False
        self._level: float | None = None
        self._is_broken = False
        self._thread = threading.Thread(target=self._run, name="led", daemon=True)
        self._thread.start()

    def show(self, light: Light) -> None:
        """Begin with this light, or go on with it."""
        with self._news:
            if light is not self._light or self._by_hand is not None:
                self._light, self._began_s, self._by_hand = light, time.monotonic(), None
                self._tell()

    def shine(self, level: float) -> None:
        """Set the LED by hand until the next `show`."""
        with self._news:
            self._by_hand = min(1.0, max(0.0, level))
            self._tell()

    def close(self) -> None:
        """Leave the LED dark and end the thread. May be called twice."""
        with self._news:
            self._is_ending = True
            self._tell()
        self._thread.join(END_S)

    def _tell(self) -> None:
        self._n_news += 1
        self._news.notify()

    def _run(self) -> None:
        while True:
            with self._news:
                n_news, is_ending = self._n_news, self._is_ending
                level, wait_s = self._next()
            self._change(0.0 if is_ending else level)
            if is_ending:
                return
            with self._news:
                if self._n_news == n_news:
                    self._news.wait(None if math.isinf(wait_s) else max(LEAST_S, wait_s))

    def _next(self) -> tuple[float, float]:
        """Give the brightness of now, and for how many seconds it holds."""
        if self._by_hand is not None:
            return self._by_hand, math.inf
        elapsed_s = time.monotonic() - self._began_s
        return brightness(self._light, elapsed_s), until_change_s(self._light, elapsed_s)

    def _change(self, level: float) -> None:
        if level == self._level:
            return
        try:
            self._set(level)
            self._level, self._is_broken = level, False
        except Exception as error:  # noqa: BLE001 - drivers raise what they like, and an LED is no reason to end
            if not self._is_broken:
                _log.warning("the LED cannot be set: %s; look at its pin and its driver", error)
            self._level, self._is_broken = None, True
