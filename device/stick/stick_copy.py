"""Takes on their way to a stick: whole or not there, compared with the box's own, gone on with after a pulled stick.

On the stick a take lies in `takes/BOX/NNNN`, with the sums of its files in SHA256SUMS, which `sha256sum -c` checks. It
is built in `.NNNN.part` beside it, and gets its name once every byte was read back. What is there already is never
changed: a take of the same name that is another one stays, and ours goes to the folder `BOX-2`.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from device.core.errors import DanceSamplerError
from device.stick.stick_folder import StickFolder
from device.store.take_reader import FACTS

SUMS = "SHA256SUMS"
PIECE_BYTES = 1 << 20
SYNC_EVERY_BYTES = 16 << 20
"""A slow stick writes so much in some seconds: progress is what it has, not what the system has promised."""
LEFT_FREE_BYTES = 1 << 20
MOST_BOXES = 100
"""Folders for one box's takes; more takes of the same number than these nobody has."""
LARGEST_FACTS = 1 << 20

_T = TypeVar("_T")
Progress = Callable[[int], None]
"""Told how many bytes more have been copied or found to be there; 0: it goes on."""


class StickError(DanceSamplerError, OSError):
    """Something of a stick, or a box's own disk, keeps a take from being copied."""


class StickFullError(StickError):
    """A take does not fit on the stick."""


class CardError(StickError):
    """The box's own disk cannot be read."""


def source_files(take: Path) -> dict[str, int]:
    """Give the files of a take that are copied, with their sizes; take.json is last."""
    sizes = {
        path.name: path.stat().st_size
        for path in sorted(take.iterdir())
        if path.is_file()
        and not path.is_symlink()
        and path.name[0] != "."
        and not path.name.endswith((".part", ".new"))
    }
    return dict(sorted(sizes.items(), key=lambda item: item[0] == FACTS))


def copy_take(take: Path, takes: StickFolder, box: str, progress: Progress) -> bool:
    """Copy a whole take to a stick, unless it is there.

    Parameters
    ----------
    take : Path
        The take's folder on the box.
    takes : StickFolder
        The stick's folder of takes.
    box : str
        Name of the box's folder there.
    progress : callable

    Returns
    -------
    bool
        Whether it was copied; else it was there.

    Raises
    ------
    StickFullError
        It does not fit; what was begun is removed.
    StickError
        What was read back is not what was written.
    CardError
        The box's own disk cannot be read.
    OSError
        The stick was pulled, or fails.
    """
    files = _read_source(lambda: source_files(take))
    for n in range(1, MOST_BOXES):
        with takes.enter(box if n == 1 else f"{box}-{n}", make=True) as folder:
            if not folder.has(take.name):
                _copy_new(take, files, folder, progress)
                return True
            if _is_there(take, files, folder):
                progress(sum(files.values()))
                return False
    raise StickError(f"the stick holds {MOST_BOXES} other takes called {take.name}: remove some, or use another stick")


def _is_there(take: Path, files: dict[str, int], folder: StickFolder) -> bool:
    """Whether what has the take's name is the take: the sums are written only when every byte was read back."""
    try:
        with folder.enter(take.name) as there:
            facts = there.read(FACTS, LARGEST_FACTS)
            sizes = there.sizes()
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EINVAL):
            return False
        raise
    is_whole = SUMS in sizes and {name: sizes.get(name) for name in files} == files
    return is_whole and facts == _read_source((take / FACTS).read_bytes)


def _copy_new(take: Path, files: dict[str, int], folder: StickFolder, progress: Progress) -> None:
    part = f".{take.name}.part"
    try:
        with folder.enter(part, make=True) as new:
            there = new.sizes()
            for name in there.keys() - files.keys():
                new.remove(name)
            missing = sum(size - min(size, there.get(name, 0)) for name, size in files.items())
            if missing + LEFT_FREE_BYTES > folder.free_bytes:
                raise OSError(errno.ENOSPC, "no room", take.name)
            sums = {name: _copy_file(take / name, new, name, progress) for name in files}
            new.write(SUMS, "".join(f"{digest}  {name}\n" for name, digest in sums.items()).encode())
            new.sync()
        folder.rename(part, take.name)
        folder.sync()
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        folder.remove_folder(part)
        why = "is too large for the stick's file system: use exFAT" if error.errno == errno.EFBIG else "does not fit"
        raise StickFullError(f"take {take.name} {why}") from error


def _copy_file(path: Path, folder: StickFolder, name: str, progress: Progress) -> str:
    """Copy one file, from where an earlier try ended, and read it back; give its sha256."""
    digest = hashlib.sha256()
    with (
        _read_source(lambda: path.open("rb", buffering=0)) as source,
        folder.file(name, os.O_RDWR | os.O_CREAT) as target,
    ):
        n_copied = 0
        while piece := _read_source(lambda: source.read(PIECE_BYTES)):
            if os.pread(target, len(piece), n_copied) != piece:
                os.ftruncate(target, n_copied)
                _write_at(target, piece, n_copied)
                if (n_copied + len(piece)) // SYNC_EVERY_BYTES > n_copied // SYNC_EVERY_BYTES:
                    os.fdatasync(target)
            n_copied += len(piece)
            digest.update(piece)
            progress(len(piece))
        os.ftruncate(target, n_copied)
        os.fsync(target)
        if _digest_of(target, progress) != digest.hexdigest():
            os.ftruncate(target, 0)
            raise StickError(f"{name} of take {path.parent.name} came back otherwise than written: use another stick")
    return digest.hexdigest()


def _write_at(descriptor: int, data: bytes, offset: int) -> None:
    while data:
        n = os.pwrite(descriptor, data, offset)
        data, offset = data[n:], offset + n


def _digest_of(descriptor: int, progress: Progress) -> str:
    """Read a file back from the stick itself, not from what the system remembers of it."""
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    digest, offset = hashlib.sha256(), 0
    while piece := os.pread(descriptor, PIECE_BYTES, offset):
        digest.update(piece)
        offset += len(piece)
        progress(0)
    return digest.hexdigest()


def _read_source(read: Callable[[], _T]) -> _T:
    """Read from the box: its troubles are not the stick's."""
    try:
        return read()
    except OSError as error:
        raise CardError(f"{error.filename or 'a take'} cannot be read ({error.strerror}): check the card") from error
