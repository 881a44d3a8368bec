"""Cards whose sound is kept with the time at which it is heard, on CLOCK_MONOTONIC: what comes out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from device.edges.audio import AudioOutput
from device.edges.model import Float32
from device.engine.paced import Clock, MonotonicClock, PacedOutput
from device.engine.shared import Layout, SharedArrays


@dataclass(frozen=True)
class Heard:
    """What a card has played.

    Attributes
    ----------
    sound : np.ndarray, shape (n_samples,), float32
        Silence where the card had run empty.
    rate_hz : int
    start_s : float
        When sample 0 was heard, CLOCK_MONOTONIC; sample n was n / rate_hz later.
    """

    sound: Float32
    rate_hz: int
    start_s: float


def card_layout(seconds: float, rate_hz: int) -> Layout:
    """Lay out the memory of a `PacedCard`: the sound, how much of it there is, and when it began."""
    n = round(seconds * rate_hz)
    return {
        "sound": ((n,), "f4"),
        "n_samples": ((1,), "i8"),
        "start_s": ((1,), "f8"),
        "late_s": ((n // 64,), "f4"),
        "n_blocks": ((1,), "i8"),
    }


def heard(memory: SharedArrays, rate_hz: int) -> Heard:
    """Give what was played so far."""
    n = int(memory["n_samples"][0])
    return Heard(memory["sound"][:n].copy(), rate_hz, float(memory["start_s"][0]))


def lateness_s(memory: SharedArrays) -> npt.NDArray[np.float64]:
    """How long after there was room for it each block was handed over, shape (n_blocks,)."""
    n = min(int(memory["n_blocks"][0]), len(memory["late_s"]))
    return memory["late_s"][:n].astype(np.float64)


class PacedCard(PacedOutput):
    """A sound card on CLOCK_MONOTONIC that keeps what it plays.

    It takes a period when there is room for one, as ALSA does, and uses samples up as time goes by: sample n is heard
    n / rate_hz after the first. Where blocks come too late it runs empty: an underrun, and silence in what is kept.

    Parameters
    ----------
    memory : SharedArrays
        Of `card_layout`; what does not fit is not kept.
    rate_hz, period, n_periods : int
    clock : Clock
    """

    def __init__(self, memory: SharedArrays, rate_hz: int, period: int, n_periods: int, clock: Clock) -> None:
        super().__init__(_Keeper(memory, rate_hz, period, period * n_periods), clock)
        self._memory = memory

    def write(self, block: Float32) -> None:
        """Take one block; note how late it comes."""
        if self._start_s is not None:
            n_free_at = self._n_written + len(block) - self.buffer  # once so many are used up, there is room
            if n_free_at > 0:
                due_s = self._start_s + n_free_at / self.rate_hz
                n = int(self._memory["n_blocks"][0])
                if n < len(self._memory["late_s"]):
                    self._memory["late_s"][n] = self._clock.now_s() - due_s
                self._memory["n_blocks"][0] = n + 1
        super().write(block)
        if self._memory["start_s"][0] == 0.0 and self._start_s is not None:
            self._memory["start_s"][0] = self._start_s


class _Keeper:
    """Takes samples at once into shared memory."""

    def __init__(self, memory: SharedArrays, rate_hz: int, period: int, buffer: int) -> None:
        self.rate_hz, self.period, self.buffer = rate_hz, period, buffer
        self.n_xruns = 0
        self._memory = memory

    def wait(self) -> None:
        """There is always room."""

    def write(self, block: Float32) -> None:
        """Keep a block."""
        sound = self._memory["sound"]
        n = int(self._memory["n_samples"][0])
        kept = block[: len(sound) - n]
        sound[n : n + len(kept)] = kept
        self._memory["n_samples"][0] = n + len(kept)

    def close(self) -> None:
        """Nothing is held."""


@contextmanager
def open_paced_card(memory: SharedArrays, rate_hz: int, period: int, n_periods: int) -> Iterator[AudioOutput]:
    """Open the card, in the sound's process."""
    yield PacedCard(memory, rate_hz, period, n_periods, MonotonicClock())
