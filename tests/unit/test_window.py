"""The window: what the model sees of the motion."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from device.core.window import Window, grid_offsets_s, grid_weights, interpolate

Array = npt.NDArray[Any]


def ramp(times_s: Array) -> Array:
    """Columns that say their own time, shape (n, 2)."""
    columns: Array = np.stack([times_s, np.ones_like(times_s)], axis=1).astype(np.float32)
    return columns


def filled(times_s: Array, n_columns: int = 6, grid_rate_hz: float = 50.0) -> Window:
    window = Window(n_columns, 2, grid_rate_hz)
    for column, time_s in zip(ramp(times_s), times_s, strict=True):
        window.push(column, float(time_s))
    return window


@pytest.mark.parametrize("fps", [25, 30, 50, 60, 120])
def test_newest_column_is_last_and_older_ones_lie_on_the_grid_at_any_frame_rate(fps: int) -> None:
    times_s = np.arange(3 * fps) / fps
    seen = filled(times_s).read()
    np.testing.assert_allclose(seen[:, 0], times_s[-1] + grid_offsets_s(6, 50.0), atol=1e-5)


def test_before_the_first_column_there_was_no_motion() -> None:
    seen = filled(np.array([0.0, 0.02])).read()
    assert not seen[:4].any()
    np.testing.assert_allclose(seen[4:, 1], 1.0)


def test_without_columns_it_is_still() -> None:
    assert not Window(4, 2, 50.0).read().any()


def test_time_that_jumps_back_starts_anew() -> None:
    window = filled(np.arange(20) / 50)
    window.push(np.array([9.0, 1.0], np.float32), 0.1)
    seen = window.read()
    assert seen[-1, 0] == 9.0
    assert not seen[:-1].any()


def test_hours_of_columns_use_no_more_memory_and_lose_nothing() -> None:
    window = Window(6, 2, 50.0)
    for k in range(20_000):
        window.push(np.array([k, 1], np.float32), k / 50)
        if k % 997 == 0 and k > 6:
            np.testing.assert_allclose(window.read()[:, 0], np.arange(k - 5, k + 1), atol=0.01)


def test_many_windows_at_once_equal_one_by_one() -> None:
    rng = np.random.default_rng(0)
    times_s = np.cumsum(rng.uniform(0.005, 0.05, 300))
    columns = rng.random((300, 2)).astype(np.float32)
    newest = np.arange(300)
    before, weight = grid_weights(times_s, newest, grid_offsets_s(6, 50.0))
    together = np.empty((300, 6, 2), np.float32)
    interpolate(columns, newest, before, weight, together)
    window = Window(6, 2, 50.0)
    for k in newest:
        window.push(columns[k], float(times_s[k]))
        # To the bit while all columns are in the window's memory, to rounding once older ones have left it.
        np.testing.assert_allclose(window.read(), together[k], atol=1e-6)
