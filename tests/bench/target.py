"""How long it takes until a model follows dances that it has not learned from: the time to a figure, not to a step."""

from __future__ import annotations

import json
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
from tests.bench.scale_takes import make_scale_takes
from tests.bench.training import TRAINER
from trainer.learning.compute import FILE, known
from trainer.runs.story import RESULT

LOUDNESS = 0.95
N_TAKES, N_HELD_OUT = 10, 2

HOW = f"""\
- **target**: ten minutes of such takes as **scale** makes, in ten takes, of which two are held out whole. First `python
  -m trainer train --preset quick` as it is, which also computes the spectra and tries what computes a step fastest;
  then with `--minutes M` for ever more minutes, each a run of its own, as the learning rate falls over them, until the
  loudness of what is played to the held-out takes (temperature 0, the network before its export) follows that of their
  sound with a rank correlation of {LOUDNESS}. Of the whole command that is not training most is starting, and playing
  what was held out.
"""
HEADER = ("minutes given", "whole command, s", "of it training, s", "steps", "loudness", "pitch, %", "brightness")


@dataclass(frozen=True)
class Row:
    """A run with so many minutes, or with as many as it takes."""

    minutes: float | None
    whole_s: float
    training_s: float
    n_steps: int
    loudness: float
    pitch: float
    brightness: float

    def cells(self) -> list[str]:
        """As a line of the table."""
        given = "as many as it takes" if self.minutes is None else f"{self.minutes:g}"
        figures = (f"{self.loudness:.3f}", f"{100 * self.pitch:.1f}", f"{self.brightness:.3f}")
        return [given, digits(self.whole_s), digits(self.training_s), str(self.n_steps), *figures]


def measure_target(bench: Bench, trainer: Sequence[str] = TRAINER) -> Section:
    """Two tables, and a sentence on when the figure was reached."""
    with TemporaryDirectory() as folder:
        work = Path(folder)
        bench.say("target: making takes")
        make_scale_takes(work / "takes", bench.effort.takes_s, bench.effort.takes_s / N_TAKES)
        rows: list[Row] = []
        for minutes in (None, *bench.effort.target_minutes):
            bench.say(f"target: {'preset quick' if minutes is None else f'{minutes:g} minutes of training'}")
            rows.append(measure_run(work, minutes, trainer))
            if minutes is not None and rows[-1].loudness >= LOUDNESS:
                break
        ways = "\n\n".join(
            grid(("computed in", "steps per second"), [[str(way), digits(rate)] for way, rate in rates.items()])
            for rates in known(work / "cache" / FILE)
        )
    return Section("Time to a figure", text="\n\n".join(filter(None, (describe(rows), ways))), how=HOW)


def measure_run(work: Path, minutes: float | None, trainer: Sequence[str]) -> Row:
    """Train once."""
    run, held_out = work / f"run-{minutes}", [str(N_TAKES - number) for number in range(N_HELD_OUT)]
    line = [*trainer, "train", "--takes", work / "takes", "--run", run, "--cache", work / "cache"]
    line += [] if minutes is None else ["--minutes", minutes]
    started_s = time.perf_counter()
    done = subprocess.run(
        [*map(str, line), "--held-out-takes", *held_out], cwd=ROOT, capture_output=True, text=True, check=False
    )
    whole_s = time.perf_counter() - started_s
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise DanceSamplerError(f"training failed with exit code {done.returncode} ({said}): train by hand first")
    result = json.loads((run / RESULT).read_text())
    names = ("loudness_rank_correlation", "pitch_within_semitone", "brightness_rank_correlation")
    figures = (float(result["played"][name] or 0.0) for name in names)
    return Row(minutes, whole_s, result["seconds"], result["n_steps"], *figures)


def describe(rows: Sequence[Row]) -> str:
    """Table and sentence."""
    table = grid(HEADER, [row.cells() for row in rows])
    last = rows[-1]
    if last.loudness < LOUDNESS:
        return f"{table}\n\nLoudness {LOUDNESS} was not reached in {last.minutes:g} minutes."
    return f"{table}\n\nLoudness {LOUDNESS} is reached by a command of {last.whole_s:.0f} s."
