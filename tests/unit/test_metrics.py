"""The figures, each on sounds for which the answer is known."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from scipy import signal

from device.core.errors import TrainingError
from tests.sounds import notes
from trainer.evaluating import metrics
from trainer.evaluating.heard import Heard
from trainer.evaluating.information import Moves
from trainer.evaluating.metrics import figures, level_dbfs, still_level_dbfs
from trainer.evaluating.pitch import pitch_frames, yin
from trainer.evaluating.table import ROWS, Figures, format_table

Sound = npt.NDArray[np.float32]

RATE_HZ = 48000
DURATION_S = 8.0


def melody(semitones: float = 0.0, seed: int = 0, rate_hz: int = RATE_HZ, hiss: float = 0.02) -> Sound:
    """Notes that change pitch, loudness and brightness, with breath noise: a sound as a dance would play it."""
    rng = np.random.default_rng(seed)
    n_samples = int(DURATION_S * rate_hz)
    times_s = np.arange(n_samples) / rate_hz
    notes = rng.integers(-12, 13, int(4 * DURATION_S))[(4 * times_s).astype(int)]
    phase = 2 * np.pi * np.cumsum(220 * 2 ** ((notes + semitones) / 12)) / rate_hz
    loudness, brightness = (np.interp(times_s, np.arange(0, 9, 1 / 3), rng.uniform(0.05, 1, 27)) for _ in range(2))
    tone = sum(brightness ** (k - 1) * np.sin(k * phase) for k in range(1, 9))
    breath = hiss * brightness * rng.standard_normal(n_samples)
    return np.asarray(0.1 * loudness * (tone + breath), np.float32)


def late(sound: Sound, by_s: float) -> Sound:
    """Delay a sound, also by a part of a sample's time."""
    hz = np.fft.rfftfreq(len(sound), 1 / RATE_HZ)
    return np.asarray(np.fft.irfft(np.fft.rfft(sound) * np.exp(-2j * np.pi * hz * by_s), len(sound)), np.float32)


@pytest.fixture(scope="module")
def real() -> Sound:
    return melody()


def test_a_sound_follows_itself_perfectly(real: Sound) -> None:
    same = figures(real, real.copy(), RATE_HZ)
    assert same.loudness_rank_correlation == pytest.approx(1)
    assert same.pitch_within_semitone == 1
    assert same.brightness_rank_correlation == pytest.approx(1)
    assert same.band_rank_correlation == pytest.approx(1)
    assert same.excess_above_8k_db == pytest.approx(0, abs=1e-9)
    assert same.liveliness == pytest.approx(1)
    assert same.lag_ms == pytest.approx(0, abs=0.01)


def test_level_and_polarity_matter_to_likeness_alone(real: Sound) -> None:
    quiet, same = figures(real, -0.05 * real, RATE_HZ), figures(real, real, RATE_HZ)
    assert (quiet.frechet_db2 or 0.0) > 100
    unlike = {"frechet_db2", "frechet_ratio"}
    follows = [{name: value for name, value in each.as_dict().items() if name not in unlike} for each in (quiet, same)]
    assert follows[0] == pytest.approx(follows[1], abs=0.01)


def test_another_dance_is_unrelated(real: Sound) -> None:
    null = figures(real, melody(seed=5), RATE_HZ)
    assert abs(null.loudness_rank_correlation) < 0.4
    assert null.pitch_within_semitone is not None
    assert null.pitch_within_semitone < 0.25
    assert abs(null.brightness_rank_correlation) < 0.4
    assert abs(null.band_rank_correlation) < 0.4
    assert null.liveliness == pytest.approx(1, abs=0.25)


def test_noise_tells_nothing(real: Sound) -> None:
    noise = np.random.default_rng(1).standard_normal(len(real)).astype(np.float32)
    result = figures(real, 0.1 * noise, RATE_HZ)
    assert abs(result.loudness_rank_correlation) < 0.3
    assert result.pitch_within_semitone is not None
    assert result.pitch_within_semitone < 0.2
    assert abs(result.band_rank_correlation) < 0.2
    assert result.liveliness < 0.2
    assert result.excess_above_8k_db > 15


