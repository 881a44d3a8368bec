"""Installed models: folders that are whole or not there, and one link to the one that plays.

`models/` in the box's state holds a folder for each model, named by the first 16 hexadecimal digits of the sha256 of
its manifest, the link `current` to one of them, and `installed.json`: in which order they came, the highest version of
each name that was ever installed, which have played well, and whether the current one still has to show that it does
(`device.models.model_trial`). What begins with a dot is on its way in or out, and means nothing.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from device.config import Config
from device.core.errors import BundleError
from device.models.bundles import FACTORY, BundleFiles, read_bundle, read_manifest
from device.models.model_copy import N_DIGITS, copy_bundle, model_problem, name_of, take_away
from device.models.model_index import FACTORY_NAME, Index, Trial, load_index, save_index
from device.models.model_tryout import Limits
from device.store.files import (
    explained,
    link_synced,
    make_folders,
    remove_file,
    remove_tree,
    sync_path,
)
from device.store.locks import FolderLock
from device.store.state import models_folder, state_problem

CURRENT = "current"
_NAME = re.compile(rf"[0-9a-f]{{{N_DIGITS}}}")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Installed:
    """What an installation did.

    Attributes
    ----------
    path : Path
        Where the model lies now.
    name : str
    version : int
    signer : str or None
        Who signed it, where a signature was asked for.
    is_new : bool
        It was not installed before.
    removed : tuple of Path
        Older models that made room.
    is_on_trial : bool
        It has not played well yet.
    """

    path: Path
    name: str
    version: int
    signer: str | None
    is_new: bool
    removed: tuple[Path, ...]
    is_on_trial: bool = True


def install_bundle(
    source: Path,
    state: Path,
    *,
    allowed_signers: Path | None,
    require_signature: bool,
    allow_downgrade: bool = False,
    n_kept: int = 8,
    in_use: Collection[Path] = (),
    limits: Limits | None = None,
) -> Installed:
    """Install a bundle from anywhere, and let it be what plays from the next load on: the one way in.

    It is checked where it lies, copied, checked as it lies on the card, played in a process of its own, and only then
    made current, in one step, with a trial before it. Whatever fails or is unplugged, what played before is current
    still, or the new one is, whole.

    Parameters
    ----------
    source : Path
        A bundle's folder; may be on a stick that is pulled.
    state : Path
        The folder of the box's state.
    allowed_signers : Path or None
        Who may sign; see `device.models.bundles.read_bundle`.
    require_signature : bool
        Refuse what none of them signed.
    allow_downgrade : bool
        Take a version that is not higher than any of its name that was installed before.
    n_kept : int
        How many models are kept beside the current one; the oldest others are removed.
    in_use : collection of Path
        Folders of models that are kept in any case.
    limits : Limits, optional
        What the model may take when it is played for the first time.

    Raises
    ------
    BundleError
        The bundle cannot be trusted, is too old, or cannot be written; nothing was changed.
    ModelError
        No runtime is installed, or it cannot load the model.
    """
    if require_signature and allowed_signers is None:
        raise BundleError("nobody is allowed to sign models: name store.allowed_signers in the configuration")
    files = read_bundle(source, allowed_signers if require_signature else None)
    if problem := state_problem(state):
        raise BundleError(f"no model can be installed: {problem}")
    with at_work(state) as models:
        path = models / name_of(source)
        index = _known(state)
        _check_version(index, files, path, allow_downgrade=allow_downgrade)
        is_new = model_problem(path) is not None
        if is_new:
            variant = copy_bundle(source, path, allowed_signers if require_signature else None, limits or Limits())
            index = replace(index, variants={**index.variants, path.name: variant})
        manifest = files.manifest
        index = _with_trial(index, linked_name(state), path.name, manifest.name)
        save_index(models, index.with_model(path.name, manifest.name, manifest.version))
        switch_current(state, path)
        removed = _prune(state, n_kept, in_use)
    return Installed(path, manifest.name, manifest.version, files.signer, is_new, removed, index.trial is not None)


def _with_trial(index: Index, current: str, folder: str, model: str) -> Index:
    """Let a model that comes have a trial before it, unless it is the last good one already."""
    trial = index.trial if index.trial is not None and index.trial.folder == current else None
    if trial is None:  # What has played until now without one is good.
        index = index.with_good(current)
    if index.good[-1:] == (folder,):
        return replace(index, trial=None)
    if trial is None or trial.folder != folder:
        index = replace(index, trial=Trial(folder, model, index.highest.get(model, 0)))
    return index


def switch_current(state: Path, path: Path) -> None:
    """Let an installed model, or the factory's, be what plays from the next load on: in one step.

    Raises
    ------
    BundleError
        It is not whole, or the card cannot be written.
    """
    models = models_folder(state)
    with explained(models, BundleError):
        if path == FACTORY:
            remove_file(models / CURRENT)
            if models.is_dir():
                sync_path(models)
            return
        if problem := model_problem(path):
            raise BundleError(problem)
        link_synced(models / CURRENT, path.name)


def current_bundle(state: Path) -> Path:
    """Where the model lies that plays: the current one, or the factory's if there is none, or none that is whole."""
    path = _linked(state)
    if path is None:
        return FACTORY
    if problem := model_problem(path):
        _log.error("the factory's model plays instead of the installed one: %s", problem)
        return FACTORY
    return path


