"""The ring of one writer and many readers: what is gone is said to be gone, what is read is whole."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from device.core.ring import Ring


def make(n_slots: int = 4, width: int = 3) -> Ring:
    fields: dict[str, npt.NDArray[Any]] = {
        "serial": np.zeros(n_slots, np.int64),
        "row": np.zeros((n_slots, width), np.float32),
    }
    return Ring(np.zeros(1, np.int64), fields)


def fill(ring: Ring, n: int) -> None:
    for serial in range(ring.n_written, ring.n_written + n):
        assert ring.append(serial=serial, row=serial) == serial


def readable(ring: Ring) -> list[int]:
    found = [ring.read(serial) for serial in range(-2, ring.n_written + 3)]
    records = [record for record in found if record is not None]
    assert all((record["row"] == record["serial"]).all() for record in records)
    return [int(record["serial"]) for record in records]


@pytest.mark.parametrize(
    ("n", "left"), [(0, []), (1, [0]), (3, [0, 1, 2]), (4, [1, 2, 3]), (5, [2, 3, 4]), (41, [38, 39, 40])]
)
def test_the_last_records_can_be_read_but_not_the_one_that_is_overwritten_next(n: int, left: list[int]) -> None:
    ring = make()
    fill(ring, n)
    assert ring.n_written == n
    assert readable(ring) == left
    assert ring.oldest == (left[0] if left else 0)


def test_a_record_that_was_read_is_a_copy() -> None:
    ring = make()
    fill(ring, 2)
    record = ring.read(1)
    assert record is not None
    fill(ring, 8)
    assert (record["serial"], record["row"].tolist()) == (1, [1.0, 1.0, 1.0])


@pytest.mark.parametrize(("n_meanwhile", "is_whole"), [(0, True), (2, True), (3, False), (9, False)])
def test_a_reader_that_is_overtaken_while_it_copies_is_told_so(n_meanwhile: int, is_whole: bool) -> None:
    ring = make()
    fill(ring, 4)
    calls: list[None] = []

    def overtaken() -> None:
        # The second fence of a read comes after the copy.
        calls.append(None)
        if len(calls) == 2:
            fill(ring, n_meanwhile)

    reader = Ring(ring._count, ring.fields, overtaken)
    assert (reader.read(3) is not None) == is_whole


def test_a_record_is_counted_after_it_was_written() -> None:
    ring, seen = make(), []
    writer = Ring(ring._count, ring.fields, lambda: seen.append((ring.n_written, ring.fields["row"].max())))
    writer.append(serial=0, row=7.0)
    assert seen == [(0, 7.0)]
    assert ring.n_written == 1


def test_as_many_slots_as_the_shortest_field() -> None:
    ring = Ring(np.zeros(1, np.int64), {"a": np.zeros(3), "b": np.zeros(5)})
    assert ring.n_slots == 3