def test_silence_is_figures_of_nothing(real: Sound) -> None:
    result = figures(real, np.zeros_like(real), RATE_HZ)
    assert result.loudness_rank_correlation == 0
    assert result.pitch_within_semitone == 0
    assert result.brightness_rank_correlation == 0
    assert result.band_rank_correlation == 0
    assert result.excess_above_8k_db < -40
    assert result.liveliness == pytest.approx(0, abs=1e-9)
    assert result.lag_ms == 0


@pytest.mark.parametrize("lag_ms", [-35.0, 0.4, 12.0, 20.0, 45.0, 250.0])
def test_lag_is_the_delay(real: Sound, lag_ms: float) -> None:
    assert metrics.lag_ms(real, late(real, lag_ms / 1000), RATE_HZ) == pytest.approx(lag_ms, abs=0.3)


def test_lag_is_found_under_noise_and_another_timbre(real: Sound) -> None:
    noise = 0.005 * np.random.default_rng(2).standard_normal(len(real)).astype(np.float32)
    dull = signal.sosfilt(signal.butter(2, 1500, fs=RATE_HZ, output="sos"), late(real, 0.02)).astype(np.float32)
    assert metrics.lag_ms(real, dull + noise, RATE_HZ) == pytest.approx(20, abs=3)


@pytest.mark.parametrize(
    ("semitones", "share"), [(0.4, 1.0), (-0.8, 1.0), (1.3, 0.0), (-1.5, 0.0), (12.0, 0.0), (-12.0, 0.0)]
)
def test_pitch_counts_up_to_a_semitone(semitones: float, share: float) -> None:
    pure, moved = melody(hiss=0), melody(semitones, hiss=0)
    # Where one note goes over into the next, a frame holds two.
    assert metrics.pitch_within_semitone(pure, moved, RATE_HZ) == pytest.approx(share, abs=0.05)


def test_pitch_is_found_under_noise(real: Sound) -> None:
    level = float(np.sqrt(np.mean(real**2)))
    noise = 0.2 * level * np.random.default_rng(3).standard_normal(len(real)).astype(np.float32)
    share = metrics.pitch_within_semitone(real, real + noise, RATE_HZ)
    assert share is not None
    assert share > 0.85


