"""The Frechet distance: by hand where it can be had by hand, and more the more a music is damaged."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import linalg, signal

from tests.sounds import RATE_HZ, Sound, music, noise
from trainer.evaluating.likeness import covariance, frechet_mel, frechet_parts, likeness, mel_bank, mel_power


@pytest.fixture(scope="module")
def real() -> Sound:
    return music(16)


def lowpassed(sound: Sound, hz: float) -> Sound:
    return np.asarray(signal.sosfilt(signal.butter(8, hz, fs=RATE_HZ, output="sos"), sound), np.float32)


def drone(sound: Sound) -> Sound:
    """The same spectrum over the whole, with nothing happening."""
    spectrum = np.fft.rfft(sound)
    phases = np.exp(2j * np.pi * np.random.default_rng(0).random(len(spectrum)))
    return np.asarray(np.fft.irfft(np.abs(spectrum) * phases, len(sound)), np.float32)


def test_music_is_like_itself(real: Sound) -> None:
    assert frechet_mel(real, real.copy(), RATE_HZ) == pytest.approx(0, abs=1e-6)
    assert frechet_parts(real, RATE_HZ) > 0.1


def test_the_other_half_is_nearer_than_any_damage(real: Sound) -> None:
    """Other notes of the same instrument are like it; the instrument without treble, or a drone, is not."""
    other = frechet_mel(real, music(16, seed=1), RATE_HZ)
    ratio = likeness(mel_power(real, RATE_HZ), mel_power(music(16, seed=1), RATE_HZ)).frechet_ratio
    assert ratio is not None
    assert ratio < 2
    for damaged in (lowpassed(real, 700), drone(real), noise(16), np.zeros_like(real)):
        assert frechet_mel(real, damaged, RATE_HZ) > 3 * other


def test_the_more_is_missing_the_farther_it_is(real: Sound) -> None:
    distances = [frechet_mel(real, lowpassed(real, hz), RATE_HZ) for hz in (8000, 3000, 1500, 700, 300)]
    assert distances == sorted(distances)
    assert distances[-1] > 5 * distances[0]


def test_the_more_it_is_a_drone_the_farther_it_is(real: Sound) -> None:
    still = drone(real)
    mixed = [np.asarray((1 - share) * real + share * still, np.float32) for share in (0.02, 0.1, 0.3, 1.0)]
    distances = [frechet_mel(real, each, RATE_HZ) for each in mixed]
    assert distances == sorted(distances)


@pytest.mark.parametrize("gain_db", [-6.0, 3.0])
def test_an_offset_of_level_is_its_square(gain_db: float) -> None:
    steady = noise(20)
    louder = np.asarray(steady * 10 ** (gain_db / 20), np.float32)
    assert frechet_mel(steady, louder, RATE_HZ) == pytest.approx(gain_db**2, rel=0.01)


def test_what_is_60_db_below_is_silence() -> None:
    bursts = noise(4)
    bursts[: len(bursts) // 2] = 0
    hiss = noise(4, 1e-5, seed=1)
    assert frechet_mel(bursts, bursts + hiss, RATE_HZ) < 0.01
    assert frechet_mel(bursts, bursts + 1000 * hiss, RATE_HZ) > 10


def test_distance_of_normal_clouds_is_that_of_the_formula() -> None:
    rng = np.random.default_rng(3)
    mixes = [rng.standard_normal((64, 64)) / 8 for _ in range(2)]
    levels_db = [rng.standard_normal((40000, 64)) @ mix + shift for mix, shift in zip(mixes, (-20, -22), strict=True)]
    covariances = [mix.T @ mix for mix in mixes]
    root = linalg.sqrtm(covariances[0] @ covariances[1]).real
    wanted = 64 * 2.0**2 + np.trace(covariances[0] + covariances[1] - 2 * root)
    found = likeness(*(10 ** (each / 10) for each in levels_db)).frechet_db2
    assert found == pytest.approx(wanted / 64, rel=0.03)


def test_few_frames_do_not_explode(real: Sound) -> None:
    """A second is 23 frames for 64 bands: another second of the same noise is as near as long ones are, nearly."""
    long, short = (frechet_mel(noise(s), noise(s, seed=1), RATE_HZ) for s in (20, 1))
    assert long < 0.5
    assert short < 5
    assert frechet_mel(real[:3000], real[3000:6000], RATE_HZ) < 1000


def test_covariance_is_that_of_many_and_drawn_to_equal_bands_of_few() -> None:
    rng = np.random.default_rng(4)
    true = np.diag(np.linspace(1, 4, 16)) + 0.5
    root = linalg.cholesky(true)
    np.testing.assert_allclose(covariance(rng.standard_normal((100000, 16)) @ root), true, atol=0.1)
    few = rng.standard_normal((8, 16)) @ root
    assert np.linalg.eigvalsh(covariance(few)).min() > 0.1
    assert np.linalg.norm(covariance(few) - true) < np.linalg.norm(np.cov(few.T, bias=True) - true)


@pytest.mark.parametrize("rate_hz", [22050, 44100, 48000])
def test_every_mel_band_hears_its_tone(rate_hz: int) -> None:
    bank = mel_bank(rate_hz, 2048 if rate_hz > 30000 else 1024)
    assert bank.max(axis=1).min() > 0.3
    assert (np.diff(bank.argmax(axis=1)) >= 0).all()
    tone = np.sin(2 * np.pi * 1000 * np.arange(rate_hz) / rate_hz).astype(np.float32)
    power = mel_power(tone, rate_hz).mean(axis=0)
    assert power.max() == pytest.approx(1, rel=0.6)
    at_hz = np.linspace(0, rate_hz / 2, bank.shape[1])[bank[power.argmax()].argmax()]
    assert at_hz == pytest.approx(1000, rel=0.06)


def test_silence_and_repetition_have_an_answer(real: Sound) -> None:
    silence = np.zeros(RATE_HZ * 2, np.float32)
    assert frechet_mel(silence, silence, RATE_HZ) == 0
    assert np.isfinite(frechet_mel(real, silence, RATE_HZ))
    mel = mel_power(noise(2), RATE_HZ)
    assert likeness(np.concatenate([mel, mel]), mel).frechet_ratio is None
