"""A ring of records that one process writes and others read, without a lock.

The memory is given: shared between processes, it carries frames from the camera to the model, and what the model says
to the sound. A reader that was held up finds that a record is gone, never that it is torn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt


def nothing() -> None:
    """Be the fence of memory that one thread has to itself."""


class Ring:
    """The last records of a stream.

    Parameters
    ----------
    count : np.ndarray, shape (1,), int64
        How many records were written so far; the writer's last word on each.
    fields : mapping of str to np.ndarray, shape (n_slots, ...)
        One array for each field of a record.
    fence : callable
        Returns when all that was written before it is seen by other processors before what is written after it.

    Notes
    -----
    One process writes, any number read. A record is whole before it is counted. A reader copies first and then looks
    whether the writer has meanwhile come round: the slot that is about to be overwritten counts as gone already.
    """

    def __init__(
        self,
        count: npt.NDArray[np.int64],
        fields: Mapping[str, npt.NDArray[Any]],
        fence: Callable[[], None] = nothing,
    ) -> None:
        self.fields = dict(fields)
        self.n_slots = min(len(field) for field in fields.values())
        self._count = count
        self._fence = fence

    @property
    def n_written(self) -> int:
        """How many records were written so far; the newest one's serial number is one less."""
        return int(self._count[0])

    @property
    def oldest(self) -> int:
        """Serial number of the oldest record that may still be read."""
        return max(0, self.n_written - self.n_slots + 1)

    def append(self, **record: object) -> int:
        """Write the next record; give its serial number. Only the writer.

        Parameters
        ----------
        **record
            A value for each field.
        """
        serial = self.n_written
        slot = serial % self.n_slots
        for name, value in record.items():
            self.fields[name][slot] = value
        self.count_in(serial)
        return serial

    def slot_for(self, serial: int) -> int:
        """Where a record lies."""
        return serial % self.n_slots

    def count_in(self, serial: int) -> None:
        """Make a record known that was written in its slot. Only the writer."""
        self._fence()
        self._count[0] = serial + 1

    def read(self, serial: int) -> dict[str, Any] | None:
        """Copy a record.

        Parameters
        ----------
        serial : int

        Returns
        -------
        dict or None
            A value for each field; None where it was overwritten, or not yet written.
        """
        if not self.oldest <= serial < self.n_written:
            return None
        self._fence()
        slot = self.slot_for(serial)
        record = {name: field[slot].copy() for name, field in self.fields.items()}
        self._fence()
        return record if serial >= self.oldest else None
