"""What the box keeps: the one home of all that it writes to stay, in an order that survives a pulled plug.

Takes are here: a take is a folder `NNNN` with columns.bin and sound.bin, which grow by whole chunks, and take.json,
which comes last and makes it whole. Until then take.json.part holds what is known from the start, so that `salvage`
can finish what was cut short. Models are in `device.models.model_store`, the room's profile in `device.store.rooms`,
failed starts in `device.store.starts`; below all of them lies `device.store.files`, which alone calls the disk.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from device.core.errors import TakeError
from device.core.take import SAMPLES_PER_CHUNK, TakeFacts, n_held
from device.store.files import explained
from device.store.locks import LOOK_S, FolderLock, is_locked
from device.store.take_numbers import allocate, take_folders
from device.store.take_reader import (
    FACTS,
    FACTS_PART,
    Take,
    n_whole_columns,
    n_whole_sound,
    read_columns,
    read_facts,
    read_sound,
    why_incomplete,
)
from device.store.take_writer import TakeWriter, make_whole

__all__ = [
    "FACTS",
    "Salvaged",
    "Take",
    "TakeWriter",
    "allocate",
    "incomplete_takes",
    "is_being_recorded",
    "list_takes",
    "read_facts",
    "salvage",
    "salvage_all",
    "take_folders",
    "why_incomplete",
]


@dataclass(frozen=True, eq=False)
class Salvaged:
    """What became of a take that was cut short.

    Attributes
    ----------
    path : Path
        Its folder.
    take : Take or None
        What could be saved of it.
    why_not : str
        What is wrong, and what to do, where nothing could; else empty.
    """

    path: Path
    take: Take | None
    why_not: str = ""


def list_takes(takes_dir: Path, *, check: bool = True) -> list[Take]:
    """List the whole takes in a folder, by number, cancelled ones too; none if there is no such folder.

    Raises
    ------
    TakeError
        A take says it is whole and is not.
    """
    return [Take.open(path, check=check) for path in take_folders(takes_dir) if (path / FACTS).exists()]


def incomplete_takes(takes_dir: Path) -> list[Path]:
    """List the folders of takes that were cut short, or are being recorded now, by number."""
    return [path for path in take_folders(takes_dir) if not (path / FACTS).exists()]


def is_being_recorded(path: Path) -> bool:
    """Whether a process that lives records into a take's folder, where the system can tell (not on Windows)."""
    return is_locked(path)


def salvage_all(takes_dir: Path) -> list[Salvaged]:
    """Make whole what a pulled plug cut short, at the start of the box; what is being recorded is left alone.

    Nothing is deleted, not even what nothing can be saved of; no fault of one take keeps the others from being saved.

    Returns
    -------
    list of Salvaged
        One for each take that was cut short, by number.
    """
    return [_tried(path) for path in incomplete_takes(takes_dir) if not is_being_recorded(path)]


def salvage(path: Path) -> Take:
    """Make a whole take of one that was cut short or is damaged, up to its last whole chunk. Nothing is cut off.

    A whole, undamaged take is left as it is.

    Raises
    ------
    TakeError
        There is nothing in it that could be saved, or it is being recorded.
    """
    facts = read_facts(path, FACTS if (path / FACTS).exists() else FACTS_PART)
    with explained(path):
        try:
            lock = FolderLock(path, wait_s=LOOK_S)
        except BlockingIOError as error:
            raise TakeError(f"{path} is being recorded: stop the recording, which makes it whole") from error
        try:
            return _salvage(path, facts)
        finally:
            lock.release()


def _tried(path: Path) -> Salvaged:
    try:
        return Salvaged(path, salvage(path))
    except TakeError as error:
        return Salvaged(path, None, str(error))


def _salvage(path: Path, facts: TakeFacts) -> Take:
    if (path / FACTS).exists():
        try:
            return Take.open(path)
        except TakeError:
            pass  # Damaged: what is whole of it is found below.
    columns, sound = read_columns(path, facts), read_sound(path)
    n_columns = n_held(columns[: n_whole_columns(columns, facts)], facts.columns_per_chunk)
    n_samples = n_held(sound[: n_whole_sound(sound)], SAMPLES_PER_CHUNK)
    if n_columns == 0 or n_samples == 0:
        raise TakeError(f"{path} was cut short before it held motion and sound, nothing can be salvaged: delete it")
    make_whole(path, replace(facts, n_columns=n_columns, n_samples=n_samples, salvaged=True))
    return Take.open(path)
