"""Levels as people read them: the peak of late, in dBFS."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

FALL_DB_PER_S = 20.0
"""How fast the peak that is shown falls: IEC 60268-18 asks for about this of a programme meter."""
SILENT_DBFS = -120.0
"""What silence is shown as; JSON has no minus infinity."""


def to_dbfs(peak: float) -> float:
    """Level of an amplitude, 0 at full scale, `SILENT_DBFS` at the least."""
    return max(SILENT_DBFS, 20.0 * math.log10(peak)) if peak > 0.0 else SILENT_DBFS


class PeakLevel:
    """The highest amplitude of late, which falls by `FALL_DB_PER_S`.

    Parameters
    ----------
    rate_hz : int

    Attributes
    ----------
    peak : float
        1 is full scale.

    Notes
    -----
    Audio path: sets no memory aside.
    """

    def __init__(self, rate_hz: int) -> None:
        self.peak = 0.0
        self._fall_per_sample = FALL_DB_PER_S / 20.0 / rate_hz

    def see(self, block: npt.NDArray[np.float32]) -> float:
        """Take the next samples, shape (n_samples,), and give the peak."""
        if len(block):
            highest = max(float(block.max()), -float(block.min()))
            self.peak = max(highest, self.peak * 10.0 ** (-self._fall_per_sample * len(block)))
        return self.peak
