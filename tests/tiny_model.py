"""A small network with the structure of ours, as both files of a bundle; `python -m tests.tiny_model FOLDER` makes it.

That runs in a process of its own: TensorFlow is not imported where the device's tests run.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from device.core.bundle import MODEL_FILES, Manifest
from device.core.golden import Golden, make_golden
from device.core.motiongram import MotionSettings
from device.core.synth import SynthSettings

Float32 = npt.NDArray[np.float32]

MOTION = MotionSettings(height=6, width=8)
SYNTH = SynthSettings(rate_hz=16000, n_fft=256, hop=32)
N_COLUMNS, N_FEATURES, N_LATENT, N_BINS = 10, 14, 3, 129
TOLERANCE = {"f16": 0.01, "int8": 0.06}


@dataclass(frozen=True)
class TinyModel:
    """Files by name; inputs, shapes (n, 10, 14), (n, 3), (n,); and what Keras gave, shape (n, 129)."""

    files: dict[str, bytes]
    motion: Float32
    noise: Float32
    position: Float32
    spectra: Float32

    def golden(self, n: int = 3, **outputs: Float32) -> Golden:
        """Golden examples: what Keras gave, or `outputs` by variant, stands for each runtime."""
        inputs = [(self.motion[i], self.noise[i], float(self.position[i])) for i in range(n)]
        known = {
            f"{variant}/{runtime}": outputs.get(variant, self.spectra[:n])
            for variant in MODEL_FILES
            for runtime in ("tflite-runtime", "ai-edge-litert")
        }
        return make_golden(inputs, known, {key: TOLERANCE[key.split("/")[0]] for key in known})


def tiny_manifest(golden: Golden) -> Manifest:
    """Give a manifest that fits the tiny model; `write_bundle` adds the files."""
    return Manifest(
        name="tiny",
        version=7,
        rate_hz=SYNTH.rate_hz,
        grid_rate_hz=50.0,
        motion=MOTION,
        synth=SYNTH,
        segment_s=0.2,
        lead_s=0.0,
        n_latent=N_LATENT,
        n_columns=N_COLUMNS,
        temperature=0.0,
        figures={"loudness_rank_correlation": 0.95, "null": {"loudness_rank_correlation": 0.1}},
        files={},
        golden=golden,
        signed=False,
    )


def load_tiny_model(folder: Path) -> TinyModel:
    """Make the model in a process of its own and read what it left in the folder."""
    subprocess.run([sys.executable, "-m", "tests.tiny_model", str(folder)], check=True, capture_output=True)
    arrays = np.load(folder / "examples.npz")
    files = {name: (folder / name).read_bytes() for name in MODEL_FILES.values()}
    return TinyModel(files, arrays["motion"], arrays["noise"], arrays["position"], arrays["spectra"])


def make(folder: Path) -> None:
    """Build the network, seeded, and convert it to float16 and to int8."""
    import keras
    import tensorflow as tf
    from keras import layers, ops

    keras.utils.set_random_seed(1)
    motion = keras.Input((N_COLUMNS, N_FEATURES), name="motion")
    noise = keras.Input((N_LATENT,), name="noise")
    position = keras.Input((1,), name="position")
    hidden = layers.Conv1D(16, 3, activation="relu")(ops.sqrt(motion))
    hidden = layers.Flatten()(hidden)
    mean, log_variance = layers.Dense(N_LATENT)(hidden), layers.Dense(N_LATENT)(hidden)
    latent = mean + ops.exp(0.5 * log_variance) * noise
    hidden = layers.Dense(32, activation="relu")(layers.Concatenate()([latent, position]))
    spectrum = layers.Dense(N_BINS, activation="relu", name="spectrum")(hidden)
    network = keras.Model([motion, noise, position], spectrum)

    rng = np.random.default_rng(0)
    examples = {
        "motion": rng.gamma(0.3, 2.0, (100, N_COLUMNS, N_FEATURES)).astype(np.float32),
        "noise": rng.standard_normal((100, N_LATENT)).astype(np.float32),
        "position": rng.random((100, 1)).astype(np.float32),
    }
    spectra = network.predict(list(examples.values()), verbose=0)
    signature = [tf.TensorSpec((1, *value.shape[1:]), tf.float32, name=name) for name, value in examples.items()]
    network.export(folder / "saved", input_signature=[signature], verbose=False)
    (folder / MODEL_FILES["f16"]).write_bytes(convert_f16(folder / "saved"))
    (folder / MODEL_FILES["int8"]).write_bytes(_convert_int8(folder / "saved", examples))
    examples["position"] = examples["position"][:, 0]
    np.savez(folder / "examples.npz", spectra=spectra, **examples)


def convert_f16(saved: Path) -> bytes:
    """Convert a saved model; its weights become float16."""
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(str(saved))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    return bytes(converter.convert())


def _convert_int8(saved: Path, examples: dict[str, Float32]) -> bytes:
    """All int8 but the square root, which tflite-runtime lacks in int8, and the head, which would be coarse."""
    import tensorflow as tf
    from tensorflow.lite.python import convert

    converter = tf.lite.TFLiteConverter.from_saved_model(str(saved))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.representative_dataset = lambda: (
        {name: value[i : i + 1] for name, value in examples.items()} for i in range(100)
    )
    converter._experimental_calibrate_only = True
    return bytes(
        convert.mlir_quantize(
            converter.convert(), denylisted_ops={"SQRT"}, denylisted_nodes={"StatefulPartitionedCall_1:0"}
        )
    )


if __name__ == "__main__":
    make(Path(sys.argv[1]))
