"""The audio input interface: what a recording asks of anything that hears."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Piece:
    """Sound that has come.

    Attributes
    ----------
    samples : np.ndarray, shape (n_samples,), float32
        Mono, full scale is -1 to 1. The same memory may be used at the next read.
    time_s : float
        Time of the first sample, CLOCK_MONOTONIC; may jitter by milliseconds.
    n_clipped : int
        Samples at full scale in any of the channels that were recorded, however little is left of it in the mean.
    follows : bool
        Whether it follows the piece before without a gap; the first of an input follows nothing.
    """

    samples: npt.NDArray[np.float32]
    time_s: float
    n_clipped: int = 0
    follows: bool = True


class AudioInput(Protocol):
    """Something that gives mono sound with its times.

    A driver must provide `read` and `close`; both may be called from one thread only.

    Attributes
    ----------
    rate_hz : int
        Samples per second that the device really runs at.
    n_overruns : int
        How often sound was lost because it was not read in time.
    """

    rate_hz: int
    n_overruns: int

    def read(self) -> Piece | None:
        """Wait for the next piece; None when there will be no more (the end of a file).

        Raises
        ------
        AudioError
            No sound can be had; the message says what to do.
        """
        ...

    def close(self) -> None:
        """Let the device go. May be called twice."""
        ...
