"""Loudness that follows the body, where the music did not."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from trainer.data.loudness import FOLLOWS, LARGEST_GAIN_DB, leading_gains_db

Float64 = npt.NDArray[np.float64]
TIMES_S = np.arange(1000) / 50


def wave(period_s: float) -> Float64:
    return np.asarray(1.0 + np.sin(2 * np.pi * TIMES_S / period_s))


def link(quantity: Float64, level_db: Float64) -> float:
    return float(stats.spearmanr(quantity, level_db).statistic)


def test_music_that_goes_its_own_way_is_made_to_follow_within_its_own_levels() -> None:
    quantity, level_db = wave(3.1), -30 + 5 * wave(1.7)
    assert abs(link(quantity, level_db)) < 0.1
    led_db = level_db + leading_gains_db(quantity, level_db, TIMES_S)
    assert link(quantity, led_db) > 0.9
    assert np.percentile(led_db, [5, 50, 95]) == pytest.approx(np.percentile(level_db, [5, 50, 95]), abs=1.5)


def test_music_that_follows_is_left_as_it_is() -> None:
    quantity = wave(3.1)
    assert not leading_gains_db(quantity, -40 + 20 * quantity, TIMES_S).any()


def test_it_is_led_as_far_only_as_it_does_not_follow() -> None:
    quantity = wave(3.1)
    rng = np.random.default_rng(0)
    slow = np.interp(TIMES_S, np.arange(0, 21, 0.5), rng.standard_normal(42))
    gains_db = []
    for own in (3.5, 1.2):
        level_db = -30 + 3 * quantity + own * 6 * slow
        assert 0 < link(quantity, level_db) < FOLLOWS
        led_db = level_db + leading_gains_db(quantity, level_db, TIMES_S)
        assert link(quantity, led_db) > link(quantity, level_db)
        gains_db.append(np.std(led_db - level_db) / np.std(level_db))
    assert gains_db[1] < gains_db[0]


def test_stillness_and_pauses_are_left_alone() -> None:
    quantity, level_db = wave(3.1), -30 + 5 * wave(1.7)
    quantity[200:300] = 0.0
    level_db[600:700] = -100.0
    gains_db = leading_gains_db(quantity, level_db, TIMES_S)
    assert not gains_db[210:290].any()
    assert not gains_db[610:690].any()
    assert np.abs(gains_db).max() <= LARGEST_GAIN_DB


@pytest.mark.parametrize("n", [0, 1, 20])
def test_too_little_to_say_changes_nothing(n: int) -> None:
    assert not leading_gains_db(wave(3.1)[:n], np.full(n, -20.0), TIMES_S[:n]).any()


def test_one_steady_level_changes_nothing() -> None:
    assert not leading_gains_db(wave(3.1), np.full(1000, -20.0), TIMES_S).any()
