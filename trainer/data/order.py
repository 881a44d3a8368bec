"""The order in which examples are learned: random, and yet so that a disk reads long pieces.

Examples from all over ten hours of takes are thousands of short reads a second, most of them from the disk itself. So
what is shuffled first are runs of neighbours, then the examples of some hundred such runs at a time: the disk is told
of each run long before the first example of it is wanted, as a shuffle buffer would read it, but nothing is held in
memory, and each place can be worked out by itself. Few examples are one shuffled order.
"""

from __future__ import annotations

import numpy as np

from trainer.data.shuffle import Indices, shuffled

RUN = 64
"""Examples one after the other."""
POOL = 512 * RUN
"""Examples among which each is drawn: 11 minutes at 50 columns a second."""


class PooledOrder:
    """Passes over 0 to n - 1, each in an order of its own.

    Parameters
    ----------
    n : int
    key : tuple of int
        Each key is an order of its own.
    """

    def __init__(self, n: int, key: tuple[int, ...]) -> None:
        self._n, self._key = n, key

    def at(self, places: Indices) -> Indices:
        """What stands at given places, counted from the first pass's first on: shape (n_places,), int64."""
        found = np.empty_like(places)
        for number in np.unique(places // self._n).tolist():
            is_in = places // self._n == number
            found[is_in] = self._in_pass(places[is_in] - number * self._n, number)
        return found

    def runs_at(self, places: Indices) -> list[Indices]:
        """The runs that begin at given places, before their pools are mixed: for each the numbers in it.

        All places of a pool together give each of its runs once. There are none if one pool holds all.
        """
        if self._n <= POOL:
            return []
        starts = places[places % self._n % RUN == 0]
        begins = zip((starts // self._n).tolist(), (starts % self._n).tolist(), strict=True)
        return [self._in_runs(np.arange(first, min(first + RUN, self._n)), number) for number, first in begins]

    def _in_pass(self, places: Indices, number: int) -> Indices:
        key = (*self._key, number)
        if self._n <= POOL:
            return shuffled(places, self._n, key)
        mixed = np.empty_like(places)
        for pool in np.unique(places // POOL).tolist():
            is_in, first = places // POOL == pool, pool * POOL
            size = min(POOL, self._n - first)
            mixed[is_in] = first + shuffled(places[is_in] - first, size, (*key, pool + 1))
        return self._in_runs(mixed, number)

    def _in_runs(self, places: Indices, number: int) -> Indices:
        """The runs of a pass in random order; what is left at its end, less than a run, stays there."""
        n_runs = self._n // RUN
        found = places.copy()
        is_in = places < n_runs * RUN
        runs = shuffled(places[is_in] // RUN, n_runs, (*self._key, number))
        found[is_in] = runs * RUN + places[is_in] % RUN
        return found
