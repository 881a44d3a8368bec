"""What a model computes and reads for one spectrum, counted from the operators and shapes in its TFLite file."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from device.core.tflite_file import Reader

DEQUANTIZE = 6
KINDS = {3: "convolution", 4: "depthwise convolution", 9: "dense", 67: "transposed convolution", 126: "matrix product"}
"""The operators of tensorflow/lite/schema/schema.fbs that multiply and accumulate, by their number."""
N_BYTES = {0: 4, 1: 2, 2: 4, 3: 1, 4: 8, 6: 1, 7: 2, 9: 1}
"""Of a value, by the schema's TensorType: float32, float16, int32, uint8, int64, bool, int16, int8."""


@dataclass(frozen=True)
class Tensor:
    """Shape, bytes of a value as the runtime holds it, and whether it is a constant of the file."""

    shape: tuple[int, ...]
    n_value_bytes: int
    is_constant: bool

    @property
    def n_bytes(self) -> int:
        """Of all values."""
        return math.prod(self.shape) * self.n_value_bytes


@dataclass(frozen=True)
class Operator:
    """One step of a model: its number in the schema, what it reads and what it writes."""

    code: int
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]

    @property
    def n_macs(self) -> int:
        """Multiply-accumulates of one run; 0 for operators that are not in `KINDS`."""
        if self.code not in KINDS:
            return 0
        n_out = math.prod(self.outputs[0].shape)
        kind, first = KINDS[self.code], self.inputs[0].shape
        if kind == "matrix product":
            return n_out * first[-1]
        weights = self.inputs[1].shape
        if kind == "transposed convolution":  # output shape, weights (out, height, width, in), input
            return math.prod(self.inputs[2].shape) * math.prod(weights[:3])
        if kind == "depthwise convolution":  # weights (1, height, width, out)
            return n_out * math.prod(weights[1:3])
        return n_out * math.prod(weights[1:])  # (out, height, width, in) or (out, in)


@dataclass(frozen=True)
class Cost:
    """Of one run of a model.

    Attributes
    ----------
    n_macs : dict
        Kind of operator -> multiply-accumulates.
    n_weight_bytes, n_activation_bytes : int
        Constants that operators read; what they read and write besides.
    """

    n_macs: dict[str, int]
    n_weight_bytes: int
    n_activation_bytes: int

    @property
    def n_all_macs(self) -> int:
        """Of all kinds."""
        return sum(self.n_macs.values())


def count(data: bytes) -> Cost:
    """Count what one run of a TFLite file costs."""
    macs: Counter[str] = Counter()
    n_weight_bytes = n_activation_bytes = 0
    for operator in operators(data):
        if operator.n_macs:
            macs[KINDS[operator.code]] += operator.n_macs
        n_weight_bytes += sum(tensor.n_bytes for tensor in operator.inputs if tensor.is_constant)
        n_activation_bytes += sum(
            tensor.n_bytes for tensor in (*operator.inputs, *operator.outputs) if not tensor.is_constant
        )
    return Cost(dict(macs), n_weight_bytes, n_activation_bytes)


def operators(data: bytes) -> Iterator[Operator]:
    """Give the steps of a checked file, without those that only unpack weights when it is loaded."""
    reader = Reader(data)
    model = reader.target(0)
    codes = [_code(reader, code) for code in reader.tables(model, 1)]
    buffers = reader.tables(model, 4)
    (graph,) = reader.tables(model, 2)
    tensors = [_tensor(reader, tensor, buffers) for tensor in reader.tables(graph, 0)]
    for table in reader.tables(graph, 3):
        code = codes[reader.scalar(table, 0, "<I")]
        inputs, outputs = (reader.integers(table, index) for index in (1, 2))
        if code == DEQUANTIZE and tensors[inputs[0]].is_constant:
            kept = tensors[outputs[0]]
            tensors[outputs[0]] = Tensor(kept.shape, kept.n_value_bytes, is_constant=True)
            continue
        yield Operator(code, tuple(tensors[i] for i in inputs if i >= 0), tuple(tensors[i] for i in outputs))


def _code(reader: Reader, table: int) -> int:
    """Number of an operator: old files have it in a byte, new ones in an integer where it is 127 or more."""
    return max(reader.scalar(table, 0, "<b"), reader.scalar(table, 3, "<i"))


def _tensor(reader: Reader, table: int, buffers: list[int]) -> Tensor:
    _, n_stored_bytes = reader.vector(buffers[reader.scalar(table, 2, "<I")], 0, 1)
    n_value_bytes = N_BYTES[reader.scalar(table, 1, "<b")]
    return Tensor(tuple(reader.integers(table, 0)), n_value_bytes, n_stored_bytes > 0)
