"""What the bench counts and estimates: multiply-accumulates by hand, memory of processes, sentences on growth."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest

from tests.bench.boards import BOARDS, by_macs_ms, slower
from tests.bench.growth import proportion, where_it_breaks
from tests.bench.results import Others
from tests.bench.whole import family, memory_mb
from tests.tiny_model import N_BINS, N_COLUMNS, N_FEATURES, N_LATENT, TinyModel
from trainer.exporting.macs import count

# The tiny model's layers: Conv1D(16, 3) on 10 columns of 14; two Dense(3); Dense(32) of 3 + 1; Dense(129).
CONVOLUTION = 8 * 16 * 3 * 14
HEAD = 32 * 129
DENSE = 2 * 128 * 3 + 4 * 32 + HEAD
WEIGHTS = 16 * 3 * 14 + DENSE


@pytest.mark.parametrize(("name", "n_weight_bytes"), [("f16", 4), ("int8", 1)])
def test_work_and_traffic_are_those_of_the_layers(tiny_model: TinyModel, name: str, n_weight_bytes: int) -> None:
    cost = count(tiny_model.files[f"model.{name}.tflite"])
    assert cost.n_macs == {"convolution": CONVOLUTION, "dense": DENSE}
    assert cost.n_all_macs == CONVOLUTION + DENSE
    n_bytes = (WEIGHTS - HEAD) * n_weight_bytes + HEAD * 4  # its head is float in both
    assert cost.n_weight_bytes == pytest.approx(n_bytes, abs=200)  # shapes, constants; biases of zero are left out


def test_activations_are_what_every_step_reads_and_writes(tiny_model: TinyModel) -> None:
    window = N_COLUMNS * N_FEATURES
    # Root and reshape; convolution; flatten; two dense; exponential, product and reshape of it, sum; two dense.
    trunk = 2 * window + 2 * window + (window + 128) + 2 * 128 + 2 * (128 + N_LATENT)
    latent = (3 + 3) + (3 + 3 + 3) + (3 + 3) + (3 + 3 + 3) + (3 + 1 + 4)
    n_values = trunk + latent + (4 + 32) + (32 + N_BINS)
    n_bytes = {name: count(data).n_activation_bytes for name, data in tiny_model.files.items()}
    assert n_bytes["model.f16.tflite"] == 4 * n_values
    assert n_values < n_bytes["model.int8.tflite"] < 4 * n_values


def test_a_smaller_board_is_slower_and_a_pi_4_is_as_reported() -> None:
    boards = {board.name: board for board in BOARDS}
    assert slower(boards["Raspberry Pi 4"]) == (6.0, 10.0)
    assert by_macs_ms(boards["Raspberry Pi 4"], 1_750_000, "f16") == (1.0, 1.0)
    by_speed = sorted(BOARDS, key=lambda board: slower(board)[1], reverse=True)
    assert [board.name.split()[-1] for board in by_speed] == ["W", "4", "Nano", "5"]
    for board in BOARDS:
        least, most = by_macs_ms(board, 1_000_000, "int8")
        assert 0.0 < least <= most < by_macs_ms(board, 1_000_000, "f16")[1]


SIZES = np.array([1.0, 10.0, 100.0])


@pytest.mark.parametrize(
    ("costs", "said"),
    [
        ([5.0, 5.1, 5.2], "100 times the rows cost 1.04 times as much, hardly more"),
        ([1.0, 2.0, 10.0], "100 times the rows cost 10 times as much, less than in proportion"),
        ([1.0, 10.0, 100.0], "100 times the rows cost 100 times as much, in proportion"),
        ([1.0, 50.0, 999.0], "100 times the rows cost 999 times as much, more than in proportion"),
        ([5.0, 5.0, 4.0], "100 times the rows cost 0.8 times as much, hardly more"),
    ],
)
def test_growth_is_said_as_it_is(costs: list[float], said: str) -> None:
    assert proportion("rows", SIZES, np.array(costs)) == said


@pytest.mark.parametrize(
    ("costs", "said"),
    [
        ([1.0, 2.0, 3.0], "the limit of 5 holds up to the largest, 3 at 100 rows"),
        ([6.0, 7.0, 8.0], "the limit of 5 is broken already at 1 rows"),
        ([1.0, 4.0, 6.0], "the limit of 5 breaks at about 55 rows"),
        ([1.0, 9.0, 5.0], "the limit of 5 holds at the largest, 5 at 100 rows"),
        ([9.0, 1.0, 9.0], "the limit of 5 breaks at about 55 rows"),
    ],
)
def test_a_limit_breaks_where_it_is_crossed(costs: list[float], said: str) -> None:
    assert where_it_breaks(SIZES, np.array(costs), 5.0, "rows") == said


PARENT = """\
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
sys.stdin.read()
child.communicate()
"""
CHILD = 'import sys; held = b"x" * 60_000_000; print(flush=True); sys.stdin.read()'


BUSY = """\
import sys, time
while time.process_time() < 0.5: pass
print(flush=True)
sys.stdin.read()
"""


def test_work_of_others_is_told_from_ours() -> None:
    others = Others()
    with subprocess.Popen([sys.executable, "-c", BUSY], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        while_not_waited_for_s = others.busy_s()
        process.communicate()
    assert while_not_waited_for_s > 0.4
    assert others.busy_s() < while_not_waited_for_s - 0.2  # it was ours, after all
    assert re.match(r"\d+\.\d\d of \d+ cores busy", others.describe())


def test_memory_is_that_of_all_processes_below() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT.replace("CHILD", repr(CHILD))],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as parent:  # fmt: skip
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        both, alone = memory_mb(parent.pid), memory_mb(child)
        assert family(parent.pid) == [parent.pid, child]
        parent.communicate("")
    assert alone["PSS"] > 60.0
    assert both["PSS"] > alone["PSS"] + 1.0
    assert both["RSS"] >= both["PSS"]
    assert memory_mb(parent.pid) == {}
