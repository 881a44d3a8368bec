"""One model's folder among the installed ones: named by its manifest, whole or not there, taken away by its name."""

from __future__ import annotations

import hashlib
from pathlib import Path

from device.core.bundle import MANIFEST, MAX_MANIFEST_BYTES, MAX_MODEL_BYTES, MODEL_FILES
from device.core.errors import BundleError, ModelError
from device.models.bundle_folder import list_bundle, read_plain_file
from device.models.bundles import read_bundle
from device.models.model_tryout import Limits, try_out
from device.store.disk import LEFT_FREE_BYTES, free_bytes
from device.store.files import make_folder, remove_tree, rename_synced, sync_path, write_synced

N_DIGITS = 16


def name_of(path: Path) -> str:
    """Give the name of a model's folder: the first digits of its manifest's sha256.

    Raises
    ------
    BundleError
        There is no manifest that can be read.
    """
    return hashlib.sha256(read_plain_file(path, MANIFEST, MAX_MANIFEST_BYTES)).hexdigest()[:N_DIGITS]


def model_problem(path: Path) -> str | None:
    """Say what is wrong with an installed model; None if it is whole and the one that its name says."""
    try:
        read_bundle(path)
        if name_of(path) != path.name:
            return f"bundle {path} is not the one that was installed there: install it again"
    except BundleError as error:
        return str(error)
    return None


def copy_bundle(source: Path, path: Path, allowed_signers: Path | None, limits: Limits) -> str:
    """Copy a bundle so that it is at `path` as a whole, known to the disk, checked and played there, or not at all.

    Parameters
    ----------
    source : Path
        A bundle's folder.
    path : Path
        What is there is damaged, and replaced.
    allowed_signers : Path or None
        See `device.models.bundles.read_bundle`.
    limits : Limits
        What it may take to be played.

    Returns
    -------
    str
        The variant that is to be played on this chip.

    Raises
    ------
    BundleError, ModelError, OSError
        It cannot be read, trusted, played or written.
    """
    new = path.with_name(f".new-{path.name}")
    contents = _contents(source)
    if free_bytes(path.parent) < sum(map(len, contents.values())) + LEFT_FREE_BYTES:
        raise BundleError(f"the card of {path.parent} is full: carry takes away, then delete them here")
    try:
        make_folder(new)
        for name, data in contents.items():
            write_synced(new / name, data)
        sync_path(new)
        if name_of(new) != path.name:
            raise BundleError(f"bundle {source} changed while it was read: send the bundle again")
        read_bundle(new, allowed_signers)
        variant = try_out(new, limits).variant
        if path.exists():
            take_away(path)
        rename_synced(new, path)
    except (OSError, BundleError, ModelError):
        remove_tree(new)
        raise
    return variant


def _contents(source: Path) -> dict[str, bytes]:
    largest = dict.fromkeys(MODEL_FILES.values(), MAX_MODEL_BYTES)
    return {name: read_plain_file(source, name, largest.get(name, MAX_MANIFEST_BYTES)) for name in list_bundle(source)}


def take_away(path: Path) -> None:
    """Remove a model: its name goes first, so that no part of it is ever taken for a model."""
    old = path.with_name(f".old-{path.name}")
    rename_synced(path, old)
    remove_tree(old)
