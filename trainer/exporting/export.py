"""`trainer export`: from a finished run to a bundle that a box plays."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from device.core.bundle import MODEL_FILES, Manifest, describe_files
from device.core.errors import TrainingError
from device.core.golden import Golden, make_golden
from device.core.motiongram import MotionSettings
from device.edges.model_tflite import TfliteModel, installed_runtimes
from device.models.bundles import check_target, write_bundle
from device.store.store import Take
from trainer.data.prepare import Segments, split
from trainer.evaluating.command import Playing, evaluate_model, held_out_spans, play_spans
from trainer.runs.folder import load_run, next_version, note_export, open_takes
from trainer.settings import HOP_S, LARGEST_TEMPERATURE, RunSettings, check_range

if TYPE_CHECKING:
    from trainer.data.augment import Batch
    from trainer.learning.model import DanceVAE

Float32 = npt.NDArray[np.float32]
Example = tuple[Float32, Float32, Float32]
"""Motion, noise and position, each with a first axis of 1."""

N_CALIBRATION = 400
FLOAT_OPERATIONS = ("SQRT", "DIV", "MEAN", "ADD", "MUL", "CONCATENATION", "LOGISTIC")
"""Left in float in the int8 model: cheap, and in 256 steps small motion and small latents would be lost. Besides,
tflite-runtime 2.14 has no integer square root."""
GOLDEN_TOLERANCE = {"f16": 0.01, "int8": 0.05}
"""Largest error of any bin on another machine's processor, in units of the spectrum: see `make_goldens`."""


def deployed(model: DanceVAE) -> Any:
    """The part that goes to the box: motion encoder and sound decoder, with the names of the contract.

    Returns
    -------
    keras.Model
        Inputs `motion` (1, n_columns, n_features), `noise` (1, n_latent), `position` (1, 1);
        output `spectrum` (1, n_bins).
    """
    from trainer.backend import keras

    settings = model.settings
    motion = keras.Input((settings.n_columns, settings.n_features), batch_size=1, name="motion")
    noise = keras.Input((settings.n_latent,), batch_size=1, name="noise")
    position = keras.Input((1,), batch_size=1, name="position")
    return keras.Model([motion, noise, position], {"spectrum": model.call((motion, noise, position))})


def convert(model: Any, calibration: list[Example]) -> dict[str, bytes]:
    """Convert to TFLite.

    Parameters
    ----------
    model : keras.Model
        From `deployed`.
    calibration : list of Example
        Real examples that show how far values reach.

    Returns
    -------
    dict
        Variant ('f16', 'int8') to the file's bytes.
    """
    from trainer.backend import quiet, tf

    def examples() -> Iterator[dict[str, Float32]]:
        for motion, noise, position in calibration:
            yield {"motion": motion, "noise": noise, "position": position}

    def converter() -> Any:
        made = tf.lite.TFLiteConverter.from_saved_model(folder)
        made.optimizations = [tf.lite.Optimize.DEFAULT]
        return made

    with tempfile.TemporaryDirectory() as folder, quiet():
        model.export(folder, format="tf_saved_model", verbose=False)
        halves = converter()
        halves.target_spec.supported_types = [tf.float16]
        integers = converter()
        integers.representative_dataset = examples
        integers.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        # The debugger is TensorFlow's public way to quantise some operations and leave others.
        debugger = tf.lite.experimental.QuantizationDebugger(
            converter=integers,
            debug_dataset=examples,
            debug_options=tf.lite.experimental.QuantizationDebugOptions(denylisted_ops=list(FLOAT_OPERATIONS)),
        )
        return {"f16": halves.convert(), "int8": debugger.get_nondebug_quantized_model()}


