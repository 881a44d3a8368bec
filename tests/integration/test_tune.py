"""`trainer tune`: trials within a budget, gone on with, and a front that is one."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest

from device.models.bundles import FACTORY, read_bundle
from tests.tiny_runs import command, declined, make_takes
from trainer.exporting.macs import count
from trainer.exporting.model_cost import cost_of
from trainer.settings import ModelSettings
from trainer.tuning.command import front

pytestmark = pytest.mark.timeout(300)

MMACS = 0.9


@pytest.fixture(scope="module")
def takes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_takes(tmp_path_factory.mktemp("takes"))


def words(takes: Path, run: Path, n_trials: int, *options: object) -> tuple[object, ...]:
    return "tune", "--takes", takes, "--run", run, "--trials", n_trials, "--max-mmacs", MMACS, *options


@contextmanager
def interrupted() -> Iterator[threading.Event]:
    """In place of `until_stopped`: the user has pressed Ctrl-C."""
    stop = threading.Event()
    stop.set()
    yield stop


@pytest.fixture(scope="module")
def search(takes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search that was interrupted in its first trial."""
    run = tmp_path_factory.mktemp("searches") / "search"
    with patch("trainer.learning.training.until_stopped", interrupted):
        done = command(*words(takes, run, 1))
    assert done.returncode == 130
    assert "interrupted in trial 0" in done.stderr
    assert "go on by the same trainer tune command" in done.stderr
    return run


@pytest.fixture(scope="module")
def found(takes: Path, search: Path) -> Any:
    done = command(*words(takes, search, 2, "--json"))
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def test_no_network_beyond_the_budget_is_trained_and_a_cut_trial_is_not_lost(search: Path, found: Any) -> None:
    assert len(found["trials"]) == 2
    assert all(trial["n_macs"] <= 1e6 * MMACS for trial in found["trials"])
    runs = sorted(path.name for path in (search / "trials").iterdir())
    assert runs == [f"{trial['trial']:04d}" for trial in found["trials"]], "each run was trained to its end and counts"
    assert all((search / "trials" / run / "model.weights.h5").exists() for run in runs)


def test_quality_is_the_mean_of_three_figures_of_what_was_held_out(found: Any) -> None:
    for trial in found["trials"]:
        names = ("loudness_rank_correlation", "brightness_rank_correlation", "band_rank_correlation")
        assert trial["quality"] == pytest.approx(sum(trial["played"][name] for name in names) / 3)


def test_the_front_is_what_nothing_else_beats(takes: Path, search: Path, found: Any) -> None:
    trials = {trial["trial"]: trial for trial in found["trials"]}
    points = {number: (-trial["quality"], trial["n_macs"]) for number, trial in trials.items()}
    unbeaten = {
        one for one in points
        if not any(all(a <= b for a, b in zip(points[other], points[one], strict=True)) and points[other] != points[one]
                   for other in points)
    }  # fmt: skip
    assert set(found["front"]) == unbeaten
    lines = command(*words(takes, search, 2)).stdout.splitlines()
    assert lines[0] == f"quality (mean) against cost: the best {len(unbeaten)} of 2 trained networks"
    assert [int(line.split()[0]) for line in lines[2 : 2 + len(unbeaten)]] == found["front"]
    assert lines[-2].startswith(f"next: python -m trainer export --run {trials[found['front'][0]]['run']}")


def test_another_search_in_its_folder_is_refused(takes: Path, search: Path, found: Any) -> None:
    assert found
    declined(2, "holds a search with other seed", *words(takes, search, 2, "--seed", 5))
    declined(2, "holds a search with other by", *words(takes, search, 2, "--by", "liveliness"))


def test_a_budget_that_nothing_meets_says_so(takes: Path, tmp_path: Path) -> None:
    declined(2, "no network is within", *words(takes, tmp_path / "run", 1, "--max-kb", 20))


def test_the_cost_that_is_foreseen_is_that_of_the_file() -> None:
    data = read_bundle(FACTORY).models["f16"]
    cost = cost_of(ModelSettings(25, 112, 1025, 48, 32))
    assert cost.n_macs == count(data).n_all_macs
    assert 0.95 * len(data) < cost.n_bytes < len(data)


def test_a_front_leaves_out_what_is_worse_and_dearer_and_what_the_budget_forbids() -> None:
    points = {0: (0.9, 3.0), 1: (0.8, 1.0), 2: (0.7, 2.0), 3: (0.95, 9.0), 4: (0.9, 3.5), 5: (0.6, 0.5)}
    trials = [
        SimpleNamespace(number=number, values=list(values), params=values[1], state=SimpleNamespace(name="COMPLETE"))
        for number, values in points.items()
    ]
    trials.append(SimpleNamespace(number=6, values=None, params=0.1, state=SimpleNamespace(name="FAIL")))
    study: Any = SimpleNamespace(get_trials=lambda **_: trials)
    task: Any = SimpleNamespace(cost=lambda mmacs: mmacs, budget=SimpleNamespace(holds=lambda cost: cost <= 5.0))
    assert [trial.number for trial in front(study, task)] == [0, 1, 5]
