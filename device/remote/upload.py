"""One upload of a bundle at a time: it grows by what comes, wherever the connection is cut; its hash makes it whole.

A connection that is dead may not say so. Who comes next waits at a lock of its own, `next`; a sender that has been
silent for a while sees that somebody waits there, and gives way.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from device.core.errors import BundleError
from device.core.wire import Command, check_size, digest_of, unpack_bundle
from device.store.disk import LEFT_FREE_BYTES, free_bytes
from device.store.files import SyncedFile, explained, make_folders, remove_file, remove_tree, sync_path
from device.store.locks import LOOK_S, FolderLock, is_locked
from device.store.state import state_problem

SYNC_BYTES = 4 << 20
"""So much may have to be sent again after a power cut."""
SILENT_SHARE = 1 / 6
"""Of `deploy.idle_s`: a sender that was silent for so long gives way to another."""
SLACK_S = 3.0
"""A sender that gives way has what came of it on the card before it ends."""
_NEXT = "next"
_READ_BYTES = 1 << 20


def incoming_folder(state: Path) -> Path:
    """Where the upload lies."""
    return state / "incoming"


@contextmanager
def alone(state: Path, silent_s: float) -> Iterator[Path]:
    """Give the folder of the upload to one connection at a time, until its model plays or is refused.

    Parameters
    ----------
    state : Path
    silent_s : float
        Who has it gives way after so much silence: so long it is waited for.

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
            lock = _wait_for(folder, silent_s)
        except BlockingIOError as error:
            raise BundleError("another push to this box is under way: try again when it is done") from error
        try:
            yield folder
        finally:
            lock.release()


def somebody_waits(state: Path) -> bool:
    """Whether another connection wants to send."""
    return is_locked(incoming_folder(state) / _NEXT)


def n_received(state: Path, digest: str) -> int:
    """Bytes of an upload that are there already."""
    with suppress(OSError):
        return _part(incoming_folder(state), digest).stat().st_size
    return 0


def receive(state: Path, command: Command, data: Iterable[bytes], silent_s: float = 0.0) -> tuple[int, bool]:
    """Take in what comes of an upload, from an offset on; what is there already may be sent again.

    Parameters
    ----------
    state : Path
    command : Command
        `put`.
    data : iterable of bytes
        It may end early: what came is kept.
    silent_s : float
        See `alone`.

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
    if _is_whole(_part(incoming_folder(state), command.digest), command):
        return command.size, True  # it may be on trial already, for a sender that was cut off
    with alone(state, silent_s) as folder:
        part = _part(folder, command.digest)
        for other in folder.iterdir():
            if other not in (part, folder / _NEXT):
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


def _wait_for(folder: Path, silent_s: float) -> FolderLock:
    """Take the folder's lock; where somebody has it, show that it is wanted."""
    try:
        return FolderLock(folder, wait_s=LOOK_S)
    except BlockingIOError:
        make_folders(folder / _NEXT)
        turn = FolderLock(folder / _NEXT, wait_s=LOOK_S)
        try:
            return FolderLock(folder, wait_s=silent_s + SLACK_S)
        finally:
            turn.release()


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


def _is_whole(part: Path, command: Command) -> bool:
    try:
        return part.stat().st_size == command.size and _sum(part) == command.digest
    except OSError:
        return False


def _sum(path: Path) -> str:
    hashed = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_READ_BYTES):
            hashed.update(piece)
    return hashed.hexdigest()


def _check_whole(part: Path, digest: str) -> None:
    if _sum(part) != digest:
        remove_file(part)
        raise BundleError("what came is not what was sent, and was thrown away: push again")
