"""Runs that take seconds: short takes, and `trainer train` as it is with a preset of a few steps."""

from __future__ import annotations

import io
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from unittest.mock import patch

import numpy as np
import numpy.typing as npt

from device.cli import run
from device.core.motiongram import MotionSettings
from device.store.store import TakeWriter
from trainer.__main__ import COMMANDS
from trainer.settings import PRESETS, Preset

RATE_HZ = 48000

TINY = Preset(n_steps=48, batch_size=16, n_hidden=32, n_filters=8, n_epochs=12)
SCRIPT = """
import sys
from device.cli import run
from tests.tiny_runs import TINY
from trainer.__main__ import COMMANDS
from trainer.settings import PRESETS

# The command as it is, with a preset that takes seconds.
PRESETS["quick"] = TINY
sys.exit(run("trainer", "", COMMANDS, sys.argv[1:]))
"""


def make_takes(folder: Path, n_takes: int = 2, first: int = 0) -> Path:
    """Takes of 16 s: a tone that is as loud as the motion."""
    for seed in range(first, first + n_takes):
        times_s = np.arange(800) / 50
        quantity = np.clip(np.sin(times_s * 2 + seed), 0, 1)
        write_take(folder, quantity, tone(quantity, times_s), seed=seed)
    return folder


def tone(level: npt.NDArray[np.float64], times_s: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """440 Hz, as loud as said at given times, to 0.3 of full scale."""
    samples_s = np.arange(round((times_s[-1] + times_s[1]) * RATE_HZ)) / RATE_HZ
    return np.asarray(0.3 * np.interp(samples_s, times_s, level) * np.sin(2 * np.pi * 440 * samples_s))


def write_take(
    folder: Path,
    quantity: npt.NDArray[np.float64],
    sound: npt.NDArray[np.float64],
    *,
    seed: int = 0,
    settings: MotionSettings | None = None,
) -> Path:
    """One take at 50 columns a second, in which all rows and columns move as much; its folder."""
    settings = settings or MotionSettings()
    rng = np.random.default_rng(seed)
    columns = quantity[:, np.newaxis] * rng.uniform(2, 6, (len(quantity), settings.n_features))
    writer = TakeWriter(folder, settings, RATE_HZ, {"name": f"test {seed}"})
    writer.add_columns(columns.astype(np.float32), np.arange(len(quantity)) / 50)
    writer.add_sound(sound.astype(np.float32), 0.0)
    writer.finish()
    return writer.path


def start(takes: Path, run: Path, *options: object) -> subprocess.Popen[str]:
    """Begin `trainer train`."""
    return begin("train", "--seed", "7", "--takes", takes, "--run", run, *options)


def begin(*words: object) -> subprocess.Popen[str]:
    """Begin a command of the trainer as a process."""
    line = [sys.executable, "-c", SCRIPT, *map(str, words)]
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def command(*words: object, preset: Preset = TINY) -> subprocess.CompletedProcess[str]:
    """Run a command of the trainer to its end in this process, where TensorFlow is loaded once for many."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), patch.dict(PRESETS, {"quick": preset}):
        code = run("trainer", "", COMMANDS, list(map(str, words)))
    return subprocess.CompletedProcess(list(map(str, words)), code, out.getvalue(), err.getvalue())


def trained(takes: Path, run_dir: Path, *options: object) -> str:
    """Train to the end in this process; what was printed."""
    done = command("train", "--seed", 7, "--takes", takes, "--run", run_dir, *options)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def declined(code: int, says: str, *words: object) -> None:
    """A command ends with one line and an exit code."""
    done = command(*words)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (code, "", 1), done.stderr
    assert says in done.stderr


def finish(takes: Path, run: Path, *options: object) -> str:
    """Train to the end; what was printed, from the held-out error on."""
    process = start(takes, run, *options)
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    assert err == ""
    return out[out.index("held-out error") :].split("\n")[0]


def refused(takes: Path, run: Path, code: int, says: str, *options: object) -> None:
    """Training ends with one line and an exit code."""
    process = start(takes, run, *options)
    out, err = process.communicate(timeout=200)
    assert process.returncode == code, err
    assert out == ""
    assert err.count("\n") == 1, err
    assert says in err
