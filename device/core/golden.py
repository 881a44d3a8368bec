"""Golden examples: inputs with the spectra that each file gave on each runtime when the bundle was made.

A box runs them before it trusts a model: a damaged runtime or a chip that computes otherwise is found out here,
not on stage.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from device.core.errors import BundleError
from device.core.strict_json import AGAIN, keyed, listed, number

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Golden:
    """Examples that a model must repeat.

    Attributes
    ----------
    motion : np.ndarray, shape (n, n_columns, n_features), float32
        Windows, in grey levels.
    noise : np.ndarray, shape (n, n_latent), float32
        Noise that goes with each.
    position : np.ndarray, shape (n,), float32
        Position within the segment, 0 to 1.
    outputs : Mapping[str, np.ndarray]
        'variant/runtime', for instance 'int8/tflite-runtime' -> spectra, shape (n, n_bins), float32.
    tolerance : Mapping[str, float]
        'variant/runtime' -> the largest absolute error of any bin that is allowed there.
    """

    motion: Float32
    noise: Float32
    position: Float32
    outputs: Mapping[str, Float32]
    tolerance: Mapping[str, float]

    def expected(self, variant: str, runtime: str) -> tuple[Float32, float]:
        """Spectra and tolerance for one file on one runtime.

        A trainer whose Python is too new for a runtime cannot run it: what the same file gave on another runtime
        stands in then.

        Raises
        ------
        BundleError
            Nothing is known of this variant.
        """
        keys = [key for key in self.outputs if key.split("/")[0] == variant]
        if not keys:
            raise BundleError(f"the bundle has no golden outputs for its {variant} model: {AGAIN}")
        key = f"{variant}/{runtime}" if f"{variant}/{runtime}" in keys else min(keys)
        return self.outputs[key], self.tolerance[key]


def make_golden(
    inputs: Sequence[tuple[npt.ArrayLike, npt.ArrayLike, float]],
    outputs: Mapping[str, npt.ArrayLike],
    tolerance: float | Mapping[str, float],
) -> Golden:
    """Gather golden examples for a manifest.

    Parameters
    ----------
    inputs : sequence of (motion, noise, position)
        Shapes (n_columns, n_features) and (n_latent,), and a float.
    outputs : mapping
        'variant/runtime' -> spectra of all inputs, shape (n, n_bins).
    tolerance : float or mapping
        Largest absolute error of any bin; for all, or by the keys of `outputs`.

    Raises
    ------
    BundleError
        There is no example, or shapes do not fit each other, or a number is not finite.
    """
    try:
        arrays = [np.stack([np.asarray(value, np.float32) for value in values]) for values in zip(*inputs, strict=True)]
        motion, noise, position = arrays
    except ValueError as error:
        raise BundleError(
            f"golden inputs do not fit together ({error}): give motion, noise and position of one shape each"
        ) from error
    spectra = {key: np.asarray(value, np.float32) for key, value in outputs.items()}
    bounds = {key: float(tolerance if isinstance(tolerance, int | float) else tolerance[key]) for key in spectra}
    golden = Golden(motion, noise, position, spectra, bounds)
    check_examples(golden)
    return golden


def check_examples(golden: Golden) -> None:
    """Raise BundleError unless the examples fit each other and are finite."""
    n = len(golden.position)
    if not n or not golden.outputs:
        raise BundleError(f"the bundle has no golden example: {AGAIN}")
    shapes = {value.shape for value in golden.outputs.values()}
    fits = len(golden.motion) == len(golden.noise) == n and golden.motion.ndim == 3 and golden.noise.ndim == 2
    if not fits or golden.position.ndim != 1 or len(shapes) != 1 or len(shape := shapes.pop()) != 2 or shape[0] != n:
        raise BundleError(f"the shapes of the golden examples do not fit each other: {AGAIN}")
    arrays = [golden.motion, golden.noise, golden.position, *golden.outputs.values()]
    bounds_are_usable = all(0.0 < bound < np.inf for bound in golden.tolerance.values())
    if not bounds_are_usable or not all(np.isfinite(array).all() for array in arrays):
        raise BundleError(f"a golden example or tolerance is not a usable number: {AGAIN}")


def golden_to_json(golden: Golden) -> dict[str, Any]:
    """Examples as JSON: each array as base64 of little-endian float32."""
    return {
        "inputs": [
            {"motion": _to_text(motion), "noise": _to_text(noise), "position": _to_text(position)}
            for motion, noise, position in zip(golden.motion, golden.noise, golden.position, strict=True)
        ],
        "outputs": {
            key: {"spectra": [_to_text(spectrum) for spectrum in spectra], "tolerance": golden.tolerance[key]}
            for key, spectra in golden.outputs.items()
        },
    }


def golden_from_json(value: object, window_shape: tuple[int, int], n_latent: int, n_bins: int) -> Golden:
    """Examples from JSON, of the shapes that the rest of the manifest says.

    Raises
    ------
    BundleError
        Something is missing, unknown, of another shape or not finite.
    """
    parts = keyed("golden", value, {"inputs", "outputs"})
    inputs = [
        keyed("golden.inputs", part, {"motion", "noise", "position"}) for part in listed("golden", parts["inputs"])
    ]
    if not isinstance(parts["outputs"], dict):
        raise BundleError(f"'golden.outputs' in manifest.json is not an object: {AGAIN}")
    outputs, tolerance = {}, {}
    for key, part in parts["outputs"].items():
        keyed("golden.outputs", part, {"spectra", "tolerance"})
        outputs[key] = _from_texts(listed("golden.outputs", part["spectra"]), (n_bins,))
        tolerance[key] = number("golden.tolerance", part["tolerance"], 0.0, 1e3)
    golden = Golden(
        motion=_from_texts([part["motion"] for part in inputs], window_shape),
        noise=_from_texts([part["noise"] for part in inputs], (n_latent,)),
        position=_from_texts([part["position"] for part in inputs], ()),
        outputs=outputs,
        tolerance=tolerance,
    )
    check_examples(golden)
    return golden


def _to_text(array: Float32) -> str:
    return base64.b64encode(np.asarray(array, "<f4").tobytes()).decode("ascii")


def _from_texts(texts: list[Any], shape: tuple[int, ...]) -> Float32:
    """Arrays of one shape, stacked, shape (n, *shape)."""
    try:
        data = [base64.b64decode(text, validate=True) for text in texts]
        arrays = [np.frombuffer(item, "<f4").reshape(shape) for item in data]
    except (TypeError, ValueError) as error:
        raise BundleError(f"the golden examples do not have the shapes that manifest.json says: {AGAIN}") from error
    return np.array(arrays, np.float32).reshape(len(arrays), *shape)


def largest_error(outputs: Float32, expected: Float32) -> float:
    """Largest absolute error over all bins; infinite where an output is not a number or not of the shape.

    Parameters
    ----------
    outputs, expected : np.ndarray, shape (n, n_bins), float32
        What a model gave, and what it should give.
    """
    if outputs.shape != expected.shape:
        return float("inf")
    error = np.abs(outputs.astype(np.float64) - expected)
    return float(error.max()) if np.isfinite(error).all() else float("inf")
