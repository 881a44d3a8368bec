"""The model interface: what the engine asks of anything that turns motion into a spectrum."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]


class SpectrumModel(Protocol):
    """A network with the motion encoder and the sound decoder.

    Attributes
    ----------
    n_columns, n_features : int
        Shape of the window: columns, and height + width.
    n_latent, n_bins : int
        Sizes of the noise and of the spectrum.
    runtime, variant : str
        Which runtime runs which file: 'tflite-runtime' or 'ai-edge-litert'; 'int8' or 'f16'.
    """

    n_columns: int
    n_features: int
    n_latent: int
    n_bins: int
    runtime: str
    variant: str

    def run(self, motion: Float32, noise: Float32, position: float) -> Float32:
        """One window to one spectrum.

        Parameters
        ----------
        motion : np.ndarray, shape (n_columns, n_features), float32
            Columns in grey levels, the newest last.
        noise : np.ndarray, shape (n_latent,), float32
            Zeros for the mean of q(z|m); standard normal to draw z.
        position : float
            Time within the segment, 0 to 1; 1 is now.

        Returns
        -------
        np.ndarray, shape (n_bins,), float32
            Magnitudes to the power of the bundle's synth settings. The same array at every call: copy to keep.
        """
        ...
