"""The learning rate of a run whose end is not known when it begins."""

from __future__ import annotations

from typing import Any

from trainer.backend import tf


class Pace:
    """A schedule over steps that can be hastened: where time is short, it is gone through faster.

    A model whose learning rate has not fallen sounds worse than the same one with a short fall, so a run that ends
    early is to have the whole of its schedule.

    Parameters
    ----------
    schedule : keras.optimizers.schedules.LearningRateSchedule
    n_steps : int
        Steps of the schedule.
    """

    def __init__(self, schedule: Any, n_steps: int) -> None:
        self._schedule = schedule
        self._n_steps = n_steps
        self._least_step = tf.Variable(0.0, trainable=False)

    def rate(self, step: Any) -> Any:
        """Learning rate at a step, or at that to which the schedule was hastened if it lies further on."""
        return self._schedule(tf.maximum(tf.cast(step, tf.float32), self._least_step))

    def hasten(self, share: float) -> None:
        """Be no less far than a share of the schedule, 0 to 1, from now on."""
        self._least_step.assign(share * self._n_steps)
