"""Where samples belong in time: what a card lost is found, what was only late is not taken for a loss."""

from __future__ import annotations

import math

WINDOW_S = 1.0
TOLERANCE_S = 0.03
"""What is still a clock's drift, or a driver's idea of the time, and not a loss."""
SHARE = 0.5


class Continuity:
    """Counts samples, tells which are missing before each piece, and gives each piece a time without jitter.

    Parameters
    ----------
    rate_hz : int
        Nominal samples per second; the card's own clock may drift.
    n_samples : int
        Samples that there were before, of an earlier run.
    next_s : float, optional
        Time of the sample after these; unknown unless given.

    Notes
    -----
    A piece can be late, never early, so of a second of pieces the one that was least late tells the time. What a driver
    says it has lost is missing at once; a loss that nobody told of is found at the end of its second.
    """

    def __init__(self, rate_hz: int, n_samples: int = 0, next_s: float | None = None) -> None:
        self.n_samples = n_samples
        self._rate_hz = rate_hz
        self._origin_s = 0.0 if next_s is None else next_s - n_samples / rate_hz
        self._is_new = next_s is None
        self._is_first_window = next_s is None
        self._least_late_s = math.inf
        self._window_end = 0
        self._n_too_many = 0

    @property
    def next_s(self) -> float:
        """Time of the next sample, of which none is missing."""
        return self._origin_s + self.n_samples / self._rate_hz

    def missing(self, n_samples: int, time_s: float, follows: bool) -> int:
        """Tell how many samples are missing before a piece; count them, and the piece.

        Parameters
        ----------
        n_samples : int
            In the piece.
        time_s : float
            Of its first sample, as the driver gave it.
        follows : bool
            Whether the driver knows of no loss before it.

        Returns
        -------
        int
            Samples to fill in with silence; negative: that many of the piece are too many, and to be left out.
        """
        is_new, self._is_new = self._is_new, False
        if is_new:
            self._origin_s = time_s - self.n_samples / self._rate_hz
            self._begin_window()
        late_s = time_s - self.next_s
        missing = 0
        if not follows and not is_new:
            missing = max(0, round(late_s * self._rate_hz))
            self._begin_window()
            self._is_first_window = False
        elif self._is_first_window and late_s < 0.0:
            self._origin_s += late_s  # The pieces before were late: there is nothing yet that hangs on their time.
        else:
            missing = self._at_end_of_window(late_s)
        if missing < 0 or self._n_too_many:
            self._n_too_many -= missing
            missing = -min(n_samples, self._n_too_many)
            self._n_too_many += missing
        self.n_samples += n_samples + missing
        return missing

    def skip(self, n_samples: int) -> None:
        """Count samples that were filled in while nothing came."""
        self.n_samples += n_samples
        self._begin_window()

    def _at_end_of_window(self, late_s: float) -> int:
        self._least_late_s = min(self._least_late_s, late_s)
        if self.n_samples < self._window_end:
            return 0
        late_s = self._least_late_s
        self._begin_window()
        self._is_first_window = False
        if abs(late_s) > TOLERANCE_S:
            return round(late_s * self._rate_hz)
        self._origin_s += SHARE * late_s
        return 0

    def _begin_window(self) -> None:
        self._least_late_s = math.inf
        self._window_end = self.n_samples + round(WINDOW_S * self._rate_hz)
