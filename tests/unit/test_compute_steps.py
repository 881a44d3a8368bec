"""However a step is computed, it is the same step but for rounding; TensorFlow stays in its process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from device.store.store import list_takes
from tests.tiny_runs import TINY, make_takes
from trainer.data.spectra_cache import SpectraCache
from trainer.learning.command import run_settings
from trainer.learning.compute import Compute, try_once
from trainer.learning.worker import Job

pytestmark = pytest.mark.timeout(300)

SCRIPT = """
import json
import numpy as np
from tests.tiny_examples import TINY, NoBar, WholeBatches
from trainer.learning.compute import Compute
from trainer.learning.loop import Loop

found = {}
for name, way in {"plain": Compute(), "xla": Compute(xla=True), "half": Compute("bfloat16")}.items():
    loop = Loop(WholeBatches(TINY), None, TINY, compute=way)
    loop.steps_per_epoch = 5
    loss = loop.epoch(0, NoBar())["loss"]
    kinds = {layer.compute_dtype for layer in loop.model.sound_decoder.layers if hasattr(layer, "kernel")}
    whole = loop.in_float32()
    same = all(np.array_equal(a, b) for a, b in zip(loop.model.get_weights(), whole.model.get_weights()))
    found[name] = {
        "loss": loss,
        "weights": [np.abs(each).mean().item() for each in loop.model.get_weights()],
        "kinds": sorted(kinds),
        "whole": sorted({layer.compute_dtype for layer in whole.model.sound_decoder.layers}),
        "same": same,
    }
print(json.dumps(found))
"""


def test_a_step_is_tried_in_a_process_of_its_own(tmp_path: Path) -> None:
    takes = list_takes(make_takes(tmp_path / "takes"))
    settings, cache = run_settings(takes, TINY), SpectraCache(tmp_path / "cache")
    job = Job(tuple(take.path for take in takes), tmp_path / "run", settings, None, cache)
    assert try_once(job, Compute(xla=True, n_threads=1)) > 1.0
    assert try_once(job, Compute("float11")) == 0.0


def test_xla_and_half_precision_take_the_same_steps_but_for_rounding() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    plain, xla, half = json.loads(done.stdout.splitlines()[-1]).values()
    assert xla["loss"] == pytest.approx(plain["loss"], rel=1e-4)
    assert xla["weights"] == pytest.approx(plain["weights"], rel=1e-3, abs=1e-5)
    assert half["loss"] == pytest.approx(plain["loss"], rel=0.02)
    assert half["kinds"] == ["bfloat16"]
    assert half["loss"] != plain["loss"]
    # What a box will play is computed in float32.
    assert all(each["whole"] == ["float32"] and each["same"] for each in (plain, xla, half))
