"""`deploy pull`: the takes of a box come home. A take is whole here, compared by sha256, or not here.

What comes lies in `.part-NNNN` until it is a whole take; a connection that is cut costs only what was under way.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from deploy.box import Box
from deploy.errors import BoxError, CutError
from deploy.ssh import Ssh, may_ask, readable
from device.console import Progress
from device.core.errors import TakeError
from device.core.wire import TAKE_FILES
from device.store.files import explained, make_folders, rename_synced, sync_path

LONGEST_REFUSAL = 4096
_SHA256 = re.compile(r"[0-9a-f]{64}")
_BLOCK = 1 << 20


@dataclass(frozen=True)
class RemoteFile:
    """Size in bytes and sha256, in lower-case hexadecimal digits, of one file of a take on a box."""

    n_bytes: int
    sha256: str


@dataclass(frozen=True)
class RemoteTake:
    """One whole take on a box.

    Attributes
    ----------
    number : int
    files : Mapping[str, RemoteFile]
        Exactly those in `TAKE_FILES`.
    is_cancelled : bool
        Whoever recorded it did not want it.
    """

    number: int
    files: Mapping[str, RemoteFile]
    is_cancelled: bool

    @property
    def n_bytes(self) -> int:
        """Sum of the files' sizes."""
        return sum(file.n_bytes for file in self.files.values())


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `deploy pull`."""
    parser.add_argument("box", metavar="BOX", help="a host, user@host, or a Host of ~/.ssh/config")
    parser.add_argument("--takes", type=Path, required=True, metavar="DIR", help="where they go: a folder for each box")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def main(args: argparse.Namespace) -> int:
    """Bring home the takes that are not here yet.

    Returns
    -------
    int
        1 if one is damaged on the box, else 0.
    """
    box = Box(Ssh(args.box, asks=may_ask()))
    takes, damaged = remote_takes(box.name, box.listed())
    brought = []
    for path, take in bring_all(box, takes, args.takes):
        brought.append(path.name)
        if not args.json:
            print(f"{path}  {take.n_bytes / 1e6:.1f} MB{'  cancelled' * take.is_cancelled}", flush=True)
    if args.json:
        print(json.dumps({"box": box.name, "n_takes": len(takes), "new": brought, "damaged": damaged}))
    elif not brought:
        print(f"{box.name}: no new takes")
    for number, why in damaged.items():
        print(f"deploy: {box.name}: take {number} was left there: {why}", file=sys.stderr)
    return int(bool(damaged))


def bring_all(box: Box, takes: Sequence[RemoteTake], takes_dir: Path) -> Iterator[tuple[Path, RemoteTake]]:
    """Bring home the takes that are not here yet, and give each as soon as it is.

    Raises
    ------
    BoxError, TakeError
        As `bring`; those that came before stay.
    """
    for n, take in enumerate(takes, 1):
        words = f"{box.name}: take {take.number:04d}, {n} of {len(takes)}: {{:.1f}} of {take.n_bytes / 1e6:.1f} MB"
        with Progress(words) as progress:
            path = bring(box, take, takes_dir, progress)
        if path is not None:
            yield path, take


def remote_takes(box: str, answer: Mapping[str, Any]) -> tuple[list[RemoteTake], dict[str, str]]:
    """Read the takes in a box's list, by number, and what is wrong with those that are damaged there.

    Raises
    ------
    BoxError
        It is no such list.
    """
    try:
        damaged = {str(take["number"]): readable(take["error"]) for take in answer["takes"] if "error" in take}
        whole = [_remote_take(take) for take in answer["takes"] if "error" not in take]
    except (KeyError, TypeError, ValueError) as error:
        why = f"its list of takes cannot be read ({readable(error)})"
        raise BoxError(f"{box}: {why}: bring it up to date with deploy/install.sh") from error
    return sorted(whole, key=lambda take: take.number), damaged


def _remote_take(entry: Mapping[str, Any]) -> RemoteTake:
    files = {}
    for name in TAKE_FILES:
        n_bytes, sha256 = entry["files"][name]["size"], entry["files"][name]["sha256"]
        if type(n_bytes) is not int or n_bytes < 0 or not _SHA256.fullmatch(sha256):
            raise ValueError(f"{name} of take {entry['number']}")
        files[name] = RemoteFile(n_bytes, sha256)
    number = entry["number"]
    if type(number) is not int or not 0 < number < 10**9:
        raise ValueError("a take's number")
    return RemoteTake(number, files, entry.get("cancelled") is True)


def bring(box: Box, take: RemoteTake, takes_dir: Path, progress: Progress) -> Path | None:
    """Bring one take home, and tell where it lies; None if it was there already.

    Raises
    ------
    TakeError
        Another take of this number lies here, or it cannot be written.
    BoxError
        The box cannot be reached, refuses, or sent other bytes than it has, twice.
    """
    path = takes_dir / f"{take.number:04d}"
    with explained(path):
        if path.exists():
            if any(sum_of(path / name) != file.sha256 for name, file in take.files.items()):
                raise TakeError(f"{path} is another take: choose another folder, one for each box")
            return None
        part = takes_dir / f".part-{path.name}"
        fetch(box, take, part, lambda n_bytes: progress(n_bytes / 1e6))
        rename_synced(part, path)
    return path


def fetch(box: Box, take: RemoteTake, part: Path, progress: Callable[[int], None]) -> None:
    """Bring the files of one take into a folder, from what is here of them on; then it holds them and nothing else.

    Parameters
    ----------
    box : Box
    take : RemoteTake
    part : Path
        Made if missing.
    progress : callable
        Told how many bytes of the take are here.

    Raises
    ------
    BoxError
        As `bring`.
    OSError
        It cannot be written.
    """
    make_folders(part)
    n_before = 0
    for name, file in take.files.items():
        _bring_file(box, take.number, part / name, file, partial(_tell, progress, n_before))
        n_before += file.n_bytes
    for stray in set(part.iterdir()) - {part / name for name in TAKE_FILES}:
        _remove(stray)
    sync_path(part)


def _tell(progress: Callable[[int], None], n_before: int, n_bytes: int) -> None:
    progress(n_before + n_bytes)


def _bring_file(box: Box, number: int, path: Path, file: RemoteFile, progress: Callable[[int], None]) -> None:
    """Bring one file, from what is here of it on; once more from its beginning if it is not the box's."""
    for _ in range(2):
        _go_on(box, number, path, file, progress)
        if sum_of(path) == file.sha256:
            return
        path.unlink()
    raise BoxError(f"{box.name}: {path.name} of take {number:04d} came damaged, twice: verify the takes on the box")


def _go_on(box: Box, number: int, path: Path, file: RemoteFile, progress: Callable[[int], None]) -> None:
    offset = path.stat().st_size if path.exists() else 0
    with path.open("ab") as out:
        start = bytearray()

        def take(block: bytes) -> None:
            out.write(block)
            start.extend(block[: LONGEST_REFUSAL - len(start)])
            progress(out.tell())

        try:
            returncode = box.pull_take(number, path.name, offset, take) if offset < file.n_bytes else 0
        except CutError as error:
            raise CutError(f"{error}: run it again, it goes on from there") from error
        if returncode != 0:
            out.truncate(offset)
            raise box.refusal(bytes(start))
        out.flush()
    sync_path(path)


def sum_of(path: Path) -> str:
    """Give the sha256 of a file, in lower-case hexadecimal digits; nothing if it is not there."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    except FileNotFoundError:
        return ""
    return digest.hexdigest()


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
