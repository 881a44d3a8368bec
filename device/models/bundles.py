"""Bundles on disk: load one that can be trusted, write one in one step, sign one.

Nothing of a bundle is used before it is checked: the folder's listing, the signature, the manifest, the sha256 of
every file, and only then the model, which must repeat its golden examples on the runtime that will play it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from device.core.bundle import (
    MANIFEST,
    MAX_MANIFEST_BYTES,
    MAX_MODEL_BYTES,
    MODEL_FILES,
    SIGNATURE,
    Manifest,
    build_manifest,
    check_name,
    describe_files,
    parse_manifest,
)
from device.core.errors import BundleError, ModelError
from device.core.golden import Golden, largest_error
from device.edges.model import SpectrumModel
from device.edges.model_tflite import RUNTIMES, TfliteModel, installed_runtimes
from device.models.bundle_folder import check_replaceable, list_bundle, move_into_place, read_plain_file
from device.models.model_index import load_index
from device.models.signature import check_signature, sign_file
from device.store.files import sync_path

FACTORY = Path(__file__).parents[1] / "factory" / "bundle"
"""The bundle that a new box plays."""

_MAX_SIGNATURE_BYTES = 64 << 10


@dataclass(frozen=True, eq=False)
class BundleFiles:
    """A bundle whose files were read and checked, and not run.

    Attributes
    ----------
    manifest : Manifest
        What the model is.
    models : Mapping[str, bytes]
        Variant -> its file.
    signer : str or None
        Name of the allowed signer, where one was asked for.
    """

    manifest: Manifest
    models: Mapping[str, bytes]
    signer: str | None


@dataclass(frozen=True, eq=False)
class Bundle:
    """A bundle that plays.

    Attributes
    ----------
    path : Path
        Its folder.
    manifest : Manifest
        What the model is.
    model : TfliteModel
        The variant that was asked for, on its runtime; it repeats the golden examples.
    golden_error : float
        Largest absolute error of any bin there.
    """

    path: Path
    manifest: Manifest
    model: TfliteModel
    golden_error: float


def load_bundle(path: Path, variant: str = "f16", runtime: str = "auto", allowed_signers: Path | None = None) -> Bundle:
    """Load a bundle so that it plays.

    Parameters
    ----------
    path : Path
        Its folder.
    variant : str
        'f16', 'int8', or 'auto': see `choose_variant`.
    runtime : str
        'tflite-runtime', 'ai-edge-litert', or 'auto': the one that is installed; tflite-runtime if both are.
    allowed_signers : Path or None
        See `read_bundle`.

    Raises
    ------
    BundleError
        The bundle is not whole, was changed, is of a newer format, is signed by someone else, or does not repeat
        its golden examples.
    ModelError
        The runtime is missing or cannot load the model.
    """
    variant = choose_variant(path, variant)
    if variant not in MODEL_FILES:
        raise ModelError(f"there is no variant called '{variant}': choose from {', '.join(MODEL_FILES)}")
    runtime = choose_runtime(runtime)
    files = read_bundle(path, allowed_signers)
    return run_bundle(path, files, variant, runtime)


def choose_variant(path: Path, variant: str = "auto") -> str:
    """Name of the variant to play: 'auto' is the one that was found to be the one for this chip, else f16.

    Parameters
    ----------
    path : Path
        A bundle's folder; what is known of it was written beside it when it was installed.
    variant : str
    """
    if variant != "auto":
        return variant
    found = load_index(path.parent).variants.get(path.name, "")
    return found if found in MODEL_FILES else "f16"


def choose_runtime(runtime: str = "auto") -> str:
    """Name of the runtime to use.

    Raises
    ------
    ModelError
        None is installed.
    """
    if runtime != "auto":
        return runtime
    installed = installed_runtimes()
    if not installed:
        raise ModelError(
            f"no TFLite runtime is installed ({' or '.join(RUNTIMES)}): "
            "install one with: pip install -r requirements-device.txt"
        )
    return installed[0]


def read_bundle(path: Path, allowed_signers: Path | None = None) -> BundleFiles:
    """Read and check all files of a bundle; no model is loaded.

    Parameters
    ----------
    path : Path
        Its folder.
    allowed_signers : Path or None
        Who may sign, in the format of ssh-keygen(1), ALLOWED SIGNERS; an unsigned bundle is refused then. None: a
        bundle may be unsigned, and a signature may be anyone's.

    Raises
    ------
    BundleError
        As in `load_bundle`.
    """
    with _named(path):
        names = list_bundle(path)
        data = read_plain_file(path, MANIFEST, MAX_MANIFEST_BYTES)
        signer = None
        if SIGNATURE in names:
            read_plain_file(path, SIGNATURE, _MAX_SIGNATURE_BYTES)
            signer = check_signature(data, path / SIGNATURE, allowed_signers)
        manifest = parse_manifest(data)
        _check_signed(manifest.signed, SIGNATURE in names, allowed_signers)
        if missing := sorted(manifest.files.keys() - names):
            raise BundleError(f"{missing[0]} is missing: send the bundle again")
        models = {}
        for variant, name in MODEL_FILES.items():
            entry = manifest.files[name]
            models[variant] = read_plain_file(path, name, MAX_MODEL_BYTES, entry.size)
            if hashlib.sha256(models[variant]).hexdigest() != entry.sha256:
                raise BundleError(f"{name} was changed or damaged: send the bundle again")
        return BundleFiles(manifest, models, signer)


def read_manifest(path: Path) -> Manifest:
    """Read what a bundle says of itself; neither its signature nor its files are looked at.

    Raises
    ------
    BundleError
        There is no manifest, or it does not fit this program.
    """
    with _named(path):
        list_bundle(path)
        return parse_manifest(read_plain_file(path, MANIFEST, MAX_MANIFEST_BYTES))


def run_bundle(path: Path, files: BundleFiles, variant: str, runtime: str) -> Bundle:
    """Load one variant of a checked bundle and make sure that it repeats its golden examples.

    Raises
    ------
    BundleError, ModelError
        As in `load_bundle`.
    """
    with _named(path):
        model = TfliteModel(files.models[variant], runtime, variant)
        check_shapes(model, files.manifest)
        return Bundle(path, files.manifest, model, check_golden(model, files.manifest.golden))


def check_shapes(model: SpectrumModel, manifest: Manifest) -> None:
    """Raise BundleError unless a model takes and gives what its manifest says."""
    says = (manifest.n_columns, manifest.n_features, manifest.n_latent, manifest.n_bins)
    has = (model.n_columns, model.n_features, model.n_latent, model.n_bins)
    if says != has:
        raise BundleError(
            f"the {model.variant} model has (columns, features, latents, bins) {has} but manifest.json says {says}: "
            "export the bundle again"
        )


def check_golden(model: SpectrumModel, golden: Golden) -> float:
    """Largest absolute error of a model on its golden examples.

    Raises
    ------
    BundleError
        The error is above the tolerance, or the model gave something that is not a number.
    """
    expected, tolerance = golden.expected(model.variant, model.runtime)
    examples = zip(golden.motion, golden.noise, golden.position, strict=True)
    outputs = np.stack([model.run(motion, noise, float(position)).copy() for motion, noise, position in examples])
    error = largest_error(outputs, expected)
    if not np.isfinite(error):
        raise BundleError(
            f"the {model.variant} model on {model.runtime} gives what is not a number: export the bundle again"
        )
    if error > tolerance:
        raise BundleError(
            f"the {model.variant} model on {model.runtime} is {error:.3g} off its golden outputs, {tolerance:.3g} is "
            "allowed: choose the other variant or runtime, or export the bundle again"
        )
    return error


def write_bundle(path: Path, manifest: Manifest, files: Mapping[str, bytes], key: Path | None = None) -> None:
    """Write a bundle in one step: whole or not at all.

    It is built in a folder beside `path`, read back and checked, then moved into place. A bundle that lies there is
    replaced; anything else is left alone.

    Parameters
    ----------
    path : Path
        Folder to make.
    manifest : Manifest
        `files` and `signed` are filled in here.
    files : Mapping[str, bytes]
        'model.f16.tflite' and 'model.int8.tflite'.
    key : Path or None
        OpenSSH key to sign with; None: the bundle is marked unsigned.

    Raises
    ------
    BundleError
        The manifest does not fit, the key cannot be used, or something else lies at `path`.
    """
    path = Path(os.path.realpath(path))
    check_replaceable(path)
    data = build_manifest(replace(manifest, files=describe_files(files), signed=key is not None))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as scratch:
            new = Path(scratch) / "new"
            new.mkdir(mode=0o755)
            for name, content in {**files, MANIFEST: data}.items():
                (new / name).write_bytes(content)
            if key is not None:
                sign_file(new / MANIFEST, key)
            read_bundle(new)
            for made in [*new.iterdir(), new]:
                sync_path(made)
            move_into_place(new, path, Path(scratch) / "old")
        sync_path(path.parent)
    except OSError as error:
        raise BundleError(
            f"the bundle cannot be written to {path} ({error.strerror}): choose another folder"
        ) from error


def check_target(path: Path, name: str, key: Path | None = None) -> None:
    """Make sure, before long work, that a bundle of this name could be written to `path` and signed.

    Raises
    ------
    BundleError
        Something else lies there, the name is none, or there is no such key.
    """
    check_replaceable(Path(os.path.realpath(path)))
    check_name(name)
    if key is not None and not key.is_file():
        raise BundleError(f"there is no key at {key}: make one with ssh-keygen -t ed25519")


def sign(path: Path, key: Path) -> None:
    """Sign a bundle that lies on disk, with an OpenSSH key; whole or not at all.

    Raises
    ------
    BundleError
        The bundle is not whole, or the key cannot be used.
    """
    files = read_bundle(path)
    write_bundle(path, files.manifest, {MODEL_FILES[variant]: data for variant, data in files.models.items()}, key)


def _check_signed(says_signed: bool, has_signature: bool, allowed_signers: Path | None) -> None:
    if says_signed and not has_signature:
        raise BundleError(f"{SIGNATURE} is missing from this signed bundle: send the bundle again")
    if has_signature and not says_signed:
        raise BundleError(f"{SIGNATURE} lies in a bundle marked unsigned: send the bundle again")
    if allowed_signers is not None and not has_signature:
        raise BundleError(f"it is not signed, and only signers in {allowed_signers} are allowed: export it with a key")


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """Put the bundle's folder before what is wrong with it."""
    try:
        yield
    except (BundleError, ModelError) as error:
        raise type(error)(f"bundle {path}: {error}") from error
