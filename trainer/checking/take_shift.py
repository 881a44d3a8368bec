"""Whether sound and motion of a take are shifted against each other: found where the one follows the other, else not.

Loudness and quantity of motion are compared at all shifts of up to two seconds. In a dance to music from an album the
two have little to do with each other, or a beat in common, and a beat fits at every period: so a shift counts only
where it fits clearly better than all others, and where the take's quarters agree on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from device.store.store import Take

Float64 = npt.NDArray[np.float64]

ENVELOPE_HZ = 50.0
LONGEST_SHIFT_S = 2.0
SMOOTH_S = 2.0
"""What changes more slowly than this is taken away: a piece that grows louder fits a dance that grows at any shift."""
N_PIECES, N_AGREE = 4, 3
SHORTEST_PIECE_S = 2.5
AGREE_S = 0.06
LEAST_PEAK = 0.35
"""Correlation at the best shift. Dances to music of other dances reach 0.43, and their quarters never agree."""
LEAST_LEAD = 1.4
"""By how much the best shift fits better than all that are not beside it. Salsa to its own sound has 2 and more."""
BESIDE_S = 0.15
LARGEST_SHIFT_S = 0.1
"""Sound and motion further apart than this are shifted. A musician who follows a dancer is as late as 0.2 s: that is
learned as it is, and worth a line."""
SOFTEST = 1e-5
"""Power against the loudest, below which it is silence."""
LOUDNESS_POWER = 0.15


@dataclass(frozen=True, eq=False)
class Envelopes:
    """Motion and sound of a take, 50 times a second.

    Attributes
    ----------
    times_s : np.ndarray, shape (n,)
        From the first column on.
    quantity : np.ndarray, shape (n,)
        Of motion, grey levels.
    power : np.ndarray, shape (n,)
        Mean power of 40 ms of sound.
    """

    times_s: Float64
    quantity: Float64
    power: Float64


@dataclass(frozen=True, eq=False)
class Shift:
    """What was found.

    Attributes
    ----------
    sound_late_s : float or None
        How much later than the motion its sound comes; None where it cannot be told.
    shifts_s, correlations : np.ndarray, shape (n,)
        How well each shift fits.
    """

    sound_late_s: float | None
    shifts_s: Float64
    correlations: Float64

    @property
    def is_bad(self) -> bool:
        """Whether sound and motion are too far apart."""
        return self.sound_late_s is not None and abs(self.sound_late_s) > LARGEST_SHIFT_S


def envelopes_of(take: Take, quantity: Float64, power: Float64, power_hz: float) -> Envelopes:
    """Bring a take's quantity of motion, at its columns, and its power, at equal steps, to the same times."""
    n = max(int(take.duration_s * ENVELOPE_HZ), 1)
    times_s = np.arange(n) / ENVELOPE_HZ
    at = take.samples_of(take.times_s[0] + times_s) / take.rate_hz * power_hz
    steps = np.arange(len(power)) + 0.5
    return Envelopes(
        times_s,
        np.interp(times_s, take.times_s - take.times_s[0], quantity),
        np.interp(at, steps, power, left=0.0, right=0.0),
    )


def find_shift(envelopes: Envelopes) -> Shift:
    """Find by how much sound and motion of a take are shifted."""
    n_most = round(LONGEST_SHIFT_S * ENVELOPE_HZ)
    shifts_s = np.arange(-n_most, n_most + 1) / ENVELOPE_HZ
    motion = _standing_out(np.sqrt(envelopes.quantity))
    loudest = max(float(envelopes.power.max()), 1e-12)
    sound = _standing_out(np.maximum(envelopes.power, SOFTEST * loudest) ** LOUDNESS_POWER)
    correlations = _correlations(motion, sound, n_most)
    best = int(correlations.argmax())
    others = correlations[np.abs(shifts_s - shifts_s[best]) > BESIDE_S]
    is_clear = correlations[best] >= max(LEAST_PEAK, LEAST_LEAD * float(others.max()))
    edges = np.linspace(0, len(motion), N_PIECES + 1).astype(int)
    if not is_clear or edges[1] < SHORTEST_PIECE_S * ENVELOPE_HZ:
        return Shift(None, shifts_s, correlations)
    found_s = [
        shifts_s[int(_correlations(motion[start:stop], sound[start:stop], n_most).argmax())]
        for start, stop in pairwise(edges)
    ]
    n_agree = sum(abs(each - shifts_s[best]) <= AGREE_S for each in found_s)
    return Shift(float(shifts_s[best]) if n_agree >= N_AGREE else None, shifts_s, correlations)


def _standing_out(values: Float64) -> Float64:
    """What stands out from the mean of the seconds around it, with mean 0."""
    window = np.ones(int(SMOOTH_S * ENVELOPE_HZ) | 1)
    if len(values) < len(window):
        return np.asarray(values - values.mean())
    around = np.convolve(values, window, "same") / np.convolve(np.ones(len(values)), window, "same")
    return np.asarray(values - around)


def _correlations(motion: Float64, sound: Float64, n_most: int) -> Float64:
    """Correlation of motion with sound that comes -n_most to n_most steps later: shape (2 * n_most + 1,)."""
    found = np.zeros(2 * n_most + 1)
    for index, late in enumerate(range(-n_most, n_most + 1)):
        moved = motion[max(0, -late) : len(motion) - max(0, late)]
        heard = sound[max(0, late) : len(sound) - max(0, -late)]
        scale = float(np.sqrt(np.dot(moved, moved) * np.dot(heard, heard)))
        found[index] = np.dot(moved, heard) / scale if scale > 0.0 and len(moved) > n_most // 4 else 0.0
    return found
