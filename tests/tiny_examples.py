"""Examples of random motion and sound for small networks, the same for all workers, and what training makes of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from device.core.synth import SynthSettings
from trainer.settings import ExampleSettings, LossSettings, ModelSettings, Preset, RunSettings

SYNTH = SynthSettings()
MODEL = ModelSettings(
    n_columns=5, n_features=14, n_bins=SYNTH.n_bins, n_rows=6, n_latent=4, n_bands=16, n_hidden=32, n_filters=8
)
TINY = RunSettings(
    preset=Preset(n_steps=40, batch_size=16, n_hidden=32, n_filters=8, n_epochs=4),
    example=ExampleSettings(0.1, 50.0, 0.0, MODEL.n_sound_frames, MODEL.n_bands, SYNTH),
    model=MODEL,
    loss=LossSettings(),
    held_out=0.2,
    held_out_takes=[],
    seed=3,
)


class WholeBatches:
    """Gives a worker its part of batches that are the same however many workers there are."""

    def __init__(self, settings: RunSettings, index: int = 0) -> None:
        self._model, self._whole, self._index = settings.model, settings.preset.batch_size, index

    def variance(self, _: Any) -> float:
        """Of the spectra."""
        return 0.05

    def announce(self, *_: Any) -> None:
        """There is no disk."""

    def training_batch(self, _: Any, n: int, __: Any, number: int) -> dict[str, npt.NDArray[np.float32]]:
        """The part of one worker: half of the batch is loud, half of it soft."""
        rng, model = np.random.default_rng(number), self._model
        loudness = np.where(np.arange(self._whole) < self._whole // 2, 1.0, 0.1)[:, np.newaxis]
        whole = {
            "window": 5 * rng.random((self._whole, model.n_columns, model.n_features)),
            "bands": loudness[:, :, np.newaxis] * rng.random((self._whole, model.n_sound_frames, model.n_bands)),
            "position": rng.random((self._whole, 1)),
            "spectrum": loudness * rng.random((self._whole, model.n_bins)),
        }
        at = slice(self._index * n, (self._index + 1) * n)
        return {name: value[at].astype(np.float32) for name, value in whole.items()}


class NoBar:
    """Progress that nobody looks at."""

    def update(self, n: int) -> None:
        """Do nothing."""


def weights_after(examples: WholeBatches, team: Any, n_steps: int) -> list[npt.NDArray[np.float32]]:
    """All weights after some steps."""
    from trainer.learning.loop import Loop

    loop: Any = Loop(examples, None, TINY, team)  # type: ignore[arg-type]
    loop.steps_per_epoch = n_steps
    loop.epoch(0, NoBar())
    weights: list[npt.NDArray[np.float32]] = loop.model.get_weights()
    return weights