def current_problem(state: Path) -> str | None:
    """Say why the factory's model plays though another was made current; None if all is well."""
    path = _linked(state)
    return None if path is None else model_problem(path)


def chosen_bundle(config: Config) -> Path:
    """Where the model lies that plays by a configuration: the one that it names, else the current one."""
    return Path(config.model.bundle) if config.model.bundle else current_bundle(Path(config.state.folder))


def installed_bundles(state: Path) -> list[Path]:
    """List the folders of all installed models, in the order in which they came; they may be damaged."""
    models = models_folder(state)
    if not models.is_dir():
        return []
    order = load_index(models).order
    found = [path for path in models.iterdir() if _NAME.fullmatch(path.name) and not path.is_symlink()]
    return sorted(found, key=lambda path: (order.index(path.name) if path.name in order else -1, path.name))


def next_bundle(state: Path, current: Path) -> Path:
    """Where the next model lies, round and round: the factory's, then the installed ones; what is damaged is left out.

    Parameters
    ----------
    state : Path
        The folder of the box's state.
    current : Path
        The model that plays now; from any other place the round begins anew.
    """
    around = [FACTORY, *installed_bundles(state)]
    start = around.index(current) + 1 if current in around else 0
    return next(
        path for path in [*around[start:], *around[:start], FACTORY] if path == FACTORY or not model_problem(path)
    )


def linked_name(state: Path) -> str:
    """Name of the folder that is current, whole or not; `FACTORY_NAME` for the factory's."""
    path = _linked(state)
    return FACTORY_NAME if path is None else path.name


def folder_name(path: Path) -> str:
    """What the index calls the model in a folder."""
    return FACTORY_NAME if path == FACTORY else path.name


@contextmanager
def at_work(state: Path) -> Iterator[Path]:
    """Give the folder of models to one installation at a time, without what another left behind unfinished."""
    models = models_folder(state)
    with explained(models, BundleError):
        make_folders(models)
        try:
            lock = FolderLock(models)
        except BlockingIOError as error:
            raise BundleError("another model is being installed: try again when it is done") from error
        try:
            for left in models.glob(".*"):
                remove_tree(left)
            yield models
        finally:
            lock.release()


def _known(state: Path) -> Index:
    """Give the index, with what the models themselves tell where it was lost."""
    index = load_index(models_folder(state))
    for path in installed_bundles(state):
        with suppress(BundleError):
            manifest = read_manifest(path)
            highest = max(manifest.version, index.highest.get(manifest.name, 0))
            index = replace(index, highest={**index.highest, manifest.name: highest})
    return index


def _check_version(index: Index, files: BundleFiles, path: Path, *, allow_downgrade: bool) -> None:
    name, version = files.manifest.name, files.manifest.version
    highest = index.highest.get(name)
    # It may lie there, and not be written down: whoever installed it was killed in between.
    is_again = version == highest and (path.name in index.order or path.exists())
    if highest is not None and version <= highest and not (allow_downgrade or is_again):
        raise BundleError(
            f"version {version} of {name} is not newer than version {highest}, which was installed: "
            "install a newer one, or allow a downgrade"
        )


def _prune(state: Path, n_kept: int, in_use: Collection[Path]) -> tuple[Path, ...]:
    models = models_folder(state)
    index = load_index(models)
    kept = {linked_name(state), *index.good[-1:], *(path.name for path in in_use)}
    others = [path for path in installed_bundles(state) if path.name not in kept]
    removed = others[: max(len(others) - n_kept, 0)]
    for path in removed:
        take_away(path)
    if removed:
        save_index(models, index.without({path.name for path in removed}))
    return tuple(removed)


def _linked(state: Path) -> Path | None:
    """Where the link to the current model leads; None if there is none."""
    try:
        name = (models_folder(state) / CURRENT).readlink().name
    except OSError:
        return None
    return models_folder(state) / name
