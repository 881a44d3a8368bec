"""The choice behind the engine's processes: how late the audio thread gets its turn, in processes and in threads.

The engine is the same in both, and so are camera and card; only what a part runs in differs. Each run has a program of
its own: `python -m tests.bench.layouts BUNDLE WAY PRIORITY SECONDS`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import product
from multiprocessing import Pipe
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import device.engine.live
from device.config import DEFAULT_PATH, load_config
from device.core.errors import DanceSamplerError
from device.engine.camera_process import camera_main, camera_process
from device.engine.model_process import model_main, model_process
from device.engine.process import Part
from device.engine.realtime import SWITCH_INTERVAL_S, Urgency, be_urgent, freeze_garbage
from device.engine.shared import SharedArrays
from device.engine.sound_process import sound_main, sound_process
from device.models.bundles import load_bundle
from tests.bench.figures import Section
from tests.bench.latency_card import card_layout, lateness_s, open_paced_card
from tests.bench.latency_stimulus import STILL, StimulusPlan
from tests.bench.latency_trial import Show, Trial, settings_of
from tests.bench.results import grid

if TYPE_CHECKING:  # Each process of the engine imports the program that started it: nothing heavy belongs in it.
    from tests.bench.bench import Bench

ROOT = Path(__file__).parents[2]
FPS = 60.0
WAYS = ("threads", "processes")
N_ROUNDS = 2
SETTLING_S = 1.0
N_LOADINGS = 20
LOOK_S = 0.0002
LONGEST_S = 60.0

HOW = """\
- **processes and threads**: the engine live, as for **latency**, once as it is and once with its parts as threads of
  one process; the same code, the same urgency for each part's thread, a switch interval of 0.5 ms. *Late*: from when
  there was room in the card until the block was handed over, made. *Busy*: a process that spins, beside it. Runs of all
  kinds take turns, so that what disturbs the machine meets all. *Held up*: a thread that asks to be woken every 0.2 ms
  in the process that loads the bundle, with the sound's urgency: the longest time between two turns, as far as the
  process itself was at work in it.
"""

BODIES: Mapping[Callable[..., None], Callable[..., None]] = {
    camera_main: camera_process,
    model_main: model_process,
    sound_main: sound_process,
}
"""What a process runs -> the same without what only a process of its own may do."""


def measure_layouts(bench: Bench) -> Section:
    """Give lateness in both layouts, and how long the loading of a bundle holds up its process."""
    bench.say("layouts: processes and threads in turn")
    rows = lateness_rows(bench)
    bench.say("layouts: loading")
    held_up = run_apart(bench.show.bundle, "loading", bench.config.engine.realtime_priority, bench.effort.layout_s)
    header = ("parts are", "SCHED_FIFO", "other load", "blocks", "late p50, ms", "p99, ms", "most, ms", "underruns")
    period_ms = 1000.0 * bench.config.audio.period / bench.config.audio.rate_hz
    said = (
        f"An urgent thread is held up by its own process for {held_up['idle_ms']:.2f} ms at most while that does "
        f"nothing, for {held_up['loading_ms']:.2f} ms while it loads the bundle {N_LOADINGS} times with its garbage "
        f"frozen, as the engine's is, and for {held_up['collecting_ms']:.2f} ms otherwise. A period of the card is "
        f"{period_ms:.2f} ms."
    )
    text = f"{grid(header, rows)}\n\n{said}"
    return Section("Processes or threads", text=text, how=HOW)


def lateness_rows(bench: Bench) -> list[tuple[str, ...]]:
    """One for each layout, with and without priority, with and without load."""
    kinds = list(product((False, True), (bench.config.engine.realtime_priority, 0), WAYS))
    found: dict[tuple[bool, int, str], list[dict[str, Any]]] = {kind: [] for kind in kinds}
    for is_busy, priority, way in kinds * N_ROUNDS:
        with busy() if is_busy else nothing():
            found[is_busy, priority, way].append(run_apart(bench.show.bundle, way, priority, bench.effort.layout_s))
    return [_row(*kind, runs) for kind, runs in found.items()]


def _row(is_busy: bool, priority: int, way: str, runs: list[dict[str, Any]]) -> tuple[str, ...]:
    late_ms = 1000.0 * np.concatenate([run["late_s"] for run in runs])
    refused = any(run["notes"] for run in runs)
    return (
        way,
        ("not allowed" if refused else "yes") if priority else "no",
        "busy" if is_busy else "none",
        str(len(late_ms)),
        *(f"{np.percentile(late_ms, percent):.2f}" for percent in (50, 99, 100)),
        str(sum(run["n_xruns"] for run in runs)),
    )


@contextmanager
def busy() -> Iterator[None]:
    """Keep one core busy."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        try:
            yield
        finally:
            process.kill()


