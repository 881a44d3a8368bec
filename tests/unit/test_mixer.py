"""The mixer: one voice takes over from another without a gap, a click or a change of level, and nothing is too loud."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest

from device.core.fade import RELEASE_S, RISE_S
from device.edges.model import Float32
from device.engine.mixer import Mixer
from device.engine.scores import LocalScores, News

RATE_HZ = 48_000
CROSSFADE_S = 0.05
N_RISE = round(RISE_S * RATE_HZ)
N_CROSSFADE = round(CROSSFADE_S * RATE_HZ)


class Tune:
    """A voice that plays a function of its own sample numbers."""

    def __init__(self, play: Callable[[np.ndarray], np.ndarray], news: News | None = None) -> None:  # type: ignore[type-arg]
        self.n_asked = 0
        self._play = play
        self._news = news

    def fill(self, block: Float32) -> News | None:
        block[:] = self._play(np.arange(self.n_asked, self.n_asked + len(block)))
        self.n_asked += len(block)
        return self._news


def steady(level: float, news: News | None = None) -> Tune:
    return Tune(lambda index: np.full(len(index), level), news)


def sine(hz: float, amplitude: float = 0.3) -> Tune:
    return Tune(lambda index: amplitude * np.sin(2 * np.pi * hz * index / RATE_HZ))


def noise(seed: int) -> Tune:
    values = np.random.default_rng(seed).normal(0.0, 0.1, 10 * RATE_HZ)
    return Tune(lambda index: values[index])


def play(mixer: Mixer, n: int, period: int = 128) -> Float32:
    sound = np.full(n, np.nan, np.float32)
    for start in range(0, n, period):
        mixer.fill(sound[start : start + period])
    return sound


def change(before: Tune, after: Tune, period: int = 128, n_before: int = 4800) -> Float32:
    mixer = Mixer(RATE_HZ)
    mixer.take_over(before)
    first = play(mixer, n_before, period)
    mixer.take_over(after, CROSSFADE_S)
    return np.concatenate([first, play(mixer, n_before + N_CROSSFADE, period)])


def some_news() -> News:
    scores = LocalScores(3, 50.0)
    scores.publish(scores.rest, 1.0, 0.1)
    assert scores.news is not None
    return scores.news


def test_there_is_silence_before_the_first_voice_which_begins_at_once() -> None:
    mixer = Mixer(RATE_HZ)
    assert not play(mixer, N_RISE).any()
    mixer.take_over(steady(0.25), CROSSFADE_S)
    assert not mixer.is_changing
    assert (play(mixer, 256) == 0.25).all()


def test_a_voice_that_is_there_from_the_start_rises_without_a_click() -> None:
    sound = play_alone(steady(0.25), 2 * N_RISE)
    assert (np.diff(sound) >= 0).all()
    assert np.abs(np.diff(sound)).max() < 0.25 * 2 / N_RISE
    assert (sound[N_RISE:] == 0.25).all()


def test_power_is_constant_through_the_change() -> None:
    squares = [change(steady(a), steady(b)).astype(np.float64) ** 2 for a, b in ((0.5, 0.0), (0.0, 0.5))]
    np.testing.assert_allclose((squares[0] + squares[1])[N_RISE:], 0.25, rtol=1e-5)
    sound = change(noise(1), noise(2))
    middle = sound[4800 + N_CROSSFADE // 4 : 4800 + 3 * N_CROSSFADE // 4]
    assert np.std(middle) == pytest.approx(0.1, rel=0.1)


def test_no_sample_steps_further_than_both_tones_together() -> None:
    sound = change(sine(200.0), sine(330.0), n_before=4777)
    assert np.abs(np.diff(sound)).max() < 0.3 * 2 * np.pi * (200.0 + 330.0) / RATE_HZ


@pytest.mark.parametrize("period", [16, 128, 1000, 4096])
def test_the_change_begins_with_the_next_block_lasts_its_time_and_ends_for_good(period: int) -> None:
    before, after = noise(1), noise(2)
    sound = change(before, after, period, n_before=4096)
    expected = (noise(1), noise(2))
    old, new = (play_alone(tune, 4096 + N_CROSSFADE + 4096) for tune in expected)
    assert np.array_equal(sound[:4096], old[:4096])
    assert not np.array_equal(sound[4096 : 4096 + 100], old[4096 : 4096 + 100])
    assert np.array_equal(sound[4096 + N_CROSSFADE :], new[N_CROSSFADE : N_CROSSFADE + 4096])
    # The old one is not asked any more, once the block in which it ends is full.
    assert before.n_asked <= 4096 + N_CROSSFADE + period


def play_alone(tune: Tune, n: int) -> Float32:
    mixer = Mixer(RATE_HZ)
    mixer.take_over(tune)
    return play(mixer, n)


def test_the_block_size_changes_nothing() -> None:
    sounds = [change(noise(1), noise(2), period, n_before=4096) for period in (1, 64, 333, 4096)]
    assert all(sound.tobytes() == sounds[0].tobytes() for sound in sounds)


def test_it_says_whether_it_is_changing_and_may_change_again_afterwards() -> None:
    mixer = Mixer(RATE_HZ)
    mixer.take_over(steady(0.1))
    for level in (0.2, 0.3, 0.4):
        mixer.take_over(steady(level), CROSSFADE_S)
        assert mixer.is_changing
        play(mixer, N_CROSSFADE - 1, N_CROSSFADE)
        assert mixer.is_changing
        play(mixer, 1)
        assert not mixer.is_changing
        assert play(mixer, 1)[0] == np.float32(level)


def test_without_a_cross_fade_the_next_block_is_the_new_ones() -> None:
    mixer = Mixer(RATE_HZ)
    mixer.take_over(steady(0.1))
    play(mixer, N_RISE)
    mixer.take_over(steady(0.2))
    assert (play(mixer, 128)[1:] == np.float32(0.2)).all()


def test_news_of_either_voice_are_passed_on() -> None:
    old, new, mixer, block = some_news(), some_news(), Mixer(RATE_HZ), np.zeros(128, np.float32)
    assert mixer.fill(block) is None
    mixer.take_over(steady(0.1, old))
    assert mixer.fill(block) is old
    mixer.take_over(steady(0.1), CROSSFADE_S)
    assert mixer.fill(block) is old
    play(mixer, N_CROSSFADE)
    mixer.take_over(steady(0.1, new), CROSSFADE_S)
    assert mixer.fill(block) is new


def test_a_release_ends_in_silence_in_its_time_even_in_the_middle_of_a_change() -> None:
    for n_changed in (None, 0, 300):
        mixer = Mixer(RATE_HZ)
        mixer.take_over(sine(200.0))
        play(mixer, 4800)
        if n_changed is not None:
            mixer.take_over(sine(330.0), CROSSFADE_S)
            play(mixer, n_changed)
        n = mixer.release()
        assert 0 < n <= RELEASE_S * RATE_HZ + 1
        sound = play(mixer, n)
        assert sound.any()
        assert sound[-1] == 0.0
        assert np.abs(np.diff(sound)).max() < 0.3 * 2 * np.pi * (200.0 + 330.0) / RATE_HZ
        assert not play(mixer, 1000).any()


@pytest.mark.parametrize("wild", [10.0, -1e30, np.nan, 3e38])
@pytest.mark.parametrize("peak", [0.1, 0.5, 1.0])
def test_whatever_a_voice_says_nothing_is_louder_than_the_peak(wild: float, peak: float) -> None:
    mixer = Mixer(RATE_HZ, peak)
    mixer.take_over(steady(wild))
    assert np.abs(play(mixer, 256)).max() <= peak
    mixer.take_over(steady(-wild), CROSSFADE_S)
    assert np.abs(play(mixer, 2 * N_CROSSFADE)).max() <= peak


def test_filling_keeps_no_memory_even_through_changes() -> None:
    mixer, block, voices = Mixer(RATE_HZ), np.zeros(128, np.float32), [steady(0.1) for _ in range(20)]
    mixer.take_over(voices.pop())
    mixer.take_over(voices.pop(), CROSSFADE_S)
    for _ in range(100):
        mixer.fill(block)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        while voices:
            mixer.take_over(voices.pop(), CROSSFADE_S)
            for _ in range(100):
                mixer.fill(block)
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    # One change's two ramps may be newer than those of before.
    assert grown < 2 * 4 * N_CROSSFADE + 4096
