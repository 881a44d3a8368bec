"""The factory's instrument: what a body plays, as music to learn from.

Gestures of a recorded body drive a bass, a plucked lead with two timbres, breath and percussion, all tuned to one
scale. The sound is a function of what the body does at the moment, so that a network that sees the body can
learn it, and somebody else can dance to it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter1d
from scipy.signal import butter, lfilter, sosfilt

from trainer.film import BONE_RADIUS_M, Body

Float64 = npt.NDArray[np.float64]

GESTURE_RATE_HZ = 240.0
BODY_HEIGHT_M = 1.3
ROOT_HZ = 55.0
PENTATONIC_MINOR = np.array([0, 3, 5, 7, 10])
STILL_M_PER_S = 0.04


@dataclass(frozen=True)
class Gesture:
    """What a body does, at `GESTURE_RATE_HZ`; every array has shape (n,), float64.

    Attributes
    ----------
    energy : np.ndarray
        Mean speed of the body's parts in the picture, in m/s, by their thickness.
    height, spread : np.ndarray
        Where that motion is: 0 at the floor to 1 at the head; 0 at the body's middle to 1 at arm's length.
    hands, feet : np.ndarray
        Speed of the faster hand and of the faster foot, in m/s.
    """

    energy: Float64
    height: Float64
    spread: Float64
    hands: Float64
    feet: Float64


def gesture(body: Body, times_s: Float64) -> Gesture:
    """Measure the gestures of a body at given times; before its first position and after its last it is still.

    Parameters
    ----------
    body : Body
    times_s : np.ndarray, shape (n,), float64
        Evenly spaced at `GESTURE_RATE_HZ`.
    """
    position_m = body.at(times_s)[..., :2]  # what the camera in front sees: (n, n_joints, 2)
    velocity = np.gradient(position_m, axis=0) * GESTURE_RATE_HZ
    velocity = gaussian_filter1d(velocity, 0.008 * GESTURE_RATE_HZ, axis=0)
    speed = np.hypot(velocity[..., 0], velocity[..., 1])  # (n, n_joints)
    weight = np.array([BONE_RADIUS_M.get(joint, 0.0) for joint in body.joints])
    moving = speed * weight
    total = moving.sum(1) + 1e-6
    sideways = np.abs(position_m[..., 0] - position_m[:, :1, 0])
    hands, feet = ([i for i, joint in enumerate(body.joints) if joint.endswith(end)] for end in ("Hand", "Foot"))
    return Gesture(
        energy=moving.sum(1) / weight.sum(),
        height=np.clip((moving * position_m[..., 1]).sum(1) / total / BODY_HEIGHT_M, 0, 1),
        spread=np.clip((moving * sideways).sum(1) / total / 0.5, 0, 1),
        hands=speed[:, hands].max(1),
        feet=speed[:, feet].max(1),
    )


def smooth(values: Float64, time_s: float) -> Float64:
    """Follow values with a time constant, from their past alone; shape (n,), at `GESTURE_RATE_HZ`."""
    share = 1 - np.exp(-1 / (time_s * GESTURE_RATE_HZ))
    out: Float64 = lfilter([share], [1, share - 1], values, zi=[values[0] * (1 - share)])[0]
    return out


def at_rate(values: Float64, n_samples: int, rate_hz: int) -> Float64:
    """Bring a gesture to the rate of sound: shape (n_samples,), float64."""
    return np.interp(np.arange(n_samples) / rate_hz, np.arange(len(values)) / GESTURE_RATE_HZ, values)


def scale_hz(step: Float64) -> Float64:
    """Frequency of a step of the scale; 0 is the root, whole steps are tuned."""
    step = np.floor(step).astype(int)
    return ROOT_HZ * 2.0 ** ((step // 5) + PENTATONIC_MINOR[step % 5] / 12.0)


def harmonics(f0_hz: Float64, slope: Float64, n_harmonics: int, rate_hz: int) -> Float64:
    """Sum of harmonics that fall off as 1 / k ** slope; all arrays have shape (n_samples,)."""
    phase = 2 * np.pi * np.cumsum(f0_hz) / rate_hz
    total = np.zeros_like(phase)
    for k in range(1, n_harmonics + 1):
        total += np.where(k * f0_hz < 0.4 * rate_hz, k**-slope, 0.0) * np.sin(k * phase)
    return total


def strikes(feet: Float64) -> Float64:
    """Envelope of percussion: a stroke whenever a foot gathers speed, as hard as it is fast; shape (n,)."""
    push = np.maximum(np.gradient(smooth(feet, 0.01)) * GESTURE_RATE_HZ, 0)  # m/s^2
    peak = (push[1:-1] > push[:-2]) & (push[1:-1] >= push[2:]) & (push[1:-1] > 6.0)
    impulse = np.zeros_like(push)
    impulse[1:-1][peak] = np.minimum(push[1:-1][peak] / 25.0, 1.0)
    ring = np.exp(-np.arange(int(0.25 * GESTURE_RATE_HZ)) / (0.05 * GESTURE_RATE_HZ))
    out: Float64 = np.minimum(np.convolve(impulse, ring)[: len(push)], 1.0)
    return out


def play(body: Body, duration_s: float, rate_hz: int, start_s: float = 0.0, seed: int = 0) -> npt.NDArray[np.float32]:
    """Play a dance on the factory's instrument.

    Parameters
    ----------
    body : Body
    duration_s, start_s : float
        Of the sound; where in the dance it begins (negative: the body stands still first).
    rate_hz : int
    seed : int
        Of the breath's and the percussion's noise.

    Returns
    -------
    np.ndarray, shape (n_samples,), float32
        Within -1 and 1.
    """
    n = round(duration_s * rate_hz)
    times_s = start_s + np.arange(int(duration_s * GESTURE_RATE_HZ) + 2) / GESTURE_RATE_HZ
    made = gesture(body, times_s)
    loud = smooth(np.clip((made.energy - STILL_M_PER_S) / 0.8, 0, 1.2), 0.015)
    rng = np.random.default_rng(seed)
    sound = bass(made, loud, n, rate_hz) + lead(made, loud, n, rate_hz)
    sound += breath(made, n, rate_hz, rng) + percussion(made, n, rate_hz, rng)
    return np.tanh(1.4 * sound).astype(np.float32) * np.float32(0.8)


def bass(made: Gesture, loud: Float64, n: int, rate_hz: int) -> Float64:
    """Low notes under the weight of the body: the wider it moves, the higher the note."""
    step = smooth(made.spread, 0.12) * 6.0
    f0_hz = smooth(scale_hz(np.clip(step, 0, 4)), 0.02)
    level = at_rate(loud**0.8, n, rate_hz)
    return 0.40 * level * harmonics(at_rate(f0_hz, n, rate_hz), np.full(n, 1.4), 6, rate_hz)


def lead(made: Gesture, loud: Float64, n: int, rate_hz: int) -> Float64:
    """Notes as high as the motion; hands make them bright and hollow, the trunk warm."""
    step = 10.0 + 12.0 * np.clip((smooth(made.height, 0.04) - 0.30) / 0.45, 0, 1)
    f0_hz = at_rate(smooth(scale_hz(step), 0.008), n, rate_hz)
    hand = at_rate(smooth(np.clip(made.hands / 2.5, 0, 1), 0.03), n, rate_hz)
    level = at_rate(loud, n, rate_hz)
    warm = harmonics(f0_hz, 2.6 - 1.2 * hand, 10, rate_hz)
    hollow = harmonics(f0_hz, 1.2 + 0.0 * hand, 12, rate_hz) - harmonics(f0_hz * 2, 1.2 + 0.0 * hand, 6, rate_hz) * 2**-1.2
    return 0.22 * level * ((1 - hand) * warm + 0.8 * hand * hollow)


def breath(made: Gesture, n: int, rate_hz: int, rng: np.random.Generator) -> Float64:
    """Air moved by the hands: noise between 1.5 and 7 kHz."""
    noise = sosfilt(butter(2, [1500, 7000], "bandpass", fs=rate_hz, output="sos"), rng.standard_normal(n))
    level = at_rate(smooth(np.clip((made.hands - 0.3) / 3.0, 0, 1) ** 1.3, 0.02), n, rate_hz)
    out: Float64 = 0.12 * level * noise
    return out


def percussion(made: Gesture, n: int, rate_hz: int, rng: np.random.Generator) -> Float64:
    """Feet on the floor: a short woody noise with a low knock."""
    noise = sosfilt(butter(2, [300, 3500], "bandpass", fs=rate_hz, output="sos"), rng.standard_normal(n))
    level = at_rate(strikes(made.feet), n, rate_hz)
    knock = np.sin(2 * np.pi * 165.0 * np.arange(n) / rate_hz)
    out: Float64 = level * (0.30 * noise + 0.25 * knock)
    return out
