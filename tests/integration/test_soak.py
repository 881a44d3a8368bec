"""Two minutes of real time while the machine is busy with other things."""

from __future__ import annotations

from tests.bench.soak import soak
from tests.bench.soak_verdict import problems, report

SOAK_S = 120.0


def test_two_minutes_without_an_underrun_growth_or_drift() -> None:
    found = soak(SOAK_S, is_load_idle=True)
    assert problems(found) == [], report(found)
    assert found.n_changes >= 2
    assert found.halves["engine"][0].n > 1000
