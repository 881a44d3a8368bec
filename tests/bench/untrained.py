"""Models of other sizes, for their speed alone: the trainer's own network and converter, without any training.

`make_models` runs this in a process of its own, so that TensorFlow's memory and threads are gone when they are timed.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from device.core.bundle import MODEL_FILES
from device.core.errors import DanceSamplerError
from tests.bench.bench import ROOT
from trainer.settings import GRID_RATE_HZ


@dataclass(frozen=True)
class ModelSize:
    """Length of the window in seconds, and values in z."""

    segment_s: float
    n_latent: int

    @property
    def stem(self) -> str:
        """Name of the files."""
        return f"{self.segment_s:g}-{self.n_latent}"


def make_models(folder: Path, sizes: Sequence[ModelSize], n_features: int, n_bins: int) -> dict[str, dict[str, Path]]:
    """Write a model of each size in each variant.

    Returns
    -------
    dict
        Stem of the size -> variant -> file.

    Raises
    ------
    DanceSamplerError
        They could not be made; with what was said.
    """
    command = [sys.executable, "-m", "tests.bench.untrained", str(folder), str(n_features), str(n_bins)]
    made = subprocess.run(
        [*command, *(f"{size.segment_s:g},{size.n_latent}" for size in sizes)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if made.returncode != 0:
        said = (made.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise DanceSamplerError(f"models of other sizes were not made ({said}): set up with make trainer")
    return {size.stem: {variant: folder / f"{size.stem}.{variant}.tflite" for variant in MODEL_FILES} for size in sizes}


def write(folder: Path, size: ModelSize, n_features: int, n_bins: int) -> None:
    """Build one and convert it: what the process of its own does."""
    from trainer.exporting.export import calibration_examples, convert, deployed
    from trainer.learning.model import DanceVAE
    from trainer.settings import ModelSettings

    n_columns = max(2, round(size.segment_s * GRID_RATE_HZ))
    rng = np.random.default_rng(0)
    batch = {
        "window": rng.gamma(0.3, 8.0, (40, n_columns, n_features)).astype(np.float32),
        "position": rng.random((40, 1)).astype(np.float32),
    }
    model = deployed(DanceVAE(ModelSettings(n_columns, n_features, n_bins, n_features * 3 // 7, size.n_latent)))
    for variant, data in convert(model, calibration_examples(batch, size.n_latent, seed=0)).items():
        (folder / f"{size.stem}.{variant}.tflite").write_bytes(data)


if __name__ == "__main__":
    for spec in sys.argv[4:]:
        segment_s, n_latent = spec.split(",")
        write(Path(sys.argv[1]), ModelSize(float(segment_s), int(n_latent)), int(sys.argv[2]), int(sys.argv[3]))
