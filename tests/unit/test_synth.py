"""The synth: what a dancer hears of a spectrum."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from device.core.synth import Synth, SynthSettings, analyse

Array = npt.NDArray[Any]
SETTINGS = SynthSettings()
RATE_HZ = SETTINGS.rate_hz


def resynthesise(sound: Array, spectra_per_s: float = 60.0, period: int = 128) -> Array:
    """Sound -> its spectra at a camera's rate -> the synth."""
    centres = (np.arange(int(len(sound) / RATE_HZ * spectra_per_s)) / spectra_per_s * RATE_HZ).astype(np.int64)
    spectra = analyse(sound, centres, SETTINGS)
    synth, out = Synth(SETTINGS), np.zeros_like(sound)
    for start in range(0, len(out), period):
        synth.set_spectrum(spectra[min(int(start / RATE_HZ * spectra_per_s), len(spectra) - 1)])
        synth.fill(out[start : start + period])
    return out


def tone(f0_hz: float, seconds: float = 1.5, level: float = 0.3, n_harmonics: int = 1) -> Array:
    times_s = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    k = np.arange(1, n_harmonics + 1)[:, np.newaxis]
    sound: Array = (level / k * np.sin(2 * np.pi * k * f0_hz * times_s)).sum(0).astype(np.float32)
    return sound


def noise(level: float = 0.05, seconds: float = 1.5) -> Array:
    return (level * np.random.default_rng(1).standard_normal(int(seconds * RATE_HZ))).astype(np.float32)


def level_db(sound: Array) -> float:
    return float(10 * np.log10(np.mean(np.square(sound, dtype=np.float64)) + 1e-20))


