"""How training grows with what there is to learn from: ten minutes, one hour, ten, and what a hundred would cost."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple

from device.core.errors import DanceSamplerError
from device.store.store import Take
from tests.bench.bench import ROOT, Bench
from tests.bench.figures import Section
from tests.bench.results import digits, grid
from tests.bench.scale_takes import TAKE_S, make_scale_takes
from tests.bench.whole import memory_mb

GB_PER_HOUR = 1.1
"""Takes and spectra together, and some room."""
WORKED_OUT_H = 100.0

Run = tuple[dict[str, float], float]
"""What a training found, and the most memory that it and its children held, in MB."""

HOW = """\
- **scale**: takes of ten minutes made straight from joint positions (recorded salsa in many views, 50 columns a second,
  48 kHz), of which the shorter rows use the first. For each row one process opens takes and spectra as `trainer train`
  does, and computes the spectra; then, in several rounds in which all rows take turns, another finds them and trains
  with preset quick. Opening compares all checksums. Memory is the most that any of these trainings and its children
  held (summed PSS, looked at every 50 ms). Steps per second are the median of the rounds, and of each of them that of
  four epochs; beside the first row is the median of what each round says: the machine's own speed comes and goes by a
  quarter. Waiting is the share of the time in which the next batch was not ready. The last row is worked out: times
  and sizes from what the longest row needs beyond the shortest, for each hour.
"""
HEADER = (
    "takes",
    "open, s",
    "spectra, s",
    "found again, s",
    "takes, GB",
    "spectra, GB",
    "peak memory, MB",
    "steps per second",
    "beside the first row, %",
    "waiting, %",
)


@dataclass(frozen=True)
class Row:
    """What training on some takes costs.

    Attributes
    ----------
    hours : float
    open_s, spectra_s, again_s : float
        Takes opened, spectra computed, spectra found again.
    takes_gb, spectra_gb, peak_mb : float
    steps_per_s, beside, wait : float or None
        `beside` is the share of the shortest takes' steps per second. None: worked out, not measured.
    """

    hours: float
    open_s: float
    spectra_s: float
    again_s: float
    takes_gb: float
    spectra_gb: float
    peak_mb: float
    steps_per_s: float | None
    beside: float | None
    wait: float | None

    def cells(self) -> list[str]:
        """As a line of the table."""
        name = f"{self.hours * 60:.0f} min" if self.hours < 1 else f"{self.hours:g} h"
        costs = (self.open_s, self.spectra_s, self.again_s, self.takes_gb, self.spectra_gb, self.peak_mb)
        if self.steps_per_s is None or self.beside is None or self.wait is None:
            return [f"{name}, worked out", *map(digits, costs), *["as above"] * 3]
        return [name, *map(digits, costs), digits(self.steps_per_s), digits(100 * self.beside), digits(100 * self.wait)]


def measure_scale(bench: Bench) -> Section:
    """One table, and a sentence on whether memory and speed stay as they are."""
    hours = bench.effort.scale_hours
    with TemporaryDirectory() as folder:
        bench.say(f"scale: making {max(hours):g} hours of takes")
        whole = Path(folder) / "takes"
        _check_room(Path(folder), max(hours))
        make_scale_takes(whole, max(hours) * 3600.0, min(TAKE_S, min(hours) * 3600.0))
        plots = [lay_out(whole, Path(folder) / f"{each}", each) for each in hours]
        first = []
        for plot in plots:
            bench.say(f"scale: spectra of {plot.hours:g} hours")
            first.append(run_watched(plot.takes, plot.cache, 0)[0])
        rounds = []
        for number in range(bench.effort.scale_rounds):
            bench.say(f"scale: training, round {number + 1} of {bench.effort.scale_rounds}")
            rounds.append([run_watched(plot.takes, plot.cache, bench.effort.scale_steps) for plot in plots])
        rows = [
            sum_up(plot, once["spectra_s"], [(one[index], one[0]) for one in rounds])
            for index, (plot, once) in enumerate(zip(plots, first, strict=True))
        ]
    return Section("How training grows", text=describe(rows), how=HOW)


class Plot(NamedTuple):
    """The first hours of takes, and where their spectra are kept."""

    hours: float
    takes: Path
    cache: Path


def lay_out(whole: Path, work: Path, hours: float) -> Plot:
    """Take the first hours of all takes."""
    takes = work / "takes"
    folders = sorted(path for path in whole.iterdir() if path.is_dir())
    n_takes = max(1, round(len(folders) * hours * 3600.0 / _duration_s(folders)))
    for path in folders[:n_takes]:
        shutil.copytree(path, takes / path.name, copy_function=os.link)
    return Plot(hours, takes, work / "cache")


def sum_up(plot: Plot, spectra_s: float, rounds: Sequence[tuple[Run, Run]]) -> Row:
    """A row of its trainings, of each round one, and of the shortest takes' beside it."""
    found = [mine[0] for mine, _ in rounds]
    return Row(
        plot.hours,
        median(run["open_s"] for run in found),
        spectra_s,
        median(run["spectra_s"] for run in found),
        _size_gb(plot.takes),
        _size_gb(plot.cache),
        max(peak_mb for (_, peak_mb), _ in rounds),
        median(run["steps_per_s"] for run in found),
        median(mine[0]["steps_per_s"] / first[0]["steps_per_s"] for mine, first in rounds),
        median(run["wait"] for run in found),
    )


