"""The light of a room: changes of lamps, exposure and mains are told from motion and taken out of the picture before.

Light changes many pixels at once, to one side, and alike within a row: mains flicker on a rolling shutter and all that
is slower or global. What does not follow the row is motion. A change that no such rule explains and that is too wide
and too one-sided for a body, such as house lights with their shadows, is a step: what is seen across it is no motion.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Grey = npt.NDArray[np.uint8]
Int16 = npt.NDArray[np.int16]
Rule = Callable[[Grey, Grey, Int16, Int16], tuple[Grey, Float32]]

LEAST_SHIFT = 2
"""Grey levels: rows that change by less are left as they are, so that a steady room keeps its columns to the bit."""
LIT_ROWS = 0.5
"""Share of the rows that light must change; a dancer near the camera changes most of fewer rows."""
EXPLAINED = 0.8
"""A row follows the light if less than this share of its change is left when the light is taken out,"""
NOISE_LEFT = 1.25
"""or not more than this multiple of its noise."""
BADLY, CHOOSE_EVERY = 0.3, 16
"""If more than this share is left, or after so many frames, the other rule for the light is tried too."""
WIDE, ONE_SIDED = 0.3, 0.9
"""A step of light changes at least the one share of the pixels, and of those the other to one side. A body that fills
half of the picture changes fewer at once, and takes on one of its sides what it leaves on the other."""
SUDDEN, ONE_SIDED_SUDDEN, SUDDEN_ALL, TIMES = 0.1, 0.95, 0.5, 5.0
"""A step that lights a part of the picture changes so much of it, to one side, or so much to either, and so many times
what moved before."""
LEFT_OVER = 0.02
"""Share of the pixels that may differ, beside half as many again as moved before, for light to be explained."""
SUPPRESSED_S = 2.0
"""Time in a row for which steps may silence the motion: slow fades too, but never for good."""
RECOVERY = 0.5
"""Seconds of that time won back in each second without a step."""
SATURATED = 254


@dataclass
class LightCounts:
    """What has been seen of the light, in frames since the start.

    Attributes
    ----------
    n_relit : int
        Frames whose light was taken out.
    n_suppressed : int
        Frames within steps, which were silenced.
    n_steps : int
        Steps.
    shift_sum : float
        Sum over the relit frames of the mean shift of their rows, in grey levels.
    """

    n_relit: int = 0
    n_suppressed: int = 0
    n_steps: int = 0
    shift_sum: float = 0.0


class Light:
    """Follows the light from one picture to the next. Belongs to one thread; memory is flat.

    Parameters
    ----------
    difference_time_s : float
        How much earlier the picture is that each is compared with: a step is seen for this long.
    """

    def __init__(self, difference_time_s: float) -> None:
        self.counts = LightCounts()
        self._difference_time_s = difference_time_s
        self._credit_s = SUPPRESSED_S
        self._last_s: float | None = None
        self._began_s: float | None = None
        self._rule: Rule = multiplied
        self._n_since_choice = CHOOSE_EVERY

    def follow(
        self, now: Grey, earlier: Grey, time_s: float, threshold: int | Int16, row_noise: Float32, moved_share: float
    ) -> tuple[Grey, bool]:
        """Give the earlier picture in the light of now.

        Parameters
        ----------
        now, earlier : np.ndarray, shape (height, width), uint8
        time_s : float
            Of `now`.
        threshold : int or np.ndarray, shape (height, width), int16
            Differences up to it are noise.
        row_noise : np.ndarray, shape (height,), float32
            Mean absolute difference that noise makes in each row, in grey levels.
        moved_share : float
            Share of the pixels that moved last.

        Returns
        -------
        lit : np.ndarray, shape (height, width), uint8
            `earlier` itself where the light is steady.
        is_step : bool
            What differs is the light's doing: there is no telling what moved.
        """
        elapsed_s = 0.0 if self._last_s is None else max(0.0, time_s - self._last_s)
        self._last_s = time_s
        is_wide = is_sudden = False
        lit = earlier
        difference = np.subtract(now, earlier, dtype=np.int16)
        if np.abs(row_sums(difference)).max() < LEAST_SHIFT * now.shape[1]:
            self._n_since_choice = CHOOSE_EVERY
        else:
            lit = self._relit(now, earlier, difference, row_noise)
            is_wide, is_sudden = step_kinds(difference, threshold, moved_share)
            if (is_wide or is_sudden) and is_explained(now, lit, threshold, moved_share):
                is_wide = is_sudden = False
        return lit, self._is_silenced(is_wide, is_sudden, time_s, elapsed_s)

    def _is_silenced(self, is_wide: bool, is_sudden: bool, time_s: float, elapsed_s: float) -> bool:
        """Spend the time that steps may silence, so that nothing that only looks like them makes the box mute."""
        if not (is_wide or is_sudden):
            self._began_s = None
            self._credit_s = min(SUPPRESSED_S, self._credit_s + RECOVERY * elapsed_s)
            return False
        is_first = self._began_s is None
        began_s = time_s if self._began_s is None else self._began_s
        self._began_s = began_s
        self._credit_s -= elapsed_s
        is_fresh = time_s - began_s <= self._difference_time_s + elapsed_s
        if self._credit_s < 0.0 or not (is_wide or is_fresh):
            return False
        self.counts.n_suppressed += 1
        self.counts.n_steps += is_first
        return True

    def _relit(self, now: Grey, earlier: Grey, difference: Int16, row_noise: Float32) -> Grey:
        """Give the earlier picture as this light would show it, in the rows that follow the light."""
        width = difference.shape[1]
        medians = np.sort(difference, axis=1)[:, width // 2]
        if np.count_nonzero(np.abs(medians) >= LEAST_SHIFT) < LIT_ROWS * len(medians):
            return earlier
        noise = NOISE_LEFT * width * row_noise
        before = row_sums(np.abs(difference))
        lit, left = self._rule(now, earlier, difference, medians)
        self._n_since_choice += 1
        unexplained = left.sum() - noise.sum()
        if unexplained > (0.0 if self._n_since_choice >= CHOOSE_EVERY else BADLY * before.sum()):
            # Light is not always of the same kind: lamps multiply, what strays into the lens is added.
            self._n_since_choice = 0
            first, self._rule = self._rule, added if self._rule is multiplied else multiplied
            other, other_left = self._rule(now, earlier, difference, medians)
            if other_left.sum() < left.sum():
                lit, left = other, other_left
            else:
                self._rule = first
        follows = (left < EXPLAINED * before) | (left < noise)  # (height,)
        if np.count_nonzero(follows) < LIT_ROWS * len(follows):
            return earlier
        self.counts.n_relit += 1
        self.counts.shift_sum += float(np.abs(medians).mean())
        return np.where(follows[:, np.newaxis], lit, earlier)


def row_sums(values: Int16) -> Float32:
    """Sum over each row, shape (height,); a product of matrices takes a third of the time of `sum`."""
    sums: Float32 = values.astype(np.float32) @ np.ones(values.shape[1], np.float32)
    return sums


def added(now: Grey, earlier: Grey, difference: Int16, medians: Int16) -> tuple[Grey, Float32]:  # noqa: ARG001 - as `multiplied`
    """Shift each row by as much as most of its pixels changed.

    Returns
    -------
    lit : np.ndarray, shape (height, width), uint8
    left : np.ndarray, shape (height,), float32
        Sum over each row of the absolute difference that is left.
    """
    lit = earlier + medians[:, np.newaxis]
    np.minimum(np.maximum(lit, 0, out=lit), 255, out=lit)
    return lit.astype(np.uint8), row_sums(np.abs(now - lit))


def multiplied(now: Grey, earlier: Grey, difference: Int16, medians: Int16) -> tuple[Grey, Float32]:  # noqa: ARG001 - as `added`
    """Brighten each row by the factor by which most of its pixels became brighter; what it returns is as of `added`.

    White that was cut off was brighter than it looks: if it stays white while all else gets darker, nothing moved.
    """
    before = earlier.astype(np.float32)
    before += 1.0
    ratio = np.sort(difference[:, ::2] / before[:, ::2], axis=1)[:, before.shape[1] // 4]
    before *= (1.0 + ratio)[:, np.newaxis]
    before -= 0.5  # the 1 from above, and rounding
    lit = np.minimum(np.maximum(before, 0.0, out=before), 255.0, out=before).astype(np.int16)
    if (is_white := earlier >= SATURATED).any():
        np.maximum(lit, now, out=lit, where=is_white)
    return lit.astype(np.uint8), row_sums(np.abs(now - lit))


def step_kinds(difference: Int16, threshold: int | Int16, moved_share: float) -> tuple[bool, bool]:
    """Tell whether so much changed to one side as no body changes: of the whole picture, or so suddenly in a part."""
    n_up = np.count_nonzero(difference > threshold)
    n_down = np.count_nonzero(-difference > threshold)
    n_one_side, n_all = max(n_up, n_down), n_up + n_down
    is_wide = n_one_side >= WIDE * difference.size and n_one_side >= ONE_SIDED * n_all
    times = TIMES * moved_share
    is_part = n_one_side >= max(SUDDEN, times) * difference.size and n_one_side >= ONE_SIDED_SUDDEN * n_all
    return is_wide, is_part or n_all >= max(SUDDEN_ALL, times) * difference.size


def is_explained(now: Grey, lit: Grey, threshold: int | Int16, moved_share: float) -> bool:
    """Tell whether no more is left of the difference than there was motion before."""
    n_left = np.count_nonzero(np.abs(np.subtract(now, lit, dtype=np.int16)) > threshold)
    return n_left <= (LEFT_OVER + 1.5 * moved_share) * now.size
