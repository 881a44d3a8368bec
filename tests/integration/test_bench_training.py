"""The bench's training, with a preset that takes seconds: takes to a bundle, beside its limit."""

from __future__ import annotations

import sys

import pytest

from device.core.errors import DanceSamplerError
from device.models.bundles import FACTORY
from tests.bench.bench import CLIP, Bench, Effort, Show, open_bench
from tests.bench.figures import TRAINING_MIN
from tests.bench.target import Row, describe, measure_target
from tests.bench.training import measure_training
from tests.long import long

SCRIPT = """
import sys
from trainer import settings
from trainer.__main__ import COMMANDS
from device.cli import run

settings.PRESETS["quick"] = settings.Preset(n_steps=600, n_hidden=32, n_filters=8, n_epochs=2)
sys.exit(run("trainer", "", COMMANDS, sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def bench() -> Bench:
    return open_bench(Show(FACTORY, CLIP), Effort(n_frames=10, takes_s=15.0))


def test_takes_become_a_bundle_and_the_time_is_taken(bench: Bench) -> None:
    (figure,) = measure_training(bench, (sys.executable, "-c", SCRIPT)).figures
    assert float(figure.what.split()[0]) >= 0.2
    assert (figure.limit, figure.limited, figure.unit) == (TRAINING_MIN, "all", "min")
    assert 1 / 60 < figure.values["train"] < figure.values["all"] < 3.0


def test_the_time_to_a_figure_is_that_of_the_first_run_that_has_it() -> None:
    few = [Row(0.5, 40.0, 30.0, 100, 0.9, 0.5, 0.5), Row(1.0, 71.6, 60.0, 200, 0.96, 0.5, 0.5)]
    assert describe(few).endswith("Loudness 0.95 is reached by a command of 72 s.")
    assert describe(few[:1]).endswith("Loudness 0.95 was not reached in 0.5 minutes.")


@long
def test_ever_longer_trainings_are_measured() -> None:
    bench = open_bench(Show(FACTORY, CLIP), Effort(n_frames=10, takes_s=40.0, target_minutes=(0.01, 0.02)))
    lines = measure_target(bench, (sys.executable, "-c", SCRIPT)).text.splitlines()
    rows = [list(map(float, line.split("|")[1:-1])) for line in lines[3 : lines.index("")]]
    assert "as many as it takes" in lines[2]
    assert rows[0][0] == 0.01
    for _, whole_s, training_s, n_steps, loudness, pitch, brightness in rows:
        assert whole_s > training_s > 0.1
        assert 1 <= n_steps < 600
        assert -1.0 <= min(loudness, brightness) <= max(loudness, brightness) <= 1.0
        assert 0.0 <= pitch <= 100.0


def test_a_training_that_fails_is_said_in_one_line(bench: Bench) -> None:
    with pytest.raises(DanceSamplerError, match=r"exit code 3 \(no such dance\)"):
        measure_training(
            bench, (sys.executable, "-c", "import sys; print('no such dance', file=sys.stderr); sys.exit(3)")
        )
