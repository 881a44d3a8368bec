"""Training: killed and gone on with, refused in one line, logged."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from device.core.motiongram import MotionSettings
from device.store.store import TakeWriter, list_takes
from tests.eventually import eventually
from tests.long import long
from tests.tiny_runs import RATE_HZ, TINY, command, declined, finish, make_takes, refused, start, write_take
from trainer.data.take_hash import take_hash
from trainer.evaluating.table import Figures

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def takes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_takes(tmp_path_factory.mktemp("takes"))


def curves(run: Path) -> Any:
    """What a run logged for TensorBoard."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logged = EventAccumulator(str(run / "tensorboard"), size_guidance={"tensors": 0})
    logged.Reload()
    return logged


def weights(path: Path) -> dict[str, Any]:
    """All arrays of a file of weights."""
    import h5py

    found: dict[str, Any] = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, each: found.update({name: each[()]}) if isinstance(each, h5py.Dataset) else None)
    return found


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
    export = trainer("export", "--run", cut, "--bundle", tmp_path / "bundle")
    assert export.returncode == 1
    assert "not finished" in export.stderr
    assert finish(takes, cut) == wanted
    # It went on: at most the epoch that was cut is there twice.
    assert 12 <= len(curves(cut).Tensors("held_out/sound")) <= 13
    first, second = (weights(each / "model.weights.h5") for each in (run, cut))
    assert first
    for name, values in first.items():
        np.testing.assert_array_equal(values, second[name], err_msg=name)


def test_an_interrupted_run_saves_what_it_has_and_says_how_to_go_on(
    takes: Path, whole: tuple[Path, str], tmp_path: Path
) -> None:
    cut = tmp_path / "cut"
    process = start(takes, cut)
    eventually(lambda: process.poll() is not None or (cut / "curves.csv").exists(), patience_s=200.0)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=200)
    assert (process.returncode, out) == (130, "")
    assert "go on with python -m trainer train --resume" in err.splitlines()[-1]
    n_epochs = len((cut / "curves.csv").read_text().splitlines()) - 1
    assert 0 < n_epochs < 12, "it was to be interrupted before its end"
    assert f"interrupted after epoch {n_epochs} of 12, which is saved" in err
    assert "not finished" in (cut / "README.md").read_text()
    done = command("train", "--resume", "--run", cut)
    assert done.returncode == 0, done.stderr
    assert whole[1] in done.stdout
    assert len((cut / "curves.csv").read_text().splitlines()) == 13
    declined(2, "is finished", "train", "--resume", "--run", cut)


def test_a_finished_run_explains_itself(takes: Path, whole: tuple[Path, str]) -> None:
    run = whole[0]
    facts, result = (json.loads((run / name).read_text()) for name in ("run.json", "result.json"))
    assert facts["made_with"]["versions"]["numpy"] == np.__version__
    assert f"--takes {takes}" in facts["made_with"]["command"]
    assert [take["sha256"] for take in facts["data"]] == [take_hash(take) for take in list_takes(takes)]
    assert f"held-out error {result['held_out']['sound']:.3f}" in whole[1]
    assert result["played"].keys() == {field.name for field in fields(Figures)}
    readme = (run / "README.md").read_text()
    for said in ("12 epochs, 48 steps", "the last 20% of each take", "test 1", facts["data"][0]["sha256"][:16]):
        assert said in readme
    with (run / "curves.csv").open(newline="") as file:
        epochs = list(csv.DictReader(file))
    assert [int(row["steps"]) for row in epochs] == list(range(4, 49, 4))
    assert {"loss", "held_out/sound"} <= epochs[0].keys()
    for name in ("real", "played"):
        sound, rate_hz = soundfile.read(run / "samples" / f"{name}.wav")
        assert rate_hz == RATE_HZ
        assert len(sound) > 2 * rate_hz


def test_a_run_gone_on_with_other_takes_says_what_differs(takes: Path, whole: tuple[Path, str], tmp_path: Path) -> None:
    declined(
        2, "2 takes there, 3 here", "train", "--takes", make_takes(tmp_path / "more", 3), "--run", whole[0], "--seed", 7
    )
    declined(2, "seed is 7 there, not 8", "train", "--takes", takes, "--run", whole[0], "--seed", 8)


