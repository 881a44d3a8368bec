"""Noise that moves slowly: what makes each play of one dance differ from the last."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt


class SlowNoise:
    """An Ornstein-Uhlenbeck process: standard normal at each moment, and much the same a moment later.

    Parameters
    ----------
    n : int
        Values.
    temperature : float
        Standard deviation; 0 gives zeros.
    time_constant_s : float
        After this time the correlation with before has fallen to 1/e.
    seed : int
        The same seed and times give the same noise.

    Notes
    -----
    Exact discretisation for any step: D. T. Gillespie, "Exact numerical simulation of the Ornstein-Uhlenbeck process
    and its integral", Physical Review E 54(2), 1996.
    """

    def __init__(self, n: int, temperature: float, time_constant_s: float, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._temperature = temperature
        self._time_constant_s = time_constant_s
        self._state = self._rng.standard_normal(n)

    def step(self, elapsed_s: float) -> npt.NDArray[np.float32]:
        """Move on.

        Parameters
        ----------
        elapsed_s : float
            Since the step before; not negative.

        Returns
        -------
        np.ndarray, shape (n,), float32
        """
        if self._temperature == 0.0:
            return np.zeros(len(self._state), np.float32)
        kept = math.exp(-elapsed_s / self._time_constant_s)
        fresh = self._rng.standard_normal(len(self._state))
        self._state = kept * self._state + math.sqrt(1.0 - kept * kept) * fresh
        return (self._temperature * self._state).astype(np.float32)
