"""The factory's instrument: what a body plays, as music to learn from.

Gestures of a recorded body drive a plucked bass, a lead with two timbres, breath and percussion, all tuned to one
scale. The sound is a function of what the body does at the moment, so that a network that sees the body can
learn it, and somebody else can dance to it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np
import numpy.typing as npt
from scipy.signal import butter, lfilter, sosfilt

from device.core.motiongram import Motiongram, MotionSettings
from trainer.filming.film import Body, View, film

Float64 = npt.NDArray[np.float64]

GESTURE_RATE_HZ = 120.0
FRONT = View(size=0.8, background=0.0, contrast=200.0, gradient=0.0, noise=0.0, flicker=0.0)
"""How the instrument sees a body: from the front, without noise. The box has to make do with less."""
QUANTITY_OF_A_LIVELY_DANCE = 8.0
"""Grey levels, in that view."""
ROOT_HZ = 82.4069  # E2
STILL_ENERGY = 0.02
PENTATONIC_MINOR = np.array([0, 3, 5, 7, 10])


@dataclass(frozen=True)
class Gesture:
    """What a body does, at `GESTURE_RATE_HZ`; every array has shape (n,), float64.

    Attributes
    ----------
    energy : np.ndarray
        Quantity of motion: 0 when still, about 1 in the liveliest dance.
    height, spread : np.ndarray
        Where the motion is: 0 at the floor to 1 at the head; 0 in one line to 1 over the whole reach of the arms.
    hands, feet : np.ndarray
        Motion beside the trunk, and motion near the floor; as energy.
    """

    energy: Float64
    height: Float64
    spread: Float64
    hands: Float64
    feet: Float64


def gesture(body: Body, times_s: Float64, speed: float = 1.0) -> Gesture:
    """Measure the gestures of a body at given times; before its first position and after its last it is still.

    They are seen by a camera, through the motiongram: what no camera sees, no box could play.

    Parameters
    ----------
    body : Body
    times_s : np.ndarray, shape (n,), float64
        Evenly spaced at `GESTURE_RATE_HZ`.
    speed : float
        Time of the dance against these times.
    """
    settings = MotionSettings(threshold=0.02)
    motiongram = Motiongram(settings)
    columns = np.array(
        [motiongram.push(frame).column for frame in film(body, times_s, replace(FRONT, speed=speed))], np.float64
    )
    rows, across = columns[:, : settings.height], columns[:, settings.height :]  # (n, height), (n, width)
    heights = (0.5 + 0.5 * FRONT.size - (np.arange(settings.height) + 0.5) / settings.height) / FRONT.size
    places = np.arange(settings.width) / (FRONT.size * settings.height)  # in heights of the body
    total = across.sum(1, keepdims=True) + 1e-6
    middle = (across * places).sum(1, keepdims=True) / total
    distance = np.abs(places - middle)  # (n, width)
    return Gesture(
        energy=np.clip(rows.mean(1) / QUANTITY_OF_A_LIVELY_DANCE, 0, 2),
        height=np.clip((rows * heights).sum(1) / (rows.sum(1) + 1e-6), 0, 1),
        spread=np.clip((across * distance).sum(1) / total[:, 0] / 0.3, 0, 1),
        hands=np.clip((across * (distance > 0.15)).sum(1) / settings.width / QUANTITY_OF_A_LIVELY_DANCE * 2, 0, 2),
        feet=np.clip(rows[:, heights < 0.2].sum(1) / settings.height / QUANTITY_OF_A_LIVELY_DANCE * 4, 0, 2),
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
    f0_hz: Float64 = ROOT_HZ * 2.0 ** ((step // 5) + PENTATONIC_MINOR[step % 5] / 12.0)
    return f0_hz


def harmonics(f0_hz: Float64, slope: Float64, n_harmonics: int, rate_hz: int) -> Float64:
    """Sum of harmonics that fall off as 1 / k ** slope; all arrays have shape (n_samples,)."""
    phase = 2 * np.pi * np.cumsum(f0_hz) / rate_hz
    total = np.zeros_like(phase)
    for k in range(1, n_harmonics + 1):
        total += np.where(k * f0_hz < 0.4 * rate_hz, k**-slope, 0.0) * np.sin(k * phase)
    return total


def push(feet: Float64) -> Float64:
    """How hard the feet gather speed, 0 to 1: short where a step begins; shape (n,)."""
    gathered = np.maximum(np.gradient(smooth(feet, 0.015)) * GESTURE_RATE_HZ, 0)
    return smooth(np.clip((gathered - 1.5) / 11.0, 0, 1), 0.004)


def ring(level: Float64, decay_s: float) -> Float64:
    """Let an envelope die away with a time constant instead of at once; shape (n,)."""
    keep = np.exp(-1 / (decay_s * GESTURE_RATE_HZ))
    out: Float64 = np.fromiter(accumulate(level, lambda before, now: max(now, before * keep)), np.float64, len(level))
    return out


def play(
    body: Body, duration_s: float, rate_hz: int, start_s: float = 0.0, speed: float = 1.0, seed: int = 0
) -> npt.NDArray[np.float32]:
    """Play a dance on the factory's instrument.

    Parameters
    ----------
    body : Body
    duration_s, start_s : float
        Of the sound; where in the dance it begins (negative: the body stands still first).
    rate_hz : int
    speed : float
        Time of the dance against that of the sound.
    seed : int
        Of the breath's and the percussion's noise.

    Returns
    -------
    np.ndarray, shape (n_samples,), float32
        Within -1 and 1.
    """
    n = round(duration_s * rate_hz)
    times_s = start_s + np.arange(int(duration_s * GESTURE_RATE_HZ) + 2) / GESTURE_RATE_HZ
    made = gesture(body, times_s, speed)
    loud = smooth(np.clip((made.energy - STILL_ENERGY) / 1.2, 0, 1.2), 0.01) ** 1.2
    steps = push(made.feet)
    rng = np.random.default_rng(seed)
    sound = bass(made, loud, steps, n, rate_hz) + lead(made, loud, n, rate_hz)
    sound += breath(made, n, rate_hz, rng) + percussion(steps, n, rate_hz, rng)
    out: npt.NDArray[np.float32] = (0.9 * np.tanh(sound)).astype(np.float32)
    return out


def bass(made: Gesture, loud: Float64, steps: Float64, n: int, rate_hz: int) -> Float64:
    """Low notes that the feet pluck and the body's energy carries: the wider it moves, the higher the note."""
    step = 3.0 * np.clip((smooth(made.spread, 0.06) - 0.18) / 0.2, 0, 0.99)
    f0_hz = smooth(scale_hz(step), 0.02)
    level = at_rate(ring(smooth(steps, 0.006), 0.16) * 0.45 + 0.25 * loud, n, rate_hz)
    return level * harmonics(at_rate(f0_hz, n, rate_hz), np.full(n, 1.5), 6, rate_hz)


