"""How well a played sound follows the real one: the figures of `trainer evaluate`.

Each figure compares the sound that a bundle plays for a dance with the sound that was recorded with it. A figure
means something beside its null (the sound of another dance) and its ceiling (true spectra through the synth):
`format_table` puts them side by side.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft, signal, stats

from device.core.errors import TrainingError
from trainer.pitch import PITCH_FRAME_S, VOICED_BELOW, pitch_frames, yin

Sound = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

WINDOW_S = 0.1
HOPS_PER_WINDOW = 10
SHORTEST_S = 1.0
# 80 dB below the loudest nothing is heard: below that, loudness is taken for equal.
AUDIBLE_RANGE_DB = 80.0
SOUNDING_RANGE_DB = 50.0
LIVELY_RANGE_DB = 60.0
SILENCE_DBFS = -144.0
HIGH_HZ = 8000.0

BAND_EDGES_HZ = 1000.0 * 10.0 ** ((np.arange(24) - 10.5) / 10.0)
"""Edges of 23 third-octave bands, nominal 100 Hz to 16 kHz (IEC 61260-1, base 10)."""

LONGEST_LAG_MS = 500


@dataclass(frozen=True)
class Figures:
    """How well one sound follows another.

    Attributes
    ----------
    loudness_rank_correlation : float
        Spearman correlation over time of the power in windows of 100 ms; 1 is perfect, 0 unrelated.
    pitch_within_semitone : float or None
        Share of the time, 0 to 1, in which the pitches are at most a semitone apart, where the real sound has one;
        None where it never has.
    brightness_rank_correlation : float
        Spearman correlation over time of the spectral centroid (power averaged over 100 ms), where the real sound
        is within 50 dB of its loudest.
    band_rank_correlation : float
        Spearman correlation over time of the power in each of 23 third-octave bands (100 ms), mean over the bands
        in which the real sound can be heard.
    excess_above_8k_db : float
        Share of the energy that lies above 8 kHz, played against real, in dB; above 0 is hiss.
    liveliness : float
        Standard deviation over time of the band levels in dB (levels matched, 60 dB range, mean over bands),
        played against real: 1 is alive, 0 a drone.
    lag_ms : float
        How late the played sound's loudness is.
    still_level_dbfs : float or None
        Loudest 100 ms that are played to a scene in which nobody moves; None where it was not measured.

    Raises
    ------
    TrainingError
        A figure is not a finite number.
    """

    loudness_rank_correlation: float
    pitch_within_semitone: float | None
    brightness_rank_correlation: float
    band_rank_correlation: float
    excess_above_8k_db: float
    liveliness: float
    lag_ms: float
    still_level_dbfs: float | None = None

    def __post_init__(self) -> None:
        for name, value in self.as_dict().items():
            if value is not None and not math.isfinite(value):
                raise TrainingError(f"the figure {name} is {value}: train anew, or look for what is wrong in the takes")

    def as_dict(self) -> dict[str, float | None]:
        """Give name and value of each figure, ready for JSON."""
        return asdict(self)


def figures(real: Sound, played: Sound, rate_hz: float) -> Figures:
    """Compare a played sound with the real one.

    Parameters
    ----------
    real, played : np.ndarray, shape (n_samples,)
        Sounds that begin at the same time, -1 to 1; what one lasts longer is left out.
    rate_hz : float
        Above 16 kHz.

    Returns
    -------
    Figures
        All but the level when still.

    Raises
    ------
    TrainingError
        A sample is not a number, the sounds are too short, or the real one is silent or never changes.
    """
    real, played = comparable(real, played, rate_hz)
    real_spectra = window_spectra(real, rate_hz)
    played_spectra = window_spectra(played, rate_hz)
    hz = np.linspace(0.0, rate_hz / 2, real_spectra.shape[1])
    real_bands, played_bands = band_power(real_spectra, hz), band_power(played_spectra, hz)
    return Figures(
        loudness_rank_correlation=loudness_rank_correlation(real, played, rate_hz),
        pitch_within_semitone=pitch_within_semitone(real, played, rate_hz),
        brightness_rank_correlation=brightness_rank_correlation(real_spectra, played_spectra, hz),
        band_rank_correlation=band_rank_correlation(real_bands, played_bands),
        excess_above_8k_db=high_share_db(played_spectra, hz) - high_share_db(real_spectra, hz),
        liveliness=liveliness(real_bands, played_bands),
        lag_ms=lag_ms(real, played, rate_hz),
    )


def comparable(real: Sound, played: Sound, rate_hz: float) -> tuple[Sound, Sound]:
    """Check both sounds and cut them to the same length."""
    if rate_hz <= 2 * HIGH_HZ:
        raise TrainingError(f"sounds at {rate_hz} Hz hold nothing above 8 kHz: evaluate at a rate above 16000 Hz")
    for name, sound in (("real", real), ("played", played)):
        if sound.ndim != 1:
            raise TrainingError(f"the {name} sound has shape {sound.shape}, not (n_samples,): mix it to one channel")
        if not np.isfinite(sound).all():
            raise TrainingError(f"the {name} sound holds values that are not numbers: train anew, or mend the take")
    n_samples = min(len(real), len(played))
    if n_samples < SHORTEST_S * rate_hz:
        raise TrainingError(f"only {n_samples / rate_hz:.2f} s can be compared: give {SHORTEST_S:.0f} s or more")
    if level_dbfs(real[:n_samples]) <= SILENCE_DBFS:
        raise TrainingError("the real sound is silent: choose takes with sound")
    return real[:n_samples], played[:n_samples]


def window_power(sound: Sound, rate_hz: float, window_s: float = WINDOW_S) -> Float64:
    """Mean power in windows side by side: shape (n_windows,); a rest shorter than a window is left out."""
    n_windows = int(len(sound) / (window_s * rate_hz))
    edges = np.rint(np.arange(n_windows + 1) * window_s * rate_hz).astype(np.int64)
    total = np.concatenate([[0.0], np.cumsum(np.square(sound, dtype=np.float64))])
    return np.asarray(np.maximum(np.diff(total[edges]), 0.0) / np.diff(edges))


def window_spectra(sound: Sound, rate_hz: float) -> Float64:
    """Power spectra averaged over windows of 100 ms.

    Parameters
    ----------
    sound : np.ndarray, shape (n_samples,)
    rate_hz : float

    Returns
    -------
    np.ndarray, shape (n_windows, n_bins), float64
        Mean of the power of ten Hann-windowed transforms of about 43 ms, 10 ms apart (Welch).
    """
    n_fft = 2 ** round(math.log2(0.043 * rate_hz))
    n_windows = int(len(sound) / (WINDOW_S * rate_hz))
    hann = signal.get_window("hann", n_fft).astype(np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(sound.astype(np.float32), n_fft // 2), n_fft)
    spectra = np.empty((n_windows, n_fft // 2 + 1))
    for start in range(0, n_windows, 32):
        stop = min(start + 32, n_windows)
        middles_s = (np.arange(start * HOPS_PER_WINDOW, stop * HOPS_PER_WINDOW) + 0.5) * (WINDOW_S / HOPS_PER_WINDOW)
        transforms = fft.rfft(frames[np.rint(middles_s * rate_hz).astype(np.int64)] * hann, axis=1)
        power = transforms.real.astype(np.float64) ** 2 + transforms.imag.astype(np.float64) ** 2
        spectra[start:stop] = power.reshape(stop - start, HOPS_PER_WINDOW, -1).mean(axis=1)
    return spectra


def band_power(spectra: Float64, hz: Float64) -> Float64:
    """Power in the bands of `BAND_EDGES_HZ` that lie below half of the rate: shape (n_windows, n_bands)."""
    edges = np.searchsorted(hz, BAND_EDGES_HZ[: np.searchsorted(BAND_EDGES_HZ, hz[-1])])
    # The lowest bands are as narrow as a bin, and each has one at least.
    stops = np.maximum(edges[1:], edges[:-1] + 1)
    return np.stack([spectra[:, a:b].sum(axis=1) for a, b in zip(edges[:-1], stops, strict=True)], axis=1)


def rank_correlation(real: Float64, played: Float64) -> float:
    """Spearman's rank correlation; 0 where what is played never changes, for it then tells nothing."""
    if np.ptp(played) == 0.0:
        return 0.0
    return float(stats.spearmanr(real, played).statistic)


