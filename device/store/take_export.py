"""Takes carried away: copies that were compared with what was recorded, in a folder or in one file for a pipe."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from device.core.errors import TakeError
from device.store.files import SyncedFile, explained, make_folder, make_folders, remove_tree, rename_synced, sync_path
from device.store.take_reader import COLUMNS, FACTS, SOUND, Take
from device.store.take_tables import write_tables

FILES = (COLUMNS, SOUND, FACTS)
SUMS = "SHA256SUMS"
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Exported:
    """What became of a take that was carried away.

    Attributes
    ----------
    path : Path
        Where it lies now.
    n_bytes : int
    is_new : bool
        It did not lie there before.
    """

    path: Path
    n_bytes: int
    is_new: bool


def export_take(take: Take, to: Path, *, tables: bool = False) -> Exported:
    """Copy a take into a folder, compare the copy with it, and only then give it its name.

    Parameters
    ----------
    take : Take
        Checked when it was opened.
    to : Path
        Made if missing; an equal take that lies there already is left alone.
    tables : bool
        Leave sound.wav, columns.npy and frames.csv beside it, see `device.store.take_tables`.

    Raises
    ------
    TakeError
        Another take of this number lies there, the copy is not equal, or cannot be written.
    """
    path = to / take.path.name
    with explained(path):
        make_folders(to)
        sums = dict(_sums(take.path))
        is_new = not path.exists()
        if not is_new and not _is_equal(path, sums):
            raise TakeError(f"{path} is another take: choose another folder, one for each box")
        if is_new:
            _copy(take.path, path, sums)
        if tables:
            write_tables(take, path)
    return Exported(path, sum((path / name).stat().st_size for name in FILES), is_new)


def tar_takes(takes: Iterable[Take], file: IO[bytes]) -> Iterator[Exported]:
    """Write takes into one tar file, each as a folder, and last their sums for `sha256sum --check`.

    Parameters
    ----------
    takes : iterable of Take
        Checked when they were opened.
    file : binary file
        May be a pipe.

    Yields
    ------
    Exported
        After each take.
    """
    lines: list[str] = []
    with tarfile.open(fileobj=file, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        for take in takes:
            n_bytes = 0
            for name in FILES:
                path, within = take.path / name, f"{take.path.name}/{name}"
                tar.add(path, within, recursive=False)
                lines.append(f"{_sum(path)}  {within}\n")
                n_bytes += path.stat().st_size
            yield Exported(Path(take.path.name), n_bytes, is_new=True)
        data = "".join(lines).encode()
        info = tarfile.TarInfo(SUMS)
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))


def _copy(source: Path, path: Path, sums: dict[str, str]) -> None:
    new = path.with_name(f".new-{path.name}")
    remove_tree(new)  # of a copy that was interrupted
    make_folder(new)
    try:
        for name in FILES:
            _copy_file(source / name, new / name)
        sync_path(new)
        if not _is_equal(new, sums):
            raise TakeError(f"the copy of {source} in {path.parent} is not equal: check that disk, then export again")
        rename_synced(new, path)
    except BaseException:  # an interrupt leaves nothing half done either
        remove_tree(new)
        raise


def _copy_file(source: Path, path: Path) -> None:
    written = SyncedFile(path, fresh=True)
    try:
        with source.open("rb") as file:
            while block := file.read(_BLOCK):
                written.write(block)
        written.sync()
    finally:
        written.close()


def _is_equal(path: Path, sums: dict[str, str]) -> bool:
    try:
        return dict(_sums(path)) == sums
    except OSError:
        return False


def _sums(path: Path) -> Iterator[tuple[str, str]]:
    for name in FILES:
        yield name, _sum(path / name)


def _sum(path: Path) -> str:
    """Give the sha256 of a file as the disk has it, not as memory remembers it, where the system can be asked to."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
