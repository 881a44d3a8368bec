"""A bundle that came from a stick is installed as any other is, by the user whose the box's state is."""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from device.config import Config
from device.core.errors import BundleError
from device.engine.process import Child, Part, run_part, wait_for_any
from device.models.model_store import Installed, install_bundle

INSTALL_S = 120.0


@dataclass(frozen=True)
class InstallSetup:
    """What the installing process is given.

    Attributes
    ----------
    source, state, allowed_signers : Path
    n_kept : int
        See `install_bundle`.
    owner : tuple of int or None
        User and group that it becomes.
    """

    source: Path
    state: Path
    allowed_signers: Path
    n_kept: int
    owner: tuple[int, int] | None


def install_files(files: dict[str, bytes], config: Config) -> Installed:
    """Install a bundle, given by its files, which must be signed, whatever is configured: anyone can plug a stick in.

    Parameters
    ----------
    files : dict of str to bytes
        Names and contents.
    config : Config

    Raises
    ------
    BundleError, ModelError
        As `install_bundle` does.
    """
    state = Path(config.state.folder)
    owner = _owner(state)
    with tempfile.TemporaryDirectory(prefix="bundle-") as folder:
        source = Path(folder) / "bundle"
        source.mkdir()
        for name, data in files.items():
            (source / name).write_bytes(data)
        if owner is not None:
            for path in (Path(folder), source, *source.iterdir()):
                os.chown(path, *owner)
        signers = Path(config.store.allowed_signers)
        return _run(InstallSetup(source, state, signers, config.store.n_models, owner))


def install_main(part: Part, setup: InstallSetup) -> None:
    """Run the installing process."""

    def body() -> None:
        if setup.owner is not None:
            user, group = setup.owner
            os.setgroups([])
            os.setgid(group)
            os.setuid(user)
        installed = install_bundle(
            setup.source,
            setup.state,
            allowed_signers=setup.allowed_signers,
            require_signature=True,
            n_kept=setup.n_kept,
        )
        part.say("installed", installed)

    run_part("install", part, body)


def _owner(state: Path) -> tuple[int, int] | None:
    """Whose the state is, if that is to become somebody else."""
    try:
        status = state.stat()
    except OSError:
        return None  # Installing says what is wrong with it.
    return (status.st_uid, status.st_gid) if os.geteuid() == 0 and status.st_uid != 0 else None


def _run(setup: InstallSetup) -> Installed:
    child = Child("install", install_main, setup)
    deadline_s = time.monotonic() + INSTALL_S
    try:
        while time.monotonic() < deadline_s:
            wait_for_any([child], 1.0)
            for word, content in child.heard():
                if isinstance(content, Installed):
                    return content
                if isinstance(content, Exception):
                    raise content
                if word == "gone":
                    raise BundleError("the installation ended without a word: look at the log")
        raise BundleError(f"the installation took more than {INSTALL_S:g} s: plug the stick in again")
    finally:
        child.end()
