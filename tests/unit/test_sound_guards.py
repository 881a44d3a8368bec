"""The small pure parts of the engine: fade, noise, latencies."""

from __future__ import annotations

import numpy as np
import pytest

from device.core.fade import RELEASE_S, RISE_S, Fade
from device.core.latency import BIN_MS, N_BINS, LatencyHistogram
from device.core.noise import SlowNoise

RATE_HZ = 48_000


def gains(fade: Fade, n: int) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    block = np.ones(n, np.float32)
    fade.apply(block)
    return block


def test_the_fade_rises_holds_falls_and_says_when_it_is_silent() -> None:
    fade = Fade(RATE_HZ, 0.25)
    assert fade.is_silent
    assert not gains(fade, 100).any()
    fade.hold(4800)
    assert fade.n_until_silent == 4800 + 12_000
    gain = gains(fade, 4800 + 12_000)
    assert fade.is_silent
    assert (np.diff(gain[:4800]) >= 0).all()
    assert gain[round(RISE_S * RATE_HZ) - 1] == gain[4799] == 1.0
    assert (np.diff(gain[4800:]) <= 0).all()
    assert gain[-2] > 0.0
    assert gain[-1] == 0.0
    assert np.abs(np.diff(gain)).max() < 2 / round(RISE_S * RATE_HZ)


def test_a_release_is_silent_soon_even_half_way_up() -> None:
    for n_before in (0, 10, 300, 5000):
        fade = Fade(RATE_HZ, 0.25)
        fade.hold(10_000)
        gains(fade, n_before)
        fade.release()
        n = fade.n_until_silent
        assert n <= RELEASE_S * RATE_HZ + 1
        gains(fade, n)
        assert fade.is_silent


def test_latencies_are_counted_to_the_bin_in_fixed_memory() -> None:
    latency = LatencyHistogram()
    assert latency.figures() == {"p50": 0.0, "p99": 0.0, "max": 0.0}
    known_ms = np.random.default_rng(0).gamma(2.0, 5.0, 10_000)
    for latency_ms in known_ms:
        latency.add(float(latency_ms))
    for percent in (1, 50, 99):
        assert latency.percentile_ms(percent) == pytest.approx(np.percentile(known_ms, percent), abs=2 * BIN_MS)
    assert latency.max_ms == known_ms.max()
    latency.add(-1.0)
    latency.add(1e9)
    assert latency.n == 10_002
    assert latency.max_ms == 1e9
    from_ms, counts = latency.bins()
    assert len(from_ms) == len(counts) == N_BINS
    assert counts.sum() == 10_002


def test_slow_noise_is_standard_normal_and_forgets_in_its_time() -> None:
    noise = SlowNoise(2000, 1.0, 0.5, seed=1)
    first = noise.step(0.0)
    later = noise.step(0.5)
    assert np.std(first) == pytest.approx(1.0, abs=0.05)
    assert np.std(later) == pytest.approx(1.0, abs=0.05)
    assert np.corrcoef(first, later)[0, 1] == pytest.approx(np.exp(-1.0), abs=0.05)
    many_steps = SlowNoise(2000, 1.0, 0.5, seed=2)
    before = many_steps.step(0.0)
    for _ in range(25):
        after = many_steps.step(0.02)
    assert np.corrcoef(before, after)[0, 1] == pytest.approx(np.exp(-1.0), abs=0.05)


def test_temperature_scales_the_noise() -> None:
    cold, warm = SlowNoise(8, 0.5, 0.5, seed=1), SlowNoise(8, 1.0, 0.5, seed=1)
    np.testing.assert_allclose(2 * cold.step(0.1), warm.step(0.1), rtol=1e-6)
    assert not SlowNoise(8, 0.0, 0.5, seed=1).step(0.1).any()
