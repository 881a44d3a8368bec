"""The numbers of takes, which only grow, and the folders that carry them.

`.last-NNNN` in the folder of takes remembers the highest number that was ever whole, even when that take was deleted.
"""

from __future__ import annotations

import re
from pathlib import Path

from device.store.files import explained, make_folder, make_folders, remove_file, remove_tree, sync_path, write_synced

_FOLDER = re.compile(r"\d{4,9}")
_MARK = re.compile(r"\.last-(\d{4,9})")


def allocate(takes_dir: Path) -> Path:
    """Make the folder of the next take; any number of processes may do so at once.

    Returns
    -------
    Path
        An empty folder whose number is higher than that of any take that lies or ever lay whole in `takes_dir`.

    Raises
    ------
    TakeError
        The folder cannot be made.
    """
    with explained(takes_dir):
        make_folders(takes_dir)
        while True:
            number = max([*_marks(takes_dir), *map(number_of, take_folders(takes_dir))], default=0) + 1
            folder = takes_dir / f"{number:04d}"
            try:
                make_folder(folder)
            except FileExistsError:
                continue
            # Since the numbers were read, others may have finished a take of this one and deleted it.
            if max(_marks(takes_dir), default=0) < number:
                return folder
            remove_tree(folder)


def take_folders(takes_dir: Path) -> list[Path]:
    """List the folders of all takes, whole or not, by number."""
    if not takes_dir.is_dir():
        return []
    return sorted((path for path in takes_dir.iterdir() if _FOLDER.fullmatch(path.name)), key=number_of)


def remember(folder: Path) -> None:
    """Make sure that no later take gets the number of this one, whatever becomes of it."""
    if not _FOLDER.fullmatch(folder.name):
        return
    number, takes_dir = number_of(folder), folder.parent
    write_synced(takes_dir / f".last-{number:04d}", b"")
    sync_path(takes_dir)  # before the lower ones go: there is never none
    for lower in sorted(_marks(takes_dir))[:-1]:
        remove_file(takes_dir / f".last-{lower:04d}")


def number_of(folder: Path) -> int:
    """Give the number that a take's folder is named by."""
    return int(folder.name)


def _marks(takes_dir: Path) -> list[int]:
    found = [_MARK.fullmatch(path.name) for path in takes_dir.iterdir()]
    return [int(match.group(1)) for match in found if match]