def test_a_pace_that_is_hastened_goes_no_slower_than_its_steps() -> None:
    from trainer.learning.pace import Pace

    pace = Pace(lambda step: 1.0 - step / 1000.0, 1000)
    assert float(pace.rate(100)) == pytest.approx(0.9)
    pace.hasten(0.5)
    assert [float(pace.rate(step)) for step in (100, 700)] == pytest.approx([0.5, 0.3])


def test_patience_keeps_the_best_epoch(takes: Path, tmp_path: Path) -> None:
    """Learning so fast that it soon gets worse."""
    run = tmp_path / "run"
    fast = replace(TINY, learning_rate=0.5, n_epochs=24)
    done = command("train", "--takes", takes, "--run", run, "--patience", 2, preset=fast)
    assert done.returncode == 0, done.stderr
    assert "held-out error had not fallen for 2 epochs" in done.stdout
    with (run / "curves.csv").open(newline="") as file:
        errors = [float(row["held_out/sound"]) for row in csv.DictReader(file)]
    assert len(errors) < 24
    best = errors.index(min(errors)) + 1
    assert f"epoch {best} was kept" in done.stdout
    assert best < len(errors)
    kept, trained = (weights(run / name) for name in ("best.weights.h5", "model.weights.h5"))
    # The levels of the sound were put right after it: in kernel and bias of one layer.
    assert sum(not np.array_equal(kept[name], trained[name]) for name in kept) <= 2


def test_only_takes_that_are_there_can_be_left_out(takes: Path, tmp_path: Path) -> None:
    words = ("train", "--takes", takes, "--run", tmp_path / "run", "--leave-out")
    declined(2, "no take 0007", *words, "2,7")
    declined(2, "all takes are left out", *words, "1,2")


def test_the_curves_are_logged(whole: tuple[Path, str]) -> None:
    logged = curves(whole[0])
    names = set(logged.Tags()["tensors"])
    assert {"loss", "kl", "held_out/kl", "held_out/n_active", "held_out/sound"} <= names
    assert len(logged.Tensors("held_out/sound")) == 12


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (["--takes", "nowhere"], 1, "nowhere"),
        (["--segment-s", "3"], 2, "0.05 to 2"),
        (["--segment-s", "nan"], 2, "0.05 to 2"),
        (["--lead-s", "5"], 2, "-1 to 1"),
        (["--latents", "0"], 2, "1 to 512"),
        (["--seed", "-1"], 2, "0 to"),
        (["--held-out", "0.99"], 1, "record or import more"),
        (["--held-out-takes", "77"], 2, "77"),
    ],
)
def test_wrong_use_is_one_line_and_leaves_nothing(
    takes: Path, tmp_path: Path, options: list[str], code: int, says: str
) -> None:
    refused(takes, tmp_path / "run", code, says, *options)
    assert not (tmp_path / "run").exists()


