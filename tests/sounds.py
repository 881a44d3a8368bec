"""Sounds made for tests, of which it is known what is in them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Sound = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

RATE_HZ = 48000


def noise(duration_s: float, level: float = 0.1, seed: int = 0) -> Sound:
    """Steady white noise."""
    return np.asarray(level * np.random.default_rng(seed).standard_normal(int(duration_s * RATE_HZ)), np.float32)


def notes(onsets_s: Float64, attack_s: float, duration_s: float, *, tonal: bool = True, seed: int = 0) -> Sound:
    """Notes that rise straight for `attack_s` and die away, over hiss that can hardly be heard."""
    rng = np.random.default_rng(seed)
    times_s = np.arange(int(duration_s * RATE_HZ)) / RATE_HZ
    sound = 0.0005 * rng.standard_normal(len(times_s))
    for onset_s in onsets_s:
        since_s = times_s - onset_s
        fall = np.exp(-np.maximum(since_s - attack_s, 0) / 0.1)
        level = np.where(since_s < 0, 0, np.minimum(since_s / attack_s, 1) * fall)
        f0_hz = 220 * 2 ** (rng.integers(0, 12) / 12)
        tone = sum(np.sin(2 * np.pi * f0_hz * k * times_s) / k for k in range(1, 6))
        sound += 0.1 * level * (tone if tonal else rng.standard_normal(len(times_s)))
    return np.asarray(sound, np.float32)


def music(duration_s: float, seed: int = 0) -> Sound:
    """Notes twice a second on average, over a bass that comes and goes."""
    rng = np.random.default_rng(seed)
    onsets_s = np.sort(rng.uniform(0.2, duration_s - 0.3, int(2 * duration_s)))
    times_s = np.arange(int(duration_s * RATE_HZ)) / RATE_HZ
    swell = np.interp(times_s, np.arange(0, duration_s + 1, 0.5), rng.random(int(2 * duration_s) + 2))
    bass = 0.05 * swell * np.sin(2 * np.pi * 82 * times_s)
    return np.asarray(notes(onsets_s, 0.005, duration_s, seed=seed) + bass, np.float32)
