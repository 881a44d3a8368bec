"""The bench's training, with a preset that takes seconds: takes to a bundle, beside its limit."""

from __future__ import annotations

import sys

import pytest

from device.core.errors import DanceSamplerError
from device.models.bundles import FACTORY
from tests.bench.bench import CLIP, Bench, Effort, Show, open_bench
from tests.bench.figures import TRAINING_MIN
from tests.bench.target import FIRST_RECIPE, QUICK, Row, describe, measure_target
from tests.bench.training import measure_training
from tests.long import long

REST = (0.5, 0.5, 0.5, 0.0)
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
    few = [Row("0.5", 40.0, 30.0, 100, (0.9, *REST)), Row("1", 71.6, 60.0, 200, (0.96, *REST))]
    first = Row("the first recipe", 80.0, 60.0, 200, (0.96, *REST))
    assert describe(few, first).endswith("Loudness 0.95 is reached by a command of 72 s.")
    assert describe(few[:1], first).endswith("Loudness 0.95 was not reached in 0.5 minutes.")


@long
def test_ever_longer_trainings_are_measured() -> None:
    effort = Effort(n_frames=10, target_dances=("01", "05"), target_minutes=(0.01, 0.02))
    bench = open_bench(Show(FACTORY, CLIP), effort)
    lines = measure_target(bench, (sys.executable, "-c", SCRIPT)).text.splitlines()
    table = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[2 : lines.index("")]]
    assert [row[0] for row in table][:2] == [QUICK, "0.01"]
    assert table[-1][0] == FIRST_RECIPE
    for _, *cells in table:
        whole_s, training_s, n_steps, loudness, pitch, brightness, bands, _ = map(float, cells)
        assert whole_s > training_s > 0.1
        assert 1 <= n_steps <= 4000
        assert -1.0 <= min(loudness, brightness, bands) <= max(loudness, brightness, bands) <= 1.0
        assert 0.0 <= pitch <= 100.0


def test_a_training_that_fails_is_said_in_one_line(bench: Bench) -> None:
    with pytest.raises(DanceSamplerError, match=r"exit code 3 \(no such dance\)"):
        measure_training(
            bench, (sys.executable, "-c", "import sys; print('no such dance', file=sys.stderr); sys.exit(3)")
        )
