"""Frame times that only grow: what drivers and files give is not always so."""

from __future__ import annotations

import math

LONGEST_STEP_BACK_S = 1.0
FIRST_PERIOD_S = 0.04


class Timeline:
    """Makes the times of frames strictly increasing, and keeps count of how often they come.

    A frame of the same time as the last, or of a little before it, is out of place and dropped. A jump back by 1 s
    or more is a clock that was set or a clip that starts again: its frames go on one period after the last.

    Attributes
    ----------
    period_s : float
        Time between frames of late, a dropout counted for no more than `LONGEST_PERIOD_S`.
    n_dropped : int
        Frames without a usable time.
    """

    LONGEST_PERIOD_S = 0.2
    SHARE = 0.2

    def __init__(self) -> None:
        self.period_s = FIRST_PERIOD_S
        self.n_dropped = 0
        self.n = 0
        self._first_s = 0.0
        self._last_s = 0.0
        self._offset_s = 0.0

    def steady(self, time_s: float) -> float | None:
        """Give the time to go by.

        Parameters
        ----------
        time_s : float
            As the camera gave it.

        Returns
        -------
        float or None
            Later than all before it; None: drop this frame.
        """
        if not math.isfinite(time_s):
            self.n_dropped += 1
            return None
        if self.n == 0:
            self._first_s = self._last_s = time_s
            self.n = 1
            return time_s
        if time_s + self._offset_s <= self._last_s - LONGEST_STEP_BACK_S:
            self._offset_s = self._last_s + self.period_s - time_s
        return self._step_to(time_s + self._offset_s)

    def _step_to(self, time_s: float) -> float | None:
        step_s = time_s - self._last_s
        if step_s <= 0.0:
            self.n_dropped += 1
            return None
        step_s = min(step_s, self.LONGEST_PERIOD_S)
        self.period_s += (1.0 if self.n == 1 else self.SHARE) * (step_s - self.period_s)
        self._last_s = time_s
        self.n += 1
        return time_s

    @property
    def duration_s(self) -> float:
        """From the first frame until the last one's end: as long as a clip of these frames."""
        if self.n < 2:
            return self.n * FIRST_PERIOD_S
        return (self._last_s - self._first_s) * self.n / (self.n - 1)