def lead(made: Gesture, loud: Float64, n: int, rate_hz: int) -> Float64:
    """Notes as high as the motion; hands make them bright and hollow, the trunk warm."""
    step = 10.0 + 7.0 * np.clip((smooth(made.height, 0.04) - 0.30) / 0.28, 0, 0.99)
    f0_hz = at_rate(smooth(scale_hz(step), 0.012), n, rate_hz)
    hand = at_rate(smooth(np.clip(made.hands / 0.4, 0, 1), 0.04), n, rate_hz)
    warm = harmonics(f0_hz, 2.8 - 1.2 * hand, 10, rate_hz)
    hollow = harmonics(f0_hz, np.full(n, 1.2), 12, rate_hz) - 2**-1.2 * harmonics(
        2 * f0_hz, np.full(n, 1.2), 6, rate_hz
    )
    return 0.45 * at_rate(loud, n, rate_hz) * ((1 - hand) * warm + hand * hollow)


def breath(made: Gesture, n: int, rate_hz: int, rng: np.random.Generator) -> Float64:
    """Air moved by the hands: noise between 1.5 and 7 kHz."""
    noise = sosfilt(butter(2, [1500, 7000], "bandpass", fs=rate_hz, output="sos"), rng.standard_normal(n))
    level = at_rate(smooth(np.clip((made.hands - 0.05) / 0.6, 0, 1), 0.02), n, rate_hz)
    out: Float64 = 0.10 * level * noise
    return out


def percussion(steps: Float64, n: int, rate_hz: int, rng: np.random.Generator) -> Float64:
    """Feet on the floor: a short woody noise with a knock."""
    noise = sosfilt(butter(2, [400, 4000], "bandpass", fs=rate_hz, output="sos"), rng.standard_normal(n))
    level = at_rate(ring(steps, 0.035), n, rate_hz)
    knock = np.sin(2 * np.pi * 247.0 * np.arange(n) / rate_hz)
    out: Float64 = level * (0.30 * noise + 0.15 * knock)
    return out
