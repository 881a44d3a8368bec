"""A clock for tests that wait for nothing."""

from __future__ import annotations


class HandClock:
    """A clock that moves when it is waited on, or by hand.

    Attributes
    ----------
    time_s : float
        What it says.
    """

    def __init__(self, time_s: float = 1000.0) -> None:
        self.time_s = time_s
        self._begin_s = time_s

    def now_s(self) -> float:
        """Seconds."""
        return self.time_s

    def wait(self, duration_s: float) -> None:
        """Move on."""
        self.time_s += max(0.0, duration_s)

    def n_samples(self, rate_hz: int) -> int:
        """Count the samples that have passed since the beginning."""
        return round((self.time_s - self._begin_s) * rate_hz)
