"""Those that move one set of weights together: processes on one machine or many, or the GPUs of one; or one alone.

Every step is the step that one alone would make with the whole batch: each puts together its share of it, and what
depends on the whole batch (gradients, and means by which errors are weighted) is the mean of all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from device.core.errors import UsageError
from trainer.backend import tf
from trainer.data.augment import Batch

Tensor = Any


class Team:
    """Workers of a run.

    Parameters
    ----------
    strategy : tf.distribute.Strategy, optional
        None: one alone.
    index, n_workers : int
        Which of the processes this is, and how many there are.
    """

    def __init__(self, strategy: Any = None, index: int = 0, n_workers: int = 1) -> None:
        self._strategy = strategy
        self.index, self.n_workers = index, n_workers
        self._agreed = tf.function(self.everywhere(lambda said: {"mean": self.mean([said])[0]}))

    @property
    def is_alone(self) -> bool:
        """Whether one copy of the model moves its weights by itself."""
        return self._strategy is None

    @property
    def n_replicas(self) -> int:
        """Copies of the model, in all processes."""
        return 1 if self._strategy is None else int(self._strategy.num_replicas_in_sync)

    @property
    def n_local(self) -> int:
        """Copies of the model in this process."""
        return self.n_replicas // self.n_workers

    def share_of(self, batch_size: int) -> int:
        """Examples of a batch for each copy of the model.

        Raises
        ------
        UsageError
            They cannot be dealt out evenly.
        """
        if batch_size % self.n_replicas:
            raise UsageError(
                f"a batch of {batch_size} cannot be dealt out to {self.n_replicas}: choose 2, 4 or 8 workers"
            )
        return batch_size // self.n_replicas

    def scope(self) -> AbstractContextManager[Any]:
        """In which variables are made."""
        return nullcontext() if self._strategy is None else self._strategy.scope()

    def everywhere(self, step: Callable[..., dict[str, Tensor]]) -> Callable[..., dict[str, Tensor]]:
        """A step that every copy of the model makes; what it gives must be the same for all."""
        if self._strategy is None:
            return step

        def together(*args: Any) -> dict[str, Tensor]:
            found = self._strategy.run(step, args=args)
            return {name: self._strategy.experimental_local_results(value)[0] for name, value in found.items()}

        return together

    def dealt(self, batch: Batch) -> dict[str, Tensor]:
        """A batch of this process as `everywhere` takes it: a part for each of its copies of the model."""
        if self.n_local == 1:
            return {name: tf.constant(value) for name, value in batch.items()}
        n = len(batch["window"]) // self.n_local
        return {
            name: self._strategy.experimental_distribute_values_from_function(
                lambda context, value=value: tf.constant(
                    value[(at := context.replica_id_in_sync_group % self.n_local) * n : (at + 1) * n]
                )
            )
            for name, value in batch.items()
        }

    def part(self, values: Tensor, share: int) -> Tensor:
        """In a step: this copy's share of what was drawn for the whole batch, of shape (3, batch, ...)."""
        if self._strategy is None:
            return values
        first = tf.distribute.get_replica_context().replica_id_in_sync_group * share
        return values[:, first : first + share]

    def mean(self, values: Sequence[Tensor]) -> list[Tensor]:
        """In a step: the mean of each value over all copies of the model."""
        if self._strategy is None:
            return list(values)
        # Only what was computed here lies on a device, without which there is nowhere to send it.
        here = [tf.identity(value) for value in values]
        return list(tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.MEAN, here))

    def agree(self, value: float) -> float:
        """Mean of a number over all workers; each waits until all have said theirs."""
        if self._strategy is None:
            return value
        return float(self._agreed(tf.constant(value, tf.float32))["mean"])