def test_half_of_the_pitches_right_is_half() -> None:
    pure, wrong = melody(hiss=0), melody(7, hiss=0)
    half = pure.copy()
    half[len(half) // 2 :] = wrong[len(half) // 2 :]
    assert metrics.pitch_within_semitone(pure, half, RATE_HZ) == pytest.approx(0.5, abs=0.05)


def test_quiet_and_unvoiced_time_has_no_pitch() -> None:
    pure = melody(hiss=0)
    noise = np.random.default_rng(4).standard_normal(len(pure)).astype(np.float32)
    assert metrics.pitch_within_semitone(noise, noise, RATE_HZ) is None
    ghost = pure.copy()
    ghost[len(ghost) // 2 :] *= 0.0003  # below -50 dB
    played = pure.copy()
    played[len(played) // 2 :] = melody(7, hiss=0)[len(played) // 2 :]
    assert metrics.pitch_within_semitone(ghost, played, RATE_HZ) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize(
    ("f0_hz", "rate_hz"),
    [(46.2, 22050), (110.0, 22050), (1046.5, 22050), (1900.0, 44100)]
    + [(f0_hz, 48000) for f0_hz in (46.2, 55.0, 110.0, 440.0, 1318.5, 1900.0)],
)
def test_yin_finds_tones_and_their_octave(f0_hz: float, rate_hz: int) -> None:
    times_s = np.arange(rate_hz) / rate_hz
    for partials in ((1, 0, 0), (1, 0.8, 0.6), (0.3, 1, 0.8), (0, 1, 1)):
        tone = sum(a * np.sin(2 * np.pi * (k + 1) * f0_hz * times_s) for k, a in enumerate(partials))
        for frames in pitch_frames(np.asarray(tone, np.float32), rate_hz):
            found_hz, aperiodicity = yin(frames, rate_hz)
            np.testing.assert_allclose(12 * np.log2(found_hz / f0_hz), 0, atol=0.06)
            assert aperiodicity.max() < 0.1


def test_brightness_follows_the_spectrum_not_the_level(real: Sound) -> None:
    hz = np.fft.rfftfreq(len(real), 1 / RATE_HZ)
    dull = np.fft.irfft(np.fft.rfft(real) * (hz < 250), len(real)).astype(np.float32)
    assert figures(real, dull, RATE_HZ).brightness_rank_correlation < 0.7
    louder = np.asarray(real * np.linspace(0.01, 1, len(real)), np.float32)
    assert figures(real, louder, RATE_HZ).brightness_rank_correlation > 0.97
    assert figures(real, louder, RATE_HZ).loudness_rank_correlation < 0.9


def test_bands_see_what_loudness_does_not(real: Sound) -> None:
    one_third = signal.butter(4, [2500, 3500], "bandpass", fs=RATE_HZ, output="sos")
    flat = 0.02 * np.random.default_rng(6).standard_normal(len(real))
    flat *= np.sqrt(np.repeat(metrics.window_power(real, RATE_HZ), RATE_HZ // 10)) * 20
    only_loud = figures(real, flat.astype(np.float32), RATE_HZ)
    assert only_loud.loudness_rank_correlation > 0.9
    assert only_loud.band_rank_correlation < 0.75
    narrow = figures(real, signal.sosfilt(one_third, real).astype(np.float32), RATE_HZ)
    assert narrow.band_rank_correlation < 0.9


def test_bands_are_the_third_octaves_from_100_hz_to_16_khz() -> None:
    centres_hz = np.sqrt(metrics.BAND_EDGES_HZ[1:] * metrics.BAND_EDGES_HZ[:-1])
    assert len(centres_hz) == 23
    np.testing.assert_allclose(centres_hz[[0, 10, 22]], [100, 1000, 15849], rtol=1e-4)
    for rate_hz in (22050, 48000):
        hz = np.linspace(0, rate_hz / 2, 1025)
        spectra = np.eye(1025)[np.searchsorted(hz, centres_hz[centres_hz < 0.45 * rate_hz])]
        bands = metrics.band_power(spectra, hz)
        assert (bands.argmax(axis=1) - np.arange(len(bands)) <= 1).all()
        assert (bands.sum(axis=1) >= 1).all()


@pytest.mark.parametrize("gain_db", [-12.0, 6.0])
def test_excess_is_the_gain_of_what_lies_above_8_khz(gain_db: float) -> None:
    noise = np.random.default_rng(7).standard_normal(RATE_HZ * 4)
    noise *= np.interp(np.arange(len(noise)), [0, len(noise)], [0.1, 1])
    hz = np.fft.rfftfreq(len(noise), 1 / RATE_HZ)
    spectrum = np.fft.rfft(noise) * np.where(hz > 8000, 0.1, 1) * (np.abs(hz - 8000) > 100)
    shelved = np.fft.irfft(spectrum * np.where(hz > 8000, 10 ** (gain_db / 20), 1), len(noise))
    real = np.fft.irfft(spectrum, len(noise)).astype(np.float32)
    assert figures(real, shelved.astype(np.float32), RATE_HZ).excess_above_8k_db == pytest.approx(gain_db, abs=0.3)


def test_lowpass_is_no_excess(real: Sound) -> None:
    dull = signal.sosfilt(signal.butter(8, 4000, fs=RATE_HZ, output="sos"), real).astype(np.float32)
    assert figures(real, dull, RATE_HZ).excess_above_8k_db < -15


def test_liveliness_falls_with_the_modulation() -> None:
    rng = np.random.default_rng(8)
    times_s = np.arange(int(DURATION_S * RATE_HZ)) / RATE_HZ
    carrier = rng.standard_normal(len(times_s))
    level_db = 10 * np.sin(2 * np.pi * 0.5 * times_s)
    real, half, drone = (
        np.asarray(0.05 * carrier * 10 ** (depth * level_db / 20), np.float32) for depth in (1, 0.5, 0)
    )
    assert figures(real, half, RATE_HZ).liveliness == pytest.approx(0.5, abs=0.05)
    assert figures(real, drone, RATE_HZ).liveliness < 0.2
    assert figures(half, real, RATE_HZ).liveliness == pytest.approx(2, abs=0.2)


def test_levels_are_those_of_a_full_scale_square_wave() -> None:
    sine = np.sin(2 * np.pi * 1000 * np.arange(RATE_HZ) / RATE_HZ).astype(np.float32)
    assert level_dbfs(np.sign(sine)) == pytest.approx(0, abs=0.01)
    assert level_dbfs(sine) == pytest.approx(-3.01, abs=0.01)
    assert level_dbfs(0.001 * sine) == pytest.approx(-63.01, abs=0.01)
    assert level_dbfs(np.zeros(100, np.float32)) == -144


def test_a_blip_in_the_stillness_counts() -> None:
    still = np.zeros(RATE_HZ * 10, np.float32)
    assert still_level_dbfs(still, RATE_HZ) == -144
    still[300000:304800] = 0.01
    assert still_level_dbfs(still, RATE_HZ) == pytest.approx(-40, abs=3.1)
    assert level_dbfs(still) < -59


def test_what_one_sound_lasts_longer_is_left_out(real: Sound) -> None:
    longer = np.concatenate([real, melody(seed=9)])
    assert figures(real, longer, RATE_HZ) == figures(real, real, RATE_HZ)
    assert figures(longer, real, RATE_HZ) == figures(real, real, RATE_HZ)


@pytest.mark.parametrize("rate_hz", [22050, 44100])
def test_other_rates_give_the_same(rate_hz: int, real: Sound) -> None:
    other = melody(rate_hz=rate_hz)
    found, wanted = figures(other, other, rate_hz), figures(real, real, RATE_HZ)
    # Of some twenty onsets one or two more or less, on a grid of their own.
    assert found.onset_chance_f == pytest.approx(wanted.onset_chance_f, rel=0.2)
    assert replace(found, onset_chance_f=None).as_dict() == pytest.approx(
        replace(wanted, onset_chance_f=None).as_dict(), abs=0.01
    )


def broken(real: Sound, value: float) -> Sound:
    sound = real.copy()
    sound[1234] = value
    return sound


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_not_a_number_is_a_failure(real: Sound, value: float) -> None:
    for one, other in ((real, broken(real, value)), (broken(real, value), real)):
        with pytest.raises(TrainingError, match=r"^the (real|played) sound holds values that are not numbers: [^\n]+$"):
            figures(one, other, RATE_HZ)
    with pytest.raises(TrainingError, match="not numbers"):
        still_level_dbfs(broken(real, value), RATE_HZ)


def test_a_figure_that_is_no_number_is_a_failure(real: Sound) -> None:
    good = figures(real, real, RATE_HZ)
    for name in good.as_dict():
        with pytest.raises(TrainingError, match=rf"^the figure {name} is nan: [^\n]+$"):
            replace(good, **{name: float("nan")})


def test_what_cannot_be_compared_is_one_line(real: Sound) -> None:
    steady = np.sign(np.sin(2 * np.pi * 1000 * (np.arange(RATE_HZ * 2) + 0.5) / RATE_HZ)).astype(np.float32)
    for one, other, rate_hz, message in (
        (np.zeros_like(real), real, RATE_HZ, "the real sound is silent"),
        (steady, real, RATE_HZ, "loudness never changes"),
        (real[:1000], real, RATE_HZ, r"only 0\.02 s can be compared"),
        (real[:0], real, RATE_HZ, r"only 0\.00 s can be compared"),
        (real.reshape(-1, 2), real, RATE_HZ, "mix it to one channel"),
        (real, real, 16000, "nothing above 8 kHz"),
    ):
        with pytest.raises(TrainingError, match=rf"^[^\n]*{message}[^\n]*$"):
            figures(one, other, rate_hz)
    with pytest.raises(TrainingError, match="shorter than 100 ms"):
        still_level_dbfs(real[:1000], RATE_HZ)


def test_the_table_sets_figures_beside_null_and_ceiling() -> None:
    played = Figures(0.9712, 0.9, 0.9, 0.86, -1.4, 0.9, 18.2, -72.4)
    null = Figures(0.02, None, 0.1, -0.0001, -1e-9, 1.0, -374.0)
    lines = format_table({"played": played, "null": null}).splitlines()
    assert [line.split() for line in lines[:3]] == [
        ["played", "null"],
        ["loudness", "rank", "correlation", "0.971", "0.020"],
        ["pitch", "within", "a", "semitone,", "%", "90.0", "-"],
    ]
    assert lines[5].split()[-2:] == ["-1.4", "+0.0"]
    assert lines[8].split()[-2:] == ["-72", "-"]
    assert len({len(line) for line in lines}) == 1
    assert len(lines) == 1 + len(ROWS)
    assert lines[9].split()[-2:] == ["-", "-"]
    assert json.loads(json.dumps(null.as_dict()))["pitch_within_semitone"] is None


def moves_as_loud_as(sound: Sound, joins_s: tuple[float, ...] = ()) -> Moves:
    """Motion that goes with a sound's loudness."""
    power = metrics.window_power(sound, RATE_HZ, 0.02)
    times_s = np.linspace(0.0, 0.02 * (len(power) - 1), len(power))
    return Moves(times_s, np.sqrt(1600.0 * power), np.full(len(power), 0.5), len(sound) / RATE_HZ, np.array(joins_s))


@pytest.mark.parametrize("level", [0.0, 0.25])
def test_silence_and_what_never_changes_have_figures_or_none(real: Sound, level: float) -> None:
    result = figures(real, np.full_like(real, level), RATE_HZ, moves_as_loud_as(real))
    assert result.rise_time_ms is None
    assert (result.loudness_link, result.loudness_bits) == (0, 0)
    assert result.pitch_bits in (0, None)
    assert (result.onset_f or 0.0) < 0.1
    assert result.motion_onset_f is not None
    assert (result.frechet_ratio or 0.0) > 1
    still = replace(moves_as_loud_as(real), quantity=np.zeros(400), times_s=np.arange(400) * 0.02, height=np.zeros(400))
    assert figures(real, real, RATE_HZ, still).loudness_link == 0
    assert figures(real, real, RATE_HZ, still).motion_onset_f is None


def test_without_motion_its_figures_are_none(real: Sound) -> None:
    alone, moved = figures(real, real, RATE_HZ), figures(real, real, RATE_HZ, moves_as_loud_as(real))
    of_motion = {"loudness_link", "loudness_bits", "brightness_bits", "motion_onset_f", "motion_onset_chance_f"}
    assert all(alone.as_dict()[name] is None for name in of_motion)
    assert all(moved.as_dict()[name] is not None for name in of_motion)
    assert (moved.loudness_link or 0.0) > 0.9
    assert moved.onset_f == 1
    assert moved.frechet_db2 == pytest.approx(0, abs=1e-6)


def test_where_stretches_meet_nothing_begins() -> None:
    """Both jump there at once, whatever the model does: that is no hit."""
    rng = np.random.default_rng(0)
    joins_s = np.arange(1.0, 8.0)
    one, other = (
        notes(np.sort(np.append(joins_s, rng.uniform(0.3, 7.7, 12))), 0.002, 8.0, seed=seed) for seed in (0, 1)
    )
    fooled = figures(one, other, RATE_HZ, moves_as_loud_as(one))
    honest = figures(one, other, RATE_HZ, moves_as_loud_as(one, tuple(joins_s)))
    assert (fooled.onset_f or 0.0) > (honest.onset_f or 0.0) + 0.2


def test_sounds_that_hear_once_are_compared_alike(real: Sound) -> None:
    other = melody(seed=5)
    heard = Heard(real, RATE_HZ)
    first, second = (metrics.compare(heard, Heard(each, RATE_HZ)) for each in (other, other[: 5 * RATE_HZ]))
    assert first == figures(real, other, RATE_HZ)
    assert second == figures(real, other[: 5 * RATE_HZ], RATE_HZ)
