"""What computes a step fastest is found once, by trying; what is not worth it is not taken."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.tiny_examples import TINY
from trainer.learning import compute
from trainer.learning.compute import FILE, LEAST_STEPS, Compute, choose, fastest, known, measure
from trainer.settings import RunSettings

PLAIN, XLA, HALF = Compute(), Compute(xla=True), Compute("bfloat16")


class Machine:
    """Says how fast it is, and remembers what was tried."""

    def __init__(self, rate: Callable[[Compute], float]) -> None:
        self.rate, self.tried = rate, list[Compute]()

    def __call__(self, way: Compute) -> float:
        self.tried.append(way)
        return self.rate(way)


@pytest.fixture(autouse=True)
def processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """One with eight cores that reckons in bfloat16, and no GPU."""
    monkeypatch.setattr(compute, "gpus", list)
    monkeypatch.setattr(compute, "n_processors", lambda: 8)
    monkeypatch.setattr(compute, "_flags", lambda: {"amx_bf16"})


def long_run(n_steps: int = LEAST_STEPS) -> RunSettings:
    return replace(TINY, preset=replace(TINY.preset, n_steps=n_steps))


def test_the_fastest_is_taken_with_all_that_helps_together() -> None:
    def rate(way: Compute) -> float:
        return (20.0 if way.xla else 10.0) * (2.0 if way.precision == "bfloat16" else 1.0) + (way.n_threads == 2)

    machine = Machine(lambda way: rate(way) * (1.2 if way.n_threads == 4 else 1.0))
    rates = measure(machine)
    assert fastest(rates) == Compute("bfloat16", xla=True, n_threads=4)
    assert machine.tried == [PLAIN, XLA, replace(XLA, precision="bfloat16"), *(
        Compute("bfloat16", xla=True, n_threads=n) for n in (4, 2)
    )]  # fmt: skip


def test_what_gains_next_to_nothing_is_not_taken() -> None:
    assert fastest({PLAIN: 10.0, XLA: 10.4, HALF: 10.6}) == HALF
    assert fastest({PLAIN: 10.0, XLA: 10.4}) == PLAIN


def test_what_cannot_be_computed_is_not_taken() -> None:
    assert fastest(measure(Machine(lambda way: 0.0 if way.xla else 10.0))) == PLAIN


def test_a_processor_without_bfloat16_is_not_asked_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compute, "_flags", lambda: {"avx2"})
    machine = Machine(lambda _: 10.0)
    measure(machine)
    assert {way.precision for way in machine.tried} == {"float32"}


def test_what_was_found_is_said_and_found_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    machine = Machine(lambda way: 20.0 if way.xla else 10.0)
    assert choose(long_run(), tmp_path, machine) == XLA
    assert (
        "computing in float32, XLA, by steps per second (float32: 10.0; float32, XLA: 20.0" in capsys.readouterr().out
    )
    n_tried = len(machine.tried)
    assert choose(long_run(), tmp_path, machine) == XLA
    assert known(tmp_path / FILE) == [dict(zip(machine.tried, map(machine.rate, machine.tried), strict=True))]
    assert choose(long_run(40), tmp_path, machine) == XLA, "known already, so a short run has it, too"
    assert len(machine.tried) == n_tried
    wider = replace(long_run(), model=replace(TINY.model, n_hidden=64))
    choose(wider, tmp_path, machine)
    assert len(machine.tried) == 2 * n_tried, "of a network of another size nothing was known"


def test_a_short_run_tries_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    machine = Machine(lambda _: 10.0)
    assert choose(long_run(LEAST_STEPS - 1), tmp_path, machine) == PLAIN
    assert choose(long_run(), tmp_path, machine, minutes=2.0) == PLAIN
    assert machine.tried == []
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"a": [{}]}', '{"a": [{"compute": {"x": 1}, "steps_per_s": 1}]}', "\0"]
)
def test_what_cannot_be_read_is_found_anew(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    assert choose(long_run(), tmp_path, Machine(lambda way: 20.0 if way.xla else 10.0)) == XLA
    assert len(json.loads((tmp_path / FILE).read_text())) == 1


def test_a_folder_that_cannot_be_written_costs_the_finding_only(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert choose(long_run(), tmp_path / "file/cache", Machine(lambda way: 20.0 if way.xla else 10.0)) == XLA
