"""Bundles that pass every check before they play, and play badly then; and some that pass none.

Networks are made in a process of its own: TensorFlow is not imported where the device's tests run.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from device.core.bundle import MODEL_FILES
from device.core.golden import make_golden
from device.edges.model_tflite import TfliteModel
from device.models.bundles import choose_runtime, read_manifest, write_bundle
from tests.tone_bundles import LOW, LOW_HZ, tone

NAN_ABOVE = 0.05
"""Mean of a window, grey levels: a dance moves more."""
N_GREEDY = 400_000_000
"""Bytes that 'greedy' wants for a moment."""
WORK = {"heavy": (6, 700), "hanging": (40, 3000)}
"""Products of matrices for one spectrum, and their size: tens of milliseconds, or minutes."""
NAMES = ("silent", "nan", "greedy", "heavy", "hanging")


def make_trial_bundles(folder: Path) -> None:
    """Write bundles beside 'low' of `tone_bundles`, which they are made of.

    'silent' plays nothing, 'nan' no numbers while anybody moves; 'greedy' wants much memory, 'heavy' much time,
    'hanging' minutes for each spectrum.
    """
    subprocess.run([sys.executable, "-m", "tests.trial_bundles", str(folder)], check=True, capture_output=True)
    low = read_manifest(folder / "low")
    motion, noise = np.zeros((low.n_columns, low.n_features), np.float32), np.zeros(low.n_latent, np.float32)
    runtime = choose_runtime()
    for name in NAMES:
        data = (folder / f"{name}.tflite").read_bytes()
        plays = name in ("silent", "nan", "heavy")
        # At rest all of them are silent.
        spectra = TfliteModel(data, runtime, "f16").run(motion, noise, 1.0) if plays else np.zeros(low.n_bins)
        outputs = {f"{variant}/{runtime}": spectra[np.newaxis] for variant in MODEL_FILES}
        golden = make_golden([(motion, noise, 1.0)], outputs, 0.01)
        files = dict.fromkeys(MODEL_FILES.values(), data)
        write_bundle(folder / name, replace(low, name=name, golden=golden), files)


def _write(folder: Path, name: str) -> None:
    """Write one network: that of `low`, spoiled."""
    from tests.tiny_model import convert_f16
    from trainer.backend import tf

    low = read_manifest(folder / "low")
    weights = tf.constant((0.0 if name == "silent" else 1.0) * tone(low.motion, LOW, LOW_HZ))
    shapes = {"motion": (1, low.n_columns, low.n_features), "noise": (1, low.n_latent), "position": (1, 1)}
    signature = [tf.TensorSpec(shape, tf.float32, name=key) for key, shape in shapes.items()]

    def play(motion: Any, noise: Any, position: Any) -> Any:
        spectrum = tf.nn.relu(tf.matmul(tf.sqrt(motion[:, -1]), weights))
        spoiled = _spoil(name, tf.reshape(tf.reduce_mean(motion), (1, 1)))
        unused = tf.reduce_mean(noise, axis=1, keepdims=True) + position
        return {"spectrum": spectrum + spoiled + 0.0 * unused}

    module = tf.Module()
    module.play = tf.function(play, input_signature=signature)
    with tempfile.TemporaryDirectory() as saved:
        tf.saved_model.save(module, saved, signatures=module.play)
        (folder / f"{name}.tflite").write_bytes(convert_f16(Path(saved)))


def _spoil(name: str, mean: Any) -> Any:
    """Give something, shape (1, 1), that is 0 or next to it while nobody moves."""
    from trainer.backend import tf

    if name == "nan":
        return 0.0 * tf.sqrt(NAN_ABOVE - mean)  # the root of what is below zero
    if name == "greedy":
        return 1e-20 * tf.reduce_sum(tf.sqrt(tf.tile(mean, (1, N_GREEDY // 4))), axis=1, keepdims=True)
    if name in WORK:
        n_rounds, n = WORK[name]
        matrix = tf.tile(mean, (n, n))
        for _ in range(n_rounds):
            matrix = tf.tanh(tf.matmul(matrix, matrix))
        return 1e-20 * tf.reshape(tf.reduce_mean(matrix), (1, 1))
    return 0.0 * mean


if __name__ == "__main__":
    for each in NAMES:
        _write(Path(sys.argv[1]), each)
