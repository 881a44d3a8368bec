"""Two copies of the model in one process, as on two GPUs: a step of both is the step of one with the whole batch.

The short version is that of two processes, in `tests/integration/test_workers.py`.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.long import long

pytestmark = pytest.mark.timeout(300)

SCRIPT = """
from dataclasses import replace
import numpy as np
from trainer.backend import tf

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
from tests.tiny_examples import TINY, WholeBatches, weights_after
from trainer.learning.team import Team

alone = weights_after(WholeBatches(TINY), Team(), 3)
both = weights_after(WholeBatches(TINY), Team(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])), 3)
print(max(float(np.abs(a - b).max()) for a, b in zip(alone, both)))
"""


@long
def test_a_step_of_two_copies_is_the_step_of_one_with_the_whole_batch() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 1e-5