def power_above(sound: Array, hz: float) -> float:
    """Share of the power above a frequency, in dB."""
    n = 4096
    frames = sound[: len(sound) // n * n].reshape(-1, n) * np.blackman(n)
    power = np.square(np.abs(np.fft.rfft(frames))).sum(0)
    return float(10 * np.log10(power[int(hz / RATE_HZ * n) :].sum() / power.sum() + 1e-20))


def test_silence_in_silence_out() -> None:
    synth, block = Synth(SETTINGS), np.ones(1000, np.float32)
    synth.fill(block)
    assert not block.any()


def test_silence_after_sound_is_exact_within_two_hops_after_the_glide() -> None:
    synth, block = Synth(SETTINGS), np.zeros(RATE_HZ // 10, np.float32)
    synth.set_spectrum(analyse(tone(440.0), np.array([RATE_HZ // 2]), SETTINGS)[0])
    synth.fill(block)
    assert level_db(block[-2000:]) > -20
    synth.set_spectrum(np.zeros(SETTINGS.n_bins, np.float32))
    synth.fill(block)
    assert not block[int(0.03 * RATE_HZ) :].any()


def pitch_and_level(sound: Array, f0_hz: float) -> tuple[Array, Array]:
    """Of a steady tone, 43 ms at a time: shape (n,) each; semitones beside f0_hz, amplitude."""
    lowpass = np.hanning(2048) / np.hanning(2048).sum()
    turned = np.convolve(sound * np.exp(-2j * np.pi * f0_hz * np.arange(len(sound)) / RATE_HZ), lowpass, "valid")
    drift_rad = np.angle(turned[240::240] / turned[:-240:240])
    return 12 * np.log2(1 + drift_rad / (2 * np.pi * f0_hz * 240 / RATE_HZ)), 2 * np.abs(turned[::240])


@pytest.mark.parametrize("spectra_per_s", [25, 60])
@pytest.mark.parametrize("f0_hz", [55.0, 65.4, 82.4, 110.0, 220.7, 441.3, 1234.5, 5000.0])
def test_a_tone_keeps_its_pitch_and_level_without_wobble(f0_hz: float, spectra_per_s: float) -> None:
    played = resynthesise(tone(f0_hz), spectra_per_s)[RATE_HZ // 2 :]
    semitones, amplitude = pitch_and_level(played, f0_hz)
    assert np.abs(semitones).max() < 0.1
    assert np.abs(20 * np.log10(amplitude / 0.3)).max() < 0.5


@pytest.mark.parametrize("f0_hz", [82.4, 110.0])
def test_a_low_tone_among_its_harmonics_keeps_its_pitch(f0_hz: float) -> None:
    semitones, _ = pitch_and_level(resynthesise(tone(f0_hz, n_harmonics=10))[RATE_HZ // 2 :], f0_hz)
    assert np.abs(semitones).max() < 0.12


def power_between(sound: Array, low_hz: float, high_hz: float) -> float:
    """Share of the power between two frequencies, in dB."""
    power = np.square(np.abs(np.fft.rfft(sound * np.blackman(len(sound)))))
    hz = np.fft.rfftfreq(len(sound), 1 / RATE_HZ)
    return float(10 * np.log10(power[(hz > low_hz) & (hz < high_hz)].sum() / power.sum() + 1e-20))


@pytest.mark.parametrize("f0_hz", [500.0, 1007.0])
def test_nothing_is_heard_beside_a_steady_sine(f0_hz: float) -> None:
    """Neither its leakage, played as noise, nor a beat at the rate of the hops."""
    played = resynthesise(tone(f0_hz))[RATE_HZ // 2 :]
    assert power_between(played, f0_hz + 80, f0_hz + 1000) < -65


def test_a_close_chord_is_played_as_tones() -> None:
    """Three sines 70 Hz apart, three bins: as noise they would crackle, and be heard an octave below."""
    chord = tone(490.0, level=0.1) + tone(560.0, level=0.1) + tone(630.0, level=0.1)
    played = resynthesise(chord)[RATE_HZ // 2 :]
    assert power_between(played, 150, 400) < -45
    assert abs(level_db(played) - level_db(chord)) < 0.5


def test_quiet_highs_are_heard_beside_a_loud_tone() -> None:
    """Cymbals are 70 dB below the bass in a recording, each of their bins below -100 dB."""
    spectrum = np.fft.rfft(noise(level=1.0))
    spectrum[: int(8000 * 1.5)] = 0.0  # bins of 1 / 1.5 s
    highs = np.fft.irfft(spectrum)
    highs *= 10 ** (-78 / 20) / np.sqrt(np.mean(highs**2))
    sound: Array = (tone(220.7) + highs).astype(np.float32)
    played = resynthesise(sound)[RATE_HZ // 4 :]
    assert abs(power_above(played, 9000) - power_above(sound, 9000)) < 2.0


def test_a_steady_tone_has_no_clicks() -> None:
    """A click is broadband: between the partials of a steady sound there is next to nothing above 8 kHz."""
    played = resynthesise(tone(220.7, n_harmonics=10))[RATE_HZ // 4 :]
    assert power_above(played, 8000) < -95


def test_a_jump_to_another_tone_clicks_no_more_than_a_fade_over_a_hop() -> None:
    spectra = [analyse(tone(f0_hz), np.array([RATE_HZ // 2]), SETTINGS)[0] for f0_hz in (330.0, 495.0)]
    synth, played = Synth(SETTINGS), np.zeros(RATE_HZ, np.float32)
    for number, start in enumerate(range(0, len(played), RATE_HZ // 20)):
        synth.set_spectrum(spectra[number % 2])
        synth.fill(played[start : start + RATE_HZ // 20])
    assert power_above(played, 8000) < -70
    assert np.abs(np.diff(played)).max() < 2 * 0.3 * 2 * np.pi * 495 / RATE_HZ


@pytest.mark.parametrize("spectra_per_s", [25, 60, 375])
def test_noise_keeps_its_level(spectra_per_s: float) -> None:
    sound = noise(seconds=3.0)
    played = resynthesise(sound, spectra_per_s)
    # See BESIDE_GAIN: half a dB up.
    assert 0.0 < level_db(played[RATE_HZ // 4 :]) - level_db(sound) < 1.0


def test_noise_as_a_model_says_it_keeps_its_level() -> None:
    """A model says about the mean of what was measured: 2 dB too little. See NOISE_SCATTER: 1 dB down."""
    sound = noise(seconds=3.0)
    mean = analyse(sound, np.arange(5000, 130000, 400), SETTINGS).mean(axis=0)
    synth, played = Synth(SETTINGS), np.zeros_like(sound)
    synth.set_spectrum(np.full_like(mean, mean[20:-20].mean()))
    synth.fill(played)
    assert -1.5 < level_db(played[RATE_HZ // 4 :]) - level_db(sound) < -0.5


def test_breath_with_ripples_is_not_played_as_whistles() -> None:
    """A model's breath is not quite smooth. Noise varies in power as much as the mean of it, a whistle does not."""
    bins = np.arange(SETTINGS.n_bins)
    rippled: Array = (0.15 * (1 + 0.1 * np.sin(2 * np.pi * bins / 8))).astype(np.float32)
    synth, played = Synth(SETTINGS), np.zeros(3 * RATE_HZ, np.float32)
    synth.set_spectrum(rippled)
    synth.fill(played)
    frames = np.lib.stride_tricks.sliding_window_view(played[RATE_HZ // 4 :], 2048)[::1024] * np.hanning(2048)
    power = np.square(np.abs(np.fft.rfft(frames)))[:, 20:-20]
    assert (np.var(power, axis=0) / np.mean(power, axis=0) ** 2).mean() > 0.7


def test_smooth_noise_does_not_buzz_at_the_rate_of_the_hops() -> None:
    """What a model says of breath is a smooth spectrum: locked phases would make it a train of pulses."""
    smooth: Array = ((0.003 / (1 + np.arange(SETTINGS.n_bins) / 100)) ** SETTINGS.power).astype(np.float32)
    synth, played = Synth(SETTINGS), np.zeros(2 * RATE_HZ, np.float32)
    synth.set_spectrum(smooth)
    synth.fill(played)
    power = np.square(played[RATE_HZ // 10 :].astype(np.float64))
    power -= power.mean()
    envelope = np.fft.irfft(np.square(np.abs(np.fft.rfft(power, 2 * len(power)))))
    assert envelope[SETTINGS.hop] / envelope[0] < 0.1


@pytest.mark.parametrize("period", [1, 64, 100, 240, 480, 4096])
def test_the_samples_do_not_depend_on_the_block_size(period: int) -> None:
    sound: Array = (tone(440.0, n_harmonics=5) + noise()).astype(np.float32)
    spectrum = analyse(sound, np.array([RATE_HZ // 2]), SETTINGS)[0]

    def played(size: int) -> Array:
        synth, out = Synth(SETTINGS), np.zeros(9600, np.float32)
        synth.set_spectrum(spectrum)
        for start in range(0, len(out), size):
            synth.fill(out[start : start + size])
        return out

    np.testing.assert_array_equal(played(period), played(128))


def test_the_first_sound_comes_within_two_hops() -> None:
    spectrum = analyse(tone(440.0), np.array([RATE_HZ // 2]), SETTINGS)[0]
    synth, out = Synth(SETTINGS), np.zeros(RATE_HZ // 10, np.float32)
    synth.fill(out[: SETTINGS.hop])
    synth.set_spectrum(spectrum)
    synth.fill(out[SETTINGS.hop :])
    heard = np.flatnonzero(np.abs(out) > 0.5 * np.abs(out[-4800:]).max())
    assert heard[0] - SETTINGS.hop < 2.5 * SETTINGS.hop


def test_the_spectrum_may_be_written_to_after_it_was_given() -> None:
    spectrum = analyse(tone(440.0), np.array([RATE_HZ // 2]), SETTINGS)[0]
    given = spectrum.copy()
    first, second = Synth(SETTINGS), Synth(SETTINGS)
    first.set_spectrum(spectrum)
    second.set_spectrum(given)
    given[:] = 0.0
    a, b = np.zeros(2000, np.float32), np.zeros(2000, np.float32)
    first.fill(a)
    second.fill(b)
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("wrong", [{"rate_hz": 0}, {"hop": 0}, {"n_fft": 1000}, {"n_fft": 256}, {"power": 0.0}])
def test_settings_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"synth settings|n_fft"):
        SynthSettings(**wrong)  # type: ignore[arg-type]
