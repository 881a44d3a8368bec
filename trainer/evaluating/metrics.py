"""How well a played sound follows the real one: the figures of `trainer evaluate`.

Each figure compares the sound that a bundle plays for a dance with the sound that was recorded with it, or with the
motion. A figure means something beside its null (the sound of another dance) and its ceiling (true spectra through
the synth): `format_table` puts them side by side.
"""

from __future__ import annotations

import math
from dataclasses import asdict

import numpy as np
from scipy import signal

from device.core.errors import TrainingError
from trainer.evaluating.heard import Heard
from trainer.evaluating.hearing import (
    BAND_EDGES_HZ,
    SILENCE_DBFS,
    Float64,
    Sound,
    audible,
    band_power,
    is_sounding,
    level_dbfs,
    loudness_envelope,
    rank_correlation,
    window_power,
)
from trainer.evaluating.information import Moves, information
from trainer.evaluating.likeness import likeness
from trainer.evaluating.onsets import motion_onsets_s, onset_hit_rate
from trainer.evaluating.pitch import VOICED_BELOW
from trainer.evaluating.table import ROWS, Figures, format_table

__all__ = [
    "BAND_EDGES_HZ",
    "ROWS",
    "Figures",
    "band_power",
    "compare",
    "figures",
    "format_table",
    "lag_ms",
    "level_dbfs",
    "loudness_rank_correlation",
    "pitch_within_semitone",
    "still_level_dbfs",
    "window_power",
]

SHORTEST_S = 1.0
LIVELY_RANGE_DB = 60.0
HIGH_HZ = 8000.0
LONGEST_LAG_MS = 500
JOIN_S = 0.1
"""As near as this to where two stretches of time meet, an onset may be that of their meeting."""


def figures(real: Sound, played: Sound, rate_hz: float, moves: Moves | None = None) -> Figures:
    """Compare a played sound with the real one, and with the motion.

    Parameters
    ----------
    real, played : np.ndarray, shape (n_samples,)
        Sounds that begin at the same time, -1 to 1; what one lasts longer is left out.
    rate_hz : float
        Above 16 kHz.
    moves : Moves, optional
        The motion that both go with.

    Returns
    -------
    Figures
        All but the level when still; what needs the motion only where it is given.

    Raises
    ------
    TrainingError
        A sample is not a number, the sounds are too short, or the real one is silent or never changes.
    """
    return compare(Heard(real, rate_hz), Heard(played, rate_hz), moves)


def compare(real: Heard, played: Heard, moves: Moves | None = None) -> Figures:
    """`figures` of sounds that are compared with others too."""
    rate_hz = real.rate_hz
    n_samples = comparable(real.sound, played.sound, rate_hz)
    real, played = (each if len(each.sound) == n_samples else each.cut(n_samples) for each in (real, played))
    return Figures(
        loudness_rank_correlation=_loudness_rank_correlation(real, played),
        pitch_within_semitone=_pitch_within_semitone(real, played),
        brightness_rank_correlation=brightness_rank_correlation(real, played),
        band_rank_correlation=band_rank_correlation(real.bands, played.bands),
        excess_above_8k_db=high_share_db(played.spectra, played.hz) - high_share_db(real.spectra, real.hz),
        liveliness=liveliness(real.bands, played.bands),
        lag_ms=_lag_ms(real.loudness, played.loudness),
        **asdict(likeness(real.mel, played.mel)),
        **rhythm(real, played, moves),
        **({} if moves is None else asdict(information(moves, played))),
    )


def rhythm(real: Heard, played: Heard, moves: Moves | None = None) -> dict[str, float | None]:
    """How the played onsets meet those of the real sound and of the motion, and how fast they rise: see `Figures`."""
    joins_s = np.zeros(0) if moves is None else moves.joins_s
    played_s = away_from(played.onsets_s, joins_s)
    wanted = {"onset": real.onsets_s}
    if moves is not None:
        wanted["motion_onset"] = motion_onsets_s(moves.quantity, moves.times_s)
    found: dict[str, float | None] = {"rise_time_ms": played.rise_time_ms}
    for name, onsets_s in wanted.items():
        wanted_s = away_from(onsets_s[onsets_s < played.duration_s], joins_s)
        # Where nothing was to be hit there is no rate.
        if len(wanted_s):
            hits = onset_hit_rate(wanted_s, played_s, played.duration_s)
            found.update({f"{name}_{rate}": value for rate, value in asdict(hits).items()})
    return found


def away_from(onsets_s: Float64, joins_s: Float64) -> Float64:
    """Leave out onsets that may be no more than the meeting of two stretches of time."""
    near = np.abs(onsets_s[:, np.newaxis] - joins_s) <= JOIN_S
    return np.asarray(onsets_s[~near.any(axis=1)])


def comparable(real: Sound, played: Sound, rate_hz: float) -> int:
    """Check both sounds; how many samples of them can be compared."""
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
    return n_samples


def loudness_rank_correlation(real: Sound, played: Sound, rate_hz: float) -> float:
    """Spearman correlation of the power in windows of 100 ms."""
    return _loudness_rank_correlation(Heard(real, rate_hz), Heard(played, rate_hz))


def _loudness_rank_correlation(real: Heard, played: Heard) -> float:
    real_power, played_power = audible(real.power), audible(played.power)
    if np.ptp(real_power) == 0.0:
        raise TrainingError("the real sound's loudness never changes: choose takes in which it does")
    return rank_correlation(real_power, played_power)


def brightness_rank_correlation(real: Heard, played: Heard) -> float:
    """Spearman correlation of the spectral centroids, where the real sound is within 50 dB of its loudest."""
    sounding = is_sounding(real.spectra.sum(axis=1))
    return rank_correlation(real.brightness_hz[sounding], played.brightness_hz[sounding])


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
    return _pitch_within_semitone(Heard(real, rate_hz), Heard(played, rate_hz))


def _pitch_within_semitone(real: Heard, played: Heard) -> float | None:
    real_f0_hz, aperiodicity, power = real.pitch
    played_f0_hz, _, _ = played.pitch
    voiced = np.isfinite(real_f0_hz) & (aperiodicity < VOICED_BELOW) & is_sounding(power)
    semitones = 12 * np.abs(np.log2(played_f0_hz[voiced] / real_f0_hz[voiced]))
    # Not a number, in silence, is not within a semitone.
    return float((semitones <= 1.0).mean()) if voiced.any() else None


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
    return _lag_ms(loudness_envelope(real, rate_hz), loudness_envelope(played, rate_hz))


def _lag_ms(real_loudness: Float64, played_loudness: Float64) -> float:
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


def peak(values: Float64) -> float:
    """Place of the largest value, between samples by a parabola."""
    at = int(np.argmax(values))
    if not 0 < at < len(values) - 1:
        return float(at)
    before, top, after = values[at - 1 : at + 2]
    curve = before - 2 * top + after
    return float(at + (0.5 * (before - after) / curve if curve < 0 else 0.0))


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
