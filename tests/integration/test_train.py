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


@pytest.fixture(scope="module")
def whole(takes: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run that nobody disturbed, and what it printed."""
    run = tmp_path_factory.mktemp("runs") / "whole"
    return run, finish(takes, run)


def trainer(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "trainer", *map(str, words)], capture_output=True, text=True, timeout=120, check=False
    )


def test_a_killed_run_goes_on_to_the_same_result(takes: Path, whole: tuple[Path, str], tmp_path: Path) -> None:
    (run, wanted), cut = whole, tmp_path / "cut"
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

    with h5py.File(run / "model.weights.h5") as first, h5py.File(cut / "model.weights.h5") as second:
        names: list[str] = []
        first.visit(lambda name: names.append(name) if isinstance(first[name], h5py.Dataset) else None)
        assert names
        for name in names:
            np.testing.assert_array_equal(first[name][()], second[name][()], err_msg=name)


def test_the_curves_are_logged(whole: tuple[Path, str]) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    curves = EventAccumulator(str(whole[0] / "tensorboard"), size_guidance={"tensors": 0})
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


def test_a_run_of_other_settings_is_not_gone_on_with(takes: Path, whole: tuple[Path, str]) -> None:
    done = trainer("train", "--takes", takes, "--run", whole[0], "--segment-s", "0.1")
    assert done.returncode == 2
    assert "other settings" in done.stderr


def test_a_bundle_signed_at_export_is_verified_and_any_change_is_seen(whole: tuple[Path, str], tmp_path: Path) -> None:
    bundle, key = tmp_path / "bundle", tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    exported = trainer("export", "--run", whole[0], "--bundle", bundle, "--key", key)
    assert exported.returncode == 0, exported.stderr
    assert exported.stderr == ""
    signers = tmp_path / "allowed_signers"
    signers.write_text(f"me@studio {key.with_suffix('.pub').read_text()}")
    verify = [sys.executable, "-m", "device", "models", "verify", str(bundle), "--allowed-signers", str(signers)]
    assert subprocess.run(verify, capture_output=True, check=False).returncode == 0
    model = bundle / "model.f16.tflite"
    changed = bytearray(model.read_bytes())
    changed[len(changed) // 2] ^= 1
    model.write_bytes(changed)
    refused = subprocess.run(verify, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
