"""From ten minutes of takes to a bundle that plays, by the commands that a user types."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

from device.core.errors import DanceSamplerError
from device.models.bundles import load_bundle
from device.store.store import allocate, list_takes
from tests.bench.bench import ROOT, Bench
from tests.bench.figures import TRAINING_MIN, Figure, Section
from trainer.filming.factory import STILL_S, make_take, recordings
from trainer.filming.film import load_body, random_view

TRAINER = (sys.executable, "-m", "trainer")

HOW = """\
- **training**: `python -m trainer train --preset quick`, then `export`, as a user types them; wall clock, on all
  cores. The takes are made before: recorded salsa before simulated cameras, with the factory's instrument, until they
  last ten minutes. The bundle is loaded at the end: it must repeat its golden examples.
"""


def measure_training(bench: Bench, trainer: Sequence[str] = TRAINER) -> Section:
    """Make takes, then time train and export."""
    with TemporaryDirectory() as folder:
        bench.say("training: filming takes")
        takes, run, bundle = (Path(folder) / name for name in ("takes", "run", "bundle"))
        takes.mkdir()
        duration_s = make_takes(takes, bench.effort.takes_s)
        bench.say("training: preset quick, some minutes")
        started_s = time.perf_counter()
        _command(*trainer, "train", "--takes", takes, "--run", run, "--preset", "quick")
        trained_s = time.perf_counter()
        _command(*trainer, "export", "--run", run, "--bundle", bundle)
        load_bundle(bundle, bench.bundle.model.variant, bench.bundle.model.runtime)
        values = {"train": trained_s - started_s, "all": time.perf_counter() - started_s}
    minutes = {name: value / 60.0 for name, value in values.items()}
    what = f"{duration_s / 60.0:.1f} minutes of takes to a bundle that plays, preset quick"
    return Section("Training", [Figure(what, "min", minutes, TRAINING_MIN, "all")], how=HOW)


def make_takes(folder: Path, duration_s: float) -> float:
    """Film dances until they last long enough; seconds of all takes."""
    jobs: list[tuple[Path, int, Path, Path]] = []
    left_s = duration_s
    while left_s > 0.0:
        paths = recordings()
        path, seed = paths[len(jobs) % len(paths)], 101 * len(jobs)
        jobs.append((path, seed, folder, allocate(folder)))
        left_s -= load_body(path).duration_s / random_view(seed).speed + 2 * STILL_S
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        list(pool.map(make_take, jobs))
    return sum(take.duration_s for take in list_takes(folder))


def _command(*words: object) -> None:
    done = subprocess.run(list(map(str, words)), cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise DanceSamplerError(f"training failed with exit code {done.returncode} ({said}): train by hand first")
