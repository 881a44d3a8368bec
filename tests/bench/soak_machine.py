"""What a soak needs beside the engine: a camera and a card at their own pace, what keeps the machine busy, and bare
writers of silence that tell the machine's own stalls from the engine's.
"""

from __future__ import annotations

import itertools
import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from device.edges.audio import AudioOutput
from device.edges.camera import Camera
from device.edges.camera_fake import FakeCamera
from device.edges.model import Float32
from device.engine.paced import Clock, MonotonicClock, PacedOutput
from device.engine.process import Part, run_part
from device.engine.realtime import Urgency, be_urgent, freeze_garbage
from device.engine.shared import Layout, SharedArrays

RATE_HZ, PERIOD, N_PERIODS = 48_000, 128, 3
N_NOTED = 100_000
NOTES: Layout = {
    "n": ((1,), "i8"),
    "when_s": ((N_NOTED,), "f8"),
    "late_s": ((N_NOTED,), "f8"),
    "missed": ((N_NOTED,), "i8"),
}
DISK_BYTES, DISK_PAUSE_S = 1 << 20, 0.2


@dataclass(frozen=True)
class Delay:
    """A block that came too late for comfort.

    Attributes
    ----------
    when_s : float
        When it came.
    late_s : float
        How long before there had been room for it.
    is_underrun : bool
        Whether the card had run empty by then.
    """

    when_s: float
    late_s: float
    is_underrun: bool


class Nowhere:
    """An output of which nothing is kept, however long it plays."""

    rate_hz, period, buffer, n_xruns = RATE_HZ, PERIOD, PERIOD * N_PERIODS, 0

    def wait(self) -> None:
        """There is always room."""

    def write(self, block: Float32) -> None:
        """Drop it."""

    def close(self) -> None:
        """Nothing is held."""


class NotedCard(PacedOutput):
    """A card that notes each block that comes more than a period late.

    Parameters
    ----------
    notes : SharedArrays
        Of `NOTES`.
    clock : Clock
    """

    def __init__(self, notes: SharedArrays, clock: Clock) -> None:
        super().__init__(Nowhere(), clock)
        self._notes = notes

    def write(self, block: Float32) -> None:
        """Take a block; note when it is late."""
        n_written, n_xruns = self._n_written, self.n_xruns
        n_late = self.buffer - self.period - (n_written - self._n_used())
        super().write(block)
        if n_written >= self.buffer and n_late > self.period:
            notes, n = self._notes, int(self._notes["n"][0])
            i = min(n, N_NOTED - 1)
            notes["when_s"][i], notes["late_s"][i] = self._clock.now_s(), n_late / self.rate_hz
            notes["missed"][i] = self.n_xruns > n_xruns
            notes["n"][0] = n + 1


def delays(notes: SharedArrays) -> list[Delay]:
    """Give what was noted."""
    n = min(int(notes["n"][0]), N_NOTED)
    columns = (notes[name][:n].tolist() for name in ("when_s", "late_s", "missed"))
    return [Delay(when_s, late_s, bool(missed)) for when_s, late_s, missed in zip(*columns, strict=True)]


def of_the_engine(ours: Sequence[Delay], control: Sequence[Delay]) -> list[Delay]:
    """Give those of our underruns during which no control writer was late: the machine is not to blame."""
    margin_s = PERIOD / RATE_HZ
    begins_s = np.array([each.when_s - each.late_s for each in control]) - margin_s
    ends_s = np.array([each.when_s for each in control]) + margin_s
    return [
        each
        for each in ours
        if each.is_underrun and not ((begins_s < each.when_s) & (ends_s > each.when_s - each.late_s)).any()
    ]


@contextmanager
def open_noted(notes: SharedArrays) -> Iterator[AudioOutput]:
    """Open the card in the sound's process."""
    yield NotedCard(notes, MonotonicClock())


def open_steady_camera(fps: float) -> Camera:
    """Open a camera that sees a dance without end, each frame at its time by its own clock."""
    return FakeCamera("bar", times_s=_beats(fps))


def _beats(fps: float) -> Iterator[float]:
    begin_s, clock = time.monotonic(), MonotonicClock()
    for index in itertools.count():
        due_s = begin_s + index / fps
        clock.wait(due_s - time.monotonic())
        yield due_s


@dataclass(frozen=True)
class Load:
    """What keeps the machine busy.

    Attributes
    ----------
    folder : Path
        Is written to.
    is_idle : bool
        It only takes what nobody else wants.
    """

    folder: Path
    is_idle: bool


def control_main(part: Part, setup: tuple[SharedArrays, Urgency, int]) -> None:
    """Be the control writer of one processor: a little more urgent than the sound, so never held up by it.

    A virtual machine's processors are stalled one by one: a writer on another one would not see it.
    """
    run_part("control", part, partial(_write_silence, *setup))


def _write_silence(notes: SharedArrays, urgency: Urgency, processor: int) -> None:
    os.sched_setaffinity(0, {processor})
    card, silence = NotedCard(notes, MonotonicClock()), np.zeros(PERIOD, np.float32)
    be_urgent(urgency)
    freeze_garbage()
    while True:
        card.wait()
        card.write(silence)


def spin_main(part: Part, load: Load) -> None:
    """Keep one core busy."""
    run_part("spin", part, partial(_spin, load))


def _spin(load: Load) -> None:
    if load.is_idle:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    while True:
        sum(range(10_000))


def disk_main(part: Part, load: Load) -> None:
    """Write to the disk, again and again, and see that it is there."""
    run_part("disk", part, partial(_write_to_disk, load))


def _write_to_disk(load: Load) -> None:
    data, clock = bytes(DISK_BYTES), MonotonicClock()
    while True:
        with (load.folder / "written").open("wb") as file:
            file.write(data)
            os.fsync(file.fileno())
        clock.wait(DISK_PAUSE_S)


def memory_mb(pid: int) -> tuple[float, float]:
    """Memory of a process, in MB of 1e6 bytes: all, and without that of files; zeros when it has ended.

    What processes share is divided among all that do. How many share a library's file hangs on what else runs on the
    machine, so that only the rest shows growth.
    """
    with suppress(OSError):
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
        mb = {name: int(n_kib) * 1024 / 1e6 for name, n_kib in re.findall(r"^(\w+): +(\d+) kB", text, re.MULTILINE)}
        return mb["Pss"], mb["Pss_Anon"] + mb["Pss_Shmem"]
    return 0.0, 0.0


def parent_of(pid: int) -> int:
    """Give the process that started another."""
    # The name, in brackets, may hold anything; after it come the state and the parent.
    return int(Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[1])


def n_descriptors(pid: int) -> int:
    """How many files, pipes and the like a process holds open."""
    with suppress(OSError):
        return len(list(Path(f"/proc/{pid}/fd").iterdir()))
    return 0


def n_threads(pid: int) -> int:
    """How many threads a process has."""
    with suppress(OSError):
        return len(list(Path(f"/proc/{pid}/task").iterdir()))
    return 0
