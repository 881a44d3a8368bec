"""A training set: takes of many boxes in one folder, numbered as they come, each with the box that it came from.

Boxes count for themselves, and so would two takes be number 1. What a take is, is what its files hold: the same files
are one take, whichever box or way they come by. `origin.json` in a take's folder says where it came from.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from deploy.box import Box
from deploy.errors import BoxError
from deploy.pull import RemoteTake, fetch, sum_of
from device.core.wire import TAKE_FILES
from device.store.files import explained, make_folders, rename_synced, sync_path, write_synced
from device.store.locks import FolderLock
from device.store.store import allocate, take_folders
from device.store.take_numbers import remember

ORIGIN = "origin.json"
FORMAT = 1
LARGEST_ORIGIN = 1 << 16
_N_DIGITS = 32

Sums = tuple[str, ...]
"""sha256 of each of a take's files, in the order of `TAKE_FILES`."""


class TrainingSet:
    """The takes of many boxes. Several threads may bring takes at once.

    Parameters
    ----------
    folder : Path
        Made if missing. Takes that lie there already, imported or pulled otherwise, are known by what they hold.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._on_their_way: set[Sums] = set()
        self._held: dict[tuple[int, ...], list[Path]] = {}
        for path in take_folders(folder):
            with suppress(OSError):
                self._held.setdefault(_sizes(path), []).append(path)

    def bring(self, box: Box, name: str, take: RemoteTake, progress: Callable[[int], None]) -> Path | None:
        """Bring one take home, and tell where it lies; None if it is here, or on its way here, already.

        Parameters
        ----------
        box : Box
        name : str
            What the box is called here.
        take : RemoteTake
        progress : callable
            Told how many bytes of it are here.

        Raises
        ------
        TakeError
            It cannot be written.
        BoxError
            The box cannot be reached, refuses, or sent other bytes than it has, twice; or another pull brings it now.
        """
        sums = tuple(take.files[file].sha256 for file in TAKE_FILES)
        with explained(self.folder), self._alone(sums, take) as is_new:
            if not is_new:
                return None
            # By what it holds: the box may have another name the next time.
            part = self.folder / f".part-{hashlib.sha256(''.join(sums).encode()).hexdigest()[:_N_DIGITS]}"
            make_folders(part)
            with _locked(part, box.name):
                fetch(box, take, part, progress)
                origin: dict[str, Any] = {"format": FORMAT, "box": name, "address": box.name, "number": take.number}
                origin["sha256"] = dict(zip(TAKE_FILES, sums, strict=True))
                write_synced(part / ORIGIN, json.dumps(origin).encode())
                sync_path(part)
                path = self._place(part)
            with self._lock:
                self._held.setdefault(_sizes(path), []).append(path)
        return path

    @contextmanager
    def _alone(self, sums: Sums, take: RemoteTake) -> Iterator[bool]:
        """Tell whether a take is neither here nor being brought by another thread."""
        with self._lock:
            is_new = sums not in self._on_their_way and not self._has(sums, take)
            if is_new:
                self._on_their_way.add(sums)
        try:
            yield is_new
        finally:
            if is_new:
                with self._lock:
                    self._on_their_way.discard(sums)

    def _has(self, sums: Sums, take: RemoteTake) -> bool:
        sizes = tuple(take.files[file].n_bytes for file in TAKE_FILES)
        return any(_sums(path) == sums for path in self._held.get(sizes, ()))

    def _place(self, part: Path) -> Path:
        """Give a whole take its number."""
        path = allocate(self.folder)
        if os.name == "nt":
            path.rmdir()  # where a folder cannot take the place of an empty one
        rename_synced(part, path)
        remember(path)
        return path


def read_origin(path: Path) -> dict[str, Any] | None:
    """Read where a take came from: 'box', 'address', 'number', 'sha256' of its files; None if it does not say so."""
    try:
        with (path / ORIGIN).open("rb") as file:
            said = json.loads(file.read(LARGEST_ORIGIN))
    except (OSError, ValueError, RecursionError):
        return None
    return said if isinstance(said, dict) and said.get("format") == FORMAT else None


@contextmanager
def _locked(part: Path, box: str) -> Iterator[None]:
    try:
        lock = FolderLock(part)
    except BlockingIOError as error:
        raise BoxError(f"{box}: another pull brings its takes now: wait until that is done") from error
    try:
        yield
    finally:
        lock.release()


def _sizes(path: Path) -> tuple[int, ...]:
    return tuple((path / name).stat().st_size for name in TAKE_FILES)


def _sums(path: Path) -> Sums:
    """Give the sums of a take's files: as it came here with, else reckoned, which takes a second for an hour."""
    known = (read_origin(path) or {}).get("sha256")
    if isinstance(known, dict) and set(known) == set(TAKE_FILES):
        return tuple(str(known[name]) for name in TAKE_FILES)
    return tuple(sum_of(path / name) for name in TAKE_FILES)