def calibration_examples(batch: Batch, n_latent: int, seed: int) -> list[Example]:
    """Examples as the box sees them, with drawn noise among them."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((len(batch["window"]), 1, n_latent)).astype(np.float32)
    noise[::2] = 0.0
    return list(zip(batch["window"][:, np.newaxis], noise, batch["position"][:, np.newaxis], strict=True))


def make_goldens(files: dict[str, bytes], calibration: list[Example]) -> Golden:
    """Run both variants in every runtime that is here on the first, the middle and the last example."""
    inputs = [
        (m[0], n[0], float(p[0, 0]))
        for m, n, p in (calibration[0], calibration[len(calibration) // 2], calibration[-1])
    ]
    outputs, tolerance = {}, {}
    for variant, data in files.items():
        for runtime in installed_runtimes():
            model = TfliteModel(data, runtime, variant)
            outputs[f"{variant}/{runtime}"] = np.stack([model.run(*example).copy() for example in inputs])
            tolerance[f"{variant}/{runtime}"] = GOLDEN_TOLERANCE[variant]
    return make_golden(inputs, outputs, tolerance)


def check_faithful(model: Any, files: dict[str, bytes], calibration: list[Example]) -> dict[str, float]:
    """Compare every variant in every runtime with Keras.

    Returns
    -------
    dict
        'variant/runtime' to the root mean square error over examples and bins.

    Raises
    ------
    TrainingError
        One is further off than its bound: the conversion went wrong.
    """
    some = calibration[:: max(1, len(calibration) // 32)]
    wanted = np.concatenate([np.asarray(model([m, n, p], training=False)["spectrum"]) for m, n, p in some])
    errors = {}
    for variant, bound in (("f16", 0.002), ("int8", 0.03)):
        for runtime in installed_runtimes():
            played = TfliteModel(files[variant], runtime, variant)
            got = np.stack([played.run(m[0], n[0], float(p[0, 0])).copy() for m, n, p in some])
            error = float(np.sqrt(np.square(got - wanted).mean()))
            errors[f"{variant}/{runtime}"] = error
            if not error <= bound:
                raise TrainingError(
                    f"the {variant} model on {runtime} is off by {error:.4f}, more than {bound}: "
                    "train longer or on more varied takes"
                )
    return errors


def export(
    run_dir: Path, bundle_dir: Path, name: str | None = None, key: Path | None = None, temperature: float = 0.0
) -> Manifest:
    """Write the bundle of a run.

    Parameters
    ----------
    run_dir, bundle_dir : Path
    name : str, optional
        Of the bundle; that of the run's folder unless given.
    key : Path, optional
        Private key of OpenSSH to sign with; without one the bundle is marked unsigned.
    temperature : float
        At which it is played unless the user says otherwise.

    Raises
    ------
    TrainingError
        There is no finished run, its takes are gone, or the conversion is not faithful.
    BundleError
        The bundle cannot be written there, named so or signed.
    """
    from trainer.data.dataset import Examples

    name = name or run_dir.resolve().name
    check_range("--temperature", temperature, 0.0, LARGEST_TEMPERATURE)
    check_target(bundle_dir, name, key)
    settings, facts, model = load_run(run_dir)
    takes = open_takes(facts)
    training, held_out = split(takes, settings.example.segment_s, HOP_S, settings.held_out, settings.held_out_takes)
    examples = Examples(takes, settings.example)
    rows = examples.rows(training)
    some = np.random.default_rng(settings.seed).choice(rows, min(N_CALIBRATION, len(rows)), replace=False)
    positions = np.where(np.arange(len(some)) % 4, 1.0, np.arange(len(some)) / len(some)).astype(np.float32)
    calibration = calibration_examples(examples.batch(some, positions), settings.model.n_latent, settings.seed)
    keras_model = deployed(model)
    files = convert(keras_model, calibration)
    check_faithful(keras_model, files, calibration)
    figures = measure(settings, facts, files, takes, held_out)
    golden = make_goldens(files, calibration)
    version = next_version(run_dir, facts)
    manifest = build(settings, facts, name, version, files, golden, figures, key is not None, temperature)
    write_bundle(bundle_dir, manifest, {MODEL_FILES[variant]: data for variant, data in files.items()}, key)
    note_export(run_dir, bundle_dir, version)
    return manifest


def measure(
    settings: RunSettings, facts: dict[str, Any], files: dict[str, bytes], takes: list[Take], held_out: Segments
) -> dict[str, object]:
    """Figures on what was held out, for the manifest, and what that was.

    Where they cannot be measured (it is silent, say) the bundle goes without, and says why.
    """
    playing = Playing(MotionSettings(**facts["motion"]), settings.example)
    runtime = installed_runtimes()[0]
    numbers = {str(number): number for number in settings.held_out_takes}
    measured: dict[str, object] = {"held_out": {"part": settings.held_out, "takes": numbers}}
    try:
        spans = held_out_spans(takes, held_out)
        for variant, data in files.items():
            model = TfliteModel(data, runtime, variant)
            found = evaluate_model(playing, model, spans, play_spans(playing, model, spans)).as_dict()
            measured[variant] = {figure: value for figure, value in found.items() if value is not None}
    except TrainingError as error:
        measured["none"] = str(error)[:200]
    return measured


def build(settings: RunSettings, facts: dict[str, Any], name: str, version: int, files: dict[str, bytes],
          golden: Golden, figures: dict[str, object], signed: bool, temperature: float) -> Manifest:  # fmt: skip
    """Put the manifest together."""
    example = settings.example
    return Manifest(
        name=name,
        version=version,
        rate_hz=example.synth.rate_hz,
        grid_rate_hz=example.grid_rate_hz,
        motion=MotionSettings(**facts["motion"]),
        synth=example.synth,
        segment_s=example.segment_s,
        lead_s=example.lead_s,
        n_latent=settings.model.n_latent,
        n_columns=settings.model.n_columns,
        temperature=temperature,
        figures=figures,
        files=describe_files({MODEL_FILES[variant]: data for variant, data in files.items()}),
        golden=golden,
        signed=signed,
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the arguments of `trainer export`."""
    argument = parser.add_argument
    argument("--run", type=Path, required=True, metavar="DIR", help="folder of a finished run")
    argument("--bundle", type=Path, required=True, metavar="DIR", help="folder to write; a bundle there is replaced")
    argument("--name", metavar="NAME", help="name of the bundle (default: that of the run's folder)")
    argument("--key", type=Path, metavar="FILE", help="private OpenSSH key to sign with (default: unsigned)")
    argument("--temperature", type=float, default=0.0, metavar="T", help="as it plays by default (%(default)s)")


def main(args: argparse.Namespace) -> int:
    """Run `trainer export`."""
    manifest = export(args.run, args.bundle, args.name, args.key, args.temperature)
    sizes = ", ".join(f"{name} {entry.size / 1000:.0f} kB" for name, entry in manifest.files.items())
    signed = "signed" if manifest.signed else "unsigned"
    print(f"{args.bundle}: {manifest.name}, version {manifest.version}, {signed}; {sizes}")
    if "none" in manifest.figures:
        print(f"without figures: {manifest.figures['none']}")
    print(f"next: python -m device perform --model {args.bundle} --camera file:CLIP --audio wav:out.wav")
    return 0
