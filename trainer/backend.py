"""TensorFlow and Keras, imported in the one order that works, without their noise.

tflite-runtime 2.14 must be loaded before TensorFlow: loaded after it, it refuses every model ("vector::reserve").
TensorFlow's C++ parts write lines to standard error at import that no setting silences.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from device.edges.model_tflite import preload


@contextmanager
def quiet() -> Iterator[None]:
    """Send what is written to standard error, by C++ too, to nowhere."""
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _load() -> tuple[Any, Any]:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    preload()
    with quiet():
        import keras
        import tensorflow as tf

        tf.config.list_physical_devices()  # where it says that there is no GPU
    return tf, keras


tf, keras = _load()
