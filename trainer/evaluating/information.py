"""What the motion says about the sound: the link of loudness, and mutual information in bits."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import spatial, special, stats

from trainer.evaluating.heard import Heard
from trainer.evaluating.hearing import WINDOW_S, Float64, audible, is_sounding, rank_correlation
from trainer.evaluating.pitch import PITCH_FRAME_S, PITCH_HOP_S, VOICED_BELOW

N_NEIGHBOURS = 3
FEWEST = 30
"""Points, at least, from which information is estimated."""
STEPS_PER_WINDOW = 10


@dataclass(frozen=True, eq=False)
class Moves:
    """What a dance does over time, on the clock of its sound.

    Attributes
    ----------
    times_s : np.ndarray, shape (n,), float64
        Rising, within 0 and `duration_s`.
    quantity : np.ndarray, shape (n,), float64
        Quantity of motion: mean of a column's rows, in grey levels, 0 or more.
    height : np.ndarray, shape (n,), float64
        Where the motion is: centroid of the rows, 0 at the bottom of the picture to 1 at its top.
    duration_s : float
        Of the sound.
    joins_s : np.ndarray, shape (n_joins,), float64
        Where one stretch of time ends and another begins: what seems to begin there is no onset.
    """

    times_s: Float64
    quantity: Float64
    height: Float64
    duration_s: float
    joins_s: Float64

    def rolled(self, by_s: float) -> Moves:
        """Move in time, in a circle; the joins are where they were and where they are now."""
        at_s = (self.times_s + by_s) % self.duration_s
        order = np.argsort(at_s, kind="stable")
        moved_s = np.append((self.joins_s + by_s) % self.duration_s, by_s % self.duration_s)
        return replace(
            self,
            times_s=at_s[order],
            quantity=self.quantity[order],
            height=self.height[order],
            joins_s=np.union1d(self.joins_s, moved_s),
        )

    def in_windows(self, n_windows: int) -> tuple[Float64, Float64]:
        """Quantity and height in windows of 100 ms side by side, each shape (n_windows,); height weighs by quantity.

        Where nothing moves the height is not a number.
        """
        at_s = (np.arange(n_windows * STEPS_PER_WINDOW) + 0.5) * (WINDOW_S / STEPS_PER_WINDOW)
        steps = np.interp(at_s, self.times_s, self.quantity), np.interp(at_s, self.times_s, self.quantity * self.height)
        quantity, moment = (each.reshape(n_windows, STEPS_PER_WINDOW).mean(axis=1) for each in steps)
        height = np.full(n_windows, np.nan)
        np.divide(moment, quantity, out=height, where=quantity > 0.0)
        return quantity, height


@dataclass(frozen=True)
class Information:
    """What the motion says about a sound; None where there is too little to say it from.

    Attributes
    ----------
    loudness_link : float
        Spearman correlation of quantity of motion and loudness, -1 to 1.
    loudness_bits : float or None
        Mutual information of quantity of motion and loudness, in bits, 0 or more.
    brightness_bits, pitch_bits : float or None
        The same of the height of the motion and the spectral centroid, the pitch.
    """

    loudness_link: float
    loudness_bits: float | None
    brightness_bits: float | None
    pitch_bits: float | None


def information(moves: Moves, played: Heard) -> Information:
    """Say how a sound hangs on the motion, in windows of 100 ms.

    They are compared at once, with no search for the best lag: the box is 20 to 30 ms late, a third of a window, and
    the best of several lags would lift the null too.

    Parameters
    ----------
    moves : Moves
    played : Heard
        Begins with the moves.

    Returns
    -------
    Information
    """
    loudness = audible(played.power)
    quantity, height = moves.in_windows(len(loudness))
    pitch_hz = window_pitch_hz(played)
    there = np.isfinite(height) & is_sounding(played.power)
    voiced = there & np.isfinite(pitch_hz)
    return Information(
        loudness_link=rank_correlation(quantity, loudness),
        loudness_bits=mutual_information_bits(quantity, loudness),
        brightness_bits=mutual_information_bits(height[there], played.brightness_hz[there]),
        pitch_bits=mutual_information_bits(height[voiced], pitch_hz[voiced]),
    )


def window_pitch_hz(played: Heard) -> Float64:
    """Pitch in the middle of each window of 100 ms: shape (n_windows,); not a number where there is none."""
    f0_hz, aperiodicity, _ = played.pitch
    middles_s = (np.arange(len(played.power)) + 0.5) * WINDOW_S
    frame = np.rint((middles_s - PITCH_FRAME_S / 2) / PITCH_HOP_S).astype(np.int64)
    return np.asarray(np.where(aperiodicity < VOICED_BELOW, f0_hz, np.nan)[np.minimum(frame, len(f0_hz) - 1)])


def mutual_information_bits(one: Float64, other: Float64, n_neighbours: int = N_NEIGHBOURS) -> float | None:
    """Mutual information of two values from their nearest neighbours.

    Kraskov, Stoegbauer and Grassberger, Phys. Rev. E 69, 066138 (2004), their first estimator (8), in bits; on ranks
    brought to a normal distribution, so that it is the same for any scale.

    Parameters
    ----------
    one, other : np.ndarray, shape (n,), float64
    n_neighbours : int

    Returns
    -------
    float or None
        0 or more; 0 where one of them never changes; None of fewer than 30 points.
    """
    n = len(one)
    if n < FEWEST:
        return None
    if np.ptp(one) == 0.0 or np.ptp(other) == 0.0:
        return 0.0
    rng = np.random.default_rng(0)
    # Equal values must not be neighbours in the order of time: they are spread at random, too little to be seen.
    normal = [special.ndtri(stats.rankdata(each) / (n + 1)) + 1e-9 * rng.standard_normal(n) for each in (one, other)]
    points = np.stack(normal, axis=1)
    reach = spatial.cKDTree(points).query(points, k=n_neighbours + 1, p=np.inf)[0][:, -1]
    mean = sum(special.digamma(_n_within(each, reach) + 1).mean() for each in normal)
    nats = special.digamma(n_neighbours) + special.digamma(n) - mean
    return max(0.0, float(nats) / float(np.log(2)))


def _n_within(values: Float64, reach: Float64) -> Float64:
    """How many other values lie strictly nearer to each than its reach: shape (n,)."""
    ordered = np.sort(values)
    after = np.searchsorted(ordered, values + reach, side="left")
    return np.asarray(after - np.searchsorted(ordered, values - reach, side="right") - 1, np.float64)
