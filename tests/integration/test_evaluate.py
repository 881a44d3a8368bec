"""`trainer evaluate`, as a user types it: the factory's bundle on a take of its own kind."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from device.core.bundle import Manifest, build_manifest, parse_manifest
from device.core.motiongram import Motiongram, MotionSettings
from device.models.bundles import read_bundle
from device.store.store import TakeWriter
from tests.sounds import RATE_HZ, noise
from trainer.evaluating.table import ROWS, Figures
from trainer.filming.film import SALSA, View, film, load_body

pytestmark = pytest.mark.timeout(300)

FACTORY = Path("device/factory/bundle").resolve()


@pytest.fixture(scope="module")
def takes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A take of eight seconds: a dance before the simulated camera, and noise that goes with it."""
    folder = tmp_path_factory.mktemp("takes")
    times_s = np.arange(400) / 50
    motiongram = Motiongram(MotionSettings())
    frames = film(load_body(SALSA / "60_05.npz"), times_s, View())
    columns = np.array([motiongram.push(frame).column for frame in frames])
    quantity = columns.mean(axis=1) / columns.mean(axis=1).max()
    writer = TakeWriter(folder, MotionSettings(), RATE_HZ, {"name": "test"})
    writer.add_columns(columns.astype(np.float32), times_s)
    writer.add_sound(np.repeat(quantity, RATE_HZ // 50).astype(np.float32) * noise(8), 0.0)
    writer.finish()
    return folder


def evaluate(takes: Path, *options: object) -> subprocess.CompletedProcess[str]:
    words = ["--bundle", FACTORY, "--takes", takes, "--held-out-takes", 1, *options]
    line = [sys.executable, "-m", "trainer", "evaluate", *map(str, words)]
    return subprocess.run(line, capture_output=True, text=True, check=False, timeout=280)


@pytest.fixture(scope="module")
def answer(takes: Path) -> dict[str, Any]:
    """What it prints for programs, with two draws at the temperature that it chooses."""
    done = evaluate(takes, "--draws", 2, "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_every_column_has_every_figure(answer: dict[str, Any]) -> None:
    names = {"f16", "int8", "shuffled", "null", "ceiling", "real"}
    assert set(answer) == {*names, "draws"}
    for name in names:
        assert set(answer[name]) == set(Figures.__dataclass_fields__)
    assert answer["f16"]["still_level_dbfs"] <= -60
    assert answer["real"]["loudness_rank_correlation"] == pytest.approx(1)
    assert answer["real"]["frechet_ratio"] == pytest.approx(0, abs=1e-6)


def test_the_factory_follows_motion_and_in_another_order_it_does_not(answer: dict[str, Any]) -> None:
    links = {name: answer[name]["loudness_link"] for name in ("f16", "int8", "ceiling", "real", "null", "shuffled")}
    assert min(links[name] for name in ("f16", "int8", "ceiling", "real")) > 0.7
    assert max(abs(links[name]) for name in ("null", "shuffled")) < 0.45


def test_draws_are_drawn_at_1_unless_told(answer: dict[str, Any]) -> None:
    drawn = answer["draws"]
    assert drawn["temperature"] == 1
    assert len(drawn["draws"]) == 2
    assert drawn["draws"][0] != drawn["draws"][1]
    assert 0 < drawn["least_agreement"] == drawn["mean_agreement"] < 1
    # The mean of the draws is what the first table shows, which is played at 0.
    played = {**answer["f16"], "still_level_dbfs": None}
    assert drawn["mean"] == played


def test_tables_are_for_people(takes: Path) -> None:
    done = evaluate(takes, "--draws", 1, "--temperature", "0.7")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "played: takes 1"
    assert lines[1].split() == ["f16", "int8", "shuffled", "null", "ceiling", "real"]
    assert [line.strip().startswith(row[1]) for line, row in zip(lines[2:], ROWS, strict=False)] == [True] * len(ROWS)
    assert "drawn at temperature 0.7, f16" in lines
    assert lines[-len(ROWS) - 1].split() == ["mean", "draw", "1"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--draws", "2", "--temperature", "0"], "would all be the same"),
        (["--draws", "-1"], "--draws -1"),
        (["--temperature", "nan"], "0 to 2"),
    ],
)
def test_draws_of_nothing_are_refused_at_once(takes: Path, options: list[str], says: str) -> None:
    done = evaluate(takes, *options)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert says in done.stderr


def test_a_manifest_takes_all_figures_that_there_are(answer: dict[str, Any]) -> None:
    manifest = read_bundle(FACTORY).manifest
    assert isinstance(manifest, Manifest)
    kept = {name: value for name, value in answer["f16"].items() if value is not None}
    assert len(kept) > 15
    figures = {**manifest.figures, "f16": kept}
    made = Manifest(**{**{name: getattr(manifest, name) for name in Manifest.__dataclass_fields__}, "figures": figures})
    assert parse_manifest(build_manifest(made)).figures["f16"] == kept
