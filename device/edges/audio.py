"""The audio interface: what the engine asks of anything that is heard."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt


class AudioOutput(Protocol):
    """Something that plays blocks of mono sound.

    Attributes
    ----------
    rate_hz : int
        Samples per second that the device really runs at.
    period : int
        Samples in one block, as the device really has it.
    buffer : int
        Samples that the device holds when full: the delay from `write` to sound.
    n_xruns : int
        Underruns since it was opened.
    """

    rate_hz: int
    period: int
    buffer: int
    n_xruns: int

    def wait(self) -> None:
        """Wait until there is room for one period: the next `write` of a period then waits for nothing.

        All but one period of the buffer are queued by then: what is made now is heard after these. Returns at once
        when there is room already, before the first block, and after an underrun, which `write` mends; and after some
        0.1 s in any case, so that who waits can see that it should stop.

        Raises
        ------
        AudioError
            The device is gone; the message says what to do.
        """
        ...

    def write(self, block: npt.NDArray[np.float32]) -> None:
        """Hand over one block, waiting until there is room for it.

        Parameters
        ----------
        block : np.ndarray, shape (n_samples,), float32
            Full scale is -1 to 1; what lies outside is clipped, NaN is silence.

        Raises
        ------
        AudioError
            The device is gone or refuses; the message says what to do.
        """
        ...

    def close(self) -> None:
        """Let the device go without waiting for its buffer to drain. May be called twice."""
        ...
