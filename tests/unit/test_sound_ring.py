"""The ring of sound: what was put comes out, what is gone is known to be gone, and two processes share it."""

from __future__ import annotations

import numpy as np
import pytest

from device.engine.process import Child, wait_for_any
from device.engine.sound_ring import KEPT_S, SoundRing
from tests.shared_fakes import sound_writing_main

RATE_HZ, BLOCK = 1000, 16


def filled(n_blocks: int) -> SoundRing:
    ring = SoundRing(RATE_HZ, BLOCK)
    for serial in range(n_blocks):
        index = serial * BLOCK + np.arange(BLOCK)
        ring.put(index.astype(np.float32), 50.0 + serial * BLOCK / RATE_HZ, serial % 3)
    return ring


def test_what_was_put_is_read_in_order_with_its_times() -> None:
    ring = filled(100)
    heard = ring.read_from(90)
    assert heard is not None
    assert heard.serial == 90
    np.testing.assert_array_equal(heard.samples, np.arange(90 * BLOCK, 100 * BLOCK))
    np.testing.assert_allclose(heard.times_s, 50.0 + np.arange(90, 100) * BLOCK / RATE_HZ)
    np.testing.assert_array_equal(heard.n_clipped, np.arange(90, 100) % 3)
    assert ring.read_from(100) is None
    assert len(ring.read_from(0, n_most=3).times_s) == 3  # type: ignore[union-attr]  # there are 100


def test_half_a_minute_is_kept_and_what_is_older_is_known_to_be_gone() -> None:
    n_blocks = round(3 * KEPT_S * RATE_HZ / BLOCK)
    ring = filled(n_blocks)
    heard = ring.read_from(0, n_most=10_000)
    assert heard is not None
    assert heard.serial == ring.oldest
    assert KEPT_S * RATE_HZ <= len(heard.samples) <= KEPT_S * RATE_HZ + 2 * BLOCK
    np.testing.assert_array_equal(np.diff(heard.samples), 1.0)
    assert heard.samples[-1] == n_blocks * BLOCK - 1


@pytest.mark.parametrize("n_blocks", [100, 5000])
def test_samples_are_copied_by_their_numbers_across_blocks_and_the_ring_s_end(n_blocks: int) -> None:
    ring, out = filled(n_blocks), np.zeros(50, np.float32)
    first_slot = n_blocks // 1876 * 1876 * BLOCK - 20  # 1,876 blocks are kept: across the end of the memory, once
    for first in (n_blocks * BLOCK - 50, n_blocks * BLOCK - 61, max(first_slot, 5)):
        assert ring.copy(first, out)
        np.testing.assert_array_equal(out, first + np.arange(50.0))
    assert not ring.copy(n_blocks * BLOCK - 49, out)
    assert not ring.copy(ring.oldest * BLOCK - 1, out)


def test_blocks_that_were_skipped_are_gone() -> None:
    ring = filled(10)
    ring.skip(100_000)
    assert ring.n_blocks == 100_010
    ring.put(np.ones(BLOCK, np.float32), 1.0)
    assert ring.time_s(100_010) == 1.0


def test_a_reader_in_another_process_never_sees_a_torn_block() -> None:
    ring = SoundRing(100, 64)  # 48 blocks: the writer comes round all the time
    child = Child("writer", sound_writing_main, ring)
    try:
        n_seen, serial = 0, 0
        while n_seen < 20_000:
            heard = ring.read_from(serial)
            if heard is None:
                wait_for_any([child], 0.001)
                continue
            blocks = heard.samples.reshape(-1, 64)
            serials = heard.serial + np.arange(len(blocks))
            np.testing.assert_array_equal(blocks, np.repeat(serials[:, None] % 1000, 64, axis=1))
            np.testing.assert_array_equal(heard.times_s, serials)
            n_seen, serial = n_seen + len(blocks), heard.serial + len(blocks)
    finally:
        child.end()
