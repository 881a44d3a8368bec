"""What a soak finds fault with: each planted fault is said, and the engine is not blamed for the machine's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from device.core.latency import LatencyHistogram
from device.engine.shared import SharedArrays
from tests.bench.soak_machine import NOTES, PERIOD, RATE_HZ, Delay, NotedCard, delays, of_the_engine
from tests.bench.soak_verdict import Found, Sample, problems, report
from tests.hand_clock import HandClock

PERIOD_S = PERIOD / RATE_HZ


def latencies(ms: float) -> LatencyHistogram:
    made = LatencyHistogram()
    for _ in range(100):
        made.add(ms)
    return made


def sample(at_s: float, own_mb: float = 50.0, n_descriptors: int = 100, n_threads: int = 10) -> Sample:
    return Sample(at_s, round(at_s / 40.0) % 2, {"sound": 20.0}, {"sound": own_mb}, n_descriptors, n_threads)


def clean() -> Found:
    halves = {"engine": [latencies(2.5), latencies(2.6)], "frame_to_sound": [latencies(8.0), latencies(8.5)]}
    samples = [sample(float(at_s)) for at_s in range(0, 120, 2)]
    restarts = {"camera": 0, "sound": 0, "model": 0}
    return Found(120.0, n_changes=2, n_frames=7201, n_restarts=restarts, samples=samples, halves=halves)


def test_nothing_is_said_of_a_clean_run() -> None:
    assert problems(clean()) == []
    assert "PROBLEM" not in report(clean())


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"ours": [Delay(50.0, 0.006, is_underrun=True)]}, "1 underruns"),
        ({"samples": [sample(float(at_s), own_mb=50.0 + at_s / 30.0) for at_s in range(0, 120, 2)]}, "memory"),
        ({"samples": [sample(0.0), sample(80.0, n_descriptors=101)]}, "descriptors"),
        ({"samples": [sample(0.0), sample(80.0, n_threads=11)]}, "threads"),
        ({"halves": {**clean().halves, "engine": [latencies(2.0), latencies(3.5)]}}, "slower"),
        ({"halves": {**clean().halves, "frame_to_sound": [latencies(8.0), latencies(11.0)]}}, "drifted"),
        ({"halves": {**clean().halves, "frame_to_sound": [latencies(11.0), latencies(8.0)]}}, "drifted"),
        ({"n_restarts": {"camera": 1, "sound": 0, "model": 0}}, "started again"),
        ({"n_frames": 7000}, "7000 frames"),
    ],
)
def test_a_fault_is_said(fault: dict[str, object], said: str) -> None:
    found = replace(clean(), **fault)  # type: ignore[arg-type]  # fields by name
    (line,) = problems(found)
    assert said in line
    assert f"PROBLEM    {line}" in report(found)


@pytest.mark.parametrize(("n_control", "is_said"), [(0, True), (9, True), (10, False), (19, False)])
def test_one_stall_in_ten_may_strike_the_engine_alone(n_control: int, *, is_said: bool) -> None:
    control = [Delay(float(at_s), 0.006, is_underrun=True) for at_s in range(n_control)]
    found = replace(clean(), ours=[Delay(50.0, 0.006, is_underrun=True)], control=control)
    assert bool(problems(found)) == is_said


def test_two_are_said_where_one_is_excused() -> None:
    control = [Delay(float(at_s), 0.006, is_underrun=True) for at_s in range(10)]
    ours = [Delay(50.0, 0.006, is_underrun=True), Delay(60.0, 0.006, is_underrun=True)]
    (line,) = problems(replace(clean(), ours=ours, control=control))
    assert "2 underruns" in line


@pytest.mark.parametrize(
    ("control", "n_ours"),
    [
        ([], 1),
        ([Delay(49.9, 0.004, is_underrun=False)], 1),
        ([Delay(50.1, 0.004, is_underrun=False)], 1),
        ([Delay(50.0, 0.004, is_underrun=False)], 0),
        ([Delay(49.996, 0.004, is_underrun=False)], 0),
        ([Delay(50.003, 0.004, is_underrun=True)], 0),
    ],
)
def test_an_underrun_is_the_machines_where_a_control_writer_was_late_too(control: list[Delay], n_ours: int) -> None:
    ours = [Delay(50.0, 0.006, is_underrun=True), Delay(70.0, 0.004, is_underrun=False)]
    assert len(of_the_engine(ours, control)) == n_ours


@pytest.mark.parametrize(
    ("late_ms", "expected"), [(0.0, []), (2.5, []), (3.0, [False]), (5.0, [False]), (6.0, [True]), (30.0, [True])]
)
def test_a_card_notes_what_comes_more_than_a_period_late(late_ms: float, expected: list[bool]) -> None:
    clock, notes, block = HandClock(), SharedArrays(NOTES), np.zeros(PERIOD, np.float32)
    card = NotedCard(notes, clock)
    for index in range(50):
        card.wait()
        if index == 20:
            clock.time_s += late_ms / 1000.0
        card.write(block)
    found = delays(notes)
    # One that is nearly a whole period behind leaves the next one late as well.
    assert [each.is_underrun for each in found[:1]] == expected
    assert all(not each.is_underrun for each in found[1:])
    assert card.n_xruns == sum(expected)
    if expected:
        assert found[0].late_s == pytest.approx(late_ms / 1000.0, abs=1e-4)
