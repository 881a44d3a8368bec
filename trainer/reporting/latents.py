"""The latent map: where the model puts the motion that it never saw, in two dimensions."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from device.core.tflite_file import Reader
from device.core.window import grid_offsets_s, grid_weights, interpolate
from trainer.evaluating.playing import Playing, Span

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

N_POINTS = 900
ADD = 0
"""Of tensorflow/lite/schema/schema.fbs: the operator that puts mean and noise together."""
NOISE = "noise"
LOUDNESS_S, LOUDNESS_RANGE_DB = 0.1, 50.0
N_NEWEST = 5
"""Columns of a window, 0.1 s at its end, whose height is looked at."""
LEAST_MOTION = 0.1
"""Grey levels; what moves less has no height."""


@dataclass(frozen=True, eq=False)
class Moments:
    """Windows of motion that was held out, with what they are coloured by.

    Attributes
    ----------
    windows : np.ndarray, shape (n, n_columns, n_features), float32
    loudness_db : np.ndarray, shape (n,), float64
        Of the real sound at the window's end, dBFS, at least 50 dB below the loudest.
    height : np.ndarray, shape (n,), float64
        Of the motion at the window's end: 0 at the bottom of the picture, 1 at its top; no number where
        nothing moves.
    """

    windows: Float32
    loudness_db: Float64
    height: Float64


@dataclass(frozen=True, eq=False)
class LatentMap:
    """Means of q(z|m) along their two directions of largest variance.

    Attributes
    ----------
    points : np.ndarray, shape (n, 2), float64
    shares : tuple of float
        Of the variance along each.
    """

    points: Float64
    shares: tuple[float, float]


def pick_moments(playing: Playing, spans: list[Span], n: int = N_POINTS) -> Moments:
    """Choose moments spread evenly over spans; of spans with fewer, all."""
    n_columns = sum(span.stop - span.start for span in spans)
    step = max(1, -(-n_columns // n))
    parts = [_moments_of(playing, span, np.arange(span.start, span.stop, step)) for span in spans]
    windows, power, height = (np.concatenate(values) for values in zip(*parts, strict=True))
    loudness_db = 10.0 * np.log10(np.maximum(power, max(power.max(), 1e-12) * 10 ** (-LOUDNESS_RANGE_DB / 10)))
    return Moments(windows, loudness_db, height)


def _moments_of(playing: Playing, span: Span, newest: npt.NDArray[np.int64]) -> tuple[Float32, Float64, Float64]:
    take = span.take
    first = max(0, int(newest[0]) - 8 * playing.example.n_columns)
    columns, times_s = take.columns_at(first, span.stop), take.times_s[first : span.stop]
    offsets_s = grid_offsets_s(playing.example.n_columns, playing.grid_rate_hz)
    windows = np.empty((len(newest), len(offsets_s), columns.shape[1]), np.float32)
    interpolate(columns, newest - first, *grid_weights(times_s, newest - first, offsets_s), windows)
    centres = np.rint(take.samples_of(take.times_s[newest])).astype(np.int64)
    half = round(LOUDNESS_S * take.rate_hz / 2)
    power = np.array([np.square(take.sound_at(c - half, c + half), dtype=np.float64).mean() for c in centres])
    return windows, power, heights(windows, playing.motion.height)


def heights(windows: Float32, n_rows: int) -> Float64:
    """Height of the motion at the end of windows, 0 to 1, shape (n,); not a number where nothing moves."""
    rows = windows[:, -N_NEWEST:, :n_rows].mean(axis=1, dtype=np.float64)  # (n, n_rows)
    from_top = (np.arange(n_rows) + 0.5) / n_rows
    total = rows.sum(axis=1)
    moves = total > LEAST_MOTION * n_rows
    height: Float64 = np.where(moves, 1.0 - rows @ from_top / np.where(moves, total, 1.0), np.nan)
    return height


def encode(data: bytes, windows: Float32) -> Float64 | None:
    """Means of q(z|m), read from inside a bundle's model while its noise is zero.

    Parameters
    ----------
    data : bytes
        A checked TFLite file in floating point.
    windows : np.ndarray, shape (n, n_columns, n_features), float32

    Returns
    -------
    np.ndarray, shape (n, n_latent), float64, or None
        None where the network is built otherwise: no sum with the noise has as many values as that.
    """
    where = find_latent(data)
    if where is None:
        return None
    from trainer.backend import quiet, tf

    with warnings.catch_warnings(), quiet():
        warnings.simplefilter("ignore", UserWarning)  # TensorFlow announces a successor of its interpreter
        interpreter = tf.lite.Interpreter(model_content=data, experimental_preserve_all_tensors=True, num_threads=1)
        interpreter.allocate_tensors()
    inputs = {detail["name"].split(":")[0].split("_")[-1]: detail for detail in interpreter.get_input_details()}
    for name in ("noise", "position"):
        interpreter.set_tensor(inputs[name]["index"], np.zeros(inputs[name]["shape"], np.float32))
    latents = np.empty((len(windows), int(inputs["noise"]["shape"][1])))
    for row, window in zip(latents, windows, strict=True):
        interpreter.set_tensor(inputs["motion"]["index"], window[np.newaxis])
        interpreter.invoke()
        found = interpreter.get_tensor(where)
        if found.size != row.size:
            return None
        row[:] = found.ravel()
    return latents


def find_latent(data: bytes) -> int | None:
    """Find the tensor that is z in a checked file: the first sum in which the input `noise` has a part."""
    reader = Reader(data)
    model = reader.target(0)
    codes = [max(reader.scalar(code, 0, "<b"), reader.scalar(code, 3, "<i")) for code in reader.tables(model, 1)]
    (graph,) = reader.tables(model, 2)
    tensors = reader.tables(graph, 0)
    noisy = {index for index in reader.integers(graph, 1) if NOISE in _name(reader, tensors[index])}
    for operator in reader.tables(graph, 3):
        inputs, outputs = reader.integers(operator, 1), reader.integers(operator, 2)
        if noisy.intersection(inputs):
            if codes[reader.scalar(operator, 0, "<I")] == ADD:
                return outputs[0]
            noisy.update(outputs)
    return None


def _name(reader: Reader, tensor: int) -> str:
    start, n = reader.vector(tensor, 3, 1)
    return reader.data[start : start + n].decode("utf-8", "replace")


def project(latents: Float64) -> LatentMap:
    """Principal components: shape (n, n_latent) to (n, 2); the same latents give the same map, whatever its sign."""
    centred = latents - latents.mean(axis=0)
    _, strengths, directions = np.linalg.svd(centred, full_matrices=False)
    variance = np.pad(strengths**2, (0, 2))[:2] / max(float((strengths**2).sum()), np.finfo(np.float64).tiny)
    directions = np.pad(directions, ((0, 2), (0, 0)))[:2]
    signs = np.sign(np.take_along_axis(directions, np.abs(directions).argmax(axis=1)[:, np.newaxis], axis=1))
    return LatentMap(centred @ (directions * signs).T, (float(variance[0]), float(variance[1])))
