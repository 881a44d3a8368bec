"""Playing what needs no synth: blocks of a network, overlap-added as they would be on a box."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import numpy as np
import numpy.typing as npt

from device.core.noise import SlowNoise
from device.core.window import Window
from device.edges.model import Float32, SpectrumModel
from trainer.evaluating.playing import Playing

Float64 = npt.NDArray[np.float64]
Column = tuple[Float32, float]

BUFFER = 384
"""Samples that wait in the sound card, as when the engine plays spectra."""
NOISE_TIME_S = 0.5


class BlockHead(Protocol):
    """What makes a block of a network's values.

    Attributes
    ----------
    hop : int
        Samples from one block to the next.
    """

    hop: int

    def block(self, values: Float32, tail: Float64, temperature: float, rng: np.random.Generator) -> Float64:
        """Two hops of samples to add to what is there, of which `tail`, one hop, is what the last block left."""


class Listener:
    """A `SpectrumModel` that is silent and remembers the columns that it saw."""

    runtime, variant = "none", "listener"

    def __init__(self, playing: Playing) -> None:
        self.n_columns, self.n_features = playing.example.n_columns, playing.motion.n_features
        self.n_latent, self.n_bins = 1, playing.synth.n_bins
        self.columns: list[Float32] = []
        self._silence = np.zeros(self.n_bins, np.float32)

    def run(self, motion: Float32, noise: Float32, position: float) -> Float32:  # noqa: ARG002 - it needs none
        """Remember the newest column."""
        self.columns.append(motion[-1].copy())
        return self._silence


def play_blocks(
    head: BlockHead,
    model: SpectrumModel,
    playing: Playing,
    events: Iterable[Column],
    n_samples: int,
    temperature: float = 0.0,
    seed: int = 0,
) -> Float32:
    """Play columns block by block.

    A block that begins at sample s is made of the columns up to s less the card's buffer.

    Parameters
    ----------
    head : BlockHead
    model : SpectrumModel
        Its output is the head's values.
    playing : Playing
    events : iterable of (column, time_s)
    n_samples : int
        How long the sound is.
    temperature, seed : float, int

    Returns
    -------
    np.ndarray, shape (n_samples,), float32
        Sample 0 is the time of the first column.
    """
    window = Window(model.n_columns, model.n_features, playing.grid_rate_hz)
    noise = SlowNoise(model.n_latent, temperature, NOISE_TIME_S, seed)
    rng = np.random.default_rng(seed)
    rate_hz = playing.synth.rate_hz
    waiting = iter(events)
    following = next(waiting, None)
    first_s = 0.0 if following is None else following[1]
    out = np.zeros(n_samples + 2 * head.hop)
    for start in range(0, n_samples, head.hop):
        while following is not None and following[1] - first_s <= (start - BUFFER) / rate_hz:
            window.push(*following)
            following = next(waiting, None)
        values = model.run(window.read(), noise.step(head.hop / rate_hz), 1.0)
        tail = out[start : start + head.hop].copy()
        out[start : start + 2 * head.hop] += head.block(values, tail, temperature, rng)
    return np.clip(out[:n_samples], -1.0, 1.0).astype(np.float32)