@contextmanager
def nothing() -> Iterator[None]:
    """Keep no core busy."""
    yield


def run_apart(bundle: Path, way: str, priority: int, seconds: float) -> dict[str, Any]:
    """Run one of them in a program of its own; give what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.layouts", str(bundle), way, str(priority), f"{seconds:g}"],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=LONGEST_S + seconds,
    )  # fmt: skip
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise DanceSamplerError(f"the layout of {way} was not measured ({said}): run python -m tests.bench.layouts")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


class PartThread:
    """A part of the engine as a thread of this process: stands in for `device.engine.process.Child`.

    A thread cannot be ended from outside: those that do not end by themselves end with the process.
    """

    def __init__(self, name: str, main: Callable[..., None], setup: object) -> None:
        self.name = name
        self.pid = os.getpid()
        self.is_gone = False
        self.ear, theirs = Pipe()
        self._thread = threading.Thread(target=BODIES[main], args=(Part(theirs), setup), name=name, daemon=True)
        self._thread.start()

    def tell(self, word: str, content: object = None) -> None:
        """Say something to the part."""
        self.ear.send((word, content))

    def heard(self) -> list[tuple[str, Any]]:
        """Give what the part has said."""
        said = []
        while self.ear.poll():
            said.append(self.ear.recv())
        return said

    def end(self, patience_s: float = 0.0) -> None:
        """Wait for its end, no longer."""
        self._thread.join(patience_s)


def play(bundle: Path, way: str, priority: int, seconds: float) -> dict[str, Any]:
    """Let the engine play; how late each block was, once it had settled."""
    if way == "threads":
        setattr(device.engine.live, "Child", PartThread)  # noqa: B010 - no assignment to a type, says mypy
        sys.setswitchinterval(SWITCH_INTERVAL_S)
    config = load_config(DEFAULT_PATH)
    n_changes = 2 * round(seconds + SETTLING_S)
    trial = Trial(bundle, StimulusPlan(FPS, (STILL, "full"), (0.5, 0.5), n_changes, lead_s=0.5))
    settings = settings_of(trial, config)
    settings = replace(settings, urgency=Urgency(priority, settings.urgency.lock_memory))
    audio, show = config.audio, Show(trial.plan)
    memory = SharedArrays(card_layout(seconds + LONGEST_S, audio.rate_hz))
    open_output = partial(open_paced_card, memory, audio.rate_hz, audio.period, audio.n_periods)
    live = device.engine.live.Live(show.open_camera, open_output, bundle, settings)
    live.start()
    n_settling = round(SETTLING_S * audio.rate_hz / audio.period)
    end_s = time.monotonic() + SETTLING_S + seconds
    while time.monotonic() < end_s:
        live.watch()
    late_s = lateness_s(memory)[n_settling:]
    result = {"late_s": late_s.tolist(), "n_xruns": live.performance().n_xruns, "notes": live.notes}
    if way == "processes":
        live.close()
    return result


def hold_up(bundle: Path, priority: int) -> dict[str, float]:
    """Longest time between two turns of an urgent thread, in ms: while the process does nothing, while it loads."""

    def load() -> None:
        for _ in range(N_LOADINGS):
            load_bundle(bundle)

    load()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    collecting_ms = _longest_gap_ms(priority, load)
    freeze_garbage()
    idle_ms = _longest_gap_ms(priority, partial(time.sleep, 1.0))
    return {"idle_ms": idle_ms, "loading_ms": _longest_gap_ms(priority, load), "collecting_ms": collecting_ms}


def _longest_gap_ms(priority: int, work: Callable[[], object]) -> float:
    turns_s: list[tuple[float, float]] = []
    is_over = threading.Event()

    def take_turns() -> None:
        be_urgent(Urgency(priority, lock_memory=False))
        while not is_over.is_set():
            turns_s.append((time.perf_counter(), time.clock_gettime(time.CLOCK_PROCESS_CPUTIME_ID)))
            time.sleep(LOOK_S)

    thread = threading.Thread(target=take_turns)
    thread.start()
    work()
    is_over.set()
    thread.join()
    # What the process itself did between two turns: others, and the machine, hold up any layout.
    return 1000.0 * float(np.diff(turns_s, axis=0).min(axis=1).max())


def main(bundle: str, way: str, priority: str, seconds: str) -> None:
    """Run one of them and print what was found."""
    result = (
        hold_up(Path(bundle), int(priority))
        if way == "loading"
        else play(Path(bundle), way, int(priority), float(seconds))
    )
    sys.stdout.write(json.dumps(result) + "\n")
    sys.stdout.flush()
    if way == "threads":
        os._exit(0)  # they go on as long as there is a process


if __name__ == "__main__":
    main(*sys.argv[1:])
