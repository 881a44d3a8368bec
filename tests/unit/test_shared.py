"""Memory and bells between real processes: nothing torn, nothing left behind, nobody held up."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from device.core.ring import Ring
from device.engine.process import Child
from device.engine.shared import Bell, SharedArrays, fence
from tests.shared_fakes import N_SLOTS, RECORDS, filled_main, ringing_main, writing_main

READ_S = 1.5


@pytest.fixture
def writer() -> Iterator[tuple[SharedArrays, Child]]:
    memory = SharedArrays(RECORDS)
    child = Child("writer", writing_main, memory)
    until(lambda: bool(memory["n"][0] > 1000))
    yield memory, child
    child.end()


def until(is_so: Callable[[], bool]) -> None:
    give_up_s = time.monotonic() + 20.0
    while not is_so():
        assert time.monotonic() < give_up_s
        os.sched_yield()


def ring_of(memory: SharedArrays) -> Ring:
    return Ring(memory["n"], {"serial": memory["serial"], "values": memory["values"]}, fence)


def test_no_record_is_ever_torn(writer: tuple[SharedArrays, Child]) -> None:
    memory, _ = writer
    ring, n_read, n_gone, end_s = ring_of(memory), 0, 0, time.monotonic() + READ_S
    first = ring.n_written
    while time.monotonic() < end_s:
        # The oldest one that may be read is the one that is overwritten soonest.
        serial = ring.oldest
        record = ring.read(serial)
        if record is None:
            n_gone += 1
            continue
        n_read += 1
        assert record["serial"] == serial
        assert (record["values"] == serial).all()
    assert n_read > 1000
    assert n_gone > 0  # Otherwise nobody was ever overtaken, and nothing was tested.
    assert ring.n_written - first > 10 * N_SLOTS


def test_a_writer_that_is_killed_leaves_whole_records(writer: tuple[SharedArrays, Child]) -> None:
    memory, child = writer
    child.end()
    assert not child.is_alive
    ring = ring_of(memory)
    newest = ring.read(ring.n_written - 1)
    assert newest is not None
    assert (newest["values"] == ring.n_written - 1).all()


def holders(inode: int) -> set[int]:
    """Processes that hold a file open or have it mapped."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            is_open = any(each.stat().st_ino == inode for each in (folder / "fd").iterdir() if "memfd" in linked(each))
            maps = re.findall(rf" {inode} +/memfd", (folder / "maps").read_text(encoding="utf-8"))
            if is_open or maps:
                found.add(int(folder.name))
    return found


def linked(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:
        return ""


def test_memory_is_shared_as_long_as_anyone_has_it_and_then_gone() -> None:
    memory = SharedArrays({"words": ((1000,), "i8")})
    words, inode = memory["words"], os.fstat(memory._fd).st_ino
    child = Child("filler", filled_main, memory)
    child_is_done = partial(np.array_equal, words, np.arange(1000))
    until(child_is_done)
    assert holders(inode) == {os.getpid(), child.pid}
    del memory
    assert words[5] == 5  # The arrays keep it.
    del words, child_is_done
    child.end()
    assert holders(inode) == set()


def test_arrays_are_zero_apart_and_as_they_were_laid_out() -> None:
    layout = {"a": ((3,), "u1"), "b": ((2, 5), "f4"), "c": ((1,), "i8")}
    memory = SharedArrays(layout)
    for name, (shape, dtype) in layout.items():
        assert (memory[name].shape, memory[name].dtype) == (shape, np.dtype(dtype))
        assert not memory[name].any()
        assert memory[name].ctypes.data % 64 == 0
    memory["a"][:] = 255
    assert not memory["b"].any()
    assert not memory["c"].any()


def test_a_bell_rings_once_for_all_rings_before() -> None:
    bell = Bell()
    assert not bell.wait(0.0)
    for _ in range(3):
        bell.ring()
    assert bell.wait(0.0)
    assert not bell.wait(0.0)


def test_a_bell_that_nobody_hears_holds_nobody_up() -> None:
    bell = Bell()
    for _ in range(100_000):
        bell.ring()
    assert bell.wait(0.0)
    assert not bell.wait(0.0)


def test_a_bell_is_heard_in_another_process_and_so_is_what_else_was_waited_for() -> None:
    there, back = Bell(), Bell()
    child = Child("ringer", ringing_main, (there, back))
    try:
        for _ in range(3):
            there.ring()
            assert back.wait(20.0)
        child.tell("enough")
        until(lambda: ("heard", "enough") in child.heard())
    finally:
        child.end()
