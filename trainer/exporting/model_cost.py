"""What a network of given sizes will cost a box, worked out before it is trained: see `trainer.learning.model`."""

from __future__ import annotations

import math
from dataclasses import dataclass

from trainer.settings import ModelSettings

N_MOMENTS, N_POSITION, WIDTH = 5, 16, 3
"""What `motion_trunk` looks at beside the window (the quantity and four moments), and widths that are not chosen."""
MOST_FILTERS = 128
SHORTEST = 8
BYTES_F16 = 2


@dataclass(frozen=True)
class ModelCost:
    """Of the part that goes to the box.

    Attributes
    ----------
    n_macs : int
        Multiply-accumulates for one spectrum.
    n_weights : int
    """

    n_macs: int
    n_weights: int

    @property
    def n_bytes(self) -> int:
        """Of its weights in the f16 file."""
        return self.n_weights * BYTES_F16


def cost_of(settings: ModelSettings) -> ModelCost:
    """Count what motion encoder and sound decoder compute for one spectrum."""
    n_macs = n_weights = 0
    n_columns, n_in, n_out = settings.n_columns, settings.n_features + N_MOMENTS, settings.n_filters
    while True:
        n_macs += n_columns * WIDTH * n_in * n_out
        n_weights += (WIDTH * n_in + 1) * n_out
        if n_columns <= SHORTEST:
            break
        n_columns, n_in = math.ceil(n_columns / 2), n_out
        n_out = min(n_out * 4 // 3, MOST_FILTERS) if n_columns <= SHORTEST else n_out
    n_latent, n_hidden = settings.n_latent, settings.n_hidden
    dense = [
        (n_columns * n_out, settings.n_motion),
        *2 * [(settings.n_motion, n_latent)],
        (1, N_POSITION),
        (n_latent + N_POSITION, n_hidden),
        (n_hidden, n_hidden),
        (n_hidden, settings.n_bins),
    ]
    n_macs += sum(a * b for a, b in dense)
    n_weights += sum((a + 1) * b for a, b in dense)
    return ModelCost(n_macs, n_weights)
