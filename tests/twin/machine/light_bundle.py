"""A bundle that an emulated machine can play: the bench's rule, in which what moves is heard, and few long transforms.

`python -m tests.twin.machine.light_bundle FOLDER` writes it; TensorFlow makes it, in a process of its own.
"""

from __future__ import annotations

import sys
from pathlib import Path

from device.core.motiongram import MotionSettings
from device.core.synth import SynthSettings
from tests.bench.segment_bundle import build_network, write_network
from trainer.settings import GRID_RATE_HZ

SEGMENT_S = 0.1
SYNTH = SynthSettings(hop=512)
"""A quarter of the usual work: its sound is later, which nobody judges there."""


def write(folder: Path) -> None:
    """Write it."""
    motion = MotionSettings()
    network = build_network(round(SEGMENT_S * GRID_RATE_HZ), motion, SYNTH)
    write_network(folder, "light", network, SEGMENT_S, motion, SYNTH)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
