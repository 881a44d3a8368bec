"""The noise of a camera, learned for each pixel while people may be in the picture.

Noise is alone: what one pixel of a difference does, its neighbours do not. Motion is a patch. So noise is measured in
what sets a pixel apart from the mean of its 3 x 3 neighbourhood, and only where neighbours know nothing of each other:
where somebody moves, however little, they differ alike, and nothing is learned.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt

from device.core.room_profile import LARGEST_NOISE, RoomSettings

Bools = npt.NDArray[np.bool_]
Float32 = npt.NDArray[np.float32]
Grey = npt.NDArray[np.uint8]
Int16 = npt.NDArray[np.int16]

Value = TypeVar("Value", np.uint8, np.int16, np.float32)

BLOCK_PX = 8
MEAN_OF_ABSOLUTE = np.float32(0.798)
"""Mean absolute value of normal noise with a standard deviation of 1: the root of 2 / pi."""
LOOK_S = 1 / 10 - 1e-3
CHUNK_S = 1.0
LEAST_LOOKS = 5
COHERENT = 0.2
"""Correlation of neighbours in a block, over a chunk, above which somebody moves there; 0 for noise."""
ROUNDING = 0.25
"""Square grey levels by which the rounding of pictures may look like it."""
TOO_HIGH, QUIETEST = 0.5, 0.73
"""What was learned is too high if a quiet chunk has less than the one share of its energy, or the quietest look where
somebody moves; by chance that look has the other share."""
FALL = 0.5
"""Share by which it falls then in each chunk, whoever is there: nobody makes a camera less noisy."""
FEW_PIXELS = 32
"""In blocks cut off by the border that have fewer pixels, the quietest look says nothing."""
SEEN, SEEN_ALONE = 5.3, 4.0
"""Standard deviations within which noise must keep below the bundle's threshold, to count as none: of a block, and of
single pixels, which are known less well."""
ALONE = 3.5
"""Standard deviations above which a pixel counts that has two such neighbours: by chance once in many minutes."""
TOGETHER = 5.5
"""Standard deviations above which the mean of 3 x 3 pixels counts, in those of the mean."""

BESIDE = 1.5
"""Standard deviations above which a pixel counts that lies beside one that counts for either reason."""


class NoiseFloor:
    """Learns how much each pixel differs by itself, and says which differences are more than that.

    Parameters
    ----------
    height, width : int
    threshold : int
        Of the bundle, in grey levels: never less is taken for noise.
    settings : RoomSettings
    noise : np.ndarray, shape (height, width), float32, optional
        Standard deviation of each pixel's difference as learned before, in grey levels.

    Attributes
    ----------
    is_noisy : bool
        Some pixel's noise passes the bundle's threshold now and then.
    threshold : int or np.ndarray, shape (height, width), int16
        What a lone difference must pass, in grey levels.
    is_moving : bool
        Somebody moved in the last second looked at.
    n_chunks, n_moving_chunks : int
        Seconds looked at, and those among them in which somebody moved.
    """

    def __init__(
        self, height: int, width: int, threshold: int, settings: RoomSettings, noise: Float32 | None = None
    ) -> None:
        self.is_noisy = self.is_moving = False
        self.threshold: int | Int16 = threshold
        self.n_chunks = self.n_moving_chunks = 0
        self._base = threshold
        self._settings = settings
        self._tops, self._lefts = np.arange(0, height, BLOCK_PX), np.arange(0, width, BLOCK_PX)
        shape = (len(self._tops), len(self._lefts))
        self._n_learned = np.zeros(shape, np.int64)
        self._quiet_s = np.zeros(shape)
        self._variance = np.zeros((height, width), np.float32)
        self._lone_sum = np.zeros((height, width), np.float32)
        self._alike_sum = np.zeros((height, width), np.float32)
        self._quietest = np.full(shape, np.inf, np.float32)
        self._n_looks = 0
        self._began_s = self._looked_s = -np.inf
        self._n_pixels = self._blocks(np.ones((height, width), np.float32))
        if noise is not None:
            self._variance[:] = np.square(noise)
            self._n_learned[:] = 1 << 30
        self._decide()

    @property
    def noise(self) -> Float32:
        """Standard deviation of each pixel's difference, in grey levels; zeros until something was learned."""
        return np.minimum(np.sqrt(self._variance), np.float32(LARGEST_NOISE))

    @property
    def row_noise(self) -> Float32:
        """Mean over each row of the absolute difference that noise makes, shape (height,), in grey levels."""
        return self._row_noise

    @property
    def learned_share(self) -> float:
        """Share of the picture whose own noise is known."""
        return float(np.count_nonzero(self._n_learned)) / self._n_learned.size

    @property
    def noisy_share(self) -> float:
        """Share of the pixels whose noise passes the bundle's threshold now and then."""
        return float(np.count_nonzero(self._noisy)) / self._noisy.size

    def is_due(self, time_s: float) -> bool:
        """Tell whether it is time for another look."""
        return not 0.0 <= time_s - self._looked_s < LOOK_S

    def is_motion(self, difference: Int16) -> Bools:
        """Tell which differences are more than noise.

        Parameters
        ----------
        difference : np.ndarray, shape (height, width), int16

        Returns
        -------
        np.ndarray, shape (height, width), bool
            True wherever there is no noise to speak of.
        """
        size = np.abs(difference)
        strong = size > self.threshold
        seeds = np.abs(sum_3x3(difference)) > self._patch_threshold
        if np.count_nonzero(strong) >= 3:
            seeds |= strong & (sum_3x3(strong.view(np.uint8)) >= 3)
        if not seeds.any():
            return self._quiet_pixels
        return self._quiet_pixels | (widened(seeds) & (size > self._beside_threshold))

    def look(self, difference: Int16, time_s: float) -> None:
        """Learn from a difference whose light was taken out.

        Parameters
        ----------
        difference : np.ndarray, shape (height, width), int16
        time_s : float
        """
        if not 0.0 <= time_s - self._began_s <= 2 * CHUNK_S:
            self._restart(time_s)
        elif time_s - self._began_s >= CHUNK_S and self._n_looks >= LEAST_LOOKS:
            self._learn(time_s - self._began_s)
            self._restart(time_s)
        self._looked_s = time_s
        width = difference.shape[1]
        # Light is taken out by whole grey levels: what is left of it would pass for a patch that moves.
        middle = np.sort(difference, axis=1)[:, width // 4 : width - width // 4].mean(axis=1, dtype=np.float32)
        steady: Float32 = difference - middle[:, np.newaxis]
        mean = sum_3x3(steady) * np.float32(1 / 9)
        self._alike_sum[:, :-1] += 0.5 * steady[:, :-1] * steady[:, 1:]
        self._alike_sum[:-1] += 0.5 * steady[:-1] * steady[1:]
        lone = np.square(steady - mean)
        lone *= 9.0 / 8.0
        np.minimum(self._quietest, self._means(lone), out=self._quietest)
        self._lone_sum += lone
        self._n_looks += 1

    def _restart(self, time_s: float) -> None:
        self._began_s, self._n_looks = time_s, 0
        self._lone_sum[:] = 0.0
        self._alike_sum[:] = 0.0
        self._quietest[:] = np.inf

    def _learn(self, chunk_s: float) -> None:
        """Fold a chunk in where it was quiet for long, and where it shows that too much was taken for noise."""
        lone = self._lone_sum / self._n_looks
        lone_of_block, alike_of_block = self._means(lone), self._means(self._alike_sum / self._n_looks)
        moves = alike_of_block > COHERENT * lone_of_block + ROUNDING
        self.n_chunks += 1
        self.is_moving = bool(moves.any())
        self.n_moving_chunks += self.is_moving
        # An arm that moves at the edge of a block is about to enter the next.
        self._quiet_s = np.where(widened(moves), 0.0, self._quiet_s + chunk_s)
        # An empty room that is noisy should not be heard for longer than it takes to see that nobody is there.
        is_first_look = (self._n_learned == 0) & (not self.is_moving)
        may_learn = is_first_look | (self._quiet_s >= self._settings.quiet_s)
        # So short a look says little of single pixels.
        lone = np.where(self._spread(is_first_look) > 0, self._spread(lone_of_block), lone)
        weight = np.maximum(1.0 / (self._n_learned + 1), min(1.0, chunk_s / self._settings.learn_s)) * may_learn
        weight = np.where(may_learn & (lone_of_block < TOO_HIGH * self._means(self._variance)), FALL, weight)
        self._n_learned += may_learn
        self._variance += self._spread(weight) * (lone - self._variance)
        self._fall(~may_learn)
        self._guess()
        self._decide()

    def _fall(self, moves: Bools) -> None:
        """Take back what was learned too high even where somebody moves all the time."""
        variance = self._means(self._variance)
        is_too_high = moves & (self._quietest < TOO_HIGH * variance) & (self._n_pixels >= FEW_PIXELS)
        left = np.minimum(1.0, self._quietest / (QUIETEST * np.maximum(variance, 1e-9)))
        self._variance *= self._spread(np.where(is_too_high, 1.0 - FALL * (1.0 - left), 1.0))

    def _guess(self) -> None:
        """Take blocks that were never quiet to be like the others."""
        known = self._n_learned > 0
        if known.any() and not known.all():
            typical = np.median(self._means(self._variance)[known])
            self._variance[self._spread(~known) > 0] = typical

    def _decide(self) -> None:
        # A pixel was seen for a short time only: where it seems quieter than those around it, that is chance.
        around = self._spread(np.sqrt(self._means(self._variance)))
        deviation = np.maximum(np.sqrt(self._variance), around)
        self._noisy: Bools = (around * SEEN > self._base + 1) | (deviation * SEEN_ALONE > self._base + 1)
        self._quiet_pixels = ~self._noisy
        self.is_noisy = bool(self._noisy.any())
        self._patch_threshold = np.ceil(TOGETHER * np.sqrt(sum_3x3(np.square(deviation)))).astype(np.int16)
        self._beside_threshold = (deviation * BESIDE).astype(np.int16)
        self._row_noise: Float32 = MEAN_OF_ABSOLUTE * deviation.mean(axis=1)
        self.threshold = self._base
        if self.is_noisy:
            self.threshold = np.clip(np.ceil(ALONE * deviation), self._base, 255).astype(np.int16)

    def _blocks(self, values: Float32) -> Float32:
        sums: Float32 = np.add.reduceat(np.add.reduceat(values, self._tops, axis=0), self._lefts, axis=1)
        return sums

    def _means(self, values: Float32) -> Float32:
        return self._blocks(values) / self._n_pixels

    def _spread(self, of_blocks: npt.NDArray[np.generic]) -> Float32:
        height, width = self._variance.shape
        each = np.repeat(np.repeat(of_blocks, BLOCK_PX, axis=0), BLOCK_PX, axis=1)
        return each[:height, :width].astype(np.float32)


def sum_3x3(values: npt.NDArray[Value]) -> npt.NDArray[Value]:
    """Sum of each pixel and its neighbours; beyond the border there is nothing.

    Parameters
    ----------
    values : np.ndarray, shape (height, width)

    Returns
    -------
    np.ndarray, shape (height, width), of the same type
    """
    height, width = values.shape
    padded = np.zeros((height + 2, width + 2), values.dtype)
    padded[1:-1, 1:-1] = values
    tall = padded[:-2] + padded[1:-1]
    tall += padded[2:]
    total: npt.NDArray[Value] = tall[:, :-2] + tall[:, 1:-1]
    total += tall[:, 2:]
    return total


def widened(marked: Bools) -> Bools:
    """Mark also what lies beside what is marked, shape (height, width)."""
    wide: Bools = np.greater(sum_3x3(marked.view(np.uint8)), 0)
    return wide
