"""What the alternatives to spectra have in common: the program's motion encoder, and how they are trained."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from functools import partial
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from tests.ablations.material import silence_where_still
from trainer.backend import keras, quiet, tf
from trainer.data.augment import Batch
from trainer.data.dataset import Examples
from trainer.learning.model import motion_trunk
from trainer.settings import ModelSettings, RunSettings

layers, ops = keras.layers, keras.ops

Float32 = npt.NDArray[np.float32]
Tensor = Any


class Head(Protocol):
    """What stands behind z.

    Attributes
    ----------
    n_samples : int
        Of sound around the newest column that `loss` wants in a batch; 0: it wants the spectrum only.
    """

    n_samples: int

    def prepare(self, examples: Examples, rows: npt.NDArray[np.int64]) -> None:
        """Learn from the training examples what the network cannot: scales, a code book."""

    def decode(self, hidden: Tensor, settings: ModelSettings) -> Tensor:
        """From z and position, (B, n_hidden), to values, (B, n_values): layers are made here."""

    def loss(self, values: Tensor, batch: dict[str, Tensor]) -> Tensor:
        """How far the values are from the truth: a scalar, about 1 for a network that knows nothing."""

    def notes(self, values: Float32, batch: Batch) -> dict[str, float]:
        """What is worth saying beside the figures, of held-out examples."""


def build(head: Head, settings: ModelSettings) -> Any:
    """A network from motion, noise and position to values, mean and deviation of z."""
    motion = keras.Input((settings.n_columns, settings.n_features), name="motion")
    noise = keras.Input((settings.n_latent,), name="noise")
    position = keras.Input((1,), name="position")
    features = motion_trunk(settings)(motion)
    mean = layers.Dense(settings.n_latent)(features)
    low = keras.initializers.Constant(-1.0)
    deviation = layers.Dense(settings.n_latent, activation="sigmoid", bias_initializer=low)(features)
    when = layers.Dense(16, activation="relu")(position)
    hidden = layers.Concatenate()([mean + deviation * noise, when])
    hidden = layers.Dense(settings.n_hidden, activation="relu")(hidden)
    return keras.Model([motion, noise, position], [head.decode(hidden, settings), mean, deviation])


def train_head(head: Head, examples: Examples, rows: npt.NDArray[np.int64], settings: RunSettings) -> tuple[Any, float]:
    """Train with the steps, batches, rates and weights of the program's own loop; give the network and seconds."""
    keras.utils.set_random_seed(settings.seed)
    started_s = time.perf_counter()
    head.prepare(examples, rows)
    network = build(head, settings.model)
    preset = settings.preset
    warm_up = min(200, preset.n_steps // 10)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, preset.n_steps - warm_up, warmup_target=preset.learning_rate, warmup_steps=warm_up
    )
    optimizer = keras.optimizers.Adam(schedule, clipnorm=1.0)
    optimizer.build(network.trainable_variables)
    step = tf.function(partial(_step, head, network, optimizer, settings))
    for number, batch in enumerate(_batches(examples, rows, settings)):
        step(batch, tf.constant([settings.seed, number]))
    return network, time.perf_counter() - started_s


def _batches(examples: Examples, rows: npt.NDArray[np.int64], settings: RunSettings) -> Iterator[dict[str, Tensor]]:
    rng = np.random.default_rng(settings.seed)
    n_left = settings.preset.n_steps
    while n_left > 0:
        for batch in examples.batches(rows, settings.preset.batch_size, rng):
            if n_left > 0:
                yield {name: tf.constant(value) for name, value in silence_where_still(batch).items()}
            n_left -= 1


def _step(head: Head, network: Any, optimizer: Any, settings: RunSettings, batch: Any, seed: Any) -> None:
    noise = tf.random.stateless_normal((settings.preset.batch_size, settings.model.n_latent), seed)
    with tf.GradientTape() as tape:
        values, mean, deviation = network([batch["window"], noise, batch["position"]], training=True)
        nats = 0.5 * ops.sum(ops.square(mean) + ops.square(deviation) - 1.0 - 2.0 * ops.log(deviation), axis=-1)
        loss = head.loss(values, batch) + settings.loss.kl * ops.mean(nats)
    weights = network.trainable_variables
    optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))


def deployed(network: Any, settings: ModelSettings) -> Any:
    """The network as a box would run it: one window at a time, values only."""
    motion = keras.Input((settings.n_columns, settings.n_features), batch_size=1, name="motion")
    noise = keras.Input((settings.n_latent,), batch_size=1, name="noise")
    position = keras.Input((1,), batch_size=1, name="position")
    return keras.Model([motion, noise, position], {"spectrum": network([motion, noise, position])[0]})


def to_f16(model: Any) -> bytes:
    """Convert to TFLite with weights of 16 bits."""
    with tempfile.TemporaryDirectory() as folder, quiet():
        model.export(folder, format="tf_saved_model", verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
        return bytes(converter.convert())
