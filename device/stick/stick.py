"""What happens to a stick with a folder `dance-sampler/`: a signed bundle is taken from it, takes are copied to it.

Nothing else on it is looked at, and nothing on it is executed. It may be pulled at any time: what the box has is whole,
and what the stick has is whole or begins with a dot.
"""

from __future__ import annotations

import errno
import hashlib
import re
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from device.core.bundle import MANIFEST, MAX_MANIFEST_BYTES, MAX_MODEL_BYTES, MODEL_FILES, SIGNATURE
from device.core.errors import DanceSamplerError
from device.stick.stick_copy import CardError, StickError, StickFullError, copy_take, source_files
from device.stick.stick_folder import StickFolder
from device.store.take_numbers import take_folders
from device.store.take_reader import FACTS

FOLDER, TAKES, BUNDLE = "dance-sampler", "takes", "bundle"
MACHINE_ID = Path("/etc/machine-id")
_SIGNATURE_BYTES = 64 << 10
_PULLED = {errno.EIO, errno.ENODEV, errno.ENXIO, errno.ESTALE, errno.ENOMEDIUM, errno.EUCLEAN, errno.ESHUTDOWN}

Tell = Callable[[str, int, int], None]
"""Told what is being done, in words, and how many bytes of how many."""
Install = Callable[[dict[str, bytes]], str]
"""Installs a bundle, given by its files; gives what was installed, in words. Raises DanceSamplerError."""


@dataclass
class StickReport:
    """What became of a stick.

    Attributes
    ----------
    is_ours : bool
        Whether it has the folder.
    installed : str or None
        What was installed, in words.
    n_copied, n_there, n_left : int
        Takes that were copied; that were there already; that are not there.
    problems : list of str
        What went wrong, a line each, with what to do.
    """

    is_ours: bool = False
    installed: str | None = None
    n_copied: int = 0
    n_there: int = 0
    n_left: int = 0
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        if not self.is_ours:
            return f"the stick has no folder {FOLDER}: nothing was done"
        parts = [f"installed {self.installed}"] if self.installed else []
        parts += [f"{self.n_copied} takes copied"] if self.n_copied else []
        parts += [f"{self.n_there} takes were there"] if self.n_there else []
        parts += [f"{self.n_left} takes are not on it"] if self.n_left else []
        return "; ".join([*(parts or ["there was nothing to do"]), *self.problems])


def serve_stick(
    folder: Path,
    takes_dir: Path,
    *,
    install: Install | None,
    box: str,
    allow_writing: Callable[[], None] = lambda: None,
    copies: bool = True,
    tell: Tell = lambda *_: None,
) -> StickReport:
    """Do with a stick what it is for.

    Parameters
    ----------
    folder : Path
        Where it is mounted.
    takes_dir : Path
        The box's takes.
    install : callable or None
        Installs the stick's bundle; None: bundles are left alone.
    box : str
        Name of this box's folder on it; see `box_name`.
    allow_writing : callable
        Called before anything is written to the stick; raises DanceSamplerError where that is not possible.
    copies : bool
        Whether takes are copied.
    tell : callable
        Told how far it has come.

    Returns
    -------
    StickReport
        Whatever becomes of the stick, nothing is raised for it.
    """
    report = StickReport()
    try:
        with StickFolder.open(folder) as stick, stick.enter(FOLDER) as ours:
            report.is_ours = True
            if install is not None and ours.has(BUNDLE):
                _install(ours, install, report, tell)
            takes = [path for path in take_folders(takes_dir) if (path / FACTS).exists()] if copies else []
            if takes:
                report.n_left = len(takes)
                allow_writing()
                _copy(takes, ours, box, report, tell)
    except DanceSamplerError as error:
        report.problems.append(str(error))
    except OSError as error:
        if report.is_ours or error.errno in _PULLED:
            report.problems.append(explain(error))
    return report


def explain(error: OSError) -> str:
    """Say what is wrong with a stick, and what to do."""
    if error.errno in _PULLED:
        return "the stick was pulled before all was done, or fails: plug it in again, and it goes on"
    if error.errno == errno.EROFS:
        return "the stick is read-only: move its switch, or use another, and no take is missing then"
    place = f"{error.filename!r} on it " if error.filename else "it "
    return f"the stick cannot be used: {place}is {error.strerror or error}; remove that, or use another stick"


def box_name(host: str | None = None, machine_id: Path = MACHINE_ID) -> str:
    """Name of a box's folder on sticks: its host name, and what tells it from others of the same name."""
    known = re.sub(r"[^A-Za-z0-9-]+", "-", host or socket.gethostname()).strip("-")[:40] or "box"
    with suppress(OSError):
        return f"{known}-{hashlib.sha256(machine_id.read_bytes()).hexdigest()[:6]}"
    return known


def _install(ours: StickFolder, install: Install, report: StickReport, tell: Tell) -> None:
    tell("a model is installed from the stick", 0, 1)
    try:
        with ours.enter(BUNDLE) as folder:
            files = _read_bundle(folder)
        report.installed = install(files)
    except OSError as error:
        if error.errno in _PULLED:
            raise
        known = isinstance(error, DanceSamplerError)
        report.problems.append(f"no model was installed: {error if known else explain(error)}")
    except DanceSamplerError as error:
        report.problems.append(f"no model was installed: {error}")


def _read_bundle(folder: StickFolder) -> dict[str, bytes]:
    """Read a bundle's files, as far as they are there; what other systems leave beside them is left out."""
    limits = dict.fromkeys(MODEL_FILES.values(), MAX_MODEL_BYTES)
    limits |= {MANIFEST: MAX_MANIFEST_BYTES, SIGNATURE: _SIGNATURE_BYTES}
    sizes = folder.sizes()
    files = {}
    for name in limits.keys() & sizes.keys():
        if sizes[name] > limits[name]:
            raise StickError(f"{name} is larger than {limits[name] >> 10} KiB: copy the bundle to the stick again")
        files[name] = folder.read(name, limits[name])
    return files


def _copy(takes: list[Path], ours: StickFolder, box: str, report: StickReport, tell: Tell) -> None:
    n_bytes = sum(sum(source_files(take).values()) for take in takes)
    done = 0

    def progress(n: int) -> None:
        nonlocal done
        done += n
        tell(f"takes are copied to the stick: {report.n_copied + report.n_there + 1} of {len(takes)}", done, n_bytes)

    with ours.enter(TAKES, make=True) as folder:
        for take in takes:
            try:
                is_new = copy_take(take, folder, box, progress)
            except (StickFullError, CardError) as error:  # another take may fit, or be whole
                report.problems.append(str(error))
                continue
            report.n_copied += is_new
            report.n_there += not is_new
            report.n_left -= 1
