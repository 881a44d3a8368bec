"""A shuffled order without a list of it: every number once, and no pattern that training could feel."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.data.shuffle import shuffled


@pytest.mark.parametrize("n", [1, 2, 3, 5, 16, 17, 1000, 4096, 31_415])
def test_every_number_comes_once(n: int) -> None:
    assert np.array_equal(np.sort(shuffled(np.arange(n), n, (7, 0))), np.arange(n))


def test_places_may_be_asked_for_in_any_order() -> None:
    whole = shuffled(np.arange(1000), 1000, (3, 4))
    some = np.array([999, 0, 500, 0])
    assert np.array_equal(shuffled(some, 1000, (3, 4)), whole[some])


def test_each_key_is_an_order_of_its_own() -> None:
    orders = [shuffled(np.arange(5000), 5000, key) for key in ((0, 0), (0, 1), (1, 0))]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert (orders[one] == orders[other]).mean() < 0.01


@pytest.mark.parametrize("n", [5000, 65_536])
def test_neighbours_and_batches_are_mixed(n: int) -> None:
    order = shuffled(np.arange(n), n, (0, 0)).astype(np.float64)
    assert abs(np.corrcoef(order[:-1], order[1:])[0, 1]) < 0.05
    assert abs(np.corrcoef(np.arange(n), order)[0, 1]) < 0.05
    # The means of batches scatter as those of 64 draws do.
    batches = order[: n // 64 * 64].reshape(-1, 64).mean(axis=1)
    assert batches.std() == pytest.approx(n / np.sqrt(12 * 64), rel=0.3)
