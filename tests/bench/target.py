"""How long it takes until a model follows dances that it has not learned from: the time to a figure, not to a step."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from device.core.errors import DanceSamplerError
from tests.bench.bench import ROOT, Bench
from tests.bench.figures import Section
from tests.bench.results import digits, grid
from tests.bench.training import TRAINER
from tests.filmed_salsa import make_filmed_salsa
from trainer.learning.compute import FILE, known
from trainer.runs.story import RESULT

LOUDNESS = 0.95
QUICK = "as many as it takes"
FIRST_RECIPE = "the first recipe, by the epoch"

HOW = f"""\
- **target**: recorded salsa before a simulated camera in two views, its sound made from the motion (`python -m
  tests.filmed_salsa`), imported as a user would; two dances, a fifth of all takes, are held out. First `python -m
  trainer train --preset quick` as it is, which also computes the spectra and tries what computes a step fastest; then
  with `--minutes M` for ever more minutes, each a run of its own, as the learning rate falls over them, until the
  loudness of what is played to the held-out dances (temperature 0, the network before its export) follows that of
  their sound with a rank correlation of {LOUDNESS}. Of the whole command that is not training most is starting, and
  playing what was held out. Beside them the first recipe (`tests/bench/first_recipe.py`): a plain regression with one
  learning rate, epoch by epoch until its loudness follows as well; what is played between its epochs is not counted.
"""
HEADER = (
    *("minutes given", "whole command, s", "of it training, s", "steps"),
    *("loudness", "pitch, %", "brightness", "bands", "above 8 kHz, dB"),
)
NAMES = (
    "loudness_rank_correlation",
    "pitch_within_semitone",
    "brightness_rank_correlation",
    "band_rank_correlation",
    "excess_above_8k_db",
)


@dataclass(frozen=True)
class Row:
    """A run with so many minutes, or with as many as it takes; the first recipe.

    Attributes
    ----------
    given : str
        What it was given.
    whole_s, training_s : float
    n_steps : int
    figures : tuple of float
        `NAMES`.
    """

    given: str
    whole_s: float
    training_s: float
    n_steps: int
    figures: tuple[float, ...]

    def cells(self) -> list[str]:
        """As a line of the table."""
        loudness, pitch, brightness, bands, excess_db = self.figures
        figures = (f"{loudness:.3f}", f"{100 * pitch:.1f}", f"{brightness:.3f}", f"{bands:.3f}", f"{excess_db:+.1f}")
        return [self.given, digits(self.whole_s), digits(self.training_s), str(self.n_steps), *figures]


def measure_target(bench: Bench, trainer: Sequence[str] = TRAINER) -> Section:
    """Two tables, and a sentence on when the figure was reached."""
    with TemporaryDirectory() as folder:
        work = Path(folder)
        bench.say("target: filming and importing dances")
        videos, held_out = make_filmed_salsa(work, bench.effort.target_dances)
        _run([*trainer, "import", *videos, "--takes", work / "takes"])
        bench.say("target: preset quick")
        rows = [measure_run(work, None, held_out, trainer)]
        for minutes in bench.effort.target_minutes:
            bench.say(f"target: {minutes:g} minutes of training")
            rows.append(measure_run(work, minutes, held_out, trainer))
            if rows[-1].figures[0] >= LOUDNESS:
                break
        bench.say("target: the first recipe")
        first = measure_first_recipe(work, held_out)
        ways = "\n\n".join(
            grid(("computed in", "steps per second"), [[str(way), digits(rate)] for way, rate in rates.items()])
            for rates in known(work / "cache" / FILE)
        )
    return Section("Time to a figure", text="\n\n".join(filter(None, (describe(rows, first), ways))), how=HOW)


def measure_run(work: Path, minutes: float | None, held_out: Sequence[int], trainer: Sequence[str]) -> Row:
    """Train once."""
    run = work / f"run-{minutes}"
    line = [*trainer, "train", "--takes", work / "takes", "--run", run, "--cache", work / "cache"]
    line += [] if minutes is None else ["--minutes", minutes]
    started_s = time.perf_counter()
    _run([*line, "--held-out-takes", *held_out])
    whole_s = time.perf_counter() - started_s
    result = json.loads((run / RESULT).read_text())
    return _row(QUICK if minutes is None else f"{minutes:g}", whole_s, result)


def measure_first_recipe(work: Path, held_out: Sequence[int]) -> Row:
    """Train the first recipe until it is as good."""
    started_s = time.perf_counter()
    line = [sys.executable, "-m", "tests.bench.first_recipe", work / "takes", work / "cache", LOUDNESS, *held_out]
    result = json.loads(_run(line).splitlines()[-1])
    return _row(FIRST_RECIPE, time.perf_counter() - started_s - result["idle_s"], result)


def describe(rows: Sequence[Row], first: Row) -> str:
    """Table and sentence."""
    table = grid(HEADER, [row.cells() for row in (*rows, first)])
    last = rows[-1]
    if last.figures[0] < LOUDNESS:
        return f"{table}\n\nLoudness {LOUDNESS} was not reached in {last.given} minutes."
    return f"{table}\n\nLoudness {LOUDNESS} is reached by a command of {last.whole_s:.0f} s."


def _row(given: str, whole_s: float, result: dict[str, Any]) -> Row:
    figures = tuple(float(result["played"][name] or 0.0) for name in NAMES)
    return Row(given, whole_s, result["seconds"], result["n_steps"], figures)


def _run(line: Sequence[object]) -> str:
    done = subprocess.run(list(map(str, line)), cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise DanceSamplerError(f"training failed with exit code {done.returncode} ({said}): train by hand first")
    return done.stdout
