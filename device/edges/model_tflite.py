"""The TFLite edge: one file of a bundle, run by tflite-runtime or by ai-edge-litert.

Only bytes whose hash has been checked may come here (`device.models.bundles.load_bundle` does that): a TFLite file is
code.
One thread owns a model: load, run and drop it there. `run` lets other Python threads go on while it computes.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import logging
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from device.core.errors import ModelError
from device.core.tflite_file import check_tflite
from device.edges.model import Float32

RUNTIMES = {"tflite-runtime": "tflite_runtime", "ai-edge-litert": "ai_edge_litert"}
"""Runtime by the name of its package -> the module that it installs. Their order is the order of preference."""

_INPUTS = {"motion": 3, "noise": 2, "position": 2}  # name -> number of dimensions, the first of them 1
_RUNTIME_LINE = re.compile(rb"(INFO|WARNING|ERROR|VERBOSE): |[IWEF]\d{4} ")
_INSTALL = "install it with: pip install -r requirements-device.txt"

logger = logging.getLogger(__name__)


def installed_runtimes() -> list[str]:
    """Names of the runtimes that can be used here, the preferred one first. Imports none of them.

    tflite-runtime 2.14 cannot be used with numpy 2 (it imports, then dies with SystemError), so it is left out there.
    """
    names = [name for name, module in RUNTIMES.items() if importlib.util.find_spec(module) is not None]
    if np.lib.NumpyVersion(np.__version__) >= "2.0.0":
        names = [name for name in names if name != "tflite-runtime"]
    return names


def preload() -> None:
    """Import every installed runtime now: tflite-runtime refuses all models once TensorFlow was imported before it."""
    for name in installed_runtimes():
        importlib.import_module(f"{RUNTIMES[name]}.interpreter")


class TfliteModel:
    """A `SpectrumModel` from the bytes of a TFLite file.

    Inputs `motion` (1, n_columns, n_features), `noise` (1, n_latent) and `position` (1, 1), one output
    (1, n_bins), all float32; the inputs are found by name, whatever the converter put around it.

    Parameters
    ----------
    data : bytes
        The file. Its hash must have been checked.
    runtime : str
        'tflite-runtime' or 'ai-edge-litert'.
    variant : str
        Name of the file's kind, 'int8' or 'f16'; kept, not interpreted.

    Raises
    ------
    ModelError
        The runtime is missing, or the bytes are not a model with these inputs and this output.
    """

    def __init__(self, data: bytes, runtime: str, variant: str) -> None:
        self.runtime = runtime
        self.variant = variant
        self._data = data  # the interpreter reads the weights from these bytes as long as it lives
        self._interpreter = _load(data, runtime, variant)
        inputs = _find_inputs(self._interpreter.get_input_details(), variant)
        output = _find_output(self._interpreter.get_output_details(), variant)
        self.n_columns, self.n_features = (int(n) for n in inputs["motion"]["shape"][1:])
        self.n_latent = int(inputs["noise"]["shape"][1])
        self.n_bins = int(output["shape"][1])
        # The interpreter refuses to run while a view of its memory lives: bound is the way to each view, not the view.
        self._motion, self._noise, self._position = (
            self._interpreter.tensor(inputs[name]["index"]) for name in ("motion", "noise", "position")
        )
        self._output: Callable[[], Float32] = self._interpreter.tensor(output["index"])
        self._spectrum = np.zeros(self.n_bins, np.float32)

    def run(self, motion: Float32, noise: Float32, position: float) -> Float32:
        """One window to one spectrum; shapes and meaning as in `SpectrumModel.run`.

        Raises
        ------
        ModelError
            An input of another shape, or the runtime cannot compute.
        """
        if motion.shape != (self.n_columns, self.n_features) or noise.shape != (self.n_latent,):
            raise ModelError(
                f"the model takes motion {(self.n_columns, self.n_features)} and noise {(self.n_latent,)}, "
                f"not {motion.shape} and {noise.shape}: play it with the settings of its own bundle"
            )
        self._motion()[0] = motion
        self._noise()[0] = noise
        self._position()[0, 0] = position
        try:
            self._interpreter.invoke()
        except RuntimeError as error:
            raise ModelError(
                f"{self.runtime} cannot run the {self.variant} model ({_one_line(error)}): "
                "choose the other variant or runtime"
            ) from error
        np.copyto(self._spectrum, self._output()[0])
        return self._spectrum


def _load(data: bytes, runtime: str, variant: str) -> Any:
    """Make an interpreter of one runtime on one thread, with its tensors allocated."""
    if runtime not in RUNTIMES:
        raise ModelError(f"there is no runtime called '{runtime}': choose from {', '.join(RUNTIMES)}")
    if runtime not in installed_runtimes():
        numpy_2 = runtime == "tflite-runtime" and importlib.util.find_spec(RUNTIMES[runtime]) is not None
        raise ModelError(
            f"tflite-runtime does not work with numpy {np.__version__}: use ai-edge-litert, or a numpy below 2"
            if numpy_2
            else f"{runtime} is not installed: {_INSTALL}"
        )
    check_tflite(data, f"the {variant} model")
    module = importlib.import_module(f"{RUNTIMES[runtime]}.interpreter")
    try:
        with _runtime_messages_to_log():
            interpreter = module.Interpreter(model_content=data, num_threads=1)
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError, SystemError, MemoryError) as error:
        raise ModelError(
            f"{runtime} cannot load the {variant} model ({_one_line(error)}): export the bundle again"
        ) from error
    return interpreter


def _find_inputs(details: list[dict[str, Any]], variant: str) -> dict[str, dict[str, Any]]:
    """Details of the three inputs by name; names come as 'motion', 'serving_default_motion:0' and the like."""
    found: dict[str, dict[str, Any]] = {}
    for name, n_dimensions in _INPUTS.items():
        pattern = re.compile(rf"(?:^|[_/]){name}(?::\d+)?$")
        matches = [detail for detail in details if pattern.search(detail["name"])]
        if len(matches) != 1 or not _is_float_row(matches[0], n_dimensions):
            raise ModelError(f"the {variant} model has no usable input '{name}': export the bundle again")
        found[name] = matches[0]
    if len(details) != len(found) or int(found["position"]["shape"][1]) != 1:
        raise ModelError(f"the {variant} model's inputs are not motion, noise and position: export the bundle again")
    return found


def _find_output(details: list[dict[str, Any]], variant: str) -> dict[str, Any]:
    if len(details) != 1 or not _is_float_row(details[0], 2):
        raise ModelError(f"the {variant} model does not give one spectrum of float32: export the bundle again")
    return details[0]


def _is_float_row(detail: dict[str, Any], n_dimensions: int) -> bool:
    """Whether a tensor is float32 of a fixed shape (1, ...)."""
    shape = [int(n) for n in detail["shape"]]
    return len(shape) == n_dimensions and shape[0] == 1 and min(shape) > 0 and detail["dtype"] is np.float32


@contextlib.contextmanager
def _runtime_messages_to_log() -> Iterator[None]:
    """Send what the C++ runtime prints on standard error to our log, at debug level.

    It has no setting for that. What other threads print in these milliseconds is passed on.
    """
    with tempfile.TemporaryFile() as caught:
        try:
            stderr_copy = os.dup(2)
        except OSError:  # no standard error: nothing to keep clean
            yield
            return
        os.dup2(caught.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr_copy, 2)
            os.close(stderr_copy)
            caught.seek(0)
            for line in caught.read().splitlines(keepends=True):
                if _RUNTIME_LINE.match(line):
                    logger.debug("%s", line.decode(errors="replace").strip())
                else:
                    os.write(2, line)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
