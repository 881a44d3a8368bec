"""A sound card without a card: keeps what is played."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from device.core.errors import AudioError


class FakeOutput:
    """Behaves like a sound card that is always in time; `played` is what was heard.

    Parameters
    ----------
    rate_hz, period, n_periods : int
        As a card would have them.
    n_blocks : int or None
        The card is pulled out after so many blocks: the next `write` raises. None: never.
    """

    def __init__(
        self, rate_hz: int = 48_000, period: int = 128, n_periods: int = 3, n_blocks: int | None = None
    ) -> None:
        self.rate_hz = rate_hz
        self.period = period
        self.buffer = period * n_periods
        self.n_xruns = 0
        self.n_blocks = 0
        self.closed = False
        self._n_blocks_until_gone = n_blocks
        self._blocks: list[npt.NDArray[np.float32]] = []

    @property
    def played(self) -> npt.NDArray[np.float32]:
        """All samples so far, shape (n_samples,), float32, as they were heard: clipped, without NaN."""
        return np.concatenate(self._blocks) if self._blocks else np.zeros(0, np.float32)

    def wait(self) -> None:
        """Return at once, for there is always room.

        Raises
        ------
        AudioError
            After `close`, and when the card has been pulled out.
        """
        self._check()

    def write(self, block: npt.NDArray[np.float32]) -> None:
        """Play one block of any length.

        Raises
        ------
        AudioError
            After `close`, and when the card has been pulled out.
        """
        self._check()
        self.n_blocks += 1
        self._blocks.append(np.clip(np.nan_to_num(block, posinf=1.0, neginf=-1.0), -1.0, 1.0).astype(np.float32))

    def lose_time(self) -> None:
        """Let one underrun happen, as when the engine was late."""
        self.n_xruns += 1

    def close(self) -> None:
        """Nothing can be played after this. May be called twice."""
        self.closed = True

    def _check(self) -> None:
        if self.closed:
            raise AudioError("the sound card is closed: nothing more can be played on it")
        if self._n_blocks_until_gone is not None and self.n_blocks >= self._n_blocks_until_gone:
            raise AudioError("the sound card is gone: plug it in again")
