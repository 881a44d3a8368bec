"""One training of the bench for scale, in a process of its own: `python -m tests.bench.scale_run TAKES CACHE STEPS`.

It opens the takes and their spectra as `trainer train` does, trains with preset quick, and prints what each part took.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from pathlib import Path

from device.edges.model_tflite import preload
from trainer.data.prepare import load_takes, split
from trainer.learning.command import run_settings
from trainer.settings import HOP_S, PRESETS

N_EPOCHS = 5
"""The first is not counted: in it operations are traced and what is read comes into memory."""


class _Bar:
    """Progress that nobody looks at."""

    def update(self, n: int) -> None:
        """Do nothing."""


def main(takes_dir: Path, cache_dir: Path, n_steps: int) -> dict[str, float]:
    """Train on all takes of a folder.

    Returns
    -------
    dict
        `open_s` and `spectra_s`, what it took to open takes and to make or find their spectra; `steps_per_s`, the
        median of the epochs, and `wait`, the mean share of a step spent waiting for data.
    """
    preload()
    marks_s = [time.perf_counter()]
    takes = load_takes(takes_dir)
    preset = replace(PRESETS["quick"], n_steps=N_EPOCHS * n_steps, n_epochs=N_EPOCHS)
    settings = run_settings(takes, preset)
    training, _ = split(takes, settings.example.segment_s, HOP_S)
    marks_s.append(time.perf_counter())
    from trainer.data.dataset import Examples
    from trainer.data.spectra_cache import SpectraCache

    examples = Examples(takes, settings.example, SpectraCache(cache_dir))
    marks_s.append(time.perf_counter())
    found = {"open_s": marks_s[1] - marks_s[0], "spectra_s": marks_s[2] - marks_s[1]}
    if n_steps == 0:
        return found
    from trainer.backend import tf
    from trainer.learning.loop import Loop

    tf.config.experimental.enable_op_determinism()
    loop = Loop(examples, examples.rows(training), settings)
    rates, waits = [], []
    for epoch in range(N_EPOCHS):
        started_s = time.perf_counter()
        waits.append(loop.epoch(epoch, _Bar())["wait"])
        rates.append(n_steps / (time.perf_counter() - started_s))
    counted = sorted(rates[1:])
    return {**found, "steps_per_s": counted[len(counted) // 2], "wait": sum(waits[1:]) / (N_EPOCHS - 1)}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))))
