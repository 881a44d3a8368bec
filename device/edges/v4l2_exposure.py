"""Exposure, gain and focus of a V4L2 camera, where it lets them be set."""

from __future__ import annotations

import logging
import math
from contextlib import suppress

from linuxpy.video.device import BaseControl, ControlID, Device

from device.core.exposure import Exposure, ExposureLimits

_log = logging.getLogger(__name__)

UNIT_S = 1e-4
"""V4L2_CID_EXPOSURE_ABSOLUTE counts in 100 microseconds."""
MANUAL = 1
LARGEST_GAIN = 8.0
"""What a camera's highest gain is taken to do: its numbers mean something else in each."""


class V4l2Exposure:
    """Sets a camera to expose as it is told, at a steady rate, with its focus locked.

    Parameters
    ----------
    device : Device
        Open.
    frame_s : float
        Time of a frame: no exposure is longer.

    Attributes
    ----------
    limits : ExposureLimits or None
        None: it cannot be told, and goes on by itself.
    """

    def __init__(self, device: Device, frame_s: float) -> None:
        self._device = device
        # A camera that exposes by itself may otherwise give fewer frames in the dark.
        self._set(ControlID.EXPOSURE_AUTO_PRIORITY, 0)
        self._set(ControlID.FOCUS_AUTO, 0)
        self._time = self._find(ControlID.EXPOSURE_ABSOLUTE)
        self._gain = self._find(ControlID.GAIN)
        self.limits: ExposureLimits | None = None
        if self._time is not None and self._set(ControlID.EXPOSURE_AUTO, MANUAL):
            shortest_s, longest_s = self._time.minimum * UNIT_S, self._time.maximum * UNIT_S
            longest_s = max(min(longest_s, math.floor(frame_s / UNIT_S) * UNIT_S), shortest_s)
            self.limits = ExposureLimits(
                max(shortest_s, UNIT_S), longest_s, LARGEST_GAIN if self._gain is not None else 1.0
            )

    def set(self, exposure: Exposure) -> None:
        """Expose so from now on.

        Raises
        ------
        OSError
            The camera refuses, or is gone.
        """
        if self._time is not None:
            self._time.value = round(exposure.time_s / UNIT_S)
        if self._gain is not None:
            low, high = self._gain.minimum, self._gain.maximum
            share = math.log(exposure.gain) / math.log(LARGEST_GAIN)
            self._gain.value = round(low + (high - low) * min(max(share, 0.0), 1.0))

    def _find(self, name: ControlID) -> BaseControl | None:
        """Give a control that can be set."""
        with suppress(KeyError):
            control = self._device.controls[name]
            return control if control.is_writeable else None
        return None

    def _set(self, name: ControlID, value: int) -> bool:
        """Set a control; tell whether there is one that takes it."""
        control = self._find(name)
        if control is None:
            return False
        try:
            control.value = value
        except OSError as error:
            _log.info("the camera does not let %s be %d (%s)", name.name.lower(), value, error)
            return False
        return True
