"""Onsets of sound and of motion: where they are, how many of them meet, and how fast they rise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage, signal

from trainer.evaluating.hearing import Float64, Sound, frame_power, n_fft_of, smooth_power
from trainer.evaluating.likeness import mel_bank

ONSET_RATE_HZ = 100.0
"""Steps in a second in which onsets are looked for."""
WITHIN_S = 0.05
"""As near as an onset has to be to another to hit it: that of MIREX."""
SOUND_RANGE_DB, MOTION_RANGE_DB = 70.0, 30.0
SOUND_RISE_DB, MOTION_RISE_DB = 0.85, 0.4
"""How far a peak stands out of what is around it: mean rise of a band, and rise of the quantity, over 20 ms. Steady
noise stays below the first; nine in ten onsets of motion above the second are heard in sounds made from the motion."""
MOTION_SMOOTH_S = 0.1
ATTACK_S, AFTER_S = 0.15, 0.1
"""How long before an onset its attack may begin, and after it end."""
LEAST_ATTACK_DB = 6.0
FEWEST_ATTACKS = 5


@dataclass(frozen=True)
class HitRate:
    """How many onsets meet.

    Attributes
    ----------
    precision, recall, f : float
        Share of the played onsets that hit a wanted one, of the wanted ones that are hit, and their harmonic mean;
        0 to 1. 0 where there is none to count.
    chance_f : float
        The harmonic mean that as many onsets would reach if they fell anywhere, each for itself.
    """

    precision: float
    recall: float
    f: float
    chance_f: float


def onset_hit_rate(wanted_s: Float64, played_s: Float64, duration_s: float, within_s: float = WITHIN_S) -> HitRate:
    """Match onsets one to one, as MIREX and mir_eval do (Raffel et al., ISMIR 2014).

    Parameters
    ----------
    wanted_s, played_s : np.ndarray, shape (n_wanted,), (n_played,)
        Times, rising, 0 to `duration_s`.
    duration_s : float
        Of the sound, for the rate of chance.
    within_s : float
        Farthest apart that two may be.

    Returns
    -------
    HitRate
    """
    n_hits = count_matches(wanted_s, played_s, within_s)
    by_chance = (_covered(onsets_s, duration_s, within_s) for onsets_s in (wanted_s, played_s))
    precision = n_hits / len(played_s) if len(played_s) else 0.0
    recall = n_hits / len(wanted_s) if len(wanted_s) else 0.0
    return HitRate(precision, recall, _harmonic(precision, recall), _harmonic(*by_chance))


def count_matches(one_s: Float64, other_s: Float64, within_s: float) -> int:
    """Count pairs in the largest one-to-one matching of times at most `within_s` apart.

    Taking the earliest that fits is the largest, for all reach equally far.
    """
    n_matches = i = j = 0
    while i < len(one_s) and j < len(other_s):
        apart_s = one_s[i] - other_s[j]
        # A microsecond more, so that rounding decides nothing.
        if abs(apart_s) <= within_s + 1e-6:
            n_matches, i, j = n_matches + 1, i + 1, j + 1
        elif apart_s < 0:
            i += 1
        else:
            j += 1
    return n_matches


def _covered(onsets_s: Float64, duration_s: float, within_s: float) -> float:
    """Share of the time that lies within reach of an onset: how often one that falls anywhere would hit."""
    starts, stops = np.maximum(onsets_s - within_s, 0.0), np.minimum(onsets_s + within_s, duration_s)
    overlap_s = np.maximum(stops[:-1] - starts[1:], 0.0).sum()
    return float(((stops - starts).sum() - overlap_s) / duration_s) if duration_s > 0.0 else 0.0


def _harmonic(one: float, other: float) -> float:
    return 2 * one * other / (one + other) if one + other > 0.0 else 0.0


def sound_onsets_s(sound: Sound, rate_hz: float) -> Float64:
    """Times at which something begins to sound: shape (n_onsets,), rising.

    Peaks (`pick_peaks`) of the spectral flux, the mean over 64 mel bands of what their levels in dB rise by above the
    largest of themselves and their neighbours before, so that a vibrato or a glide is no onset (SuperFlux: Boeck and
    Widmer, DAFx 2013). What is 70 dB below the loudest counts as silence.

    Parameters
    ----------
    sound : np.ndarray, shape (n_samples,)
    rate_hz : float

    Returns
    -------
    np.ndarray, shape (n_onsets,), float64
        Seconds; none in silence, in a drone, or in steady noise.
    """
    flux = sound_flux(sound, rate_hz)
    return pick_peaks(flux, SOUND_RISE_DB) / ONSET_RATE_HZ


def sound_flux(sound: Sound, rate_hz: float) -> Float64:
    """Mean rise of the mel bands over 20 ms, in dB, 0 or more: shape (n_steps,), at `ONSET_RATE_HZ`."""
    n_steps = int(len(sound) / rate_hz * ONSET_RATE_HZ)
    bank = mel_bank(rate_hz, n_fft_of(rate_hz))
    middles_s = np.arange(n_steps) / ONSET_RATE_HZ
    parts = [frame_power(sound, rate_hz, middles_s[at : at + 256]) @ bank.T for at in range(0, n_steps, 256)]
    power = np.concatenate([np.zeros((0, len(bank))), *parts])
    if n_steps < 3 or power.max() <= 0.0:
        return np.zeros(n_steps)
    level_db = 10 * np.log10(np.maximum(power, power.max() * 10 ** (-SOUND_RANGE_DB / 10)))
    before_db = ndimage.maximum_filter1d(level_db, 3, axis=1)
    # A rise belongs to its middle: from 10 ms before to 10 ms after.
    return np.pad(np.maximum(level_db[2:] - before_db[:-2], 0.0).mean(axis=1), 1)


def motion_onsets_s(quantity: Float64, times_s: Float64) -> Float64:
    """Times at which motion gathers: shape (n_onsets,), rising.

    Peaks of the rise in dB of the quantity of motion, smoothed over 100 ms, 30 dB below its largest counted as none.

    Parameters
    ----------
    quantity : np.ndarray, shape (n,)
        Grey levels, 0 or more.
    times_s : np.ndarray, shape (n,)
        Rising, from 0.

    Returns
    -------
    np.ndarray, shape (n_onsets,), float64
        Seconds; none where nothing moves.
    """
    n_steps = int(times_s[-1] * ONSET_RATE_HZ) + 1 if len(times_s) else 0
    steady = np.interp(np.arange(n_steps) / ONSET_RATE_HZ, times_s, quantity) if n_steps else np.zeros(0)
    if n_steps < 3 or steady.max() <= 0.0:
        return np.zeros(0)
    hann = signal.windows.hann(round(MOTION_SMOOTH_S * ONSET_RATE_HZ) + 2)[1:-1]
    smooth = ndimage.convolve1d(steady, hann / hann.sum(), mode="nearest")
    level_db = 20 * np.log10(np.maximum(smooth, smooth.max() * 10 ** (-MOTION_RANGE_DB / 20)))
    rise = np.pad(np.maximum(level_db[2:] - level_db[:-2], 0.0), 1)
    return pick_peaks(rise, MOTION_RISE_DB) / ONSET_RATE_HZ


def pick_peaks(novelty: Float64, least: float) -> Float64:
    """Pick the steps that are the largest within 30 ms, stand out by `least`, and follow no other within 30 ms.

    Boeck, Krebs and Schedl, "Evaluating the online capabilities of onset detection methods", ISMIR 2012; what it
    stands out of is the mean of the 100 ms before and 70 ms after.

    Parameters
    ----------
    novelty : np.ndarray, shape (n_steps,)
        At `ONSET_RATE_HZ`.
    least : float
        In the unit of `novelty`.

    Returns
    -------
    np.ndarray, shape (n_peaks,), float64
        Steps, rising; between two where the neighbours say so.
    """
    largest = ndimage.maximum_filter1d(novelty, 7, mode="nearest")
    mean = ndimage.uniform_filter1d(novelty, 18, origin=1, mode="nearest")
    picked: list[int] = []
    for step in np.flatnonzero((novelty == largest) & (novelty >= mean + least)):
        if not picked or step - picked[-1] > 3:
            picked.append(int(step))
    at = np.asarray(picked, np.int64)
    before, here, after = (np.pad(novelty, 1)[at + shift] for shift in range(3))
    curve = before - 2 * here + after
    return np.asarray(at + np.where(curve < 0, 0.5 * (before - after) / np.where(curve < 0, curve, 1.0), 0.0))


def rise_time_ms(sound: Sound, rate_hz: float, onsets_s: Float64) -> float | None:
    """Median time in which the level of onsets goes from 10 to 90% of its way.

    The level is the root of the power smoothed by a Hann window of 15 ms, in which a click takes 8 ms itself. Onsets
    that rise by less than 6 dB are no attacks.

    Parameters
    ----------
    sound : np.ndarray, shape (n_samples,)
    rate_hz : float
    onsets_s : np.ndarray, shape (n_onsets,)
        From `sound_onsets_s`.

    Returns
    -------
    float or None
        Milliseconds, 0 to 250; None with fewer than five attacks.
    """
    level = np.sqrt(smooth_power(sound, rate_hz, 15))
    rises = [_rise_ms(level, round(onset_s * 1000)) for onset_s in onsets_s]
    attacks = [rise for rise in rises if rise is not None]
    return float(np.median(attacks)) if len(attacks) >= FEWEST_ATTACKS else None


def _rise_ms(level: Float64, onset_ms: int) -> float | None:
    """Rise of one onset in a level that has a value every millisecond; None where it is no attack."""
    start, stop = max(0, onset_ms - round(ATTACK_S * 1000)), onset_ms + round(AFTER_S * 1000)
    around = level[start:stop]
    if len(around) < 2:
        return None
    # The first top near the onset, not a louder one that comes later.
    middle = min(onset_ms - start, len(around) - 1)
    top_at = middle + int(around[middle:].argmax())
    bottom_at = int(around[: top_at + 1].argmin())
    bottom, top = around[bottom_at], around[top_at]
    if top < 10 ** (LEAST_ATTACK_DB / 20) * bottom or top <= 0.0:
        return None
    way = (around[bottom_at : top_at + 1] - bottom) / (top - bottom)
    end = int((way >= 0.9).argmax())
    return float(end - np.flatnonzero(way[: end + 1] <= 0.1)[-1])
