"""Frames on their way to whoever looks: the last ones, whole, each with its times."""

from __future__ import annotations

import numpy as np
import pytest

from device.core.frame import Frame
from device.engine.frame_bus import N_FRAMES, Arrival, FrameBus
from device.engine.shared import Bell

HEIGHT, WIDTH = 3, 4


def picture(value: int) -> Frame:
    return Frame(np.full((HEIGHT, WIDTH), value % 256, np.uint8), 100.0 + value)


def bus_of(n: int, *bells: Bell) -> FrameBus:
    bus = FrameBus(HEIGHT, WIDTH, bells)
    for value in range(n):
        bus.put(picture(value), 200.0 + value)
    return bus


def serials(arrivals: list[Arrival]) -> list[int]:
    for each in arrivals:
        assert (each.frame.grey == each.serial % 256).all()
        assert (each.frame.time_s, each.arrival_s) == (100.0 + each.serial, 200.0 + each.serial)
    return [each.serial for each in arrivals]


@pytest.mark.parametrize("n", [0, 1, 5, N_FRAMES - 1])
def test_all_frames_are_there_in_order(n: int) -> None:
    bus = bus_of(n)
    assert bus.n_put == n
    assert serials(bus.read_from(0)) == list(range(n))
    assert serials(bus.read_from(n - 1)) == list(range(max(0, n - 1), n))
    assert bus.read_from(n) == []


def test_only_the_last_are_kept() -> None:
    n = 2 * N_FRAMES + 7
    bus = bus_of(n)
    assert serials(bus.read_from(0)) == list(range(n - N_FRAMES + 1, n))
    assert bus.read(0) is None
    assert bus.read(n) is None


def test_what_was_read_is_not_written_over() -> None:
    bus = bus_of(1)
    (first,) = bus.read_from(0)
    for _ in range(2 * N_FRAMES):
        bus.put(picture(77), 0.0)
    assert (first.frame.grey == 0).all()


def test_all_bells_ring_for_a_frame() -> None:
    bells = (Bell(), Bell())
    bus = bus_of(0, *bells)
    assert not any(bell.wait(0.0) for bell in bells)
    bus.put(picture(0), 0.0)
    assert all(bell.wait(0.0) for bell in bells)


def test_a_bus_keeps_what_a_whole_window_needs() -> None:
    assert N_FRAMES / 120.0 > 2.0  # the longest window, at the highest rate
