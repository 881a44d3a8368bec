"""Every head is trained, converted, played and measured by the command; TensorFlow stays in its process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from device.core.motiongram import MotionSettings
from device.store.store import TakeWriter
from tests.ablations.__main__ import chosen
from tests.ablations.cases import groups
from tests.long import long

pytestmark = [long, pytest.mark.timeout(600)]
"""Four trainings: half a minute, and more on a machine that is busy. What they are made of: `test_ablations.py`."""

RATE_HZ = 24000
MOTION = MotionSettings(height=6, width=8)


def make_takes(folder: Path) -> Path:
    """Motion that comes and goes, and a tone that is as loud."""
    folder.mkdir()
    for number in range(2):
        times_s = np.arange(500) / 50
        quantity = 4.0 * np.sin(2 * np.pi * (0.4 + 0.1 * number) * times_s) ** 2
        columns = quantity[:, np.newaxis] * np.random.default_rng(number).random((500, 14))
        writer = TakeWriter(folder, MOTION, RATE_HZ, {"name": "test"})
        writer.add_columns(columns.astype(np.float32), times_s)
        seconds = np.arange(10 * RATE_HZ) / RATE_HZ
        level = np.interp(seconds, times_s, quantity) / 10
        writer.add_sound((level * np.sin(2 * np.pi * 440 * seconds)).astype(np.float32), 0.0)
        writer.finish()
    return folder


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Rows of all heads, by key."""
    folder = tmp_path_factory.mktemp("ablations")
    takes, out = make_takes(folder / "takes"), folder / "rows.json"
    words = ["--takes", takes, "--steps", "40", "--only", "heads", "--played-s", "3", "--out", out]
    line = [sys.executable, "-m", "tests.ablations", *map(str, words)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=580, check=False)
    assert done.returncode == 0, done.stderr
    return {line.pop("case"): line for line in map(json.loads, out.read_text().splitlines()[1:])}


def test_every_case_has_its_row(rows: dict[str, Any]) -> None:
    assert set(rows) == {case.key for case in chosen(groups(1.0, has_music=False), "heads")}


def test_every_head_plays_louder_where_there_is_more_motion(rows: dict[str, Any]) -> None:
    for key, row in rows.items():
        if "play" not in json.loads(key):
            assert row["figures"]["loudness_rank_correlation"] > 0.6, key


def test_every_model_says_what_it_costs(rows: dict[str, Any]) -> None:
    for key, row in rows.items():
        if "play" not in json.loads(key):
            assert row["n_parameters"] > 10_000, key
            assert 0.05 < row["mmacs_a_run"] < 10.0, key
            assert row["inference_ms"] > 0.0, key
            assert row["training_s"] > 0.0, key
    heads = {json.loads(key).get("training", {}).get("head"): row for key, row in rows.items() if "play" not in key}
    assert heads[None]["runs_per_s"] == pytest.approx(50.0)
    assert heads["mdct"]["runs_per_s"] == pytest.approx(RATE_HZ / 512)


def test_signs_cannot_be_learned_from_motion(rows: dict[str, Any]) -> None:
    (mdct,) = (row for key, row in rows.items() if key == '{"training": {"head": "mdct"}}')
    assert 0.3 < mdct["notes"]["signs_right"] < 0.7


def test_draws_are_compared(rows: dict[str, Any]) -> None:
    for key, row in rows.items():
        assert ("draws_agree" in row.get("notes", {})) is ("temperature" in json.loads(key))
    (drawn,) = (row for key, row in rows.items() if json.loads(key) == {"temperature": 1.0})
    # As loud as each other in the same order, even: so little of a model's sound is drawn after 40 steps.
    assert 0.5 < drawn["notes"]["draws_agree"] <= 1.0
