"""The modified discrete cosine transform, and a head that says its coefficients.

Princen, Johnson and Bradley, "Subband/transform coding using filter bank designs based on time domain aliasing
cancellation", ICASSP 1987, with a sine window. The transform has as many coefficients as samples, so a network that
says them needs no synth. But a coefficient is one phase of a frequency only: its sign and its size turn with the
phase of the sound at the frame's place, which the motion does not say. A mean over phases is zero, so this head says
sizes and the odds of each sign apart; what it knows of signs is in the table. With signs that do not go on from frame
to frame a steady tone is cut anew every 10.7 ms.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.data.augment import Batch
from trainer.data.dataset import Examples
from trainer.settings import ModelSettings

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Tensor = Any

POWER = 0.3
"""Sizes are companded as spectra are."""
SIZE_GAIN = 1.6
"""What a mean under the power 0.3 says too little of coefficients that are normally distributed: 4.1 dB."""
SIGN_WEIGHT = 0.1


class Mdct:
    """Frames of 2 n samples, n apart, to n coefficients and back.

    Parameters
    ----------
    n : int
        Coefficients.
    """

    def __init__(self, n: int) -> None:
        self.n = n
        at = np.arange(2 * n)[:, np.newaxis] + 0.5
        window = np.sin(np.pi / (2 * n) * at)
        # A sine of amplitude 1 reaches about 1: the scale of spectra.
        self._scale = float(np.sqrt(2.0 / n) * window.sum()) / 2.0
        self._basis = window * np.sqrt(2.0 / n) * np.cos(np.pi / n * (at + n / 2) * (np.arange(n) + 0.5))

    @property
    def analysis(self) -> Float64:
        """Frame to coefficients: shape (2 n, n)."""
        return np.asarray(self._basis / self._scale)

    @property
    def synthesis(self) -> Float64:
        """Coefficients to a frame that is added to its neighbours: shape (n, 2 n)."""
        return np.asarray(self._basis.T * self._scale)


class MdctHead:
    """Sizes, companded, and the odds of a positive sign: 2 n values.

    Parameters
    ----------
    n : int
        Coefficients in a frame.
    """

    def __init__(self, n: int = 512) -> None:
        self.n, self.n_samples, self.hop = n, 2 * n, n
        self._mdct = Mdct(n)
        self._analysis = self._mdct.analysis.astype(np.float32)
        self._synthesis = self._mdct.synthesis
        self._variance = 1.0

    def prepare(self, examples: Examples, rows: npt.NDArray[np.int64]) -> None:
        """Take the sizes' variance for the scale of errors."""
        some = rows[:: max(1, len(rows) // 2048)]
        sound = examples.batch(some, np.ones(len(some), np.float32))["sound"]
        sizes = np.abs(sound @ self._analysis) ** POWER
        self._variance = float(np.square(sizes - sizes.mean(0)).mean())

    def decode(self, hidden: Tensor, settings: ModelSettings) -> Tensor:
        """As wide as the spectra's decoder, and one layer for each kind of value."""
        from trainer.backend import keras

        layers = keras.layers
        hidden = layers.Dense(settings.n_hidden, activation="relu")(hidden)
        few = keras.initializers.Constant(0.05)
        sizes = layers.Dense(self.n, activation="relu", bias_initializer=few)(hidden)
        return layers.Concatenate()([sizes, layers.Dense(self.n)(hidden)])

    def loss(self, values: Tensor, batch: dict[str, Tensor]) -> Tensor:
        """Squared error of the sizes, and cross-entropy of the signs, each as heavy as its coefficient is large."""
        from trainer.backend import keras

        ops = keras.ops
        true = ops.matmul(batch["sound"], self._analysis)
        # Silence has a size of zero, near which the power's slope is infinite: nothing flows back through the truth.
        wanted = ops.power(ops.abs(true), POWER)
        is_positive = ops.cast(true > 0.0, "float32")
        sizes, odds = values[:, : self.n], values[:, self.n :]
        crossed = ops.softplus(odds) - odds * is_positive
        signs = ops.sum(wanted * crossed) / (ops.sum(wanted) + 1e-6)
        return ops.mean(ops.square(sizes - wanted)) / self._variance + SIGN_WEIGHT * signs

    def notes(self, values: Float32, batch: Batch) -> dict[str, float]:
        """How many signs are right, each counted by its energy; tossing coins gives 0.5."""
        true = batch["sound"] @ self._analysis
        right = (values[:, self.n :] > 0.0) == (true > 0.0)
        return {"signs_right": float(np.average(right, weights=np.square(true)))}

    def block(self, values: Float32, tail: Float64, temperature: float, rng: np.random.Generator) -> Float64:  # noqa: ARG002
        """A frame of 2 n samples to add every n: with the likelier signs, or with tossed ones."""
        sizes = SIZE_GAIN * np.maximum(values[: self.n], 0.0).astype(np.float64) ** (1.0 / POWER)
        odds = values[self.n :].astype(np.float64)
        if temperature > 0.0:
            odds = odds / temperature + rng.logistic(size=self.n)
        return np.asarray(np.where(odds > 0.0, sizes, -sizes) @ self._synthesis)
