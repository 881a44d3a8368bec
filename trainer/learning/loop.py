"""The steps of training: batches in, weights moved."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

import numpy as np

from device.core.errors import TrainingError
from trainer.backend import keras, tf
from trainer.data.augment import Batch
from trainer.data.dataset import Examples
from trainer.data.read_ahead import ReadAhead
from trainer.learning.compute import Compute
from trainer.learning.model import DanceVAE
from trainer.learning.pace import Pace
from trainer.learning.team import Team
from trainer.settings import Preset, RunSettings

WEIGHT_DECAY = 1e-3
"""Share of each weight that is taken off in a step, times the learning rate (Loshchilov and Hutter, 2019)."""
ACTIVE_NATS = 0.1
"""A latent is active when it says at least this much on average."""
TERMS = ("loss", "sound", "drawn", "loudness", "joint", "motion", "kl", "kl_joint", "tie")
"""Of the loss, kept of every tenth step."""


class Loop:
    """The steps of a run: every one depends on the settings and its number alone, so a run can be gone on with.

    Parameters
    ----------
    examples : Examples
    rows : np.ndarray, shape (n,), int64
        Of the examples that this process trains on.
    settings : RunSettings
    team : Team, optional
        With whom the weights are moved; alone unless given.
    compute : Compute
        How a step is computed; a team's steps are not compiled.

    Raises
    ------
    TrainingError
        There is nothing to learn in the sound.
    UsageError
        The batch cannot be dealt out evenly.
    """

    def __init__(
        self,
        examples: Examples,
        rows: Any,
        settings: RunSettings,
        team: Team | None = None,
        compute: Compute = Compute(),  # noqa: B008 - it is frozen
    ) -> None:
        preset = settings.preset
        if compute.n_threads:
            with suppress(RuntimeError):  # too late, where this process has computed something before
                tf.config.threading.set_intra_op_parallelism_threads(compute.n_threads)
        self._team = team or Team()
        self._share = self._team.share_of(preset.batch_size)
        self.steps_per_epoch = preset.n_steps // preset.n_epochs
        self._examples, self._rows, self._settings, self._compute = examples, rows, settings, compute
        self._announced = -1
        self._variance = self._team.agree(examples.variance(rows))
        if not self._variance > 0:
            raise TrainingError("the takes' sound never changes, it may be silent: record or import takes with sound")
        keras.utils.set_random_seed(settings.seed)
        with self._team.scope():
            with _in_precision(compute.precision):
                self.model = DanceVAE(settings.model)
            self.pace = Pace(_schedule(preset), preset.n_steps)
            self.optimizer: Any = TeamAdamW(
                lambda: self.pace.rate(self.optimizer.iterations), weight_decay=WEIGHT_DECAY, clipnorm=1.0
            )
            self.optimizer.build(self.model.trainable_variables)
        is_compiled = compute.xla and self._team.is_alone
        self._step = tf.function(self._team.everywhere(self._train_step), jit_compile=is_compiled or None)
        self._noise = tf.function(self._draw)
        self._losses = tf.function(self._look_step)

    def in_float32(self) -> Loop:
        """The same with the same weights, of which all is computed in float32: as it will be on a box."""
        if self._compute.precision == "float32":
            return self
        found = Loop(self._examples, self._rows, self._settings, self._team)
        found.model.set_weights(self.model.get_weights())
        return found

    def epoch(self, epoch: int, bar: Any) -> dict[str, float]:
        """Train for one epoch and return the mean of each term of the loss, and `wait`.

        That is the share of the time in which the model waited for data.
        """
        sums: dict[str, float] = {}
        ahead, started_s = ReadAhead(self._batch), time.perf_counter()
        first = epoch * self.steps_per_epoch
        if first != self._announced:
            self._examples.announce(self._rows, self._n_read, self._stream, first)
        self._announced = first + self.steps_per_epoch  # what comes after them the batches announce
        with closing(ahead.over(range(first, first + self.steps_per_epoch))) as batches:
            for number, batch in enumerate(batches):
                terms = self._step(batch, self._noise(tf.constant([self._settings.seed, first + number])))
                bar.update(1)
                if number % 10 == 0:
                    for name in TERMS:
                        sums[name] = sums.get(name, 0.0) + float(terms[name])
        n_seen = (self.steps_per_epoch + 9) // 10
        means = {name: value / n_seen for name, value in sums.items()}
        if not np.isfinite(means["loss"]):
            raise TrainingError(
                f"the loss is not a number in epoch {epoch + 1}: look at the takes (trainer prepare), start anew"
            )
        return {**means, "wait": ahead.waited_s / (time.perf_counter() - started_s)}

    def look(self, batch: Batch) -> dict[str, float]:
        """Held-out figures: from the mean of q(z|m), as the box plays."""
        terms = self._losses(batch)
        active = int((terms["kl_per_latent"].numpy() > ACTIVE_NATS).sum())
        return {"sound": float(terms["sound"]), "kl": float(terms["kl_per_latent"].numpy().sum()), "n_active": active}

    def _batch(self, number: int) -> dict[str, Any]:
        """Batch of a step, as the model takes it."""
        return self._team.dealt(self._examples.training_batch(self._rows, self._n_read, self._stream, number))

    @property
    def _n_read(self) -> int:
        """Examples of a step that this process puts together."""
        return self._share * self._team.n_local

    @property
    def _stream(self) -> tuple[int, ...]:
        """Numbers that all that is random in batches follows from: each worker has other ones."""
        seed = self._settings.seed
        return (seed,) if self._team.n_workers == 1 else (seed, self._team.index)

    def _draw(self, seed: Any) -> Any:
        """Noise of a step. Not within it: compiled by XLA, the same seed gives other numbers."""
        shape = (3, self._settings.preset.batch_size, self._settings.model.n_latent)
        return tf.random.stateless_normal(shape, seed)

    def _train_step(self, batch: Any, noise: Any) -> Any:
        noise = self._team.part(noise, self._share)
        with tf.GradientTape() as tape:
            terms = self.model.losses_of(batch, noise, self._variance, self._settings.loss, self._team.mean)
        weights = self.model.trainable_variables
        gradients = self._team.mean(tape.gradient(terms["loss"], weights))
        self.optimizer.apply_gradients(zip(gradients, weights, strict=True))
        means = self._team.mean([tf.stack([terms[name] for name in TERMS])])[0]
        return dict(zip(TERMS, tf.unstack(means), strict=True))

    def _look_step(self, batch: Any) -> Any:
        noise = tf.zeros((3, tf.shape(batch["window"])[0], self._settings.model.n_latent))
        return self.model.losses_of(batch, noise, self._variance, self._settings.loss)


@contextmanager
def _in_precision(precision: str) -> Iterator[None]:
    """Layers that are made here multiply in a number format; their weights are kept in float32."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32" if precision == "float32" else f"mixed_{precision}")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _schedule(preset: Preset) -> Any:
    """A short rise of the learning rate, then a cosine to zero."""
    warm_up = min(200, preset.n_steps // 10)
    return keras.optimizers.schedules.CosineDecay(
        0.0, preset.n_steps - warm_up, warmup_target=preset.learning_rate, warmup_steps=warm_up
    )


class TeamAdamW(keras.optimizers.AdamW):  # type: ignore[misc]
    """Is given the mean of all workers' gradients, so that it clips what one alone would clip.

    Keras' own clips those of each worker, then adds them up.
    """

    def _all_reduce_sum_gradients(self, grads_and_vars: Any) -> Any:
        return grads_and_vars
