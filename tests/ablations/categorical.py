"""A head that chooses: a gain, and one of some spectra that were measured in the takes.

The code book is spherical k-means over the training spectra's shapes (Dhillon and Modha, "Concept decompositions for
large sparse text data using clustering", Machine Learning 42, 2001), each centre replaced by the measured shape
nearest to it: whatever is chosen is a real spectrum, never a mean of several. To draw, Gumbel noise is added to the
logits (Maddison, Tarlow and Minka, "A* sampling", 2014); it comes from slow normal noise, so the choice lasts.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from device.edges.model import SpectrumModel
from trainer.data.augment import Batch
from trainer.data.dataset import Examples
from trainer.settings import ModelSettings

Float32 = npt.NDArray[np.float32]
Tensor = Any

N_ITERATIONS = 12
N_LOOKED_AT = 8192
CHOICE_WEIGHT = 1.0
NEAR = 0.005
"""Difference in likeness (1 less a cosine) by which a code is e times less wanted than the nearest: measured spectra
scatter, and which of several that differ by scatter alone comes next cannot be known."""


def shapes_of(spectra: Float32) -> Float32:
    """Spectra without their gain: rows of length 1, silence left out."""
    gains = np.linalg.norm(spectra, axis=1, keepdims=True)
    heard = gains[:, 0] > 0.02 * gains.max()
    return np.asarray(spectra[heard] / gains[heard], np.float32)


def code_book(spectra: Float32, n_codes: int, seed: int = 0) -> Float32:
    """Choose spectra that stand for all.

    Parameters
    ----------
    spectra : np.ndarray, shape (n, n_bins), float32
    n_codes : int
    seed : int

    Returns
    -------
    np.ndarray, shape (n_codes, n_bins), float32
        Shapes of measured spectra, of length 1.
    """
    shapes = shapes_of(spectra)
    codes = shapes[np.random.default_rng(seed).choice(len(shapes), n_codes, replace=len(shapes) < n_codes)]
    for _ in range(N_ITERATIONS):
        nearest = (shapes @ codes.T).argmax(axis=1)
        sums = np.zeros_like(codes)
        np.add.at(sums, nearest, shapes)
        length = np.linalg.norm(sums, axis=1, keepdims=True)
        codes = np.where(length > 0.0, sums / np.maximum(length, 1e-9), codes)
    return np.asarray(shapes[(shapes @ codes.T).argmax(axis=0)])


class CategoricalHead:
    """A gain and logits: 1 + n_codes values.

    Parameters
    ----------
    n_codes : int
    """

    n_samples = 0

    def __init__(self, n_codes: int = 512) -> None:
        self.n_codes = n_codes
        self.codes: Float32 = np.zeros((n_codes, 0), np.float32)
        self._variance = 1.0

    def prepare(self, examples: Examples, rows: npt.NDArray[np.int64]) -> None:
        """Make the code book from the training spectra."""
        some = rows[:: max(1, len(rows) // N_LOOKED_AT)]
        parts = (some[start : start + 256] for start in range(0, len(some), 256))
        spectra = np.concatenate([examples.batch(part, np.ones(len(part), np.float32))["spectrum"] for part in parts])
        self.codes = code_book(spectra, self.n_codes)
        self._variance = examples.variance(rows)

    def decode(self, hidden: Tensor, settings: ModelSettings) -> Tensor:
        """As wide as the spectra's decoder."""
        from trainer.backend import keras

        layers = keras.layers
        hidden = layers.Dense(settings.n_hidden, activation="relu")(hidden)
        few = keras.initializers.Constant(0.05)
        gain = layers.Dense(1, activation="relu", bias_initializer=few)(hidden)
        return layers.Concatenate()([gain, layers.Dense(self.n_codes)(hidden)])

    def loss(self, values: Tensor, batch: dict[str, Tensor]) -> Tensor:
        """Squared error that the gain makes in the spectrum, and cross-entropy of the choice where there is sound."""
        from trainer.backend import keras

        ops = keras.ops
        gains = ops.sqrt(ops.sum(ops.square(batch["spectrum"]), axis=-1))
        likeness = ops.matmul(batch["spectrum"], self.codes.T) / (gains[:, None] + 1e-6)
        wanted = ops.softmax(likeness / NEAR)
        likely = keras.losses.categorical_crossentropy(wanted, values[:, 1:], from_logits=True)
        choice = ops.sum(gains * likely) / (ops.sum(gains) + 1e-6) / np.log(self.n_codes)
        gain = ops.mean(ops.square(values[:, 0] - gains)) / self.codes.shape[1] / self._variance
        return gain + CHOICE_WEIGHT * choice

    def notes(self, values: Float32, batch: Batch) -> dict[str, float]:
        """How often the likeliest code is the nearest, where there is sound."""
        heard = batch["spectrum"].any(axis=1)
        nearest = (batch["spectrum"][heard] @ self.codes.T).argmax(axis=1)
        return {"codes_right": float((values[heard, 1:].argmax(axis=1) == nearest).mean())}


class Chooser:
    """A `SpectrumModel`: the network's choice from the code book.

    Parameters
    ----------
    network : SpectrumModel
        Its output is a gain and logits.
    codes : np.ndarray, shape (n_codes, n_bins), float32
    """

    def __init__(self, network: SpectrumModel, codes: Float32) -> None:
        self.n_columns, self.n_features = network.n_columns, network.n_features
        self.n_latent, self.n_bins = codes.shape
        self.runtime, self.variant = network.runtime, network.variant
        self._network, self._codes = network, codes
        self._mean = np.zeros(network.n_latent, np.float32)

    def run(self, motion: Float32, noise: Float32, position: float) -> Float32:
        """The likeliest code for noise of zeros; for standard normal noise each with its own probability."""
        values = self._network.run(motion, self._mean, position)
        # Uniform, then Gumbel; the same for all codes where all noise is zero.
        gumbel = -np.log(-np.log(np.clip(ndtr(noise.astype(np.float64)), 1e-12, 1.0 - 1e-12)))
        return np.asarray(max(values[0], 0.0) * self._codes[int(np.argmax(values[1:] + gumbel))], np.float32)
