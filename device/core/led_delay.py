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
STEADY = 2.0
"""By how much more the LED's light must differ between on and off than from one time to the next."""
FEWEST_HOLDS = 3
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
    hold = _settled(arrivals_s, changes_s)
    seen = _led_pixels(pictures, hold, is_on)
    light = pictures[:, seen].mean(axis=1)
    is_lit = is_on[np.maximum(hold, 0)]
    low, high = float(light[(hold >= 0) & ~is_lit].mean()), float(light[(hold >= 0) & is_lit].mean())
    delays_s = _delays_s((light - low) / (high - low), arrivals_s, changes_s, is_on)
    n_missed = int(np.isnan(delays_s).sum())
    if n_missed > (1.0 - FEWEST_SEEN) * len(changes_s):
        raise CameraError("most changes of the LED were not seen: hold it still before the lens")
    return LedDelay(delays_s[~np.isnan(delays_s)], n_missed, int(seen.sum()), high - low)


def _settled(arrivals_s: Times, changes_s: Times) -> npt.NDArray[np.int64]:
    """Give the change that each frame surely shows the LED after, shape (n_frames,); -1 for none."""
    last = np.searchsorted(changes_s, arrivals_s, side="right") - 1
    is_sure = (last >= 0) & (arrivals_s - changes_s[np.maximum(last, 0)] >= SETTLED_S)
    return np.where(is_sure, last, -1)


def _led_pixels(
    pictures: npt.NDArray[np.uint8], hold: npt.NDArray[np.int64], is_on: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_]:
    """Find the pixels that are bright whenever the LED is on, and dark whenever it is not, shape (height, width)."""
    held = np.unique(hold[hold >= 0])
    lit = is_on[held]
    if lit.sum() < FEWEST_HOLDS or (~lit).sum() < FEWEST_HOLDS:
        raise CameraError("too few frames came to see the LED: check the camera")
    means = np.array([pictures[hold == each].mean(axis=0) for each in held])
    difference = means[lit].mean(axis=0) - means[~lit].mean(axis=0)
    # What moves by itself differs from one time to the next as much as it does on the whole.
    spread = means[lit].std(axis=0) + means[~lit].std(axis=0)
    difference = np.where(difference > STEADY * spread, difference, 0.0)
    brightest = float(difference.max())
    if brightest < FAINTEST:
        raise CameraError("the LED is not to be seen: hold it close to the lens and still, or darken the room")
    found: npt.NDArray[np.bool_] = difference > 0.5 * brightest
    return found


def _delays_s(light: Times, arrivals_s: Times, changes_s: Times, is_on: npt.NDArray[np.bool_]) -> Times:
    """Give the delay of each change, NaN for one that was not seen; `light` goes from 0, dark, to 1."""
    delays_s = np.full(len(changes_s), np.nan)
    for n, (change_s, on) in enumerate(zip(changes_s, is_on, strict=True)):
        first, last = np.searchsorted(arrivals_s, [change_s, change_s + SETTLED_S])
        crossed = np.flatnonzero((light[first:last] > 0.5) == on)
        was_other = first > 0 and (light[first - 1] > 0.5) != on
        if len(crossed) and was_other:
            delays_s[n] = arrivals_s[first + crossed[0]] - change_s
    return delays_s
