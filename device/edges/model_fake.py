"""A model without a network: the fake that behaves.

It plays a harmonic tone, louder where there is more motion and higher where the motion is higher in the picture.
"""

from __future__ import annotations

import numpy as np

from device.core.errors import ModelError
from device.edges.model import Float32

_FUNDAMENTAL_BINS = (6.0, 48.0)  # from the lowest to the highest place in the picture: three octaves
_LOUDEST_MOTION = 8.0  # mean of a column, in grey levels, that gives full level
_PEAK = 3.0  # spectrum at the fundamental at full level


class FakeModel:
    """A `SpectrumModel` that needs no file and no runtime; everything it does can be computed by hand.

    `position` chooses the column of the window that is played (1: the newest), `noise` bends the pitch by up to a
    semitone or so, no motion gives exact zeros.

    Parameters
    ----------
    n_columns : int
        Columns in a window.
    height, width : int
        Of the frames, in pixels; n_features is their sum.
    n_latent, n_bins : int
        Sizes of the noise and of the spectrum.
    """

    runtime = "fake"
    variant = "fake"

    def __init__(
        self, n_columns: int = 24, height: int = 48, width: int = 64, n_latent: int = 8, n_bins: int = 1025
    ) -> None:
        self.n_columns = n_columns
        self.n_features = height + width
        self.n_latent = n_latent
        self.n_bins = n_bins
        self._height = height
        self._bins = np.arange(n_bins)
        self._spectrum = np.zeros(n_bins, np.float32)

    def run(self, motion: Float32, noise: Float32, position: float) -> Float32:
        """One window to one spectrum; shapes and meaning as in `SpectrumModel.run`.

        Raises
        ------
        ModelError
            An input of another shape.
        """
        if motion.shape != (self.n_columns, self.n_features) or noise.shape != (self.n_latent,):
            raise ModelError(f"the fake model was given motion {motion.shape} and noise {noise.shape}: match its sizes")
        rows = motion[round(float(np.clip(position, 0.0, 1.0)) * (self.n_columns - 1)), : self._height]
        total = float(rows.sum())
        if total <= 0.0:
            self._spectrum.fill(0.0)
            return self._spectrum
        height_in_picture = 1.0 - float(rows @ np.linspace(0.0, 1.0, self._height)) / total  # row 0 is the top
        low, high = _FUNDAMENTAL_BINS
        fundamental = low * (high / low) ** height_in_picture * 2.0 ** (float(np.tanh(noise.mean())) / 12.0)
        level = _PEAK * min(1.0, total / self._height / _LOUDEST_MOTION)
        harmonic = np.maximum(np.round(self._bins / fundamental), 1.0)
        distance_bins = self._bins - harmonic * fundamental
        self._spectrum[:] = level / harmonic * np.exp(-0.5 * distance_bins**2)
        return self._spectrum
