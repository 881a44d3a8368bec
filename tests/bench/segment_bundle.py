"""A bundle that has learned nothing: what moves is heard at once, by a fixed rule; `make_bundle` writes it.

With it the system's own delay is measured, apart from what a network learned, in stream mode and in the original's
way: segments of any length. The rule: the frame's rows, in 12 groups, are 12 pitches of which the upper rows are the
higher; its columns are 16 more above them, from left to right; all are harmonics of one tone, and how much moves in a
group is how loud it is. Where nothing moves there is silence, exactly. The column that is heard is the one at
`position` in the window: at 1 the newest. Noise, where it is asked for, makes all of it louder or softer.

It is a real bundle, made by the trainer's own converter and written by the box's own writer, in a process of its own:
TensorFlow is not imported where the device is measured.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from device.core.bundle import MODEL_FILES, Manifest, describe_files
from device.core.errors import DanceSamplerError
from device.core.motiongram import MotionSettings
from device.core.synth import SynthSettings
from trainer.settings import GRID_RATE_HZ

ROOT = Path(__file__).parents[2]
N_LATENT = 8
F0_HZ = 187.5
"""Eight bins of the default synth: neighbouring harmonics stay apart in the spectrum, so that each is tonal."""
ROW_HARMONICS = np.arange(3, 15)
COLUMN_HARMONICS = np.arange(16, 48, 2)
HALF_LOUD = 4.0
"""Grey levels of motion at which a band has half of its value in the spectrum."""
BAND_LEVEL = 0.03
"""Amplitude of a band at full motion: all of them together stay below full scale."""
NOISE_SHARE = 0.1

Float32 = npt.NDArray[np.float32]


def make_bundle(folder: Path, segment_s: float = 0.5) -> Path:
    """Write the bundle into a folder, in a process of its own; some ten seconds.

    Parameters
    ----------
    folder : Path
        To be made; a bundle that lies there is replaced.
    segment_s : float
        Length of its window, 0.05 to 2 s.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    DanceSamplerError
        It could not be made; with what was said.
    """
    made = subprocess.run(
        [sys.executable, "-m", "tests.bench.segment_bundle", str(folder.resolve()), f"{segment_s:g}"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if made.returncode != 0:
        said = (made.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise DanceSamplerError(f"the bundle of {segment_s:g} s was not made ({said}): set up with make trainer")
    return folder


def band_hz() -> npt.NDArray[np.float64]:
    """Pitch of each band, shape (28,): rows from the lowest, then columns from the left."""
    hz: npt.NDArray[np.float64] = F0_HZ * np.concatenate([ROW_HARMONICS, COLUMN_HARMONICS])
    return hz


def band_of_feature(motion: MotionSettings) -> npt.NDArray[np.int64]:
    """Which band each value of a column belongs to, shape (height + width,)."""
    n_rows, n_columns = len(ROW_HARMONICS), len(COLUMN_HARMONICS)
    rows = n_rows - 1 - np.arange(motion.height) * n_rows // motion.height  # row 0 is the upper one
    columns = n_rows + np.arange(motion.width) * n_columns // motion.width
    return np.concatenate([rows, columns])


def rule(motion: MotionSettings, synth: SynthSettings) -> Float32:
    """From the values of a column, each from 0 (still) to 1, to a spectrum: shape (height + width, n_bins)."""
    bins = np.round(band_hz() * synth.n_fft / synth.rate_hz).astype(np.int64)
    bands = band_of_feature(motion)
    weights = np.zeros((motion.n_features, synth.n_bins), np.float32)
    for beside, magnitude in ((-1, 0.5), (0, 1.0), (1, 0.5)):  # a sine under a Hann window
        weights[np.arange(motion.n_features), bins[bands] + beside] = (BAND_LEVEL * magnitude) ** synth.power
    sizes: Float32 = np.bincount(bands)[bands, np.newaxis].astype(np.float32)
    return weights / sizes


def build_network(n_columns: int, motion: MotionSettings, synth: SynthSettings) -> Any:
    """Build the rule as a network with the names and shapes of the contract.

    All but the last layer is made of operations that the converter leaves in float: small motion is heard from the
    int8 file too.
    """
    from trainer.backend import keras

    ops = keras.ops
    window = keras.Input((n_columns, motion.n_features), batch_size=1, name="motion")
    noise = keras.Input((N_LATENT,), batch_size=1, name="noise")
    position = keras.Input((1,), batch_size=1, name="position")
    index = -np.arange(n_columns, dtype=np.float32)[np.newaxis]
    away = position * float(n_columns - 1) + index  # (1, n_columns): distance from the column that is heard
    share = ops.relu(ops.sqrt(away * away) * -1.0 + 1.0)  # linear between two columns
    heard = ops.mean(window * ops.expand_dims(share, -1), axis=1) * float(n_columns)  # (1, n_features)
    loud = heard / (heard + HALF_LOUD)
    loud = loud * (ops.mean(noise, axis=-1, keepdims=True) * NOISE_SHARE + 1.0)
    head = keras.layers.Dense(synth.n_bins, activation="relu", use_bias=False)
    spectrum = head(loud)
    head.set_weights([rule(motion, synth)])
    return keras.Model([window, noise, position], {"spectrum": spectrum})


def examples(n: int, n_columns: int, n_features: int) -> list[tuple[Float32, Float32, Float32]]:
    """Windows from still to full scale, with noise and positions: for the converter and the golden examples."""
    rng = np.random.default_rng(0)
    loudest = 10.0 ** rng.uniform(-1.0, 2.0, (n, 1, 1, 1))  # grey levels
    windows = np.clip(rng.gamma(0.5, loudest, (n, 1, n_columns, n_features)), 0.0, 255.0).astype(np.float32)
    noise = rng.standard_normal((n, 1, N_LATENT)).astype(np.float32)
    noise[::2] = 0.0
    positions = rng.random((n, 1, 1)).astype(np.float32)
    positions[::3] = 1.0
    return list(zip(windows, noise, positions, strict=True))


def write(folder: Path, segment_s: float) -> None:
    """Build, convert and write: what the process of its own does."""
    motion, synth = MotionSettings(), SynthSettings()
    n_columns = max(2, round(segment_s * GRID_RATE_HZ))
    write_network(folder, f"direct {segment_s:g} s", build_network(n_columns, motion, synth), segment_s, motion, synth)


def write_network(
    folder: Path, name: str, network: Any, segment_s: float, motion: MotionSettings, synth: SynthSettings
) -> None:
    """Export a network of `build_network`'s form, and write it as a bundle."""
    from device.models.bundles import write_bundle
    from trainer.exporting.export import convert, make_goldens

    n_columns = max(2, round(segment_s * GRID_RATE_HZ))
    calibration = examples(100, n_columns, motion.n_features)
    files = convert(network, calibration)
    named = {MODEL_FILES[variant]: data for variant, data in files.items()}
    manifest = Manifest(
        name=name,
        version=1,
        rate_hz=synth.rate_hz,
        grid_rate_hz=GRID_RATE_HZ,
        motion=motion,
        synth=synth,
        segment_s=segment_s,
        lead_s=0.0,
        n_latent=N_LATENT,
        n_columns=n_columns,
        temperature=0.0,
        figures={},
        files=describe_files(named),
        golden=make_goldens(files, calibration),
        signed=False,
    )
    write_bundle(folder, manifest, named)


if __name__ == "__main__":
    write(Path(sys.argv[1]), float(sys.argv[2]))
