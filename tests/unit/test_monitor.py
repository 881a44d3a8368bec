"""The input as it is heard: at a fixed delay, to the bit where one clock serves both, without clicks where two do."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from device.config import load_config
from device.core.glide import Glide, by_loudness, by_power
from device.edges.model import Float32
from device.engine.mixer import LISTEN_S, Mixer
from device.engine.monitor import DEAD_S, LARGEST_MARGIN_S, Monitor
from device.engine.sound_ring import SoundRing
from tests.hand_clock import HandClock

RATE_HZ, BLOCK, PERIOD = 48_000, 128, 128
MARGIN_S = 0.004
HZ = 441.0
STEEPEST = 2 * np.pi * HZ / RATE_HZ * 0.5


def sine(first: int, n: int) -> Float32:
    sound: Float32 = (0.5 * np.sin(2 * np.pi * HZ * (first + np.arange(n)) / RATE_HZ)).astype(np.float32)
    return sound


class Stage:
    """An input card and an output card, each by its own clock.

    Parameters
    ----------
    ppm : float
        How much faster the input's is.
    late_s : float
        How late each block of the input is, at most.
    """

    def __init__(self, ppm: float = 0.0, late_s: float = 0.0, period: int = PERIOD, margin_s: float = MARGIN_S) -> None:
        self.clock, self.ring = HandClock(1000.0), SoundRing(RATE_HZ, BLOCK)
        self.monitor = Monitor(self.ring, 4096, margin_s, now_s=self.clock.now_s)
        self.is_on = True
        self.delays_s: list[float] = []
        self._input_hz = RATE_HZ * (1 + 1e-6 * ppm)
        self._late_s = late_s
        self._random = np.random.default_rng(0)
        self._period = period
        self._n_blocks = self._began = 0
        self._due_s = 0.0

    def _hear(self) -> None:
        while True:
            first_s = 1000.0 + self._n_blocks * BLOCK / self._input_hz
            if self._due_s == 0.0:
                self._due_s = first_s + BLOCK / self._input_hz + self._random.uniform(0.0, self._late_s)
            if self._due_s > self.clock.time_s:
                return
            if self.is_on:
                self._fill_in()
                self.ring.put(sine(self._n_blocks * BLOCK - self._began, BLOCK), first_s)
            self._n_blocks += 1
            self._due_s = 0.0

    def _fill_in(self) -> None:
        """Put silence where nothing came, as a microphone does; then the sound begins anew."""
        while self.ring.n_blocks < self._n_blocks:
            self.ring.put(np.zeros(BLOCK, np.float32), 1000.0 + self.ring.n_blocks * BLOCK / self._input_hz)
            self._began = self._n_blocks * BLOCK

    def play(self, duration_s: float) -> Float32:
        """Play for a while, by the output's clock, which is right."""
        n = round(duration_s * RATE_HZ) // self._period
        heard = np.zeros((n, self._period), np.float32)
        for block in heard:
            self._hear()
            self.monitor.fill(block)
            self.delays_s.append(self.monitor.delay_s)
            self.clock.wait(self._period / RATE_HZ)
        return heard.reshape(-1)


def assert_smooth(heard: Float32) -> None:
    assert np.abs(np.diff(heard)).max() < 1.1 * STEEPEST + 0.5 * 2 * np.pi / 2 / 96  # a ramp's own slope


