"""One upload of a bundle at a time: it grows by what comes, wherever the connection is cut; its hash makes it whole."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from device.core.errors import BundleError
from device.core.wire import Command, check_size, digest_of, unpack_bundle
from device.store.disk import LEFT_FREE_BYTES, free_bytes
from device.store.files import SyncedFile, explained, make_folders, remove_file, remove_tree, sync_path
from device.store.locks import LOOK_S, FolderLock
from device.store.state import state_problem

SYNC_BYTES = 4 << 20
"""So much may have to be sent again after a power cut."""
_READ_BYTES = 1 << 20


def incoming_folder(state: Path) -> Path:
    """Where the upload lies."""
    return state / "incoming"


@contextmanager
def alone(state: Path) -> Iterator[Path]:
    """Give the folder of the upload to one connection at a time, until its model plays or is refused.

    Raises
    ------
    BundleError
        Another connection has it, or it cannot be written.
    """
    if problem := state_problem(state):
        raise BundleError(f"no model can be installed: {problem}")
    folder = incoming_folder(state)
    with explained(folder, BundleError):
        make_folders(folder)
        try:
            lock = FolderLock(folder, wait_s=LOOK_S)
        except BlockingIOError as error:
            raise BundleError("another push to this box is under way: try again when it is done") from error
        try:
            yield folder
        finally:
            lock.release()


def n_received(state: Path, digest: str) -> int:
    """Bytes of an upload that are there already."""
    with suppress(OSError):
        return _part(incoming_folder(state), digest).stat().st_size
    return 0


def receive(state: Path, command: Command, data: Iterable[bytes]) -> tuple[int, bool]:
    """Take in what comes of an upload, from an offset on; what is there already may be sent again.

    Parameters
    ----------
    state : Path
    command : Command
        `put`.
    data : iterable of bytes
        It may end early: what came is kept.

    Returns
    -------
    offset : int
        Bytes that are there now.
    is_complete : bool
        All of them are there, and their hash is what was said.

    Raises
    ------
    BundleError
        The card is full, the offset leaves a gap, or what came is something else than was said; that is thrown away.
    """
    check_size(command.size)
    with alone(state) as folder:
        part = _part(folder, command.digest)
        for other in folder.iterdir():
            if other != part:
                remove_tree(other) if other.is_dir() and not other.is_symlink() else remove_file(other)
        there = n_received(state, command.digest)
        if command.offset > there:
            raise BundleError(f"the upload is there up to {there} bytes only: push again")
        _check_room(folder, command.size - there)
        offset = _append(part, command, data)
        if offset < command.size:
            return offset, False
        _check_whole(part, command.digest)
        return offset, True


def uploaded_files(folder: Path, digest: str) -> dict[str, bytes]:
    """Read the files of a whole upload.

    Parameters
    ----------
    folder : Path
        As `alone` gives it.
    digest : str

    Raises
    ------
    BundleError
        It is not there, or not whole, or no bundle.
    """
    part = _part(folder, digest)
    if not part.is_file():
        raise BundleError("the bundle was not sent, or another was sent since: push it again")
    check_size(part.stat().st_size)
    data = part.read_bytes()
    if digest_of(data) != digest:
        raise BundleError("the bundle is not here as a whole: push it again, it goes on where it was cut")
    return unpack_bundle(data)


def forget(folder: Path, digest: str) -> None:
    """Throw an upload away: it is installed, or refused."""
    with suppress(OSError):
        remove_file(_part(folder, digest))


def _part(folder: Path, digest: str) -> Path:
    return folder / f"{digest}.part"


def _check_room(folder: Path, size: int) -> None:
    # Once as the stream, and once more as an installed model.
    if free_bytes(folder) < 2 * size + LEFT_FREE_BYTES:
        raise BundleError("the box's card is full: pull its takes, then delete them there")


def _append(part: Path, command: Command, data: Iterable[bytes]) -> int:
    """Write what comes, at most to the size; give where it ends."""
    file = SyncedFile(part, fresh=False, keeps=True)
    offset = n_synced = command.offset
    try:
        file.cut(offset)
        sync_path(part.parent)
        for piece in data:
            piece = piece[: command.size - offset]  # noqa: PLW2901 - what is beyond the size is not ours
            file.write(piece)
            offset += len(piece)
            if offset - n_synced >= SYNC_BYTES:
                file.sync()
                n_synced = offset
            if offset == command.size:
                break
        file.sync()
    finally:
        file.close()
    return offset


def _check_whole(part: Path, digest: str) -> None:
    hashed = hashlib.sha256()
    with part.open("rb") as file:
        while piece := file.read(_READ_BYTES):
            hashed.update(piece)
    if hashed.hexdigest() != digest:
        remove_file(part)
        raise BundleError("what came is not what was sent, and was thrown away: push again")
