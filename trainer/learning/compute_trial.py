"""`python -m trainer.learning.compute_trial PRESET MODEL COMPUTE`, each JSON: how many steps a second are made."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import numpy as np

from trainer.data.augment import Batch
from trainer.learning.compute import Compute
from trainer.settings import GRID_RATE_HZ, ExampleSettings, LossSettings, ModelSettings, Preset, RunSettings

N_WARM_UP, N_STEPS = 10, 20
LEAST_S = 4.0


class RandomExamples:
    """Stands in for `trainer.data.dataset.Examples`: one batch of random numbers, again and again."""

    def __init__(self, model: ModelSettings, batch_size: int) -> None:
        rng = np.random.default_rng(0)
        shapes = {
            "window": (model.n_columns, model.n_features),
            "bands": (model.n_sound_frames, model.n_bands),
            "position": (1,),
            "spectrum": (model.n_bins,),
        }
        self._batch = {name: rng.random((batch_size, *shape), np.float32) for name, shape in shapes.items()}

    def variance(self, _: object) -> float:
        """Of the spectra."""
        return 1.0 / 12.0

    def training_batch(self, *_: object) -> Batch:
        """The batch."""
        return self._batch


class _Bar:
    """Progress that nobody looks at."""

    def update(self, n: int) -> None:
        """Do nothing."""


def measure(preset: Preset, model: ModelSettings, compute: Compute) -> float:
    """Steps per second: the median of some seconds."""
    from device.core.synth import SynthSettings
    from trainer.backend import tf
    from trainer.learning.loop import Loop

    tf.config.experimental.enable_op_determinism()
    segment_s = model.n_columns / GRID_RATE_HZ
    example = ExampleSettings(segment_s, GRID_RATE_HZ, 0.0, model.n_sound_frames, model.n_bands, SynthSettings())
    settings = RunSettings(preset, example, model, LossSettings(), 0.2, [], 0)
    examples: Any = RandomExamples(model, preset.batch_size)
    loop = Loop(examples, None, settings, compute=compute)
    loop.steps_per_epoch = N_WARM_UP
    loop.epoch(0, _Bar())
    loop.steps_per_epoch = N_STEPS
    rates: list[float] = []
    begun_s = time.perf_counter()
    while time.perf_counter() < begun_s + LEAST_S:
        started_s = time.perf_counter()
        loop.epoch(0, _Bar())
        rates.append(N_STEPS / (time.perf_counter() - started_s))
    return float(np.median(rates))


if __name__ == "__main__":
    preset, model, compute = (json.loads(word) for word in sys.argv[1:])
    print(measure(Preset(**preset), ModelSettings(**model), Compute(**compute)))
