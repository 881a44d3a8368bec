"""Training: killed and gone on with, refused in one line, logged."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from device.core.motiongram import MotionSettings
from device.store import TakeWriter

pytestmark = pytest.mark.timeout(300)

RATE_HZ = 48000

SCRIPT = """
import sys
from pathlib import Path
from dataclasses import replace
from device.store import list_takes
from trainer.settings import Preset
from trainer.train import run_settings, train

takes = list_takes(Path(sys.argv[1]))
preset = Preset(n_steps=48, batch_size=16, n_hidden=32, n_filters=8, n_epochs=12)
print(train(takes, Path(sys.argv[2]), run_settings(takes, preset, seed=7)))
"""


@pytest.fixture(scope="module")
def takes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two short takes: a tone that is as loud as the motion."""
    folder = tmp_path_factory.mktemp("takes")
    for seed in range(2):
        rng = np.random.default_rng(seed)
        times_s = np.arange(400) / 50
        quantity = np.clip(np.sin(times_s * 2 + seed), 0, 1)
        columns = quantity[:, np.newaxis] * rng.uniform(2, 6, (400, 112))
        samples = np.arange(8 * RATE_HZ) / RATE_HZ
        sound = 0.3 * np.interp(samples, times_s, quantity) * np.sin(2 * np.pi * 440 * samples)
        writer = TakeWriter(folder, MotionSettings(), RATE_HZ, {"name": f"test {seed}"})
        writer.add_columns(columns.astype(np.float32), times_s)
        writer.add_sound(sound.astype(np.float32), 0.0)
        writer.finish()
    return folder


def start(takes: Path, run: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(takes), str(run)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(takes: Path, run: Path) -> str:
    process = start(takes, run)
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    return out


def trainer(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "trainer", *map(str, words)], capture_output=True, text=True, timeout=120, check=False
    )


def test_a_killed_run_goes_on_to_the_same_result(takes: Path, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    wanted = finish(takes, whole)
    process = start(takes, cut)
    checkpoint = cut / "checkpoints" / "checkpoint"
    while process.poll() is None and not (checkpoint.exists() and "ckpt-2" in checkpoint.read_text()):
        pass
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (cut / "model.weights.h5").exists(), "it was to be killed before its end"
    refused = trainer("export", "--run", cut, "--bundle", tmp_path / "bundle")
    assert refused.returncode == 1
    assert "not finished" in refused.stderr
    assert finish(takes, cut) == wanted
    import h5py

    with h5py.File(whole / "model.weights.h5") as first, h5py.File(cut / "model.weights.h5") as second:
        names: list[str] = []
        first.visit(lambda name: names.append(name) if isinstance(first[name], h5py.Dataset) else None)
        assert names
        for name in names:
            np.testing.assert_array_equal(first[name][()], second[name][()], err_msg=name)


def test_the_curves_are_logged(takes: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    finish(takes, tmp_path / "run")
    curves = EventAccumulator(str(tmp_path / "run" / "tensorboard"), size_guidance={"tensors": 0})
    curves.Reload()
    names = set(curves.Tags()["tensors"])
    assert {"loss", "kl", "held_out/kl", "held_out/n_active", "held_out/sound"} <= names
    assert len(curves.Tensors("held_out/sound")) == 12


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (["--takes", "nowhere"], 1, "nowhere"),
        (["--segment-s", "3"], 2, "0.05 to 2"),
        (["--held-out", "0.99"], 1, "record or import more"),
        (["--held-out-takes", "77"], 2, "77"),
    ],
)
def test_wrong_use_is_one_line(takes: Path, tmp_path: Path, options: list[str], code: int, says: str) -> None:
    words = {"--takes": str(takes), "--run": str(tmp_path / "run"), **dict([options])}
    done = trainer("train", *(word for pair in words.items() for word in pair))
    assert done.returncode == code, done.stderr
    assert done.stderr.count("\n") == 1
    assert says in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_run_of_other_settings_is_not_gone_on_with(takes: Path, tmp_path: Path) -> None:
    finish(takes, tmp_path / "run")
    done = trainer("train", "--takes", takes, "--run", tmp_path / "run", "--segment-s", "0.1")
    assert done.returncode == 2
    assert "other settings" in done.stderr
