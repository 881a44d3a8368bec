"""A head that says the waveform of a block, in bands: transposed convolutions, and a spectral loss at several scales.

As in RAVE (Caillon and Esling, "RAVE: A variational autoencoder for fast and high-quality neural audio synthesis",
2021), in small. A block is made of z alone, so that nothing carries the phase on: each block is shifted to where it
goes on best from the one before, then cross-faded (WSOLA: Verhelst and Roelands, "An overlap-add technique based on
waveform similarity", ICASSP 1993). Without the shift the blocks' own rate is the only pitch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tests.ablations.pqmf import analyse_bands, filters, join_kernel
from trainer.data.augment import Batch
from trainer.data.dataset import Examples
from trainer.settings import ModelSettings

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Tensor = Any

N_BANDS = 8
N_FFTS = (1024, 256, 64)
POWER = 0.3
SILENCE = 1e-9
"""Power of a bin; below it the compression's slope is held."""
LONGEST_SHIFT = 512
"""Samples: a period of 94 Hz."""


class MultibandHead:
    """A block of samples.

    Parameters
    ----------
    n_samples : int
        That the network says; what is left of a block when it was shifted overlaps with the next one by half.
    """

    def __init__(self, n_samples: int = 2048) -> None:
        self.n_samples, self.hop = n_samples, (n_samples - LONGEST_SHIFT) // 2
        self._bank = filters(N_BANDS)
        self._band_level: Float32 = np.ones(N_BANDS, np.float32)
        self._variances: list[float] = []
        self._fade = 0.5 - 0.5 * np.cos(np.pi * np.arange(2 * self.hop) / self.hop)

    def prepare(self, examples: Examples, rows: npt.NDArray[np.int64]) -> None:
        """Take the level of each band, and how much the spectra vary at each scale."""
        some = rows[:: max(1, len(rows) // 512)]
        sound = examples.batch(some, np.ones(len(some), np.float32))["sound"]
        self._band_level = (
            analyse_bands(sound.ravel().astype(np.float64), self._bank).std(axis=0).astype(np.float32) + 1e-6
        )
        self._variances = [float(np.var(spectra, axis=0).mean()) for spectra in self._scales(sound)]

    def decode(self, hidden: Tensor, settings: ModelSettings) -> Tensor:  # noqa: ARG002 - has widths of its own
        """Three stages, each four times as fine as the one before, to bands; then the filter bank's other half."""
        from trainer.backend import keras

        layers = keras.layers
        n_start = self.n_samples // N_BANDS // 64
        x = layers.Dense(n_start * 64, activation="relu")(hidden)
        x = layers.Reshape((n_start, 64))(x)  # (B, 4, 64)
        for n_filters in (64, 48, 32):
            x = layers.Conv1DTranspose(n_filters, 8, strides=4, padding="same", activation="relu")(x)
        x = layers.Conv1D(N_BANDS, 7, padding="same")(x) * self._band_level  # (B, 256, n_bands)
        kernel = join_kernel(self._bank)
        join = layers.Conv1D(N_BANDS, len(kernel), padding="same", use_bias=False, trainable=False)
        x = join(x)
        join.set_weights([kernel.astype(np.float32)])
        return layers.Reshape((self.n_samples,))(x)

    def loss(self, values: Tensor, batch: dict[str, Tensor]) -> Tensor:
        """Squared error of compressed magnitudes at each scale, as a share of their variance."""
        from trainer.backend import keras

        ops = keras.ops
        pairs = zip(self._scales(values), self._scales(batch["sound"]), self._variances, strict=True)
        errors = [ops.mean(ops.square(said - true)) / variance for said, true, variance in pairs]
        return sum(errors) / len(errors)

    def notes(self, values: Float32, batch: Batch) -> dict[str, float]:  # noqa: ARG002 - the loss says it all
        """Nothing beside the figures."""
        return {}

    def block(self, values: Float32, tail: Float64, temperature: float, rng: np.random.Generator) -> Float64:  # noqa: ARG002
        """Two hops of samples to add, the part of the block that goes on best from what is there."""
        searched = values[: LONGEST_SHIFT + self.hop].astype(np.float64)
        energies = np.convolve(np.square(searched), np.ones(self.hop), "valid")
        likeness = np.correlate(searched, tail, "valid") / np.sqrt(energies + SILENCE)
        start = int(np.argmax(likeness))
        return np.asarray(values[start : start + 2 * self.hop] * self._fade)

    def _scales(self, sound: Tensor) -> list[Tensor]:
        """Magnitudes to the power 0.3 of short-time transforms, a quarter of a frame apart."""
        from trainer.backend import keras, tf

        ops, found = keras.ops, []
        for n_fft in N_FFTS:
            transforms = tf.signal.stft(sound, n_fft, n_fft // 4) * (4.0 / n_fft)  # a sine of amplitude 1 has 1
            power = ops.square(tf.math.real(transforms)) + ops.square(tf.math.imag(transforms))
            found.append(ops.power(power + SILENCE, POWER / 2))
        return found
