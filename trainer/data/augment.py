"""Variations of examples in training: other sides, places and light, and an empty stage."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Batch = dict[str, Float32]

SHARE_STILL = 0.04
"""Share of examples in which nobody moves and nothing sounds, beside those of the takes in which nobody moves."""
SHARE_VARIED = 0.5
"""Share of examples that are varied; the others are as they were seen."""
SPECK = 0.25
"""Grey levels in a row or column: one pixel of noise over the threshold, no motion."""
LIGHT_SPREAD = 0.25
"""Standard deviation of the logarithm of the light, of which all motion is a multiple."""
LARGEST_SHIFT = 4
"""Columns of the picture by which examples are shifted sideways in training."""


def vary(window: Float32, height: int, rng: np.random.Generator) -> None:
    """Take some of the windows; mirror half of them, shift them sideways and change their light, in place.

    The music is the same for all of these: a model that saw each dance only as it was would learn the room, one that
    never saw it so would not know the room that it is in.

    Parameters
    ----------
    window : np.ndarray, shape (n, n_columns, n_features), float32
    height : int
        Values in a column that stand for the picture's rows; the others stand for its columns.
    rng : np.random.Generator
    """
    is_varied = rng.random(len(window)) < SHARE_VARIED
    varied = window[is_varied]
    across = varied[:, :, height:]  # (n, n_columns, width)
    n, _, width = across.shape
    source = np.arange(width) + rng.integers(-LARGEST_SHIFT, LARGEST_SHIFT + 1, (n, 1))
    source = np.where(rng.random((n, 1)) < 0.5, width - 1 - source, source)  # (n, width)
    moved = np.take_along_axis(across, np.clip(source, 0, width - 1)[:, np.newaxis], axis=2)
    moved *= ((source >= 0) & (source < width))[:, np.newaxis]
    across[:] = moved
    varied *= np.exp(LIGHT_SPREAD * rng.standard_normal((n, 1, 1))).astype(np.float32)
    window[is_varied] = varied


def empty_stage(batch: Batch, is_empty: npt.NDArray[np.bool_], rng: np.random.Generator) -> None:
    """Put silence to no motion, or to specks of sensor noise: when still, silence, even where a take's music goes on.

    Parameters
    ----------
    batch : dict
        From `Examples.batch`; changed in place.
    is_empty : np.ndarray, shape (n,), bool
        Which examples.
    rng : np.random.Generator
    """
    shape = batch["window"][is_empty].shape
    n_specks = 0.01 * np.maximum(rng.uniform(-1, 1, (shape[0], 1, 1)), 0)  # share of the window; half have none
    batch["window"][is_empty] = SPECK * rng.random(shape) * (rng.random(shape) < n_specks)
    batch["spectrum"][is_empty] = 0.0
    batch["bands"][is_empty] = 0.0