def audible(power: Float64) -> Float64:
    """Power with all that is 80 dB below the loudest made equal, so that ranks in silence do not count."""
    return np.maximum(power, power.max() * 10 ** (-AUDIBLE_RANGE_DB / 10))


def loudness_rank_correlation(real: Sound, played: Sound, rate_hz: float) -> float:
    """Spearman correlation of the power in windows of 100 ms."""
    real_power, played_power = (audible(window_power(sound, rate_hz)) for sound in (real, played))
    if np.ptp(real_power) == 0.0:
        raise TrainingError("the real sound's loudness never changes: choose takes in which it does")
    return rank_correlation(real_power, played_power)


def brightness_rank_correlation(real_spectra: Float64, played_spectra: Float64, hz: Float64) -> float:
    """Spearman correlation of the spectral centroids, where the real sound is within 50 dB of its loudest."""
    power = real_spectra.sum(axis=1)
    sounding = power > power.max() * 10 ** (-SOUNDING_RANGE_DB / 10)
    real_hz, played_hz = (centroid_hz(spectra[sounding], hz) for spectra in (real_spectra, played_spectra))
    return 0.0 if np.ptp(real_hz) == 0.0 else rank_correlation(real_hz, played_hz)


def centroid_hz(spectra: Float64, hz: Float64) -> Float64:
    """Spectral centroid of power spectra: shape (n_windows,); it goes to 0 Hz in silence."""
    power = spectra.sum(axis=1)
    silence = max(float(power.max()) * 10 ** (-AUDIBLE_RANGE_DB / 10), np.finfo(np.float64).tiny)
    return np.asarray(spectra @ hz / (power + silence))


