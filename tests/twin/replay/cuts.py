"""Where the power is cut, and what of the disk's cache was lost: the disks that a cut may leave.

A disk keeps what was written before its last flush. Of what was written since, it keeps any part, in any order, by
whole sectors. One thing is taken for granted: the block with ext4's superblock is written whole or not at all. No ext4
survives it by halves, whoever wrote: neither e2fsck -p nor Linux takes a superblock whose checksum is wrong.

A mark, which is a write to a place behind the file system, tells what was promised by then.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from tests.twin.replay.write_log import Discard, Entry, Flush, Write

SECTOR = 512
MARK = b"dance-sampler, a promise, number "
LOST, KEPT, LAST_TORN, MIXED = "all lost", "all kept", "the last torn", "mixed"
LAST_ONLY, NOT_THE_FIRST = "only the last", "all but the first"
N_MIXED = 3
"""Fates that are drawn by lot at each point, beside the others."""
_SUPERBLOCK_END = 4096

Change: TypeAlias = "Write | Discard"


@dataclass(frozen=True)
class Cut:
    """One way in which the power can go.

    Attributes
    ----------
    after : int
        How many entries of the log came before it.
    flushed : int
        The disk has what was written before this entry.
    promise : int
        Number of the last promise before it.
    fate : str
        What became of the writes since the last flush.
    lot : int
        Number of a fate that is drawn by lot.
    """

    after: int
    flushed: int
    promise: int
    fate: str
    lot: int = 0

    def __str__(self) -> str:
        return f"after {self.after} entries, {self.fate}" + (f" {self.lot}" if self.fate == MIXED else "")


def mark(number: int) -> bytes:
    """Give one sector that says which promise was made."""
    return (MARK + f"{number:d}.".encode()).ljust(SECTOR, b"\0")


def marked(entry: Entry, disk_bytes: int) -> int | None:
    """Number of the promise that a write tells of; None of any other entry."""
    if not isinstance(entry, Write) or entry.offset < disk_bytes:
        return None
    return int(entry.data[len(MARK) : entry.data.index(b".", len(MARK))])


class Cuts:
    """All cuts of a log, from the first promise on.

    Parameters
    ----------
    entries : sequence of Entry
    disk_bytes : int
        Where marks begin.
    seed : int
        Of all that is drawn by lot.
    """

    def __init__(self, entries: Sequence[Entry], disk_bytes: int, seed: int) -> None:
        self._entries, self._disk_bytes, self._seed = entries, disk_bytes, seed

    def all(self) -> Iterator[Cut]:
        """Give each point with several fates, in the order of the log."""
        flushed, n_pending = 0, 0
        promise: int | None = None
        for after, entry in enumerate(self._entries, 1):
            number = marked(entry, self._disk_bytes)
            if number is not None:
                promise = number
            elif isinstance(entry, Flush):
                flushed, n_pending = after, 0
            else:
                n_pending += 1
            if promise is not None:
                for fate, lot in _fates(n_pending):
                    yield Cut(after, flushed, promise, fate, lot)

    def chosen(self, n: int) -> list[Cut]:
        """Choose so many that leave different disks, or different promises, in the order of the log.

        Of each promise the first point is always among them, with all that was not flushed lost and kept; the others
        are drawn by lot. There may be more than `n`, if there are so many promises, or less, if there are no more.
        """
        cuts = [*self.all()]
        first: dict[int, int] = {}
        for cut in cuts:
            first.setdefault(cut.promise, cut.after)
        must = {index for index, cut in enumerate(cuts) if cut.after == first[cut.promise] and cut.fate in (LOST, KEPT)}
        chosen: dict[tuple[object, ...], int] = {}
        for index in [*sorted(must), *map(int, np.random.default_rng(self._seed).permutation(len(cuts)))]:
            if index in must or len(chosen) < n:
                disk = frozenset((each.offset, _content(each)) for each in self.kept(cuts[index]))
                chosen.setdefault((cuts[index].flushed, cuts[index].promise, disk), index)
        return [cuts[index] for index in sorted(chosen.values())]

    def kept(self, cut: Cut) -> list[Change]:
        """Give what the disk kept of what was written since its last flush, in the order in which it is applied."""
        between = self._entries[cut.flushed : cut.after]
        pending = [each for each in between if not isinstance(each, Flush) and marked(each, self._disk_bytes) is None]
        rng = np.random.default_rng([self._seed, cut.after, cut.lot])
        if cut.fate == MIXED:
            return [part for each in pending for part in _mixed(each, rng)]
        if cut.fate == LAST_TORN:
            return [*pending[:-1], *_torn(pending[-1], rng)]
        first, last = {LOST: (0, 0), KEPT: (0, None), LAST_ONLY: (-1, None), NOT_THE_FIRST: (1, None)}[cut.fate]
        return pending[first:last]


def _fates(n_pending: int) -> Iterator[tuple[str, int]]:
    yield LOST, 0
    if n_pending:
        yield from ((KEPT, 0), (LAST_TORN, 0))
    if n_pending > 1:
        yield from ((LAST_ONLY, 0), (NOT_THE_FIRST, 0))
        yield from ((MIXED, lot) for lot in range(N_MIXED))


def _content(change: Change) -> bytes | int:
    return change.data if isinstance(change, Write) else change.size


def _mixed(change: Change, rng: np.random.Generator) -> Sequence[Change]:
    """Keep it whole, or a part of it, or nothing."""
    fate = rng.choice(3, p=(0.45, 0.3, 0.25))
    return [change] if fate == 0 else [*_torn(change, rng)] if fate == 1 else []


def _torn(change: Change, rng: np.random.Generator) -> Iterator[Change]:
    """Give the sectors that a write got to: the first ones, the last ones, or any."""
    n = len(change.data) // SECTOR if isinstance(change, Write) else 0
    if isinstance(change, Discard) or n < 2:
        return
    how, place = rng.integers(3), rng.integers(1, n)
    is_kept = (np.arange(n) < place, np.arange(n) >= place, rng.random(n) < 0.5)[how]
    if change.offset < _SUPERBLOCK_END:
        is_kept[: (_SUPERBLOCK_END - change.offset) // SECTOR] = is_kept[0]
    for index in np.flatnonzero(is_kept):
        begin = int(index) * SECTOR
        yield Write(change.offset + begin, change.data[begin : begin + SECTOR])
