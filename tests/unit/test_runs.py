"""`trainer runs`: listed, compared, and what is damaged or not finished among them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from device.store.store import Take, list_takes
from tests.tiny_runs import TINY, command, declined, make_takes
from trainer.evaluating.table import Figures
from trainer.learning.command import run_settings
from trainer.runs.folder import keep_settings
from trainer.runs.origin import made_with
from trainer.runs.story import keep_result, write_readme
from trainer.settings import RunSettings


@pytest.fixture(scope="module")
def takes(tmp_path_factory: pytest.TempPathFactory) -> list[Take]:
    return list_takes(make_takes(tmp_path_factory.mktemp("takes"), 3))


def make_run(folder: Path, takes: list[Take], settings: RunSettings, loudness: float | None) -> None:
    """A run as training leaves it, finished where there is a figure."""
    keep_settings(folder, takes, settings, made_with=made_with())
    if loudness is not None:
        played = Figures(loudness, 0.5, 0.4, 0.3, 0.0, 1.0, 12.0).as_dict()
        ended = {"n_epochs": 12, "n_steps": 48, "seconds": 61.5, "why_ended": ""}
        keep_result(folder, {**ended, "held_out": {"sound": 0.25, "kl": 3.0, "n_active": 4}, "played": played})
        (folder / "model.weights.h5").touch()
    write_readme(folder)


@pytest.fixture
def runs(takes: list[Take], tmp_path: Path) -> Path:
    others, takes = takes[1:], takes[:2]
    chosen = run_settings(takes, TINY)
    folder = tmp_path / "runs"
    make_run(folder / "a", takes, chosen, 0.9)
    make_run(folder / "deeper" / "b", takes, run_settings(takes, replace(TINY, n_hidden=64), n_latent=8), 0.95)
    make_run(folder / "other", others, chosen, 0.8)
    make_run(folder / "part", takes, run_settings(takes, TINY, held_out=0.3), None)
    make_run(folder / "unfinished", takes, chosen, None)
    (folder / "damaged").mkdir()
    (folder / "damaged" / "run.json").write_text("{")
    return folder


def lines_of(*words: object) -> list[list[str]]:
    done = command("runs", *words)
    assert (done.returncode, done.stderr) == (0, "")
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in done.stdout.splitlines()]


def test_runs_are_listed_with_their_figures_and_their_state(runs: Path) -> None:
    head, *lines = lines_of(runs)
    found = {Path(line[0]).name: dict(zip(head, line, strict=False)) for line in lines}
    assert set(found) == {"a", "b", "other", "part", "unfinished", "damaged"}
    assert found["a"]["state"] == "finished"
    assert found["a"]["error"] == "0.250"
    assert [found[name]["loudness"] for name in ("a", "b", "other")] == ["0.900", "0.950", "0.800"]
    assert found["a"]["pitch within a semitone"] == "50.0"
    assert found["unfinished"]["state"] == "epoch 0 of 12"
    assert found["damaged"]["state"] == "damaged"
    assert found["b"]["trained"].endswith("8/64")


def test_what_was_judged_on_the_same_is_told_from_what_was_not(runs: Path) -> None:
    told: Any = json.loads(command("runs", runs, "--json").stdout)
    on = {Path(run["run"]).name: run["judged_on"] for run in told["runs"]}
    assert on["a"] == on["b"] == on["unfinished"]
    assert len({on[name] for name in ("a", "other", "part", "damaged")}) == 4
    assert {run["result"].get("played", {}).get("loudness_rank_correlation") for run in told["runs"]} == {
        0.9, 0.95, 0.8, None
    }  # fmt: skip


def test_two_runs_stand_side_by_side_with_what_differs_and_nothing_else(runs: Path) -> None:
    rows = {line[0]: line[1:] for line in lines_of("--compare", runs / "a", runs / "deeper" / "b") if line}
    assert rows["n_latent"] == ["32", "8"]
    assert rows["n_hidden"] == ["32", "64"]
    assert rows["loudness rank correlation"] == ["0.900", "0.950"]
    assert "seed" not in rows
    assert "takes" not in rows
    assert "cannot be compared" not in command("runs", "--compare", runs / "a", runs / "deeper" / "b").stdout
    assert "cannot be compared" in command("runs", "--compare", runs / "a", runs / "other").stdout


def test_a_folder_without_runs_says_how_to_begin_one(tmp_path: Path) -> None:
    declined(1, "holds no run: begin one with", "runs", tmp_path)
    declined(1, "holds no run", "runs", tmp_path / "nowhere")
