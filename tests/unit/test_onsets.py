"""Onsets: found where they were put, matched one to one, and no sharper than they are."""

from __future__ import annotations

import librosa
import numpy as np
import pytest

from tests.long import long
from tests.sounds import RATE_HZ, noise, notes
from trainer.evaluating.onsets import (
    HitRate,
    motion_onsets_s,
    onset_hit_rate,
    pick_peaks,
    rise_time_ms,
    sound_onsets_s,
)

DURATION_S = 12.0
ONSETS_S = 0.5 + 0.37 * np.arange(30) + np.random.default_rng(0).uniform(-0.08, 0.08, 30)


@pytest.mark.parametrize("tonal", [True, False])
@pytest.mark.parametrize("attack_s", [0.002, 0.02, 0.04])
def test_onsets_are_where_the_notes_begin(attack_s: float, tonal: bool) -> None:
    found_s = sound_onsets_s(notes(ONSETS_S, attack_s, DURATION_S, tonal=tonal), RATE_HZ)
    hits = onset_hit_rate(ONSETS_S, found_s[found_s > 0.1], DURATION_S)
    assert hits.f > 0.93
    errors_s = np.abs(found_s[:, np.newaxis] - ONSETS_S).min(axis=0)
    assert np.median(errors_s) < 0.025


def test_onsets_are_found_at_any_level() -> None:
    sound = notes(ONSETS_S, 0.01, DURATION_S)
    np.testing.assert_allclose(sound_onsets_s(0.01 * sound, RATE_HZ), sound_onsets_s(sound, RATE_HZ), atol=0.002)


def test_what_only_goes_on_has_no_onset() -> None:
    times_s = np.arange(10 * RATE_HZ) / RATE_HZ
    phase = 2 * np.pi * 440 * times_s + 3 * np.sin(2 * np.pi * 5 * times_s)
    vibrato, rich = (sum(np.sin(k * phase) / k for k in range(1, n)).astype(np.float32) for n in (2, 8))
    for drone in (noise(10), vibrato, rich):
        onsets_s = sound_onsets_s(drone, RATE_HZ)
        assert ((onsets_s > 0.1) & (onsets_s < 9.9)).sum() <= 2
    assert len(sound_onsets_s(np.zeros(RATE_HZ, np.float32), RATE_HZ)) == 0
    assert len(sound_onsets_s(np.zeros(10, np.float32), RATE_HZ)) == 0


@long
def test_peaks_are_mostly_those_of_librosa() -> None:
    """The same curve, the same rule (Boeck et al. 2012): another library finds the same."""
    rng = np.random.default_rng(1)
    curve = rng.gamma(1, 0.2, 3000)
    curve[rng.integers(0, 3000, 100)] += 3
    ours = np.rint(pick_peaks(curve, 1.0))
    theirs = librosa.util.peak_pick(curve, pre_max=3, post_max=4, pre_avg=10, post_avg=8, delta=1.0, wait=3)
    assert onset_hit_rate(theirs.astype(float), ours, 3000, within_s=1.0).f > 0.98


def test_each_onset_hits_one() -> None:
    wanted_s = np.array([1.0, 2.0, 3.0, 4.0])
    crowd_s = np.array([0.99, 1.0, 1.01, 1.02, 3.049, 4.06])
    hits = onset_hit_rate(wanted_s, crowd_s, 10)
    assert hits.precision == pytest.approx(2 / 6)
    assert hits.recall == pytest.approx(2 / 4)
    assert hits.f == pytest.approx(0.4)


def test_matching_is_the_largest_there_is() -> None:
    """The nearest to the first is the only one for the second."""
    assert onset_hit_rate(np.array([1.0, 1.08]), np.array([0.96, 1.04]), 3).f == 1
    assert onset_hit_rate(np.array([1.00, 1.04]), np.array([1.03, 1.09]), 3).f == 1


def test_chance_is_what_onsets_anywhere_reach() -> None:
    rng = np.random.default_rng(2)
    pairs = (np.sort(rng.uniform(0, 100, (2, 60))) for _ in range(400))
    rates = [onset_hit_rate(wanted_s, played_s, 100.0) for wanted_s, played_s in pairs]
    assert rates[0].chance_f == pytest.approx(0.06, abs=0.01)
    assert np.mean([rate.f for rate in rates]) == pytest.approx(np.mean([rate.chance_f for rate in rates]), rel=0.1)


def test_no_onsets_are_no_hits() -> None:
    none, some_s = np.zeros(0), np.array([1.0])
    for wanted_s, played_s in ((none, none), (none, some_s), (some_s, none)):
        assert onset_hit_rate(wanted_s, played_s, 2).f == 0
    assert onset_hit_rate(none, none, 0) == HitRate(0, 0, 0, 0)


@pytest.mark.parametrize("fps", [25, 50, 120])
def test_onsets_of_motion_are_where_it_gathers(fps: int) -> None:
    times_s = np.arange(int(DURATION_S * fps)) / fps
    since_s = times_s[:, np.newaxis] - ONSETS_S
    steps = np.where(since_s < 0, 0, np.minimum(since_s / 0.06, 1) * np.exp(-np.maximum(since_s - 0.06, 0) / 0.1))
    found_s = motion_onsets_s(0.3 + 5 * steps.sum(axis=1), times_s)
    # The steepest is in the middle of the rise.
    assert onset_hit_rate(ONSETS_S + 0.03, found_s, DURATION_S).f > 0.93


def test_still_and_even_motion_has_no_onset() -> None:
    times_s = np.arange(500) / 50
    assert len(motion_onsets_s(np.zeros(500), times_s)) == 0
    assert len(motion_onsets_s(np.full(500, 3.0), times_s)) == 0
    assert len(motion_onsets_s(2 + np.sin(times_s), times_s)) == 0
    assert len(motion_onsets_s(np.zeros(0), np.zeros(0))) == 0


@pytest.mark.parametrize("attack_ms", [20, 40, 80])
def test_rise_is_eight_tenths_of_a_straight_attack(attack_ms: int) -> None:
    sound = notes(ONSETS_S, attack_ms / 1000, DURATION_S)
    rise_ms = rise_time_ms(sound, RATE_HZ, ONSETS_S)
    assert rise_ms == pytest.approx(0.8 * attack_ms, rel=0.15, abs=3)


def test_a_click_rises_as_fast_as_can_be_seen() -> None:
    rise_ms = rise_time_ms(notes(ONSETS_S, 0.0005, DURATION_S), RATE_HZ, ONSETS_S)
    assert rise_ms is not None
    assert rise_ms < 10


def test_what_hardly_rises_is_no_attack() -> None:
    assert rise_time_ms(noise(DURATION_S), RATE_HZ, ONSETS_S) is None
    assert rise_time_ms(np.zeros(RATE_HZ, np.float32), RATE_HZ, ONSETS_S) is None
    assert rise_time_ms(notes(ONSETS_S[:3], 0.01, DURATION_S), RATE_HZ, ONSETS_S[:3]) is None