def run_watched(takes: Path, cache: Path, n_steps: int) -> Run:
    """Run a training, or with no steps what comes before it."""
    line = [sys.executable, "-m", "tests.bench.scale_run", str(takes), str(cache), str(n_steps)]
    with subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        peak_mb = 0.0
        while process.poll() is None:
            peak_mb = max(peak_mb, memory_mb(process.pid).get("PSS", 0.0))
            time.sleep(0.05)
        out, err = process.communicate()
    if process.returncode != 0:
        said = (err.strip().splitlines() or ["it said nothing"])[-1]
        raise DanceSamplerError(f"training failed with exit code {process.returncode} ({said}): train by hand first")
    found: dict[str, float] = json.loads(out.splitlines()[-1])
    return found, peak_mb


def describe(rows: Sequence[Row]) -> str:
    """Table and sentence."""
    table = grid(HEADER, [row.cells() for row in [*rows, worked_out(rows, WORKED_OUT_H)]])
    first, last = rows[0], rows[-1]
    memory = 100 * (last.peak_mb / first.peak_mb - 1)
    speed = 100 * ((last.beside or 0.0) - 1)
    return (
        f"{table}\n\nFrom {first.cells()[0]} to {last.cells()[0]} of takes memory changes by {memory:+.0f}%, steps per "
        f"second by {speed:+.0f}%. What was computed once is found again by every later run."
    )


def worked_out(rows: Sequence[Row], hours: float) -> Row:
    """What so many hours would cost: the longest row, and for each hour more what it needs beyond the shortest."""
    first, last = rows[0], rows[-1]

    def at(name: str) -> float:
        start, end = float(getattr(first, name)), float(getattr(last, name))
        per_hour = (end - start) / (last.hours - first.hours) if last.hours > first.hours else end / last.hours
        return end + (hours - last.hours) * max(per_hour, 0.0)

    return Row(
        hours,
        at("open_s"),
        at("spectra_s"),
        at("again_s"),
        at("takes_gb"),
        at("spectra_gb"),
        at("peak_mb"),
        steps_per_s=None,
        beside=None,
        wait=None,
    )


def _duration_s(folders: Sequence[Path]) -> float:
    return sum(take.n_samples / take.rate_hz for take in (Take.open(path, check=False) for path in folders))


def _check_room(folder: Path, hours: float) -> None:
    needed_gb, free_gb = hours * 2 * GB_PER_HOUR, shutil.disk_usage(folder).free / 1e9
    if free_gb < needed_gb:
        raise DanceSamplerError(
            f"scale needs {needed_gb:.1f} GB, {folder.parent} has {free_gb:.1f} GB free: set TMPDIR to a larger disk"
        )


def _size_gb(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e9
