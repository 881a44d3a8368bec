"""What a run logged while it trained, read from its TensorBoard files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]

LOG = "tensorboard"
"""Folder of the event files in that of a run."""


@dataclass(frozen=True, eq=False)
class Curve:
    """One value over the steps of training.

    Attributes
    ----------
    steps : np.ndarray, shape (n,), float64
        Increasing.
    values : np.ndarray, shape (n,), float64
    """

    steps: Float64
    values: Float64


def read_curves(run_dir: Path) -> dict[str, Curve]:
    """Curves by the names under which the trainer logged them; empty where nothing was logged or can be read.

    A run that was cut and gone on with may have logged a step twice: the later value counts. Values that are not
    numbers are left out.
    """
    if not any((run_dir / LOG).glob("*tfevents*")):
        return {}
    from trainer.backend import quiet

    with quiet():
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
        from tensorboard.util.tensor_util import make_ndarray

        log = EventAccumulator(str(run_dir / LOG), size_guidance={"tensors": 0})
        log.Reload()
    curves = {}
    for name in log.Tags()["tensors"]:
        points = {event.step: np.asarray(make_ndarray(event.tensor_proto)) for event in log.Tensors(name)}
        numbers = {step: float(value) for step, value in sorted(points.items()) if value.size == 1}
        finite = {step: value for step, value in numbers.items() if np.isfinite(value)}
        if len(finite) > 1:
            curves[name] = Curve(np.array(list(finite), np.float64), np.array(list(finite.values())))
    return curves