@pytest.mark.parametrize("period", [16, 128, 1000])
def test_one_clock_is_heard_to_the_bit_after_a_short_rise(period: int) -> None:
    stage = Stage(period=period)
    heard = stage.play(1.0)
    first = int(np.flatnonzero(heard)[0])
    assert first / RATE_HZ < 0.05
    assert_smooth(heard)
    after = heard[first + 200 :]
    start = int(np.argmin([np.abs(after[:50] - sine(k, 50)).max() for k in range(48_000)]))
    np.testing.assert_array_equal(after, sine(start, len(after)))
    assert stage.monitor.n_gaps == 0
    delay_s = np.array(stage.delays_s[len(stage.delays_s) // 2 :])
    assert np.ptp(delay_s) < 1e-6
    # A block of each card, the ramp, and the margin.
    assert delay_s[0] < (BLOCK + period) / RATE_HZ + 0.002 + MARGIN_S + 0.001


@pytest.mark.parametrize("ppm", [-200.0, 100.0, 200.0])
def test_two_clocks_that_drift_are_followed_without_a_click_or_a_gap(ppm: float) -> None:
    stage = Stage(ppm, late_s=0.002)
    heard = stage.play(60.0)
    delays_s = np.array(stage.delays_s[400:])
    # Unfollowed, 60 s of 200 ppm were 12 ms: more than the margin one way.
    assert np.ptp(delays_s) < 2 * DEAD_S + 0.002
    first = int(np.flatnonzero(heard)[0])
    assert_smooth(heard)
    level = np.abs(heard[first + 500 :])
    n = len(level) // 1000 * 1000
    peaks = level[:n].reshape(-1, 1000).max(axis=1)
    assert peaks.min() > 0.495  # the cubic and the ramps take nothing away, nowhere
    assert stage.monitor.n_gaps == 0
    later = heard[len(heard) // 2 :]
    crossings = np.flatnonzero((later[:-1] < 0) & (later[1:] >= 0))
    hz = RATE_HZ * (len(crossings) - 1) / (crossings[-1] - crossings[0])
    assert hz == pytest.approx(HZ * (1 + 1e-6 * ppm), rel=2e-5)


def test_an_input_that_stops_falls_silent_softly_and_comes_back_softly() -> None:
    stage = Stage()
    stage.play(0.5)
    stage.is_on = False
    gone = stage.play(0.5)
    assert_smooth(gone)
    assert not gone[-RATE_HZ // 4 :].any()
    stage.is_on = True
    back = stage.play(0.5)
    assert_smooth(back)
    assert np.abs(back[-1000:]).max() > 0.49
    assert stage.monitor.n_gaps == 1


def test_an_input_that_is_often_late_is_heard_later_until_it_has_no_gaps_and_at_first_again_the_next_time() -> None:
    stage = Stage(late_s=0.02)
    heard = stage.play(20.0)
    n_gaps = stage.monitor.n_gaps
    assert 1 <= n_gaps <= (LARGEST_MARGIN_S - MARGIN_S) / 0.002
    stage.play(10.0)
    assert stage.monitor.n_gaps <= n_gaps + 1
    assert_smooth(heard)
    delay_s = stage.monitor.delay_s
    stage.monitor.stop()
    stage.play(0.01)
    assert stage.monitor.delay_s < delay_s - 0.002


def test_nothing_came_in_is_silence() -> None:
    monitor, block = Monitor(SoundRing(RATE_HZ, BLOCK), 4096, MARGIN_S), np.ones(64, np.float32)
    monitor.fill(block)
    assert not block.any()
    assert monitor.delay_s == 0.0


def test_filling_sets_no_memory_aside_even_while_it_follows_a_clock() -> None:
    stage = Stage(ppm=500.0)
    stage.play(3.0)
    block = np.zeros(PERIOD, np.float32)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(300):
            stage.monitor.fill(block)
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 2048


class Tone:
    """A voice that plays one value."""

    def __init__(self, value: float) -> None:
        self._value = value

    def fill(self, block: Float32) -> None:
        block[:] = self._value


def mixed(n: int, mixer: Mixer, clock: HandClock, ring: SoundRing, value: float = 0.3) -> Float32:
    heard = np.zeros((n, PERIOD), np.float32)
    for block in heard:
        ring.put(np.full(BLOCK, value, np.float32), clock.time_s - BLOCK / RATE_HZ)
        mixer.fill(block)
        clock.wait(PERIOD / RATE_HZ)
    return heard.reshape(-1)


def test_listening_fades_from_the_voice_to_the_input_at_constant_power_and_back() -> None:
    clock, ring = HandClock(), SoundRing(RATE_HZ, BLOCK)
    mixer = Mixer(RATE_HZ, n_max=PERIOD, monitor=Monitor(ring, PERIOD, MARGIN_S, now_s=clock.now_s))
    mixer.take_over(Tone(-0.4))
    before = mixed(100, mixer, clock, ring)
    assert (before[-1000:] == np.float32(-0.4)).all()  # to the bit: nothing is mixed in
    mixer.listen(is_voice_heard=False, is_input_heard=True)
    change = mixed(100, mixer, clock, ring)
    assert np.abs(np.diff(change)).max() < 0.01
    np.testing.assert_allclose(change[-1000:], 0.3)
    n = round(LISTEN_S * RATE_HZ)
    assert change[n // 2] == pytest.approx((-0.4 + 0.3) * np.sqrt(0.5), abs=0.02)
    mixer.listen(is_voice_heard=True, is_input_heard=False)
    back = mixed(100, mixer, clock, ring)
    assert np.abs(np.diff(back)).max() < 0.01
    assert (back[-1000:] == np.float32(-0.4)).all()


def test_the_model_is_silent_50_ms_after_the_button_is_let_go() -> None:
    """Until the contact counts, the next block comes, and the fade is over."""
    config = load_config(None, Path(os.devnull))
    block_s = config.audio.period / config.audio.rate_hz
    assert config.panel.debounce_s + block_s + LISTEN_S <= 0.05


def test_voice_and_input_can_be_heard_together_or_neither_and_never_above_the_peak() -> None:
    clock, ring = HandClock(), SoundRing(RATE_HZ, BLOCK)
    mixer = Mixer(RATE_HZ, 0.9, PERIOD, Monitor(ring, PERIOD, MARGIN_S, 4.0, clock.now_s))
    mixer.take_over(Tone(0.5))
    mixer.listen(is_voice_heard=True, is_input_heard=True)
    both = mixed(100, mixer, clock, ring)
    assert 0.85 < np.abs(both[-1000:]).max() <= 0.9
    mixer.listen(is_voice_heard=False, is_input_heard=False)
    assert not mixed(100, mixer, clock, ring)[-1000:].any()


def test_a_level_is_reached_in_its_time_and_leaves_full_level_to_the_bit() -> None:
    clock, ring = HandClock(), SoundRing(RATE_HZ, BLOCK)
    mixer = Mixer(RATE_HZ, n_max=PERIOD)
    mixer.take_over(Tone(0.4))
    mixed(50, mixer, clock, ring)
    mixer.set_level(0.0, fade_s=0.5)
    down = mixed(250, mixer, clock, ring)
    assert (np.diff(down) <= 1e-6).all()
    assert down[round(0.45 * RATE_HZ)] > 0.0
    assert not down[round(0.51 * RATE_HZ) :].any()
    mixer.set_level(0.25, fade_s=0.5)
    assert mixed(250, mixer, clock, ring)[-1] == pytest.approx(0.1, rel=1e-5)
    mixer.set_level(1.0, fade_s=0.1)
    up = mixed(100, mixer, clock, ring)
    assert np.abs(np.diff(up)).max() < 0.4 * 2 / (0.1 * RATE_HZ) * 1.05
    assert (up[-1000:] == np.float32(0.4)).all()


@pytest.mark.parametrize("curve", [by_power, by_loudness])
def test_a_glide_is_the_same_whatever_the_blocks(curve: object) -> None:
    heard = []
    for n in (16, 100, 4096):
        glide, sound = Glide(RATE_HZ, 4096, curve), np.ones(20_000, np.float32)  # type: ignore[arg-type]  # one of two
        glide.send(0.2)
        for start in range(0, len(sound), n):
            glide.apply(sound[start : start + n], 0.3)
        heard.append(sound)
    for each in heard[1:]:
        np.testing.assert_allclose(each, heard[0], atol=1e-5)
    assert (np.diff(heard[0]) <= 1e-7).all()
