"""A shuffled order of any length that needs no list of it: each place is worked out when it is asked for.

A list of all examples, shuffled, is 14 MB for ten hours of takes, and has to be made anew at each pass, by each worker.
A keyed permutation is nothing but its key: a Feistel network over the next power of four, walked until it comes out
within the range (Black and Rogaway, "Ciphers with arbitrary finite domains", CT-RSA 2002).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int64]

N_ROUNDS = 4
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xBF58476D1CE4E5B9)


def shuffled(places: Indices, n: int, key: tuple[int, ...]) -> Indices:
    """What stands at given places of 0 to n - 1 in a shuffled order.

    Parameters
    ----------
    places : np.ndarray, shape (n_places,), int64
        From 0 to n - 1.
    n : int
    key : tuple of int
        Each key is an order of its own.

    Returns
    -------
    np.ndarray, shape (n_places,), int64
        All places together give each number once.
    """
    half_bits = max(1, (max(n - 1, 1).bit_length() + 1) // 2)
    keys = np.random.SeedSequence(key).generate_state(N_ROUNDS, np.uint64).astype(np.uint64)
    found = _turned(places.astype(np.uint64), half_bits, keys)
    while (outside := found >= n).any():
        found[outside] = _turned(found[outside], half_bits, keys)
    return found.astype(np.int64)


def _turned(values: npt.NDArray[np.uint64], half_bits: int, keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """One to one on 0 to 4 ** half_bits - 1."""
    shift, mask = np.uint64(half_bits), np.uint64((1 << half_bits) - 1)
    left, right = values >> shift, values & mask
    for key in keys:
        mixed = (right + key) * _GOLDEN
        mixed = (mixed ^ (mixed >> np.uint64(29))) * _MIX
        left, right = right, left ^ ((mixed >> np.uint64(32)) & mask)
    return (left << shift) | right
