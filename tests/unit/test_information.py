"""Mutual information and the link of loudness: where the answer is known, and gone where nothing links."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.feature_selection import mutual_info_regression

from tests.sounds import RATE_HZ, Float64, Sound
from trainer.evaluating.heard import Heard
from trainer.evaluating.information import Moves, information, mutual_information_bits, window_pitch_hz

DURATION_S = 30.0


def slow(rng: np.random.Generator, times_s: Float64) -> Float64:
    """A value from 0 to 1 that wanders, changing some three times a second."""
    return np.interp(times_s, np.arange(0, DURATION_S + 1, 0.3), rng.random(int(DURATION_S / 0.3) + 4))


def dance(seed: int = 0, fps: float = 50.0) -> Moves:
    rng = np.random.default_rng(seed)
    times_s = np.arange(int(DURATION_S * fps)) / fps
    return Moves(times_s, 5 * slow(rng, times_s), 0.2 + 0.6 * slow(rng, times_s), DURATION_S, np.zeros(0))


def played(moves: Moves, late_s: float = 0.0) -> Sound:
    """A tone as loud as there is motion and as high as it is high, with treble where it is high."""
    times_s = np.arange(int(DURATION_S * RATE_HZ)) / RATE_HZ
    level = np.interp(times_s - late_s, moves.times_s, moves.quantity) / 20
    height = np.interp(times_s - late_s, moves.times_s, moves.height)
    phase = 2 * np.pi * np.cumsum(150 * 2 ** (2 * height)) / RATE_HZ
    tone = sum(height ** (k / 2) * np.sin((k + 1) * phase) for k in range(6))
    return np.asarray(level * tone, np.float32)


@pytest.mark.parametrize("correlation", [0.0, 0.6, 0.95])
def test_information_of_normal_values_is_that_of_the_formula(correlation: float) -> None:
    one, other = np.random.default_rng(0).standard_normal((2, 2000))
    linked = correlation * one + np.sqrt(1 - correlation**2) * other
    wanted = -0.5 * np.log2(1 - correlation**2)
    assert mutual_information_bits(one, linked) == pytest.approx(wanted, abs=0.06)


def test_another_library_says_the_same() -> None:
    one, other = np.random.default_rng(1).standard_normal((2, 800))
    linked = one**2 + 0.3 * other
    theirs = mutual_info_regression(one[:, np.newaxis], linked, random_state=0)[0] / np.log(2)
    assert mutual_information_bits(one, linked) == pytest.approx(theirs, abs=0.1)


def test_information_sees_what_no_correlation_sees() -> None:
    one = np.random.default_rng(2).uniform(-1, 1, 1000)
    bits = mutual_information_bits(one, np.cos(3 * one))
    assert bits is not None
    assert bits > 2


def test_scale_does_not_matter() -> None:
    one, other = np.random.default_rng(3).standard_normal((2, 500))
    linked = one + other
    assert mutual_information_bits(np.exp(5 * one), 1e-9 * linked) == mutual_information_bits(one, linked)


def test_equal_values_tell_nothing_by_their_order() -> None:
    """What is silent for long and still for long would be linked if ties stood in the order of time."""
    halves = np.repeat([0.0, 1.0], 200)
    tied = mutual_information_bits(halves, np.random.default_rng(4).permutation(halves))
    assert tied is not None
    assert tied < 0.1


def test_what_cannot_tell_anything() -> None:
    values = np.arange(100.0)
    assert mutual_information_bits(values, np.ones(100)) == 0
    assert mutual_information_bits(np.zeros(100), values) == 0
    assert mutual_information_bits(values[:29], values[:29]) is None
    assert mutual_information_bits(np.zeros(0), np.zeros(0)) is None


def test_a_sound_that_follows_is_linked_and_to_another_dance_it_is_not() -> None:
    moves, other = dance(), dance(seed=1)
    heard = Heard(played(moves, late_s=0.02), RATE_HZ)
    linked, null = information(moves, heard), information(other, heard)
    assert linked.loudness_link > 0.95
    assert abs(null.loudness_link) < 0.25
    for bits, null_bits in (
        (linked.loudness_bits, null.loudness_bits),
        (linked.brightness_bits, null.brightness_bits),
        (linked.pitch_bits, null.pitch_bits),
    ):
        assert bits is not None
        assert null_bits is not None
        assert bits > 0.7
        assert null_bits < 0.3


def test_moved_in_time_the_link_is_gone_and_moved_back_it_is_there() -> None:
    moves = dance()
    heard = Heard(played(moves), RATE_HZ)
    assert abs(information(moves.rolled(11.3), heard).loudness_link) < 0.3
    again = information(moves.rolled(11.3).rolled(DURATION_S - 11.3), heard)
    assert again.loudness_link == pytest.approx(information(moves, heard).loudness_link, abs=0.01)


def test_rolled_motion_is_where_the_rolled_sound_is() -> None:
    moves = dance()
    sound = played(moves)
    n_samples = round(0.37 * len(sound))
    rolled = Heard(np.roll(sound, n_samples), RATE_HZ)
    assert information(moves.rolled(n_samples / RATE_HZ), rolled).loudness_link > 0.95


def test_joins_are_known_where_they_were_and_where_they_go() -> None:
    moves = Moves(np.arange(10.0), np.ones(10), np.ones(10), 10.0, np.array([4.0]))
    np.testing.assert_allclose(moves.rolled(7.0).joins_s, [1, 4, 7])


def test_height_is_that_of_what_moves() -> None:
    times_s = np.arange(0, 1.0, 0.01)
    quantity = np.where(times_s < 0.5, np.where(np.arange(100) % 2, 9.0, 1.0), 0.0)
    height = np.where(np.arange(100) % 2, 0.8, 0.0)
    found, heights = Moves(times_s, quantity, height, 1.0, np.zeros(0)).in_windows(10)
    assert found[0] == pytest.approx(5, abs=0.5)
    assert heights[:4] == pytest.approx(0.72, abs=0.02)
    assert np.isnan(heights[6:]).all()


def test_pitch_is_that_of_its_window() -> None:
    times_s = np.arange(2 * RATE_HZ) / RATE_HZ
    steps = 200 + 50 * (times_s * 10).astype(int)
    sound = np.sin(2 * np.pi * np.cumsum(steps) / RATE_HZ).astype(np.float32)
    sound[RATE_HZ:] = 0
    found_hz = window_pitch_hz(Heard(sound, RATE_HZ))
    np.testing.assert_allclose(found_hz[:10], 200 + 50 * np.arange(10), rtol=0.01)
    assert np.isnan(found_hz[10:]).all()


def test_stillness_and_silence_tell_nothing() -> None:
    moves = dance()
    still = Moves(moves.times_s, np.zeros_like(moves.times_s), moves.height, DURATION_S, moves.joins_s)
    for what, sound in ((still, played(moves)), (moves, np.zeros(int(DURATION_S * RATE_HZ), np.float32))):
        found = information(what, Heard(sound, RATE_HZ))
        assert (found.loudness_link, found.loudness_bits) == (0, 0)
        assert (found.brightness_bits, found.pitch_bits) == (None, None)
