"""Sound on its way from the microphone's process to whoever records or hears it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from device.core.ring import Ring
from device.edges.model import Float32
from device.engine.shared import SharedArrays, fence

KEPT_S = 30.0
"""What is kept of the last: a disk may keep a recording waiting for so long, and nothing of its sound is lost."""


@dataclass(frozen=True)
class Heard:
    """Blocks that follow one another.

    Attributes
    ----------
    serial : int
        Number of the first.
    samples : np.ndarray, shape (n_blocks * block,), float32
    times_s : np.ndarray, shape (n_blocks,), float64
        Time of the first sample of each, CLOCK_MONOTONIC.
    n_clipped : np.ndarray, shape (n_blocks,), int64
        Samples at full scale in each.
    """

    serial: int
    samples: Float32
    times_s: npt.NDArray[np.float64]
    n_clipped: npt.NDArray[np.int64]


class SoundRing:
    """The last half minute of mono sound in blocks of one length; one process writes, any number read.

    Parameters
    ----------
    rate_hz : int
        Samples per second, nominally.
    block : int
        Samples in a block.

    Notes
    -----
    Sample i of block n is sample n * block + i of all: what was lost is filled in with silence, so that the numbers of
    the samples stay on one line in time.
    """

    def __init__(self, rate_hz: int, block: int) -> None:
        self.rate_hz = rate_hz
        self.block = block
        n_slots = -(-round(KEPT_S * rate_hz) // block) + 1
        self._memory = SharedArrays(
            {
                "n_blocks": ((1,), "i8"),
                "samples": ((n_slots, block), "f4"),
                "time_s": ((n_slots,), "f8"),
                "n_clipped": ((n_slots,), "i8"),
            }
        )
        self._open()

    def __getstate__(self) -> dict[str, Any]:
        return {"rate_hz": self.rate_hz, "block": self.block, "_memory": self._memory}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open()

    def _open(self) -> None:
        memory = self._memory
        fields = {name: memory[name] for name in ("samples", "time_s", "n_clipped")}
        self._ring = Ring(memory["n_blocks"], fields, fence)
        self._flat: Float32 = memory["samples"].reshape(-1)

    @property
    def n_blocks(self) -> int:
        """How many blocks there were."""
        return self._ring.n_written

    @property
    def oldest(self) -> int:
        """Number of the oldest block that is still there."""
        return self._ring.oldest

    def put(self, samples: Float32, time_s: float, n_clipped: int = 0) -> None:
        """Add a block: shape (block,), float32. Only the microphone."""
        self._ring.append(samples=samples, time_s=time_s, n_clipped=n_clipped)

    def skip(self, n_blocks: int) -> None:
        """Count blocks that nobody can read, for more are missing than are kept. Only the microphone."""
        self._ring.count_in(self.n_blocks + n_blocks - 1)

    def time_s(self, serial: int) -> float:
        """Time of a block's first sample; of one that is there."""
        return float(self._ring.fields["time_s"][self._ring.slot_for(serial)])

    def read_from(self, serial: int, n_most: int = 1024) -> Heard | None:
        """Copy the blocks from this one on that are still there; None where there is none.

        Parameters
        ----------
        serial : int
        n_most : int
            No more blocks than these are copied at once.
        """
        first = max(serial, self.oldest)
        serials = np.arange(first, min(self.n_blocks, first + n_most))
        if len(serials) == 0:
            return None
        fence()
        slots, fields = serials % self._ring.n_slots, self._ring.fields
        samples, times_s, n_clipped = fields["samples"][slots], fields["time_s"][slots], fields["n_clipped"][slots]
        fence()
        n_gone = max(0, self.oldest - first)  # The writer came round meanwhile.
        if n_gone >= len(serials):
            return None
        return Heard(first + n_gone, samples[n_gone:].reshape(-1), times_s[n_gone:], n_clipped[n_gone:])

    def copy(self, first: int, out: Float32) -> bool:
        """Copy samples from one on, by their numbers; whether all were there. Audio path: sets no memory aside.

        Parameters
        ----------
        first : int
            Number of the first sample.
        out : np.ndarray, shape (n_samples,), float32
        """
        end = first + len(out)
        if first < self.oldest * self.block or end > self.n_blocks * self.block:
            return False
        fence()
        flat = self._flat
        start = first % len(flat)
        n = min(len(out), len(flat) - start)
        out[:n] = flat[start : start + n]
        out[n:] = flat[: len(out) - n]
        fence()
        return first >= self.oldest * self.block
