"""One worker and two: how fast they train on this machine, and whether they learn as well."""

from __future__ import annotations

import csv
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from device.core.errors import DanceSamplerError
from tests.bench.bench import ROOT, Bench
from tests.bench.figures import Section
from tests.bench.results import digits, grid
from tests.bench.scale_takes import TAKE_S, make_scale_takes
from tests.bench.training import TRAINER
from trainer.runs.logbook import CURVES, HELD_OUT_ERROR

HOW = """\
- **workers**: `python -m trainer train --preset quick --workers N` on ten minutes of such takes as **scale** makes, the
  same seed. Steps per second are those of all epochs but the first; held-out errors, after the last, are shares of the
  spectra's variance; all else is the time to start, to meet, and to finish the run. Two workers on one machine share
  its processors: they show that nothing is lost, not what two machines win.
"""
HEADER = ("workers", "steps per second", "held-out error", "training, s", "all else, s")


@dataclass(frozen=True)
class Row:
    """A run with so many workers."""

    n_workers: int
    steps_per_s: float
    error: float
    training_s: float
    rest_s: float

    def cells(self) -> list[str]:
        """As a line of the table."""
        values = (self.steps_per_s, self.error, self.training_s, self.rest_s)
        return [str(self.n_workers), *map(digits, values)]


def measure_workers(bench: Bench, trainer: Sequence[str] = TRAINER) -> Section:
    """One table."""
    with TemporaryDirectory() as folder:
        takes = Path(folder) / "takes"
        bench.say("workers: making takes")
        make_scale_takes(takes, bench.effort.takes_s, min(TAKE_S, bench.effort.takes_s) / 4)
        rows = []
        for n_workers in bench.effort.workers:
            bench.say(f"workers: preset quick with {n_workers}, some minutes")
            rows.append(measure_run(takes, Path(folder) / f"{n_workers}", n_workers, trainer))
    return Section("Workers", text=grid(HEADER, [row.cells() for row in rows]), how=HOW)


def measure_run(takes: Path, work: Path, n_workers: int, trainer: Sequence[str]) -> Row:
    """Train once; every run computes its spectra."""
    run = work / "run"
    line = [*trainer, "train", "--takes", takes, "--run", run, "--preset", "quick", "--cache", work / "cache"]
    started_s = time.perf_counter()
    done = subprocess.run(
        [*map(str, line), "--workers", str(n_workers)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    took_s = time.perf_counter() - started_s
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise DanceSamplerError(f"training failed with exit code {done.returncode} ({said}): train by hand first")
    with (run / CURVES).open(newline="") as file:
        epochs = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    first, last = epochs[0], epochs[-1]
    steps_per_s = (last["steps"] - first["steps"]) / (last["seconds"] - first["seconds"])
    return Row(n_workers, steps_per_s, last[HELD_OUT_ERROR], last["seconds"], took_s - last["seconds"])
