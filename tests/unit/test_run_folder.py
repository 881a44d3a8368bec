"""A run's folder belongs to one training at a time."""

from __future__ import annotations

from pathlib import Path

import pytest

from device.core.errors import UsageError
from trainer.runs.folder import alone


def test_a_second_training_in_a_run_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    run = tmp_path / "runs/one"
    with alone(run):
        with pytest.raises(UsageError, match="another training works in"), alone(run):
            pass
        (run / "run.json").write_text("{}")
    with alone(run):
        assert (run / "run.json").read_text() == "{}"


def test_a_run_that_did_not_begin_leaves_no_folder(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(ValueError, match="bad"), alone(run):
        raise ValueError("bad")
    assert not run.exists()
