"""The bench's training, with a preset that takes seconds: takes to a bundle, beside its limit."""

from __future__ import annotations

import sys

import pytest

from device.core.errors import DanceSamplerError
from device.models.bundles import FACTORY
from tests.bench.bench import CLIP, Bench, Effort, Show, open_bench
from tests.bench.figures import TRAINING_MIN
from tests.bench.training import measure_training

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


def test_a_training_that_fails_is_said_in_one_line(bench: Bench) -> None:
    with pytest.raises(DanceSamplerError, match=r"exit code 3 \(no such dance\)"):
        measure_training(
            bench, (sys.executable, "-c", "import sys; print('no such dance', file=sys.stderr); sys.exit(3)")
        )
