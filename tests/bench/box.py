"""The whole box, as systemd starts it: how soon it plays, what memory and processor time all of its processes take."""

from __future__ import annotations

import os
import tempfile
import time
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import soundfile

from device.models.bundles import FACTORY
from tests.bench.bench import Bench
from tests.bench.figures import MEMORY_MB, START_S, Figure, Section, of_runs
from tests.bench.whole import family, memory_mb
from tests.box_process import BoxProcess
from tests.eventually import eventually
from tests.pulse_card import PulseCard

HOW = """\
- **box**: `python -m device run` with the factory's model: a video over and over as its camera, PulseAudio as its card
  (480 samples, 4 of them), a tone as its input, mock pins, a socket as systemd. Its start lasts from just before the
  process is started to READY=1, which it sends when the engine delivers blocks; the camera's first frame comes then.
  Memory and processor time are those of all of its processes, supervisor, microphone and recorder included, over
  the time after that; while it records, a take is written besides and the input is heard. The video is decoded in it.
"""
WARM_S = 3.0


def measure_box(bench: Bench) -> Section:
    """Start it some times, then let it play and record."""
    with tempfile.TemporaryDirectory(prefix="box-") as name:
        folder = Path(name)
        music = folder / "music.wav"
        soundfile.write(music, 0.1 * np.sin(2 * np.pi * 440 * np.arange(48_000 * 120) / 48_000), 48_000)
        (folder / "pulse").mkdir()
        card = PulseCard(folder / "pulse")
        card.start()
        try:
            with closing(BoxProcess(folder, FACTORY.parent / "dance.mp4", music, card.environment)) as box:
                bench.say("the box's start")
                starts = [_start(box) for _ in range(bench.effort.n_starts)]
                bench.say("the box's memory and processor time")
                return Section("The box", _figures(box, starts, bench.effort.real_clock_s), how=HOW)
        finally:
            card.stop()


def _start(box: BoxProcess) -> float:
    started_s = time.perf_counter()
    box.launch()
    eventually(lambda: "READY=1" in box.told)
    took_s = time.perf_counter() - started_s
    box.stop()
    return took_s


def _figures(box: BoxProcess, starts: list[float], seconds: float) -> list[Figure]:
    box.start()
    pid = box.pid
    performing = _load(pid, seconds)
    box.press()
    box.until(lambda said: said["take"] is not None)
    recording = _load(pid, seconds)
    box.press()
    box.until(lambda said: said["state"] == "performing")
    memory = memory_mb(pid)
    box.stop()
    return [
        Figure("the box, process start to READY", "s", of_runs(starts), START_S, "worst"),
        Figure("the box, memory of all processes", "MB", memory, MEMORY_MB, "PSS"),
        Figure("the box, processor time of all processes", "cores", {"performing": performing, "recording": recording}),
    ]


def _load(pid: int, seconds: float) -> float:
    """Share of one core that a process and all below it take."""
    time.sleep(WARM_S)
    before_s, started_s = _processor_s(pid), time.perf_counter()
    time.sleep(seconds)
    return (_processor_s(pid) - before_s) / (time.perf_counter() - started_s)


def _processor_s(pid: int) -> float:
    total = 0.0
    for each in family(pid):
        with suppress(OSError):
            fields = Path(f"/proc/{each}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
            total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total
