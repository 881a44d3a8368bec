"""A bundle's folder: what may lie in it, read with limits, put in its place in one step."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from device.core.bundle_files import MANIFEST, MODEL_FILES, SIGNATURE
from device.core.errors import BundleError

_NAMES = {MANIFEST, SIGNATURE, *MODEL_FILES.values()}


def list_bundle(path: Path) -> set[str]:
    """Names in a bundle's folder; only plain files with names of ours may lie there."""
    try:
        with os.scandir(path) as entries:
            found = {entry.name: entry.is_file(follow_symlinks=False) for entry in entries}
    except OSError as error:
        raise BundleError(f"there is no folder that can be read ({error.strerror}): name a bundle's folder") from error
    if MANIFEST not in found:
        raise BundleError(f"{MANIFEST} is missing: name a bundle's folder, or send the bundle again")
    if extra := sorted(found.keys() - _NAMES):
        raise BundleError(f"{extra[0][:60]!r} does not belong in a bundle: remove it, or send the bundle again")
    if odd := sorted(name for name, is_plain in found.items() if not is_plain):
        raise BundleError(f"{odd[0]} is a link or folder, not a plain file: send the bundle again")
    return set(found)


def read_plain_file(path: Path, name: str, most_bytes: int, size: int | None = None) -> bytes:
    """Read one plain file of at most, or of exactly, so many bytes. The size is checked before anything is read."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        with os.fdopen(os.open(path / name, flags), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_size > most_bytes:
                raise BundleError(
                    f"{name} is larger than {most_bytes >> 10} KiB or no plain file: send the bundle again"
                )
            if size is not None and status.st_size != size:
                raise BundleError(f"{name} has {status.st_size} bytes, not {size}: send the bundle again")
            return file.read(status.st_size)
    except OSError as error:
        raise BundleError(f"{name} cannot be read ({error.strerror}): send the bundle again") from error


def check_replaceable(path: Path) -> None:
    """Make sure that no more than an empty folder or a bundle lies at `path`."""
    if not path.exists():
        return
    names = {entry.name for entry in path.iterdir()} if path.is_dir() else {""}
    if names and not (MANIFEST in names and names <= _NAMES):
        raise BundleError(f"{path} holds something that is not a bundle: choose another folder")


def move_into_place(new: Path, path: Path, old: Path) -> None:
    """Move a folder to `path`; what lies there goes to `old`, and comes back if the move fails."""
    try:
        if path.exists():
            path.rename(old)
        new.rename(path)
    except BaseException:  # an interrupt must not lose the old one either
        if old.exists() and not path.exists():
            old.rename(path)
        raise
