"""The trained numbers in a float16 TFLite file, as Keras has them: a bundle can be trained further without its run."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from device.core.errors import ModelError
from device.core.tflite_file import Reader

Float32 = npt.NDArray[np.float32]

CONVOLUTION, DENSE, SIGMOID, DEQUANTIZE = 3, 9, 14, 6
"""Numbers of operators in tensorflow/lite/schema/schema.fbs."""
FLOAT_TYPES: dict[int, npt.DTypeLike] = {0: np.float32, 1: np.float16}
"""Of the schema's TensorType."""


@dataclass(frozen=True, eq=False)
class Layer:
    """A dense layer or a convolution over time.

    Attributes
    ----------
    kernel : np.ndarray, shape (n_in, n_out) or (width, n_in, n_out), float32
    bias : np.ndarray, shape (n_out,), float32
    is_sigmoid : bool
        Whether what it gives goes through a sigmoid.
    """

    kernel: Float32
    bias: Float32
    is_sigmoid: bool


def read_layers(data: bytes) -> list[Layer]:
    """Read the layers that have weights, in the order in which they run.

    Parameters
    ----------
    data : bytes
        A checked TFLite file with float weights.

    Raises
    ------
    ModelError
        Its weights are not float.
    """
    graph = _Graph(data)
    layers = []
    for code, inputs, outputs in graph.steps:
        if code in (CONVOLUTION, DENSE):
            kernel, bias = (graph.constant(index) for index in inputs[1:3])
            # TFLite: (out, in), and (out, 1, width, in) of a convolution over time.
            shaped = kernel.T if code == DENSE else kernel[:, 0].transpose(1, 2, 0)
            layers.append(Layer(np.ascontiguousarray(shaped), bias, (SIGMOID, outputs[0]) in graph.reads))
    return layers


class _Graph:
    """The steps of a file and its constants."""

    def __init__(self, data: bytes) -> None:
        self._reader = reader = Reader(data)
        model = reader.target(0)
        codes = [max(reader.scalar(each, 0, "<b"), reader.scalar(each, 3, "<i")) for each in reader.tables(model, 1)]
        self._buffers = reader.tables(model, 4)
        (graph,) = reader.tables(model, 2)
        self._tensors = reader.tables(graph, 0)
        self.steps = [
            (codes[reader.scalar(step, 0, "<I")], reader.integers(step, 1), reader.integers(step, 2))
            for step in reader.tables(graph, 3)
        ]
        self.reads = {(code, index) for code, inputs, _ in self.steps for index in inputs}
        self._unpacked_from = {outputs[0]: inputs[0] for code, inputs, outputs in self.steps if code == DEQUANTIZE}

    def constant(self, index: int) -> Float32:
        tensor = self._tensors[self._unpacked_from.get(index, index)]
        kind, shape = self._reader.scalar(tensor, 1, "<b"), self._reader.integers(tensor, 0)
        start, n_bytes = self._reader.vector(self._buffers[self._reader.scalar(tensor, 2, "<I")], 0, 1)
        if kind not in FLOAT_TYPES or n_bytes != math.prod(shape) * np.dtype(FLOAT_TYPES[kind]).itemsize:
            raise ModelError("the model's weights are not float: export the bundle again")
        stored = np.frombuffer(self._reader.data[start : start + n_bytes], FLOAT_TYPES[kind])
        return np.asarray(stored.reshape(shape), np.float32)
