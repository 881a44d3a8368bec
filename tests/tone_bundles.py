"""Bundles of one steady tone, as loud as there is motion: what a change from one to another does can be measured.

`make_bundles` makes them in a process of its own: TensorFlow is not imported where the device's tests run.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from device.core.bundle import MODEL_FILES, Manifest
from device.core.motiongram import MotionSettings
from device.core.synth import SynthSettings
from device.edges.model import Float32
from device.models.bundles import read_bundle, write_bundle

LOW_HZ, HIGH_HZ = 750.0, 1500.0
"""The 32nd bin of each synth below."""
SLOW_HZ = LOW_HZ * 44_100 / 48_000
AMPLITUDE = 0.3
SEGMENT_S = 0.1
LOW, HIGH = SynthSettings(), SynthSettings(n_fft=1024, hop=64)


def make_bundles(folder: Path) -> None:
    """Write bundles into a folder.

    'low' and 'high' play tones through synths of other sizes; 'slow' is 'low' at 44.1 kHz, and so a little lower;
    'wrong' does not repeat its golden outputs, 'damaged' has a byte changed, 'turned' is for upright pictures.
    """
    subprocess.run([sys.executable, "-m", "tests.tone_bundles", str(folder)], check=True, capture_output=True)
    low, files = read_files(folder / "low")
    slow = replace(low, name="slow", rate_hz=44_100, synth=replace(low.synth, rate_hz=44_100))
    write_bundle(folder / "slow", slow, files)
    outputs = {key: spectra + 0.2 for key, spectra in low.golden.outputs.items()}
    write_bundle(folder / "wrong", replace(low, name="wrong", golden=replace(low.golden, outputs=outputs)), files)
    write_bundle(folder / "turned", replace(low, name="turned", motion=MotionSettings(height=64, width=48)), files)
    damaged = shutil.copytree(folder / "low", folder / "damaged") / MODEL_FILES["f16"]
    data = bytearray(damaged.read_bytes())
    data[len(data) // 2] ^= 1
    damaged.write_bytes(data)


def read_files(bundle: Path) -> tuple[Manifest, dict[str, bytes]]:
    """Give a bundle's manifest and its files, for others to be made of."""
    found = read_bundle(bundle)
    return found.manifest, {MODEL_FILES[variant]: data for variant, data in found.models.items()}


def tone(motion: MotionSettings, synth: SynthSettings, hz: float) -> Float32:
    """Weights of the tone from each value of a column, shape (height + width, n_bins)."""
    weights = np.zeros((motion.n_features, synth.n_bins), np.float32)
    centre = round(hz * synth.n_fft / synth.rate_hz)
    for beside, magnitude in ((-1, 0.5), (0, 1.0), (1, 0.5)):  # a sine under a Hann window
        weights[:, centre + beside] = (AMPLITUDE * magnitude) ** synth.power / motion.n_features
    return weights


def _write(folder: Path, name: str, synth: SynthSettings, hz: float) -> None:
    from tests.bench.segment_bundle import build_network, write_network
    from trainer.settings import GRID_RATE_HZ

    motion = MotionSettings()
    network = build_network(round(SEGMENT_S * GRID_RATE_HZ), motion, synth)
    network.layers[-1].set_weights([tone(motion, synth, hz)])
    write_network(folder / name, name, network, SEGMENT_S, motion, synth)


if __name__ == "__main__":
    _write(Path(sys.argv[1]), "low", LOW, LOW_HZ)
    _write(Path(sys.argv[1]), "high", HIGH, HIGH_HZ)