def band_rank_correlation(real_bands: Float64, played_bands: Float64) -> float:
    """Spearman correlation of each band's power over time, mean over the bands in which the real sound is heard."""
    real_bands, played_bands = audible(real_bands), audible(played_bands)
    heard = np.flatnonzero(np.ptp(real_bands, axis=0) > 0.0)
    return float(np.mean([rank_correlation(real_bands[:, band], played_bands[:, band]) for band in heard]))


def high_share_db(spectra: Float64, hz: Float64) -> float:
    """Share of the energy that lies above 8 kHz, in dB, from -100; a silent sound has -100."""
    share = spectra[:, hz > HIGH_HZ].sum() / max(float(spectra.sum()), np.finfo(np.float64).tiny)
    return 10 * math.log10(max(share, 1e-10))


def liveliness(real_bands: Float64, played_bands: Float64) -> float:
    """Spread over time of the band levels, played against real.

    The played sound is brought to the real one's mean power; levels 60 dB below the real sound's loudest band count
    as silence, in both.
    """
    played_power = float(played_bands.sum())
    gain = float(real_bands.sum()) / played_power if played_power > 0.0 else 0.0
    floor = real_bands.max() * 10 ** (-LIVELY_RANGE_DB / 10)
    real_db, played_db = (10 * np.log10(np.maximum(bands, floor)) for bands in (real_bands, played_bands * gain))
    return float(played_db.std(axis=0).mean() / real_db.std(axis=0).mean())


def pitch_within_semitone(real: Sound, played: Sound, rate_hz: float) -> float | None:
    """Share of the real sound's voiced frames in which the played pitch is at most a semitone away.

    Frames of 46 ms, 10 ms apart, in which the real sound is voiced and within 50 dB of its loudest. Of the played sound
    the likeliest pitch counts, however noisy; silence has none.
    """
    n_agree = n_voiced = 0
    loudest = float(window_power(real, rate_hz, PITCH_FRAME_S).max())
    for real_frames, played_frames in zip(pitch_frames(real, rate_hz), pitch_frames(played, rate_hz), strict=True):
        sounding = np.square(real_frames, dtype=np.float64).mean(axis=1) > loudest * 10 ** (-SOUNDING_RANGE_DB / 10)
        real_f0_hz, aperiodicity = yin(real_frames[sounding], rate_hz)
        played_f0_hz, _ = yin(played_frames[sounding], rate_hz)
        voiced = np.isfinite(real_f0_hz) & (aperiodicity < VOICED_BELOW)
        semitones = 12 * np.abs(np.log2(played_f0_hz[voiced] / real_f0_hz[voiced]))
        n_voiced += int(voiced.sum())
        n_agree += int((semitones <= 1.0).sum())  # not a number, in silence, is not within a semitone
    return n_agree / n_voiced if n_voiced else None


