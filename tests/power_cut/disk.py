"""A disk as it may be after a power cut: what was synced is there, and of all else any part, in any order, or rubbish.

It promises no more than POSIX does: syncing a file keeps its content but not its name, syncing a folder keeps the
names in it but nothing of what they name, a rename within a folder happens or does not, and what is not synced
reaches the disk in any order, sector by sector. Only one thing is taken for granted, as SQLite takes it: writing
spoils no byte beside those that are written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

SECTOR = 512
ROOT = 0
Link = str
Node: TypeAlias = "bytes | dict[str, int] | Link"


@dataclass(frozen=True)
class Make:
    """A new name, and what it names: a file, a folder or a link."""

    folder: int
    name: str
    node: int
    content: bytes | Link | None  # None: a folder


@dataclass(frozen=True)
class Rename:
    folder: int
    old: str
    new: str
    node: int


@dataclass(frozen=True)
class Remove:
    folder: int
    name: str


@dataclass(frozen=True)
class Write:
    node: int
    offset: int
    data: bytes


@dataclass(frozen=True)
class Cut:
    node: int
    size: int


@dataclass(frozen=True)
class Sync:
    """The disk has the content of a file, or the names in a folder."""

    node: int


@dataclass(frozen=True)
class Promise:
    """From here on, this is what whoever uses the box has been told."""

    what: Any


Entry: TypeAlias = "Make | Rename | Remove"
Change: TypeAlias = "Make | Rename | Remove | Write | Cut"
Operation: TypeAlias = "Change | Sync | Promise"


class Tree:
    """Files, folders and links by number; number 0 is the folder that all lies in."""

    def __init__(self, nodes: dict[int, Node] | None = None) -> None:
        self.nodes: dict[int, Node] = {ROOT: {}} if nodes is None else nodes

    @classmethod
    def load(cls, root: Path) -> Tree:
        """Read what lies in a folder, all of it synced."""
        tree = cls()
        tree._load(ROOT, root)
        return tree

    def _load(self, number: int, folder: Path) -> None:
        for path in sorted(folder.iterdir()):
            node = max(self.nodes) + 1
            self.folder(number)[path.name] = node
            if path.is_symlink():
                self.nodes[node] = str(path.readlink())
            elif path.is_dir():
                self.nodes[node] = {}
                self._load(node, path)
            else:
                self.nodes[node] = path.read_bytes()

    def copy(self) -> Tree:
        return Tree({number: dict(node) if isinstance(node, dict) else node for number, node in self.nodes.items()})

    def folder(self, number: int) -> dict[str, int]:
        found = self.nodes.setdefault(number, {})
        assert isinstance(found, dict)
        return found

    def file(self, number: int) -> bytes:
        found = self.nodes.get(number, b"")
        assert isinstance(found, bytes)
        return found

    def find(self, parts: Sequence[str]) -> int | None:
        """Number of what has this path below the root, links not followed; None if there is nothing."""
        number: int | None = ROOT
        for part in parts:
            folder = None if number is None else self.nodes[number]
            number = folder.get(part) if isinstance(folder, dict) else None
        return number

    def apply(self, change: Change) -> None:
        if isinstance(change, Write):
            content = self.file(change.node).ljust(change.offset, b"\0")
            self.nodes[change.node] = (
                content[: change.offset] + change.data + content[change.offset + len(change.data) :]
            )
        elif isinstance(change, Cut):
            self.nodes[change.node] = self.file(change.node)[: change.size].ljust(change.size, b"\0")
        elif isinstance(change, Make):
            self.folder(change.folder)[change.name] = change.node
            if change.content is None:
                self.folder(change.node)
            else:
                self.nodes.setdefault(change.node, change.content)
        elif isinstance(change, Rename):
            self.folder(change.folder).pop(change.old, None)
            self.folder(change.folder)[change.new] = change.node
        else:
            self.folder(change.folder).pop(change.name, None)

    def listing(self) -> dict[str, Node | None]:
        """Give every path with its content; None for a folder."""
        return dict(self._listed("", ROOT))

    def _listed(self, prefix: str, number: int) -> Iterator[tuple[str, Node | None]]:
        for name, child in sorted(self.folder(number).items()):
            node = self.nodes.get(child, b"")  # a file of which nothing but its name is left
            yield prefix + name, None if isinstance(node, dict) else node
            if isinstance(node, dict):
                yield from self._listed(f"{prefix}{name}/", child)

    def write_to(self, root: Path) -> None:
        """Make a real folder of it."""
        root.mkdir()
        for name, node in self.listing().items():
            if node is None:
                (root / name).mkdir()
            elif isinstance(node, str):
                (root / name).symlink_to(node)
            elif isinstance(node, bytes):
                (root / name).write_bytes(node)


def node_of(change: Change) -> int:
    """What must be synced for a change to be there for certain."""
    return change.node if isinstance(change, (Write, Cut)) else change.folder


@dataclass(frozen=True, eq=False)
class Remains:
    """A disk after a cut.

    Attributes
    ----------
    done : str
        The last operation before it, and how many there were.
    fate : str
        What became of those that were not synced.
    tree : Tree
    promised : object
        The last promise before it.
    """

    done: str
    fate: str
    tree: Tree
    promised: Any


def cut_everywhere(start: Tree, operations: Sequence[Operation], promised: Any, n_mixed: int) -> Iterator[Remains]:
    """Cut the power after each operation, each time with every fate of what was not synced.

    Parameters
    ----------
    start : Tree
        The disk before the first operation, all of it synced.
    operations : sequence of Operation
    promised : object
        What was promised before.
    n_mixed : int
        How many mixed fates there are at each point, beside the pure ones.
    """
    synced, pending = start.copy(), list[Change]()
    seen: set[int] = set()
    for point, (operation, following) in enumerate(pairwise([Promise(promised), *operations, None])):
        if isinstance(operation, Promise):
            promised = operation.what
            if isinstance(following, Promise):
                continue  # what is promised next, of the same disk, is more
        elif isinstance(operation, Sync):
            pending = _synced(synced, pending, operation.node)
        elif operation is not None:
            pending.append(operation)
        for fate, changes in _fates(pending, point, n_mixed):
            tree = synced.copy()
            for change in changes:
                tree.apply(change)
            key = hash((id(promised), tuple(tree.listing().items())))
            if key not in seen:
                seen.add(key)
                yield Remains(f"{point} operations, {_named(operation)}", fate, tree, promised)


def _synced(tree: Tree, pending: Sequence[Change], node: int) -> list[Change]:
    """Do for certain what waits for a node, and give what still waits."""
    for change in pending:
        if node_of(change) == node:
            tree.apply(change)
    return [change for change in pending if node_of(change) != node]


def _named(operation: Operation | None) -> str:
    if isinstance(operation, Write):
        return f"Write(node={operation.node}, {len(operation.data)} bytes at {operation.offset})"
    return "Promise" if isinstance(operation, Promise) else repr(operation)


def _fates(pending: Sequence[Change], seed: int, n_mixed: int) -> Iterator[tuple[str, Sequence[Change]]]:
    names = [change for change in pending if not isinstance(change, (Write, Cut))]
    rng = np.random.default_rng(seed)
    yield "kept", pending
    yield "lost", []
    if not pending:
        return
    yield "names kept, content lost", names
    yield "content kept, names lost", [change for change in pending if isinstance(change, (Write, Cut))]
    yield "names kept, content zeros", [_zeroed(change) for change in pending]
    yield "names kept, content garbled", [_garbled(change, rng) for change in pending]
    yield "torn", [part for change in pending for part in _torn(change, rng)]
    yield "only the first", pending[:1]
    yield "only the last", pending[-1:]
    yield "all but the first", pending[1:]
    for index in range(n_mixed):
        yield f"mixed {index}", [part for change in pending for part in _mixed(change, rng)]


def _zeroed(change: Change) -> Change:
    """A file that has its new size already, and nothing in it."""
    return replace(change, data=bytes(len(change.data))) if isinstance(change, Write) else change


def _garbled(change: Change, rng: np.random.Generator) -> Change:
    return replace(change, data=rng.bytes(len(change.data))) if isinstance(change, Write) else change


def _torn(change: Change, rng: np.random.Generator) -> Iterator[Change]:
    """Give single sectors of what was written, each kept, lost, empty or garbled."""
    if not isinstance(change, Write):
        yield change
        return
    ends = range(SECTOR - change.offset % SECTOR, len(change.data), SECTOR)
    for first, end in zip([0, *ends], [*ends, len(change.data)], strict=True):
        part = Write(change.node, change.offset + first, change.data[first:end])
        kept = (part, None, _zeroed(part), _garbled(part, rng))[rng.choice(4, p=(0.7, 0.1, 0.1, 0.1))]
        if kept is not None:
            yield kept


def _mixed(change: Change, rng: np.random.Generator) -> Iterator[Change]:
    if rng.random() < 0.5:
        yield from _torn(change, rng) if rng.random() < 0.5 else (change,)
