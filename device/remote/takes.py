"""The box's takes, for a workstation to pull: what there is, with the hash of each file, and each file's bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from device.core.errors import TakeError
from device.core.wire import TAKE_FILES
from device.store.files import make_folders, replace_synced
from device.store.take_numbers import number_of, take_folders

WHOLE = "take.json"
"""The file that comes last: with it a take is whole."""
SUMS = "sums.json"
"""Hashes that were reckoned before: an hour of sound takes a Pi seconds."""
_READ_BYTES = 1 << 20
_MOST_BYTES = 16 << 20


def takes_said(takes: Path, memory: Path) -> list[dict[str, Any]]:
    """Tell what whole takes there are.

    Each has 'number', 'duration_s', 'n_bytes', 'cancelled', 'salvaged', and 'files': of each its size and sha256. One
    that is damaged has 'error' instead.

    Parameters
    ----------
    takes : Path
        The folder of takes.
    memory : Path
        A folder to remember hashes in; one that cannot be written to costs time only.
    """
    known = _load(memory / SUMS)
    sums: dict[str, str] = {}
    said = [_take_said(path, known, sums) for path in take_folders(takes) if (path / WHOLE).exists()]
    if sums != known:
        with suppress(OSError):
            make_folders(memory)
            replace_synced(memory / SUMS, json.dumps(sums).encode())
    return said


def take_file(takes: Path, number: int, name: str) -> Path:
    """Give the path of one file of one whole take.

    Raises
    ------
    TakeError
        There is no such take, or it is not whole yet.
    """
    for path in take_folders(takes):
        if number_of(path) == number and (path / WHOLE).exists() and not path.is_symlink():
            found = path / name
            if name in TAKE_FILES and found.is_file() and not found.is_symlink():
                return found
    raise TakeError(f"there is no whole take {number:04d} on the box: list its takes")


def read_from(path: Path, offset: int) -> Iterator[bytes]:
    """Give a file's bytes from an offset on.

    Raises
    ------
    TakeError
        The offset lies behind its end.
    """
    if offset > path.stat().st_size:
        raise TakeError(f"{path.name} has no byte {offset}: pull it again")
    with path.open("rb") as file:
        file.seek(offset)
        while piece := file.read(_READ_BYTES):
            yield piece


def _take_said(path: Path, known: dict[str, str], sums: dict[str, str]) -> dict[str, Any]:
    from device.store.store import Take

    try:
        take = Take.open(path, check=False)
        files = {}
        for name in TAKE_FILES:
            status = (path / name).stat()
            key = f"{path.name}/{name} {status.st_size} {status.st_mtime_ns} {status.st_ino}"
            sums[key] = known.get(key) or _sum(path / name)
            files[name] = {"size": status.st_size, "sha256": sums[key]}
    except (TakeError, OSError) as error:
        return {"number": number_of(path), "error": str(error)}
    return {
        "number": take.number,
        "duration_s": round(take.duration_s, 3),
        "n_bytes": sum(each["size"] for each in files.values()),
        "cancelled": take.facts.cancelled,
        "salvaged": take.facts.salvaged,
        "files": files,
    }


def _sum(path: Path) -> str:
    hashed = hashlib.sha256()
    for piece in read_from(path, 0):
        hashed.update(piece)
    return hashed.hexdigest()


def _load(path: Path) -> dict[str, str]:
    with suppress(OSError, ValueError, RecursionError):
        with path.open("rb") as file:
            content = json.loads(file.read(_MOST_BYTES))
        if isinstance(content, dict) and all(isinstance(value, str) for value in content.values()):
            return content
    return {}
