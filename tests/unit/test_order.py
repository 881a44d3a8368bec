"""The order in which examples are learned: every one once a pass, mixed well, and the disk knows in time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest

from tests.unit.test_dataset import make_take, settings
from trainer.data import order
from trainer.data.dataset import Examples
from trainer.data.order import PooledOrder
from trainer.data.shuffle import shuffled
from trainer.data.spectra_cache import SpectraCache

RUN, POOL = 8, 128
KEY = (3, 4)


@pytest.fixture(autouse=True)
def _small() -> Iterator[None]:
    with patch.multiple(order, RUN=RUN, POOL=POOL), patch.multiple("trainer.data.dataset", RUN=RUN, POOL=POOL):
        yield


@pytest.mark.parametrize("n", [1, 5, POOL, POOL + 1, 4 * POOL, 5000, 5003])
def test_every_number_comes_once_a_pass_and_passes_differ(n: int) -> None:
    passes = PooledOrder(n, KEY).at(np.arange(2 * n)).reshape(2, n)
    for one in passes:
        assert np.array_equal(np.sort(one), np.arange(n))
    assert n < 10 or (passes[0] == passes[1]).mean() < 0.1


def test_few_examples_are_one_shuffled_order() -> None:
    places = np.arange(POOL)
    assert np.array_equal(PooledOrder(POOL, KEY).at(places + POOL), shuffled(places, POOL, (*KEY, 1)))


def test_places_may_be_asked_for_in_any_order() -> None:
    whole = PooledOrder(1003, KEY).at(np.arange(3 * 1003))
    some = np.array([2999, 0, 1003, 500, 0, 1002])
    assert np.array_equal(PooledOrder(1003, KEY).at(some), whole[some])


def test_a_pool_comes_from_few_runs_of_all_and_is_mixed() -> None:
    n = 64 * POOL
    pools = PooledOrder(n, KEY).at(np.arange(2 * n)).reshape(-1, POOL)
    for first, other in ((0, 1), (0, n // POOL), (1, n // POOL - 1)):
        assert (pools[first] % RUN == pools[other] % RUN).mean() < 0.3, "pools are mixed alike"
        assert len(np.intersect1d(pools[first] // RUN, pools[other] // RUN)) < POOL // RUN / 2
    one_pass = pools[: n // POOL].ravel().astype(np.float64)
    for pool in one_pass.reshape(-1, POOL):
        assert len(np.unique(pool // RUN)) == POOL // RUN
        assert pool.std() == pytest.approx(n / np.sqrt(12), rel=0.5)
        assert abs(np.corrcoef(pool[:-1], pool[1:])[0, 1]) < 0.35
    assert abs(np.corrcoef(one_pass[:-1], one_pass[1:])[0, 1]) < 0.05


@pytest.mark.parametrize("n", [POOL + 1, 1003])
def test_the_places_of_a_pool_give_each_of_its_runs_once(n: int) -> None:
    order = PooledOrder(n, KEY)
    for first in range(n, 2 * n, POOL):  # of the second pass
        places = np.arange(first, min(first + POOL, 2 * n))
        runs = order.runs_at(places)
        assert all((np.diff(run) == 1).all() for run in runs)
        assert np.array_equal(np.sort(np.concatenate(runs)), np.sort(order.at(places)))


def test_of_what_a_batch_reads_the_disk_was_told_before(tmp_path: Path) -> None:
    takes = [make_take(tmp_path / "takes", fps, seed) for seed, fps in enumerate((120.0, 60.0, 30.0))]
    examples = Examples(takes, settings(), SpectraCache(tmp_path / "cache"))
    # The middle of the first take is held out.
    rows = np.concatenate([np.arange(60, 303), np.arange(450, 720), np.arange(760, 1080), np.arange(1100, 1260)])
    told: dict[int, np.ndarray[tuple[int], np.dtype[np.bool_]]] = {}
    longest = 0

    def tell(descriptor: int, offset: int, length: int, _: int) -> None:
        nonlocal longest
        longest = max(longest, length)
        told.setdefault(descriptor, np.zeros(1 << 24, np.bool_))[offset : offset + length] = True

    def read(descriptor: int, out: np.ndarray[tuple[int], np.dtype[np.generic]], offset: int) -> None:
        assert told[descriptor][offset : offset + out.nbytes].all()

    first = 7  # as a run that goes on from its last checkpoint
    with patch.object(os, "posix_fadvise", tell), patch("trainer.data.spectra_file.read_into", read):
        examples.announce(rows, 16, KEY, first)
        n_told = sum(int(each.sum()) for each in told.values())
        for number in range(first, first + 2 * len(rows) // 16):
            examples.training_batch(rows, 16, KEY, number)
    assert n_told < 0.7 * sum(path.stat().st_size for path in (tmp_path / "cache").rglob("*") if path.is_file())
    n_columns = RUN + 0.3 * 120 + 1  # a run, and the segment that ends with its first row
    assert longest <= n_columns * 2 * settings().synth.n_bins, "what is held out is read"
