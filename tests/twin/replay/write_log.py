"""What was asked of a disk, in the order in which it was: the log of QEMU's `blklogwrites`.

Its format is that of Linux's dm-log-writes: a first sector that counts the entries, then each entry in a sector of its
own, with what was written behind it. Numbers are little-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

MAGIC, VERSION = 0x6A736677736872, 1
_SUPER = struct.Struct("<QQQI")  # magic, version, entries, bytes in a sector
_ENTRY = struct.Struct("<QQQQ")  # sector, sectors, flags, bytes of a mark (which QEMU never makes)
_FLUSH, _FUA, _DISCARD = 1, 2, 4


@dataclass(frozen=True)
class Write:
    """Bytes for a place on the disk."""

    offset: int
    data: bytes


@dataclass(frozen=True)
class Discard:
    """A place on the disk that may be forgotten."""

    offset: int
    size: int


@dataclass(frozen=True)
class Flush:
    """All that was done before is on the disk for certain from here on."""


Entry: TypeAlias = "Write | Discard | Flush"


def count_entries(path: Path) -> int:
    """How many entries a log's first sector tells of; QEMU writes it at each flush.

    Raises
    ------
    ValueError
        It is no such log.
    """
    with path.open("rb") as file:
        return _parse_super(file.read(_SUPER.size))[0]


def read_log(path: Path, n_entries: int | None = None) -> list[Entry]:
    """Read a log.

    Parameters
    ----------
    path : Path
    n_entries : int, optional
        How many of its entries; by default as many as it tells of.

    Raises
    ------
    ValueError
        It is no such log, or ends too early.
    """
    data = path.read_bytes()
    n_told, sector = _parse_super(data)
    entries: list[Entry] = []
    place = sector
    for _ in range(n_told if n_entries is None else n_entries):
        if place + _ENTRY.size > len(data):
            raise ValueError(f"{path} ends before its last entry: flush the disk before its log is read")
        first, n_sectors, flags, _ = _ENTRY.unpack_from(data, place)
        place += sector
        n_bytes = 0 if flags & _DISCARD else n_sectors * sector
        if place + n_bytes > len(data):
            raise ValueError(f"{path} ends within an entry: flush the disk before its log is read")
        entries += _entries(first * sector, n_sectors * sector, flags, data[place : place + n_bytes])
        place += n_bytes
    return entries


def build_log(entries: list[Entry], sector: int = 512) -> bytes:
    """Write a log as QEMU does: the inverse of `read_log`."""
    parts = [_SUPER.pack(MAGIC, VERSION, len(entries), sector).ljust(sector, b"\0")]
    for entry in entries:
        if isinstance(entry, Flush):
            numbers, data = (0, 0, _FLUSH), b""
        elif isinstance(entry, Discard):
            numbers, data = (entry.offset // sector, entry.size // sector, _DISCARD), b""
        else:
            numbers, data = (entry.offset // sector, len(entry.data) // sector, 0), entry.data
        parts += [_ENTRY.pack(*numbers, 0).ljust(sector, b"\0"), data]
    return b"".join(parts)


def _entries(offset: int, size: int, flags: int, data: bytes) -> Iterator[Entry]:
    if flags & _DISCARD:
        yield Discard(offset, size)
    elif size:
        yield Write(offset, data)
    # What is written with force unit access waits for no flush: it counts as if one followed, which is a little more
    # than a disk promises, and Linux's loop device, which has no such writes, never asks for one.
    if flags & (_FLUSH | _FUA):
        yield Flush()


def _parse_super(data: bytes) -> tuple[int, int]:
    if len(data) >= _SUPER.size:
        magic, version, n_entries, sector = _SUPER.unpack_from(data)
        if (magic, version) == (MAGIC, VERSION) and sector:
            return n_entries, sector
    raise ValueError("it is no log of writes: let QEMU's blklogwrites write one")
