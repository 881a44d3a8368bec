"""Levels put right through the synth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import signal

from trainer.evaluating.hearing import BAND_EDGES_HZ, Sound
from trainer.learning.levels import LARGEST_GAIN_DB, at_bins, band_gains_db

RATE_HZ = 48000
CENTRES_HZ = np.sqrt(BAND_EDGES_HZ[:-1] * BAND_EDGES_HZ[1:])


def noise() -> Sound:
    sound: Sound = (0.1 * np.random.default_rng(0).standard_normal(4 * RATE_HZ)).astype(np.float32)
    return sound


def test_a_sound_needs_no_gain_against_itself() -> None:
    assert band_gains_db(noise(), noise(), RATE_HZ) == pytest.approx(0.0, abs=1e-9)


def test_what_is_too_soft_in_one_band_is_raised_there() -> None:
    softer = noise().astype(np.float64)
    b, a = signal.iirpeak(2000, 2, fs=RATE_HZ)
    softer -= 0.4 * signal.lfilter(b, a, softer)
    gains_db = band_gains_db(noise(), softer.astype(np.float32), RATE_HZ)
    loudest = int(gains_db.argmax())
    assert CENTRES_HZ[loudest] == pytest.approx(2000, rel=0.13)
    assert gains_db[loudest] > 3.0
    assert np.abs(gains_db[CENTRES_HZ < 300]).max() < 0.5


def test_a_gain_has_its_limits_and_silence_gets_none() -> None:
    assert band_gains_db(noise(), 0.1 * noise(), RATE_HZ) == pytest.approx(LARGEST_GAIN_DB)
    assert not band_gains_db(noise(), np.zeros(4 * RATE_HZ, np.float32), RATE_HZ).any()
    assert not band_gains_db(np.zeros(4 * RATE_HZ, np.float32), noise(), RATE_HZ).any()


def test_bins_take_the_gain_of_their_band() -> None:
    gains_db = np.linspace(-3, 3, len(CENTRES_HZ))
    assert at_bins(gains_db, CENTRES_HZ) == pytest.approx(gains_db)
    assert at_bins(gains_db, np.array([0.0, 10.0, 24000.0])) == pytest.approx([-3.0, -3.0, 3.0])