def test_a_file_is_no_run(takes: Path, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("mine")
    refused(takes, tmp_path / "run", 2, "is a file")
    assert (tmp_path / "run").read_text() == "mine"


def test_silent_takes_are_refused_before_training(tmp_path: Path) -> None:
    write_take(tmp_path / "takes", np.ones(400), np.zeros(8 * RATE_HZ))
    done = command("train", "--takes", tmp_path / "takes", "--run", tmp_path / "run")
    assert (done.returncode, done.stdout) == (1, "")
    assert "take 0001 (test 0): silent 100% of its time" in done.stderr.splitlines()[0]
    assert "may be silent" in done.stderr.splitlines()[-1]
    assert not (tmp_path / "run").exists()


def test_a_bad_take_is_named_drawn_and_learned_from_unless_it_is_left_out_and_time_that_is_up_ends_a_run(
    takes: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(takes, tmp_path / "takes")
    for seed in (2, 3):
        write_take(tmp_path / "takes", np.ones(800), np.zeros(16 * RATE_HZ), seed=seed)
    done = command("train", "--takes", tmp_path / "takes", "--run", run, "--minutes", 0.0001, "--leave-out", "4")
    assert done.returncode == 0
    named, advice, picture = done.stderr.splitlines()
    assert named.startswith("trainer: take 0003 (test 2): silent 100%")
    assert advice.endswith("--leave-out 3")
    assert picture == f"trainer: look at {run / 'takes.png'}"
    assert (run / "takes.png").read_bytes().startswith(b"\x89PNG")
    assert [take["number"] for take in json.loads((run / "run.json").read_text())["data"]] == [1, 2, 3]
    assert "ended early: its time was over (--minutes 0.0001)" in done.stdout
    assert len((run / "curves.csv").read_text().splitlines()) == 2
    assert (run / "model.weights.h5").exists(), "it is finished all the same"


@pytest.mark.parametrize("segment_s", [pytest.param(0.05, marks=long), 2.0])
def test_the_shortest_and_the_longest_segment_are_trained(takes: Path, tmp_path: Path, segment_s: float) -> None:
    assert "latents active" in finish(takes, tmp_path / "run", "--segment-s", segment_s, "--held-out", 0.5)


def test_a_damaged_run_says_so(takes: Path, whole: tuple[Path, str], tmp_path: Path) -> None:
    run, bundle = tmp_path / "run", tmp_path / "bundle"
    shutil.copytree(whole[0], run)
    weights = run / "model.weights.h5"
    weights.write_bytes(weights.read_bytes()[:1000])
    export = trainer("export", "--run", run, "--bundle", bundle)
    assert (export.returncode, export.stderr.count("\n")) == (1, 1)
    assert "damaged" in export.stderr
    weights.unlink()
    for data in (run / "checkpoints").glob("*.data*"):
        data.write_bytes(data.read_bytes()[:100])
    refused(takes, run, 1, "damaged")
    (run / "run.json").write_text("{")
    refused(takes, run, 1, "damaged")
    assert not bundle.exists()


def test_a_run_whose_newest_checkpoint_is_damaged_goes_on_from_the_one_before(
    takes: Path, whole: tuple[Path, str], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(whole[0], run)
    (run / "model.weights.h5").unlink()
    newest = max((run / "checkpoints").glob("*.data*"), key=lambda path: int(path.name.split("-")[1].split(".")[0]))
    newest.write_bytes(newest.read_bytes()[:100])
    assert finish(takes, run) == whole[1]
    # The epoch of the damaged one was done again, and no other.
    assert len(curves(run).Tensors("held_out/sound")) == 13


def test_a_bundle_is_not_judged_on_takes_of_another_kind(takes: Path, whole: tuple[Path, str], tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    export = trainer("export", "--run", whole[0], "--bundle", bundle)
    assert export.returncode == 0, export.stderr
    writer = TakeWriter(tmp_path / "small", MotionSettings(height=24, width=32), RATE_HZ, {"name": "small"})
    writer.add_columns(np.ones((400, 56), np.float32), np.arange(400) / 50)
    writer.add_sound(np.ones(8 * RATE_HZ, np.float32), 0.0)
    writer.finish()
    judged = trainer("evaluate", "--bundle", bundle, "--takes", tmp_path / "small")
    assert (judged.returncode, judged.stderr.count("\n")) == (1, 1)
    assert "other motion settings" in judged.stderr
    fitting = trainer("evaluate", "--bundle", bundle, "--takes", takes)
    assert "the last 20% of each of 2 takes" in fitting.stdout


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (["--name", "a/b"], 1, "name"),
        (["--key", "nowhere"], 1, "ssh-keygen"),
        (["--temperature", "nan"], 2, "0 to 2"),
        (["--bundle", "."], 1, "not a bundle"),
    ],
)
def test_an_export_that_cannot_end_well_does_not_begin(
    whole: tuple[Path, str], tmp_path: Path, options: list[str], code: int, says: str
) -> None:
    words = {"--run": str(whole[0]), "--bundle": str(tmp_path / "bundle"), **dict([options])}
    done = trainer("export", *(word for pair in words.items() for word in pair))
    assert (done.returncode, done.stderr.count("\n")) == (code, 1), done.stderr
    assert says in done.stderr
    assert not (tmp_path / "bundle").exists()


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
