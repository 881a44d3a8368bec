"""How late a camera is, from what it saw of an LED that was switched at known times."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from device.core.errors import CameraError

SETTLED_S = 0.3
"""A camera has seen a change by then; one that is later is not for dancing."""
FAINTEST = 12.0
"""Grey levels by which the brightest pixel must differ."""
FEWEST_SEEN = 0.5
"""Part of the changes that must have been seen."""

Times = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LedDelay:
    """What was found.

    Attributes
    ----------
    delays_s : np.ndarray, shape (n_seen,), float64
        From each change of the LED to the arrival of the first frame that shows it more than half.
    n_missed : int
        Changes that no frame showed in time.
    n_pixels : int
        Pixels that show the LED.
    contrast : float
        By how much they differ, in grey levels.
    """

    delays_s: Times
    n_missed: int
    n_pixels: int
    contrast: float


def led_delay(
    pictures: npt.NDArray[np.uint8], arrivals_s: Times, changes_s: Times, is_on: npt.NDArray[np.bool_]
) -> LedDelay:
    """Find the LED in the pictures, and when each of its changes was seen.

    Parameters
    ----------
    pictures : np.ndarray, shape (n_frames, height, width), uint8
    arrivals_s : np.ndarray, shape (n_frames,), float64
        When each came; rising.
    changes_s : np.ndarray, shape (n_changes,), float64
        When the LED was switched; rising, more than `SETTLED_S` apart.
    is_on : np.ndarray, shape (n_changes,), bool
        Whether it was on from then.

    Raises
    ------
    CameraError
        The LED is not to be seen.
    """
    lit, dark = _settled(arrivals_s, changes_s, is_on)
    if not lit.any() or not dark.any():
        raise CameraError("too few frames came to see the LED: check the camera")
    difference = pictures[lit].mean(axis=0) - pictures[dark].mean(axis=0)
    brightest = float(difference.max())
    if brightest < FAINTEST:
        raise CameraError("the LED is not to be seen: hold it close to the lens, or darken the room")
    seen = difference > 0.5 * brightest
    light = pictures[:, seen].mean(axis=1)
    low, high = float(light[dark].mean()), float(light[lit].mean())
    delays_s = _delays_s((light - low) / (high - low), arrivals_s, changes_s, is_on)
    n_missed = int(np.isnan(delays_s).sum())
    if n_missed > (1.0 - FEWEST_SEEN) * len(changes_s):
        raise CameraError("most changes of the LED were not seen: hold it still before the lens")
    return LedDelay(delays_s[~np.isnan(delays_s)], n_missed, int(seen.sum()), high - low)


def _settled(
    arrivals_s: Times, changes_s: Times, is_on: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Tell which frames surely show the LED lit, and which dark, shape (n_frames,) each."""
    last = np.searchsorted(changes_s, arrivals_s, side="right") - 1
    is_known = (last >= 0) & (arrivals_s - changes_s[np.maximum(last, 0)] >= SETTLED_S)
    return is_known & is_on[last], is_known & ~is_on[last]


def _delays_s(light: Times, arrivals_s: Times, changes_s: Times, is_on: npt.NDArray[np.bool_]) -> Times:
    """Give the delay of each change, NaN for one that was not seen; `light` goes from 0, dark, to 1."""
    delays_s = np.full(len(changes_s), np.nan)
    for n, (change_s, on) in enumerate(zip(changes_s, is_on, strict=True)):
        first, last = np.searchsorted(arrivals_s, [change_s, change_s + SETTLED_S])
        crossed = np.flatnonzero((light[first:last] > 0.5) == on)
        if len(crossed):
            delays_s[n] = arrivals_s[first + crossed[0]] - change_s
    return delays_s
