"""A source at one rate heard at another: the same sound, in any blocks, as far ahead as is said and no further."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from itertools import cycle

import numpy as np
import pytest

from device.edges.model import Float32
from device.engine.resampled import Resampled

PAIRS = [(44_100, 48_000), (48_000, 44_100), (22_050, 48_000), (96_000, 44_100)]


class Chord:
    """Sines at a rate; says each block's number, except that every third block says nothing."""

    def __init__(self, rate_hz: int, *frequencies_hz: float) -> None:
        self.rate_hz = rate_hz
        self.frequencies_hz = frequencies_hz
        self.n_samples = 0
        self.n_fills = 0
        self.said: list[int] = []

    def fill(self, block: Float32) -> int | None:
        block[:] = chord(self.frequencies_hz, self.rate_hz, self.n_samples, self.n_samples + len(block))
        self.n_samples += len(block)
        self.n_fills += 1
        if self.n_fills % 3 == 0:
            return None
        self.said.append(self.n_fills)
        return self.n_fills


class Silence:
    def fill(self, block: Float32) -> None:
        block[:] = 0.0


def chord(frequencies_hz: Sequence[float], rate_hz: int, first: int, end: int) -> Float32:
    phases = 2 * np.pi * np.outer(np.arange(first, end), frequencies_hz) / rate_hz
    sound: Float32 = (0.5 * np.sin(phases).mean(axis=1)).astype(np.float32)
    return sound


def heard(resampled: Resampled[int], n_samples: int, *n_blocks: int) -> Float32:
    sound = np.full(n_samples, np.nan, np.float32)
    first = 0
    for n in cycle(n_blocks):
        if first >= n_samples:
            return sound
        resampled.fill(sound[first : first + n])
        first += n
    return sound


def spectrum(source_hz: int, rate_hz: int, *tones_hz: int) -> np.ndarray[tuple[int], np.dtype[np.complex128]]:
    """One bin a hertz, of the second that begins a second after the beginning."""
    sound = heard(Resampled(Chord(source_hz, *tones_hz), source_hz, rate_hz), 2 * rate_hz, 128)
    return np.fft.rfft(sound[rate_hz:])


@pytest.mark.parametrize(("source_hz", "rate_hz"), PAIRS)
def test_how_it_is_cut_into_blocks_changes_nothing_to_the_bit(source_hz: int, rate_hz: int) -> None:
    whole = heard(Resampled(Chord(source_hz, 440.0, 3000.0), source_hz, rate_hz), 20_000, 20_000)
    for n_blocks in ((128,), (1, 2, 3), (37, 500, 3), (4096,)):
        pieces = heard(Resampled(Chord(source_hz, 440.0, 3000.0), source_hz, rate_hz), 20_000, *n_blocks)
        np.testing.assert_array_equal(pieces, whole)


@pytest.mark.parametrize(("source_hz", "rate_hz"), PAIRS)
def test_sines_keep_frequency_level_and_time(source_hz: int, rate_hz: int) -> None:
    tones_hz = [55, 440, 3000, round(0.36 * min(source_hz, rate_hz))]
    heard_tones = spectrum(source_hz, rate_hz, *tones_hz)[tones_hz]
    true_tones = np.fft.rfft(chord(tones_hz, rate_hz, 0, rate_hz))[tones_hz]
    ratio = heard_tones / true_tones
    assert 20 * np.log10(np.abs(ratio)) == pytest.approx(0.0, abs=0.15)
    late_samples = -np.angle(ratio) / (2 * np.pi * np.array(tones_hz)) * rate_hz
    assert late_samples == pytest.approx(0.0, abs=2.0)


@pytest.mark.parametrize(("source_hz", "rate_hz"), PAIRS)
def test_nothing_is_heard_but_the_tone_even_where_it_has_no_place(source_hz: int, rate_hz: int) -> None:
    tone_hz = round(0.43 * source_hz)
    level = np.abs(spectrum(source_hz, rate_hz, tone_hz)) / (0.25 * rate_hz)
    level[tone_hz : tone_hz + 1] = 0.0  # at 96 kHz too high for the card: then nothing at all is heard
    assert 20 * np.log10(level.max()) < -95.0


@pytest.mark.parametrize(("source_hz", "rate_hz"), PAIRS)
@pytest.mark.parametrize("n_block", [16, 128, 1000])
def test_the_source_is_ahead_by_what_is_said(source_hz: int, rate_hz: int, n_block: int) -> None:
    source = Chord(source_hz, 440.0)
    resampled = Resampled(source, source_hz, rate_hz)
    block = np.zeros(n_block, np.float32)
    ahead_s = []
    for index in range(2 * rate_hz // n_block):
        resampled.fill(block)
        ahead_s.append(source.n_samples / source_hz - (index + 1) * n_block / rate_hz)
    assert max(ahead_s) - resampled.delay_s < 2 / source_hz
    assert resampled.delay_s - min(ahead_s) < 2 / source_hz


def test_between_the_usual_rates_it_adds_little_delay() -> None:
    assert Resampled(Silence(), 44_100, 48_000).delay_s < 0.001
    assert Resampled(Silence(), 48_000, 44_100).delay_s < 0.0055


def test_no_news_is_lost_but_those_that_newer_ones_replace() -> None:
    source = Chord(48_000, 440.0)
    resampled = Resampled(source, 48_000, 44_100)
    block = np.zeros(1, np.float32)
    first = resampled.fill(block)
    assert first == source.said[-1]
    said = [news for _ in range(500) if (news := resampled.fill(block)) is not None]
    assert said == [number for number in source.said if number > first]


def test_a_long_block_gives_the_last_news_of_many() -> None:
    source = Chord(44_100, 440.0)
    assert Resampled(source, 44_100, 48_000).fill(np.zeros(10_000, np.float32)) == source.said[-1]
    assert len(source.said) > 3


def test_memory_does_not_grow() -> None:
    resampled: Resampled[None] = Resampled(Silence(), 44_100, 48_000)
    block = np.zeros(128, np.float32)
    resampled.fill(block)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for _ in range(2000):
        resampled.fill(block)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before < 8192  # a sample kept at each fill would be 8,000 and its object more
