"""`trainer baseline`, as a user types it: trained, kept, and set beside a bundle."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from device.core.motiongram import MotionSettings
from device.store.store import TakeWriter, list_takes
from tests.long import long
from trainer.baseline.original import load_baseline
from trainer.evaluating.playing import Span

RATE_HZ = 48000
FACTORY = Path(__file__).parents[2] / "device" / "factory" / "bundle"


@pytest.fixture(scope="module")
def takes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two takes of eight seconds: a tone that is as loud as the motion."""
    folder = tmp_path_factory.mktemp("takes")
    for number in range(2):
        times_s = np.arange(400) / 50
        quantity = np.clip(np.sin(times_s * 3 + number), 0, 1)
        samples_s = np.arange(8 * RATE_HZ) / RATE_HZ
        sound = 0.3 * np.interp(samples_s, times_s, quantity) * np.sin(2 * np.pi * 440 * samples_s)
        writer = TakeWriter(folder, MotionSettings(), RATE_HZ, {"name": f"test {number}"})
        writer.add_columns(np.outer(quantity, np.full(112, 4.0)).astype(np.float32), times_s)
        writer.add_sound(sound.astype(np.float32), 0.0)
        writer.finish()
    return folder


def baseline(*words: object) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "trainer", "baseline", *map(str, words)]
    return subprocess.run(line, capture_output=True, text=True, timeout=250, check=False)


def test_it_is_trained_kept_and_set_beside_a_bundle(takes: Path, tmp_path: Path) -> None:
    words = ["--takes", takes, "--seconds", 1, "--held-out-takes", 2, "--json"]
    done = baseline(*words, "--run", tmp_path / "run", "--bundle", FACTORY)
    assert (done.returncode, done.stderr) == (0, "")
    columns = json.loads(done.stdout)
    assert list(columns)[:3] == ["baseline", "f16", "int8"]
    assert {"null", "ceiling"} <= set(columns)
    assert columns["baseline"] != columns["f16"]
    assert columns["baseline"]["still_level_dbfs"] is not None
    take = list_takes(takes)[1]
    played = load_baseline(tmp_path / "run").play(Span(take, 0, take.n_columns))
    assert not played[:4800].any()
    assert played[4800:].any()


@long
def test_without_a_bundle_its_own_null_and_ceiling_stand_beside_it(takes: Path, tmp_path: Path) -> None:
    done = baseline("--takes", takes, "--seconds", 1, "--segment-s", 0.5, "--held-out", 0.5, "--run", tmp_path / "run")
    assert (done.returncode, done.stderr) == (0, "")
    first, head, *rows = done.stdout.splitlines()
    assert "segments of 0.5 s" in first
    assert head.split() == ["baseline", "null", "ceiling", "real"]
    assert any(row.startswith("loudness rank correlation") for row in rows)
    assert load_baseline(tmp_path / "run").segment_s == 0.5


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (["--takes", "nowhere"], 1, "nowhere"),
        (["--segment-s", "3"], 2, "0.05 to 2"),
        (["--seconds", "0"], 2, "--seconds"),
        (["--seconds", "nan"], 2, "--seconds"),
        (["--temperature", "9"], 2, "0 to 2"),
        (["--held-out", "0.99"], 1, "no segment"),
        (["--bundle", "nowhere"], 1, "nowhere"),
    ],
)
def test_wrong_use_is_one_line_and_leaves_nothing(
    takes: Path, tmp_path: Path, options: list[str], code: int, says: str
) -> None:
    words = {"--takes": str(takes), "--run": str(tmp_path / "run"), "--seconds": "1", **dict([options])}
    done = baseline(*(word for pair in words.items() for word in pair))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (code, "", 1), done.stderr
    assert says in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_file_is_no_run(takes: Path, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("mine")
    done = baseline("--takes", takes, "--run", tmp_path / "run")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert (tmp_path / "run").read_text() == "mine"


def test_a_bundle_of_other_takes_is_refused_before_training(tmp_path: Path) -> None:
    writer = TakeWriter(tmp_path / "takes", MotionSettings(height=24, width=32), RATE_HZ, {"name": "small"})
    writer.add_columns(np.ones((400, 56), np.float32), np.arange(400) / 50)
    writer.add_sound(np.full(8 * RATE_HZ, 0.5, np.float32), 0.0)
    writer.finish()
    done = baseline("--takes", tmp_path / "takes", "--run", tmp_path / "run", "--seconds", 1, "--bundle", FACTORY)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert "other motion settings" in done.stderr
    assert not (tmp_path / "run").exists()
