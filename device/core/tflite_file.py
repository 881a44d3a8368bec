"""The skeleton of a TFLite file, walked before a runtime gets it.

tflite-runtime 2.14 follows every offset in the file without a look and dies of garbage; this finds offsets and
vectors that leave the file, and indices that point nowhere. It is no defence against a file made to do harm: hash
and signature are.

The format is FlatBuffers (https://flatbuffers.dev/internals/): a table begins with the signed distance to its
vtable, which lists where in the table each field lies; strings, vectors and tables are reached by unsigned offsets.
The field numbers are those of tensorflow/lite/schema/schema.fbs, version 3.
"""

from __future__ import annotations

import struct

from device.core.errors import ModelError

_IDENTIFIER = b"TFL3"
_BUILTIN_OPTIONS_WITH_VECTOR = {17, 30}  # ReshapeOptions.new_shape, SqueezeOptions.squeeze_dims: field 0, [int]


def check_tflite(data: bytes, name: str) -> None:
    """Raise ModelError unless the bytes are a whole TFLite file.

    Parameters
    ----------
    data : bytes
        The file.
    name : str
        What an error calls it.
    """
    if data[4:8] != _IDENTIFIER:
        raise ModelError(f"{name} is not a TFLite file: export the bundle again")
    try:
        _check_model(Reader(data))
    except ValueError as error:
        raise ModelError(f"{name} is damaged or cut short ({error}): export the bundle again") from error


class Reader:
    """Bounded reads; whatever leaves the file raises ValueError.

    Parameters
    ----------
    data : bytes
        The file.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data

    def number(self, form: str, position: int) -> int:
        """Read one number of a form of `struct`."""
        if position < 0:
            raise ValueError("an offset lies before the file")
        try:
            return int(struct.unpack_from(form, self.data, position)[0])
        except struct.error:
            raise ValueError("an offset leaves the file") from None

    def target(self, position: int) -> int:
        """Follow the offset that lies at a position."""
        return position + self.number("<I", position)

    def field(self, table: int, index: int, size: int = 4) -> int | None:
        """Find a field of a table; None where it has its default."""
        vtable = table - self.number("<i", table)
        vtable_size, table_size = self.number("<H", vtable), self.number("<H", vtable + 2)
        if vtable_size < 4 or vtable + vtable_size > len(self.data) or table + table_size > len(self.data):
            raise ValueError("a table leaves the file")
        if 4 + 2 * index + 2 > vtable_size:
            return None
        offset = self.number("<H", vtable + 4 + 2 * index)
        if offset and offset + size > table_size:
            raise ValueError("a field leaves its table")
        return table + offset if offset else None

    def scalar(self, table: int, index: int, form: str) -> int:
        """Read a number in a table; 0 where it has its default."""
        position = self.field(table, index, struct.calcsize(form))
        return 0 if position is None else self.number(form, position)

    def vector(self, table: int, index: int, item_size: int) -> tuple[int, int]:
        """Find a vector or string: position of its first item, and number of items."""
        position = self.field(table, index)
        if position is None:
            return 0, 0
        start = self.target(position)
        n_items = self.number("<I", start)
        if start + 4 + n_items * item_size > len(self.data):
            raise ValueError("a vector leaves the file")
        return start + 4, n_items

    def tables(self, table: int, index: int) -> list[int]:
        """Positions of the tables in a vector."""
        start, n_items = self.vector(table, index, 4)
        return [self.target(start + 4 * i) for i in range(n_items)]

    def integers(self, table: int, index: int) -> list[int]:
        """Numbers in a vector of int32."""
        start, n_items = self.vector(table, index, 4)
        return list(struct.unpack_from(f"<{n_items}i", self.data, start)) if n_items else []


def _check_model(reader: Reader) -> None:
    model = reader.target(0)
    codes, graphs, buffers = (reader.tables(model, index) for index in (1, 2, 4))
    for code in codes:
        reader.vector(code, 1, 1)
    for buffer in buffers:
        reader.vector(buffer, 0, 1)
    if len(graphs) != 1:
        raise ValueError("it does not hold one graph")
    n_tensors = len(reader.tables(graphs[0], 0))
    _check_graph(reader, graphs[0], len(codes), len(buffers))
    for metadata in reader.tables(model, 6):
        reader.vector(metadata, 0, 1)
        _check_indices([reader.scalar(metadata, 1, "<I")], len(buffers))
    for signature in reader.tables(model, 7):
        reader.vector(signature, 2, 1)
        for tensor_map in reader.tables(signature, 0) + reader.tables(signature, 1):
            reader.vector(tensor_map, 0, 1)
            _check_indices([reader.scalar(tensor_map, 1, "<I")], n_tensors)


def _check_graph(reader: Reader, graph: int, n_codes: int, n_buffers: int) -> None:
    tensors = reader.tables(graph, 0)
    reader.vector(graph, 4, 1)
    for tensor in tensors:
        _check_tensor(reader, tensor, n_buffers)
    _check_indices(reader.integers(graph, 1) + reader.integers(graph, 2), len(tensors))
    for operator in reader.tables(graph, 3):
        _check_indices([reader.scalar(operator, 0, "<I")], n_codes)
        inputs = [index for index in reader.integers(operator, 1) if index != -1]  # -1: an optional input, left out
        _check_indices(inputs + reader.integers(operator, 2), len(tensors))
        reader.vector(operator, 5, 1)
        _check_options(reader, operator)


def _check_options(reader: Reader, operator: int) -> None:
    position = reader.field(operator, 4)
    if position is None:
        return
    options = reader.target(position)
    if reader.scalar(operator, 3, "<B") in _BUILTIN_OPTIONS_WITH_VECTOR:
        reader.integers(options, 0)
    else:
        reader.field(options, 0, 1)


def _check_tensor(reader: Reader, tensor: int, n_buffers: int) -> None:
    if any(size < 0 for size in reader.integers(tensor, 0)):
        raise ValueError("a tensor has a negative size")
    reader.integers(tensor, 7)
    _check_indices([reader.scalar(tensor, 2, "<I")], n_buffers)
    reader.vector(tensor, 3, 1)
    quantization = reader.field(tensor, 4)
    if quantization is not None:
        for index, item_size in ((0, 4), (1, 4), (2, 4), (3, 8)):  # min, max, scale, zero_point
            reader.vector(reader.target(quantization), index, item_size)


def _check_indices(indices: list[int], n: int) -> None:
    if any(not 0 <= index < n for index in indices):
        raise ValueError("an index points nowhere")
