"""The first recipe, to be held against: `python -m tests.bench.first_recipe TAKES CACHE LOUDNESS HELD_OUT...`.

A plain regression, as simple as it can be and follow a dance: columns under a square root, three convolutions, a code
of 32 numbers, and from it the magnitudes of a spectrum to the power 0.3; squared error, Adam, one learning rate. No
latent space, no noise, no motion varied, nothing to hold still. It trains until what it plays to the held-out takes
follows their loudness so well, and prints what each epoch took, and how it plays.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from device.edges.model_tflite import preload
from trainer.data.prepare import load_takes, split
from trainer.evaluating.playing import Playing, held_out_spans, play_spans
from trainer.evaluating.reference import Reference
from trainer.learning.command import run_settings
from trainer.settings import HOP_S, PRESETS, RunSettings

Float32 = npt.NDArray[np.float32]

N_EPOCHS = 20
BATCH = 64
LEARNING_RATE = 3e-4
N_CODE = 32


class Regression:
    """It stands where a trained model would, of whose inputs it needs the motion only."""

    runtime, variant, n_latent = "keras", "f32", 1

    def __init__(self, settings: RunSettings) -> None:
        from trainer.backend import keras, tf

        layers = keras.layers
        self.n_columns, self.n_features = settings.model.n_columns, settings.model.n_features
        self.n_bins = settings.model.n_bins
        motion = layers.Input((self.n_columns, self.n_features))
        x = keras.ops.sqrt(motion)
        for n_filters, stride in ((96, 1), (96, 2), (128, 2)):
            x = layers.Conv1D(n_filters, 3, stride, padding="same", activation="relu")(x)
        x = layers.Flatten()(x)
        for width in (256, N_CODE, 256, 512, self.n_bins):
            x = layers.Dense(width, activation="relu")(x)
        self.network = keras.Model(motion, x)
        self.network.compile(keras.optimizers.Adam(LEARNING_RATE), "mse")
        self._run = tf.function(lambda window: self.network(window, training=False))

    def run(self, motion: Float32, noise: Float32, position: float) -> Float32:  # noqa: ARG002 - it needs motion only
        """Give the spectrum of now."""
        return np.asarray(self._run(motion[np.newaxis])[0])


def main(takes_dir: Path, cache_dir: Path, loudness: float, held_out: list[int]) -> dict[str, Any]:
    """Train and play in turn.

    Returns
    -------
    dict
        `seconds` of training, `n_steps`, `played`, the figures, and `idle_s`: spent playing after all epochs but the
        last.
    """
    preload()
    takes = load_takes(takes_dir)
    settings = run_settings(takes, PRESETS["quick"], lead_s=0.0, held_out_takes=held_out, body_leads=False)
    learned, kept = split(takes, settings.example.segment_s, HOP_S, held_out_takes=held_out)
    from trainer.backend import keras
    from trainer.data.dataset import Examples
    from trainer.data.spectra_cache import SpectraCache

    keras.utils.set_random_seed(settings.seed)
    examples = Examples(takes, settings.example, SpectraCache(cache_dir))
    rows = examples.rows(learned)
    batch = examples.batch(rows, np.ones(len(rows), np.float32))
    regression, playing = Regression(settings), Playing(takes[0].settings, settings.example)
    reference = Reference.of(playing, held_out_spans(takes, kept))
    spent_s, playing_s, n_epochs = 0.0, [], 0
    played: dict[str, float | None] = {}
    while n_epochs < N_EPOCHS and (played.get("loudness_rank_correlation") or 0.0) < loudness:
        begun_s = time.perf_counter()
        regression.network.fit(batch["window"], batch["spectrum"], BATCH, verbose=0)
        trained_s = time.perf_counter()
        played = reference.figures(play_spans(playing, regression, reference.spans)).as_dict()
        spent_s, n_epochs = spent_s + trained_s - begun_s, n_epochs + 1
        playing_s.append(time.perf_counter() - trained_s)
    n_steps = n_epochs * -(-len(rows) // BATCH)
    return {"seconds": spent_s, "idle_s": sum(playing_s[:-1]), "n_steps": n_steps, "played": played}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]), list(map(int, sys.argv[4:])))))
