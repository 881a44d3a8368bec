"""How a live camera's exposure and gain follow the room: at once when it is opened, then slowly, over the day.

A camera's own automatic exposure follows whoever comes near it, and each of its steps is a change of the whole picture.
Here a long mean of the brightness is held within a wide band, by steps so small that each alone is below the threshold
of motion, one in many seconds, and preferably while little moves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Grey = npt.NDArray[np.uint8]

GAMMA = 2.2
"""What a camera shows grows with this root of the light."""
LOOK_S = 0.1
FIND_EVERY_S, FIND_S, FOUND = 0.15, 1.0, math.log(1.25)
"""When opened: how often a step of any size may come, for how long, and how near is near enough (log of brightness)."""
LARGEST_JUMP = 8.0
AVERAGE_S = 20.0
FAR, LEAVE, ENTER = math.log(1.5), math.log(1.2), math.log(1.1)
"""Brightness is led back when it is farther off than `LEAVE`, until it is nearer than `ENTER`; faster beyond `FAR`."""
STEP = 1.04
"""Of the light that is gathered: 1.8% of the brightness, less than 5 grey levels even in white."""
FASTER = 5.0
STIRRED, MUCH = 8, 0.02
"""There is much motion if so large a share of the pixels changes by more grey levels than that from look to look."""
PATIENCE_S = 60.0
"""Where the motion never ends, a step waits for its end so long."""


@dataclass(frozen=True)
class Exposure:
    """How long a camera exposes, in seconds, and how much it amplifies, from 1."""

    time_s: float
    gain: float


@dataclass(frozen=True)
class ExposureLimits:
    """What the camera can do; `longest_s` lies within the frame's time, so that the rate is held."""

    shortest_s: float
    longest_s: float
    largest_gain: float


@dataclass(frozen=True)
class ExposureSettings:
    """What is asked for.

    Attributes
    ----------
    brightness : float
        Mean of the picture, in grey levels.
    step_s : float
        Between two small steps, in seconds; a fifth of it where it is far off.
    time_s, gain : float
        Held at this; 0: it follows the room.
    """

    brightness: float
    step_s: float
    time_s: float = 0.0
    gain: float = 0.0


class ExposureFollower:
    """Decides what the camera is to be set to. Belongs to one thread; reads no clock.

    Parameters
    ----------
    settings : ExposureSettings
    limits : ExposureLimits

    Attributes
    ----------
    exposure : Exposure
        What holds now: what the camera must be set to before its first frame.
    is_found : bool
        The first search is over, whatever it found.
    """

    def __init__(self, settings: ExposureSettings, limits: ExposureLimits) -> None:
        self._settings, self._limits = settings, limits
        time_s = min(max(settings.time_s, limits.shortest_s), limits.longest_s) if settings.time_s else limits.longest_s
        self._least = Exposure(time_s if settings.time_s else limits.shortest_s, settings.gain or 1.0)
        self._most = Exposure(time_s, settings.gain or limits.largest_gain)
        self.exposure = self._split(time_s * self._least.gain)
        self.is_found = self._is_fixed
        self._began_s = self._looked_s = self._stepped_s = -math.inf
        self._mean = settings.brightness
        self._last: Grey | None = None
        self._is_off = False

    def look(self, grey: Grey, time_s: float) -> Exposure | None:
        """Look at a frame; give what the camera is to be set to from now on, or None if it stays as it is.

        Parameters
        ----------
        grey : np.ndarray, shape (height, width), uint8
        time_s : float
            Of the frame.
        """
        if self._is_fixed or 0.0 <= time_s - self._looked_s < LOOK_S:
            return None
        is_first = self._last is None or time_s < self._looked_s
        elapsed_s = 0.0 if is_first else time_s - self._looked_s
        if is_first:
            self._began_s = self._stepped_s = time_s
        self._looked_s = time_s
        mean = max(1.0, float(grey.mean()))
        is_stirred = self._is_stirred(grey)
        if not self.is_found:
            return self._find(mean, time_s)
        self._mean += (mean - self._mean) * (1.0 - math.exp(-elapsed_s / AVERAGE_S))
        return self._follow(is_stirred, time_s)

    @property
    def _is_fixed(self) -> bool:
        return self._settings.time_s > 0.0 and self._settings.gain > 0.0

    def _find(self, mean: float, time_s: float) -> Exposure | None:
        """Go to where the first frames should have been."""
        off = math.log(mean / self._settings.brightness)
        self._mean = mean
        if abs(off) < FOUND or time_s - self._began_s >= FIND_S:
            self.is_found = True
            return None
        if 0.0 < time_s - self._stepped_s < FIND_EVERY_S:
            return None
        return self._change(float(np.clip(math.exp(-GAMMA * off), 1.0 / LARGEST_JUMP, LARGEST_JUMP)), time_s)

    def _follow(self, is_stirred: bool, time_s: float) -> Exposure | None:
        off = math.log(max(1.0, self._mean) / self._settings.brightness)
        self._is_off = abs(off) > (ENTER if self._is_off else LEAVE)
        every_s = self._settings.step_s / (FASTER if abs(off) > FAR else 1.0)
        waited_s = time_s - self._stepped_s - every_s
        if not self._is_off or waited_s < 0.0 or (is_stirred and waited_s < PATIENCE_S):
            return None
        factor = STEP if off < 0.0 else 1.0 / STEP
        # The long mean learns of a step late: it is told.
        self._mean *= factor ** (1.0 / GAMMA)
        return self._change(factor, time_s)

    def _change(self, factor: float, time_s: float) -> Exposure | None:
        self._stepped_s = time_s
        changed = self._split(self.exposure.time_s * self.exposure.gain * factor)
        if changed == self.exposure:
            return None  # as far as it goes
        self.exposure = changed
        return changed

    def _split(self, light: float) -> Exposure:
        """Divide what is to be gathered among time and gain: gain makes noise, so it comes last."""
        time_s = min(max(light / self._least.gain, self._least.time_s), self._most.time_s)
        return Exposure(time_s, min(max(light / time_s, self._least.gain), self._most.gain))

    def _is_stirred(self, grey: Grey) -> bool:
        last, self._last = self._last, grey.copy()  # a camera may reuse its buffer
        if last is None or last.shape != grey.shape:
            return False
        change = np.abs(np.subtract(grey, last, dtype=np.int16))
        return bool(np.count_nonzero(change > STIRRED) > MUCH * grey.size)
