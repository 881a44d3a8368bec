"""The whole road, gone once for all tests: filmed salsa -> takes -> a run -> a bundle -> its figures.

The run is the first part of preset quick; with LONG_TESTS=1 it is all of it.

Every step is the command that a user types, in a process of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.filmed_salsa import make_filmed_salsa

LENGTH = ("--preset", "quick", *(() if os.environ.get("LONG_TESTS") else ("--steps", "3000")))


@dataclass(frozen=True)
class Road:
    """Where each step left what it made, how long training took, and what evaluate printed."""

    videos: list[Path]
    takes: Path
    run: Path
    bundle: Path
    held_out_takes: list[int]
    training_s: float
    figures: dict[str, dict[str, float]]


def command(*words: object, timeout_s: float = 600) -> str:
    """Run `python -m ...`; what it printed. A failure shows what it said."""
    line = [sys.executable, "-m", *map(str, words)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=timeout_s, check=False)
    assert done.returncode == 0, f"{' '.join(line)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def last_object(output: str) -> Any:
    """The JSON object that a command printed last."""
    return json.loads(output.strip().splitlines()[-1])


def go(folder: Path) -> Road:
    """Go the road once; on two quiet cores it takes three minutes, five with all steps."""
    videos, held_out = make_filmed_salsa(folder)
    takes, run, bundle = folder / "takes", folder / "run", folder / "bundle"
    command("trainer", "import", *videos, "--takes", takes)
    numbers = [str(number) for number in held_out]
    started_s = time.monotonic()
    command("trainer", "train", "--takes", takes, "--run", run, *LENGTH, "--held-out-takes", *numbers)
    training_s = time.monotonic() - started_s
    command("trainer", "export", "--run", run, "--bundle", bundle, "--name", "theremin")
    evaluated = command("trainer", "evaluate", "--bundle", bundle, "--takes", takes, "--json")
    return Road(videos, takes, run, bundle, held_out, training_s, last_object(evaluated))
