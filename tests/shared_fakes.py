"""What other processes do in the tests of what processes share."""

from __future__ import annotations

from functools import partial

import numpy as np

from device.core.ring import Ring
from device.engine.process import Part, run_part
from device.engine.shared import Bell, Layout, SharedArrays, fence
from device.engine.sound_ring import SoundRing

N_SLOTS, N_VALUES = 3, 2048
RECORDS: Layout = {"n": ((1,), "i8"), "serial": ((N_SLOTS,), "i8"), "values": ((N_SLOTS, N_VALUES), "i8")}


def writing_main(part: Part, memory: SharedArrays) -> None:
    """Write records as fast as it can, each full of its own number."""
    run_part("writer", part, partial(_write, memory))


def _write(memory: SharedArrays) -> None:
    ring = Ring(memory["n"], {"serial": memory["serial"], "values": memory["values"]}, fence)
    while True:
        ring.append(serial=ring.n_written, values=ring.n_written)


def filled_main(part: Part, memory: SharedArrays) -> None:
    """Fill memory, then wait to be ended."""
    memory["words"][:] = np.arange(len(memory["words"]))
    run_part("filler", part, lambda: part.wait_for("end"))


def ringing_main(part: Part, bells: tuple[Bell, Bell]) -> None:
    """Ring back whenever it rings; say what is heard besides."""
    run_part("ringer", part, partial(_ring_back, part, *bells))


def _ring_back(part: Part, there: Bell, back: Bell) -> None:
    while True:
        if there.wait(10.0, part.connection):
            back.ring()
        if part.connection.poll():
            part.say("heard", part.hear()[0])


def sound_writing_main(part: Part, ring: SoundRing) -> None:
    """Write blocks as fast as it can, each full of its own number."""
    run_part("writer", part, partial(_write_sound, ring))


def _write_sound(ring: SoundRing) -> None:
    while True:
        serial = ring.n_blocks
        ring.put(np.full(ring.block, serial % 1000, np.float32), float(serial))
