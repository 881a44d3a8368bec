"""The tape: columns and sound of a performance, kept where a report is wanted."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from device.engine.performance import Memory
from device.engine.shared import Layout

Float32 = npt.NDArray[np.float32]

TAPE_S = 600.0
MAX_FRAMES_PER_S = 125


def tape_layout(n_features: int, rate_hz: int, duration_s: float = TAPE_S) -> Layout:
    """Lay out the memory of a `Tape` that keeps so many seconds at most."""
    n_columns = round(duration_s * MAX_FRAMES_PER_S)
    return {
        "n_columns": ((1,), "i8"),
        "n_samples": ((1,), "i8"),
        "columns": ((n_columns, n_features), "f4"),
        "times_s": ((n_columns,), "f8"),
        "sound": ((round(duration_s * rate_hz),), "f4"),
    }


class Tape:
    """Keeps columns and sound, up to the first `TAPE_S`.

    Parameters
    ----------
    memory : Memory
        Arrays of `tape_layout`, all zeros.
    rate_hz : int
        Samples per second.

    Notes
    -----
    All memory is reserved at once (the system gives it page by page as it is written): in the audio path a block is
    copied, nothing grows. `add_column` belongs to the model thread, `add_sound` to the audio thread.
    """

    def __init__(self, memory: Memory, rate_hz: int) -> None:
        self.rate_hz = rate_hz
        self._memory = memory

    def add_column(self, column: Float32, time_s: float) -> None:
        """Keep a column."""
        n = int(self._memory["n_columns"][0])
        if n < len(self._memory["columns"]):
            self._memory["columns"][n] = column
            self._memory["times_s"][n] = time_s
            self._memory["n_columns"][0] = n + 1

    def add_sound(self, block: Float32) -> None:
        """Keep a block."""
        start, sound = int(self._memory["n_samples"][0]), self._memory["sound"]
        n = min(len(block), len(sound) - start)
        sound[start : start + n] = block[:n]
        self._memory["n_samples"][0] = start + n

    @property
    def columns(self) -> Float32:
        """Columns so far, shape (n, n_features), float32."""
        columns: Float32 = self._memory["columns"][: int(self._memory["n_columns"][0])]
        return columns

    @property
    def times_s(self) -> npt.NDArray[np.float64]:
        """Times of the columns since the first, shape (n,), float64."""
        times_s: npt.NDArray[np.float64] = self._memory["times_s"][: int(self._memory["n_columns"][0])]
        return times_s - times_s[:1]

    @property
    def sound(self) -> Float32:
        """Sound so far, shape (n_samples,), float32; sample 0 is the time of the first column."""
        sound: Float32 = self._memory["sound"][: int(self._memory["n_samples"][0])]
        return sound
