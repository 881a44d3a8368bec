"""A gain that moves to where it is sent, slowly or quickly, without a click."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


def by_power(place: Floats) -> None:
    """Places to gains, in place: the sine of a quarter turn. One that rises while one falls keep the power constant."""
    np.multiply(place, np.float32(0.5 * math.pi), out=place)
    np.sin(place, out=place)


def by_loudness(place: Floats) -> None:
    """Places to gains, in place: the square, so that a slow fade is heard all along and not at its end alone."""
    np.square(place, out=place)


class Glide:
    """A gain from 0 to 1 that is on its way, or there.

    Parameters
    ----------
    rate_hz : int
    n_max : int
        Samples in the longest block.
    curve : callable
        `by_power` or `by_loudness`: from places, 0 to 1, which are moved through evenly, to gains, 0 to 1.
    place : float
        Where it begins.

    Notes
    -----
    Audio path: sets no memory aside. What it leaves alone, at 1, it does not touch to the bit.
    """

    def __init__(self, rate_hz: int, n_max: int, curve: Callable[[Floats], None], place: float = 1.0) -> None:
        self._rate_hz = rate_hz
        self._curve = curve
        self._place = self._target = place
        self._steps: Floats = np.arange(1, n_max + 1, dtype=np.float32)
        self._gains: Floats = np.zeros(n_max, np.float32)

    @property
    def is_silent(self) -> bool:
        """Whether it is at 0, and stays there."""
        return self._place == 0.0 and self._target == 0.0

    def send(self, place: float, *, at_once: bool = False) -> None:
        """Let it move to a place, 0 to 1, from the next sample on; or be there, while nothing is heard yet."""
        self._target = min(max(place, 0.0), 1.0)
        if at_once:
            self._place = self._target

    def apply(self, block: Floats, fade_s: float) -> None:
        """Multiply the next samples by the gain, in place.

        Parameters
        ----------
        block : np.ndarray, shape (n_samples,), float32
        fade_s : float
            How long all the way from 0 to 1 takes.
        """
        if self._place == self._target:
            if self._place == 0.0:
                block.fill(0.0)
            if self._place in (0.0, 1.0):
                return
        n = len(block)
        step = math.copysign(1.0 / max(1.0, fade_s * self._rate_hz), self._target - self._place)
        gains = self._gains[:n]
        np.multiply(self._steps[:n], np.float32(step), out=gains)
        np.add(gains, np.float32(self._place), out=gains)
        bound = np.minimum if step > 0.0 else np.maximum
        bound(gains, np.float32(self._target), out=gains)
        end = self._place + n * step
        self._place = min(end, self._target) if step > 0.0 else max(end, self._target)
        self._curve(gains)
        np.multiply(block, gains, out=block)
