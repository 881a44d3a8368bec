"""The box's models, for a workstation: what there is, what plays, and a new one that takes over or does not."""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from device.box.status_client import StatusError, ask, is_running
from device.config import Config
from device.core.bundle_files import MANIFEST
from device.core.errors import BundleError, DanceSamplerError
from device.core.wire import PROTOCOL_VERSION
from device.models import model_trial
from device.models.bundles import FACTORY, read_manifest
from device.models.model_copy import N_DIGITS
from device.models.model_store import Installed, current_bundle, install_bundle, installed_bundles
from device.models.model_trial import COMMITTED, ROLLED_BACK, TRIAL, WAITING
from device.remote.upload import SILENT_SHARE, alone, forget, incoming_folder, uploaded_files
from device.store.state import models_folder

Say = Callable[[Mapping[str, Any]], None]
LOOK_S = 0.5
CHANGE_S = 90.0
"""The box loads, checks and warms a model before it answers."""
PATIENCE_S = 30.0
"""Beyond the time of health: a box that does not answer for so long has ended."""


def models_said(state: Path) -> list[dict[str, Any]]:
    """Tell of each installed model, and of the factory's: 'digest', 'name', 'version', 'is_current', 'is_last_good'."""
    current, good = current_bundle(state), model_trial.last_good(state)
    said = []
    for path in (FACTORY, *installed_bundles(state)):
        row: dict[str, Any] = {
            "digest": "factory" if path == FACTORY else path.name,
            "is_current": path == current,
            "is_last_good": path == good,
        }
        try:
            manifest = read_manifest(path)
            row |= {"name": manifest.name, "version": manifest.version}
        except BundleError as error:
            row["error"] = str(error)
        said.append(row)
    return said


def roll_back(config: Config) -> dict[str, Any]:
    """Let the last good model play again: at once where the box runs.

    Raises
    ------
    DanceSamplerError
        There is none to go back to.
    """
    socket = Path(config.status.socket)
    if is_running(socket):
        path = Path(ask(socket, {"op": "rollback"}, CHANGE_S)["model"])
    else:
        path = model_trial.roll_back(Path(config.state.folder))
    manifest = read_manifest(path)
    return {"name": manifest.name, "version": manifest.version, "model": str(path)}


def activate(config: Config, digest: str, *, allow_downgrade: bool, say: Say) -> int:
    """Install what was uploaded, and tell how its trial goes, a line each time that there is news.

    Returns
    -------
    int
        0 if it plays, or will when the box starts; 1 if the model before it plays.

    Raises
    ------
    DanceSamplerError
        It was refused, and nothing was changed.
    """
    state, socket = Path(config.state.folder), Path(config.status.socket)
    if config.model.bundle:
        raise BundleError("model.bundle in the box's configuration names what plays: clear it, then push again")
    if (path := _being_tried(state, socket, digest)) is not None:
        # Who asked before was cut off: this one sees it through.
        say({"ok": True, "protocol": PROTOCOL_VERSION, "phase": "verifying"})
        manifest = read_manifest(path)
        say({"ok": True, "phase": "verified", "name": manifest.name, "version": manifest.version, "model": path.name})
        return _try(socket, path, config.deploy.health_s, say)
    with alone(state, SILENT_SHARE * config.deploy.idle_s) as folder:
        say({"ok": True, "protocol": PROTOCOL_VERSION, "phase": "verifying"})
        files = uploaded_files(folder, digest)
        try:
            installed = _install(files, config, allow_downgrade=allow_downgrade)
        except (BundleError, DanceSamplerError):
            forget(folder, digest)
            raise
        say({"ok": True, "phase": "verified", "name": installed.name, "version": installed.version,
             "signer": installed.signer, "model": installed.path.name})  # fmt: skip
        code = _try(socket, installed.path, config.deploy.health_s, say)
        forget(folder, digest)
    return code


def _being_tried(state: Path, socket: Path, digest: str) -> Path | None:
    """Where the model of an upload lies that has its trial now, or waits for it; None otherwise."""
    try:
        files = uploaded_files(incoming_folder(state), digest)
        trial = ask(socket, {"op": "status"}).get("trial")
    except (BundleError, StatusError):
        return None
    path = models_folder(state) / hashlib.sha256(files[MANIFEST]).hexdigest()[:N_DIGITS]
    is_tried = trial is not None and trial["phase"] in (WAITING, TRIAL) and trial["path"] == str(path)
    return path if is_tried else None


def _install(files: dict[str, bytes], config: Config, *, allow_downgrade: bool) -> Installed:
    with tempfile.TemporaryDirectory(prefix="bundle-") as scratch:
        source = Path(scratch) / "bundle"
        source.mkdir()
        for name, data in files.items():
            (source / name).write_bytes(data)
        return install_bundle(
            source,
            Path(config.state.folder),
            allowed_signers=Path(config.store.allowed_signers),
            require_signature=config.store.require_signature,
            allow_downgrade=allow_downgrade,
            n_kept=config.store.n_models,
        )


def _try(socket: Path, path: Path, health_s: float, say: Say) -> int:
    """Have the running box try a model that is installed, and follow it to the end."""
    try:
        trial: dict[str, Any] | None = _ask_for_trial(socket, path)
    except StatusError as error:
        if is_running(socket):
            raise
        say({"ok": True, "phase": "pending", "reason": f"it is tried when the box starts ({error})"})
        return 0
    until_s = time.monotonic() + health_s + PATIENCE_S
    told: tuple[Any, ...] = ()
    while True:
        if trial is not None and trial.get("path") == str(path):
            news = (trial["phase"], trial["seconds"] and round(trial["seconds"]))
            if news != told:
                say({"ok": trial["phase"] != ROLLED_BACK, **trial})
                told = news
            if trial["phase"] in (COMMITTED, ROLLED_BACK):
                return int(trial["phase"] == ROLLED_BACK)
        elif told and trial is not None:
            say({"ok": False, "phase": ROLLED_BACK, "reason": "another model was installed meanwhile"})
            return 1
        if time.monotonic() > until_s:
            say({"ok": True, "phase": "pending", "reason": "the box is busy, or records: it is tried after that"})
            return 0
        time.sleep(LOOK_S)
        try:
            trial = ask(socket, {"op": "status"}).get("trial")
        except StatusError:
            continue  # It is being started again, and tries the model then, or does not.


def _ask_for_trial(socket: Path, path: Path) -> dict[str, Any]:
    """Ask for a trial; a box that runs and is busy is asked again for a while."""
    until_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            begun: dict[str, Any] = ask(socket, {"op": "trial", "path": str(path)})["trial"]
        except StatusError:
            if not is_running(socket) or time.monotonic() > until_s:
                raise
        else:
            return begun
        time.sleep(LOOK_S)