def lag_ms(real: Sound, played: Sound, rate_hz: float) -> float:
    """How late the played sound is: the peak of the normalised cross-correlation of the loudness envelopes.

    Parameters
    ----------
    real, played : np.ndarray, shape (n_samples,)
    rate_hz : float

    Returns
    -------
    float
        Milliseconds within 500; positive: played is late. 0 where what is played never changes.
    """
    real_loudness, played_loudness = loudness_envelope(real, rate_hz), loudness_envelope(played, rate_hz)
    longest = min(LONGEST_LAG_MS, len(real_loudness) // 4)
    middle = real_loudness[longest:-longest]
    middle = middle - middle.mean()
    n = len(middle)
    product = signal.correlate(played_loudness, middle, mode="valid", method="fft")
    total, squares = (np.pad(np.cumsum(played_loudness**power), (1, 0)) for power in (1, 2))
    variance = (squares[n:] - squares[:-n]) - (total[n:] - total[:-n]) ** 2 / n
    if variance.max() <= 1e-12 * squares[-1]:
        return 0.0
    likeness = product / np.sqrt(np.maximum(variance, 1e-6 * variance.max()))
    return peak(likeness) - (len(likeness) - 1) / 2


def loudness_envelope(sound: Sound, rate_hz: float) -> Float64:
    """Loudness every millisecond: power smoothed over 21 ms, to the power 0.3 (Stevens): shape (n_ms,).

    The smoothing takes out the ripple of low tones, and shifts nothing.
    """
    hann = signal.windows.hann(43)
    power = signal.convolve(window_power(sound, rate_hz, 0.001), hann / hann.sum(), mode="same")
    return np.asarray(np.maximum(power, 0.0) ** 0.3)


def peak(values: Float64) -> float:
    """Place of the largest value, between samples by a parabola."""
    at = int(np.argmax(values))
    if not 0 < at < len(values) - 1:
        return float(at)
    before, top, after = values[at - 1 : at + 2]
    curve = before - 2 * top + after
    return float(at + (0.5 * (before - after) / curve if curve < 0 else 0.0))


def level_dbfs(sound: Sound) -> float:
    """Root mean square of a sound in dB; 0 is a full-scale square wave, digital silence is -144."""
    power = float(np.square(sound, dtype=np.float64).mean()) if len(sound) else 0.0
    return 10 * math.log10(max(power, 10 ** (SILENCE_DBFS / 10)))


def still_level_dbfs(sound: Sound, rate_hz: float) -> float:
    """Level of the loudest 100 ms of what is played to a still scene, in dBFS, so that a short blip counts too.

    Raises
    ------
    TrainingError
        A sample is not a number, or there are less than 100 ms.
    """
    if not np.isfinite(sound).all():
        raise TrainingError("the sound of a still scene holds values that are not numbers: train anew")
    power = window_power(sound, rate_hz)
    if len(power) == 0:
        raise TrainingError("the sound of a still scene is shorter than 100 ms: play it for longer")
    return 10 * math.log10(max(float(power.max()), 10 ** (SILENCE_DBFS / 10)))


ROWS = (
    ("loudness_rank_correlation", "loudness rank correlation", "{:.3f}", 1.0),
    ("pitch_within_semitone", "pitch within a semitone, %", "{:.1f}", 100.0),
    ("brightness_rank_correlation", "brightness rank correlation", "{:.3f}", 1.0),
    ("band_rank_correlation", "band rank correlation", "{:.3f}", 1.0),
    ("excess_above_8k_db", "excess above 8 kHz, dB", "{:+.1f}", 1.0),
    ("liveliness", "liveliness", "{:.2f}", 1.0),
    ("lag_ms", "lag, ms", "{:.0f}", 1.0),
    ("still_level_dbfs", "level when still, dBFS", "{:.0f}", 1.0),
)


def format_table(columns: Mapping[str, Figures]) -> str:
    """Set figures beside each other, one row a figure, one column an entry (played, null, ceiling).

    Parameters
    ----------
    columns : mapping of str to Figures
        Heading and figures, from left to right.

    Returns
    -------
    str
        Lines without a last newline; '-' where there is no such figure.
    """
    lines = [["", *columns]]
    for name, label, form, factor in ROWS:
        values = [column.as_dict()[name] for column in columns.values()]
        # Adding 0 takes the sign from a rounded -0.
        lines.append([label, *("-" if v is None else form.format(round(v * factor, 3) + 0.0) for v in values)])
    widths = [max(len(cell) for cell in cells) for cells in zip(*lines, strict=True)]
    padded = ([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])] for line in lines)
    return "\n".join("  ".join(line) for line in padded)
