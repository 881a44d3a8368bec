"""The limiter: no model is louder than the configured peak, and what is quiet enough is left alone."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from device.core.limiter import KNEE_DB, PEAK_DB, amplitude, limit_peaks

Samples = npt.NDArray[np.float32]
PEAKS_DB = (0.0, -1.0, -6.0, -40.0)


def limited(samples: npt.ArrayLike, peak: float) -> Samples:
    block = np.array(samples, np.float32)
    limit_peaks(block, peak)
    return block


@pytest.mark.parametrize("peak_db", PEAKS_DB)
def test_what_is_below_the_knee_passes_to_the_bit(peak_db: float) -> None:
    knee = amplitude(peak_db - KNEE_DB) * (1 - 1e-6)
    block = np.linspace(-knee, knee, 1001, dtype=np.float32)
    loud = np.concatenate([block, np.array([3.0], np.float32)])
    assert limited(block, amplitude(peak_db)).tobytes() == block.tobytes()
    assert limited(loud, amplitude(peak_db))[:-1].tobytes() == block.tobytes()


@pytest.mark.parametrize("peak_db", PEAKS_DB)
def test_nothing_is_louder_than_the_peak_whatever_a_model_says(peak_db: float) -> None:
    rng = np.random.default_rng(0)
    peak = amplitude(peak_db)
    wild = [np.nan, np.inf, -np.inf, 1e30, -1e30, 3.4e38, 1e-45, 1.0, -1.0, peak, -peak]
    for block in (wild, rng.standard_normal(4096) * 100, rng.standard_normal(4096), [np.nan] * 8, [np.inf]):
        out = limited(block, peak)
        assert np.isfinite(out).all()
        assert float(np.abs(out).max()) <= peak  # in double: a float32 rounded up would be louder than was promised
    assert limited(wild, peak)[0] == 0.0
    assert limited(wild, peak)[1:3].tolist() == pytest.approx([peak, -peak])


def test_any_peak_is_kept_even_where_float32_cannot_say_it() -> None:
    for peak_db in np.linspace(-40, 0, 2001):
        peak = amplitude(float(peak_db))
        assert float(limited([1e9], peak)[0]) <= peak


def test_a_missing_peak_is_the_default_one() -> None:
    block = np.full(4, 5.0, np.float32)
    limit_peaks(block)
    assert block.tolist() == pytest.approx([amplitude(PEAK_DB)] * 4)


@pytest.mark.parametrize("peak_db", PEAKS_DB)
def test_it_bends_without_a_corner_and_louder_stays_louder(peak_db: float) -> None:
    peak = amplitude(peak_db)
    level = np.linspace(-4.0, 4.0, 80_001) * peak
    block = limited(level, peak).astype(np.float64)
    assert (np.diff(block) >= 0).all()
    slope = np.diff(block) / np.diff(level)
    assert np.abs(np.diff(slope[np.abs(level[1:]) < peak])).max() < 0.01
    assert np.array_equal(block, -block[::-1])


def test_it_neither_pumps_nor_depends_on_the_size_of_blocks() -> None:
    rng = np.random.default_rng(1)
    sound = (rng.standard_normal(4096) * np.linspace(0, 3, 4096)).astype(np.float32)
    whole = limited(sound, 0.5)
    parts = [limited(part, 0.5) for part in np.split(sound, [1, 17, 64, 1000, 1001, 3000])]
    assert np.concatenate(parts).tobytes() == whole.tobytes()


def test_a_sine_that_just_reaches_the_peak_keeps_its_sound() -> None:
    sine = np.sin(2 * np.pi * 440 * np.arange(48_000) / 48_000) * amplitude(PEAK_DB)
    spectrum = np.abs(np.fft.rfft(limited(sine, amplitude(PEAK_DB))))
    harmonics = np.sqrt((spectrum[880::440] ** 2).sum()) / spectrum[440]
    assert 0.001 < harmonics < 0.04


def test_an_empty_block_stays_empty() -> None:
    assert limited([], 1.0).tolist() == []
