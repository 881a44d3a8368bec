"""The bench for scale, with takes of seconds: real trainings in processes of their own, and what follows from them."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from device.core.errors import DanceSamplerError
from device.models.bundles import FACTORY
from device.store.store import list_takes
from tests.bench import scale
from tests.bench.bench import CLIP, Effort, Show, open_bench
from tests.bench.scale import Plot, Row, describe, measure_scale, run_watched, sum_up, worked_out
from tests.bench.scale_takes import make_scale_takes
from tests.bench.workers import measure_run, measure_workers
from tests.long import long

pytestmark = pytest.mark.timeout(300)


def test_takes_are_as_long_as_asked_and_sound_as_they_move(tmp_path: Path) -> None:
    make_scale_takes(tmp_path, 24.0, 12.0)
    takes = list_takes(tmp_path)
    assert [round(take.duration_s + 0.02, 6) for take in takes] == [12.0, 12.0]
    assert (takes[0].columns != takes[1].columns).any()
    for take in takes:
        quantity = take.columns[:, :48].mean(axis=1)
        assert 0.5 < quantity.max() < 50.0
        level = np.sqrt(np.square(take.sound_at(0, 12 * 48000).reshape(600, -1)).mean(axis=1))
        assert np.corrcoef(quantity, level)[0, 1] > 0.8


def test_a_length_is_measured_and_a_hundred_hours_are_worked_out() -> None:
    bench = open_bench(Show(FACTORY, CLIP), Effort(n_frames=10, scale_hours=(0.01,), scale_steps=4, scale_rounds=2))
    text = measure_scale(bench).text
    measured, far = ([cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()[2:4])
    assert (measured[0], far[0]) == ("1 min", "100 h, worked out")
    open_s, spectra_s, again_s, takes_gb, spectra_gb, peak_mb, steps_per_s, beside, waiting = map(float, measured[1:])
    assert 0 < open_s < 60
    assert again_s < spectra_s < 60
    assert takes_gb == pytest.approx(36 * (50 * 456 + 48000 * 2) / 1e9, rel=0.05)
    assert spectra_gb == pytest.approx(36 * 50 * (584 + 2050) / 1e9, rel=0.01)
    assert float(far[5]) == pytest.approx(100 / 0.01 * spectra_gb, rel=0.02)
    assert 200 < peak_mb < 3000
    assert 0.1 < steps_per_s < 1000
    assert beside == 100
    assert 0 <= waiting <= 100


def test_speed_is_compared_within_each_round(tmp_path: Path) -> None:
    # The machine was half as fast in the second round.
    rates = [(60.0, 57.0), (30.0, 29.0), (62.0, 50.0)]
    one = {"open_s": 1.0, "spectra_s": 0.1, "wait": 0.01}
    rounds = [
        (({**one, "steps_per_s": ten}, 900.0 + ten), ({**one, "steps_per_s": short}, 850.0)) for short, ten in rates
    ]
    row = sum_up(Plot(10.0, tmp_path, tmp_path), 50.0, rounds)
    assert (row.steps_per_s, row.beside, row.peak_mb) == (50.0, 57.0 / 60.0, 957.0)
    assert describe([row, row]).splitlines()[-1].count("steps per second by -5%") == 1


SCRIPT = """
import sys
from trainer import settings
from trainer.__main__ import COMMANDS
from device.cli import run

settings.PRESETS["quick"] = settings.Preset(n_steps=12, batch_size=16, n_hidden=32, n_filters=8, n_epochs=3)
sys.exit(run("trainer", "", COMMANDS, sys.argv[1:]))
"""


@long
@pytest.mark.timeout(600)
def test_one_worker_and_two_are_measured() -> None:
    bench = open_bench(Show(FACTORY, CLIP), Effort(n_frames=10, takes_s=40.0))
    lines = measure_workers(bench, (sys.executable, "-c", SCRIPT)).text.splitlines()
    rows = [list(map(float, line.split("|")[1:-1])) for line in lines[2:]]
    assert [row[0] for row in rows] == [1, 2]
    for _, steps_per_s, error, training_s, rest_s in rows:
        assert 0.01 < steps_per_s < 1000
        assert 0 < error < 100
        assert training_s > 0
        assert rest_s > 0


def test_a_run_with_workers_that_fails_is_one_line(tmp_path: Path) -> None:
    fails = (sys.executable, "-c", "import sys; print('no such dance', file=sys.stderr); sys.exit(3)")
    with pytest.raises(DanceSamplerError, match=r"exit code 3 \(no such dance\)"):
        measure_run(tmp_path, tmp_path / "work", 2, fails)


def test_what_is_worked_out_grows_with_the_hours_alone() -> None:
    rows = [Row(1, 1, 10, 1, 0.4, 0.5, 1000, 50, 1.0, 0.01), Row(10, 10, 100, 1, 4, 5, 1030, 49, 0.98, 0.02)]
    found = worked_out(rows, 100)
    assert (found.spectra_s, found.takes_gb, found.peak_mb) == pytest.approx((1000, 40, 1330))
    assert found.again_s == 1
    assert "memory changes by +3%, steps per second by -2%" in describe(rows)


def test_a_training_that_fails_and_a_disk_that_is_full_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DanceSamplerError, match="has no takes"):
        run_watched(tmp_path, tmp_path / "cache", 0)
    monkeypatch.setattr(scale, "GB_PER_HOUR", 1e9)
    bench = open_bench(Show(FACTORY, CLIP), Effort(n_frames=10))
    with pytest.raises(DanceSamplerError, match="TMPDIR"):
        measure_scale(bench)
