"""`python -m trainer.learning.compute_trial` prints how many steps a second a run makes in a way of computing them.

A pickled `(Job, Compute)` comes on standard input, from `trainer.learning.compute`.
"""

from __future__ import annotations

import pickle
import sys
import time

import numpy as np

from device.store.store import Take
from trainer.data.prepare import split
from trainer.learning.compute import Compute
from trainer.learning.worker import Job
from trainer.settings import HOP_S

N_WARM_UP, N_STEPS = 10, 20
LEAST_S = 4.0


class _Bar:
    """Progress that nobody looks at."""

    def update(self, n: int) -> None:
        """Do nothing."""


def measure(job: Job, compute: Compute) -> float:
    """Steps per second: the median of some seconds."""
    from trainer.backend import tf
    from trainer.data.dataset import Examples
    from trainer.learning.loop import Loop

    tf.config.experimental.enable_op_determinism()
    settings = job.settings
    takes = [Take.open(path, check=False) for path in job.takes]
    training, _ = split(takes, settings.example.segment_s, HOP_S, settings.held_out, settings.held_out_takes)
    examples = Examples(takes, settings.example, job.cache)
    loop = Loop(examples, examples.rows(training), settings, compute=compute)
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
    print(measure(*pickle.load(sys.stdin.buffer)))  # noqa: S301 - of who started this process
