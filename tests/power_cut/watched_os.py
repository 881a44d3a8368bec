"""Stands where `device.store.files` looks for `os`: does what is asked, and writes down what it does to a disk.

Some of these disks have a fault, which stands for a bug of the store: a sync that is forgotten, or comes too late.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.power_cut.disk import Change, Cut, Make, Operation, Promise, Remove, Rename, Sync, Tree, Write


class WatchedOs:
    """`os`, for one folder.

    Parameters
    ----------
    root : Path
        What lies beside it is not looked at.

    Attributes
    ----------
    start : Tree
        What lay there before.
    operations : list of Operation
        What was done since.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.start = Tree.load(root)
        self.operations: list[Operation] = []
        self._tree = self.start.copy()
        self._next = max(self._tree.nodes) + 1
        self._files: dict[int, tuple[int, int]] = {}  # descriptor -> node, place

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Let the store write through this disk."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("device.store.files.os", self)
            yield

    def promise(self, what: object) -> None:
        self.operations.append(Promise(what))

    @property
    def n_changes(self) -> int:
        """Operations between which the power can be cut."""
        return sum(not isinstance(each, Promise) for each in self.operations)

    def unseen(self) -> list[str]:
        """Give what lies there and did not come through here, or should lie there and does not."""
        seen, there = self._tree.listing(), Tree.load(self.root).listing()
        return [name for name in sorted(seen.keys() | there.keys()) if seen.get(name, 0) != there.get(name, 0)]

    def open(self, path: Path, flags: int, mode: int = 0o777) -> int:
        is_new = not os.path.lexists(path)
        descriptor = os.open(path, flags, mode)
        if self._is_ours(path):
            if is_new:
                self._do(Make(*self._place(path), self._new(), b""))
            node = self._node(path)
            if flags & os.O_TRUNC and not is_new:
                self._do(Cut(node, 0))
            self._files[descriptor] = (node, 0)
        return descriptor

    def write(self, descriptor: int, data: memoryview) -> int:
        n = os.write(descriptor, data)
        if descriptor in self._files:
            node, place = self._files[descriptor]
            self._do(Write(node, place, bytes(data[:n])))
            self._files[descriptor] = (node, place + n)
        return n

    def ftruncate(self, descriptor: int, size: int) -> None:
        os.ftruncate(descriptor, size)
        if descriptor in self._files:
            self._do(Cut(self._files[descriptor][0], size))

    def lseek(self, descriptor: int, place: int, whence: int) -> int:
        place = os.lseek(descriptor, place, whence)
        if descriptor in self._files:
            self._files[descriptor] = (self._files[descriptor][0], place)
        return place

    def fsync(self, descriptor: int) -> None:
        """The real disk is not waited for: nobody pulls its plug."""
        if descriptor in self._files:
            self.operations.append(Sync(self._files[descriptor][0]))

    def close(self, descriptor: int) -> None:
        self._files.pop(descriptor, None)
        os.close(descriptor)

    def replace(self, old: Path, new: Path) -> None:
        os.replace(old, new)
        if self._is_ours(new):
            (folder, old_name), (new_folder, new_name) = self._place(old), self._place(new)
            assert folder == new_folder, "a rename to another folder may happen by halves"
            node = self._tree.find([*Path(old).relative_to(self.root).parts])
            assert node is not None
            self._do(Rename(folder, old_name, new_name, node))

    rename = replace

    def unlink(self, path: Path) -> None:
        os.unlink(path)
        if self._is_ours(path):
            self._do(Remove(*self._place(path)))

    def rmdir(self, path: Path) -> None:
        os.rmdir(path)
        if self._is_ours(path):
            self._do(Remove(*self._place(path)))

    def mkdir(self, path: Path) -> None:
        os.mkdir(path)
        if self._is_ours(path):
            self._do(Make(*self._place(path), self._new(), None))

    def symlink(self, target: str, path: Path) -> None:
        os.symlink(target, path)
        if self._is_ours(path):
            self._do(Make(*self._place(path), self._new(), target))

    def _is_file(self, descriptor: int) -> bool:
        return descriptor in self._files and isinstance(self._tree.nodes[self._files[descriptor][0]], bytes)

    def _do(self, change: Change) -> None:
        self._tree.apply(change)
        self.operations.append(change)

    def _is_ours(self, path: Path) -> bool:
        return Path(path).is_relative_to(self.root)

    def _node(self, path: Path) -> int:
        node = self._tree.find(Path(path).relative_to(self.root).parts)
        assert node is not None, f"{path} was not made through here"
        return node

    def _place(self, path: Path) -> tuple[int, str]:
        return self._node(Path(path).parent), Path(path).name

    def _new(self) -> int:
        self._next += 1
        return self._next - 1


class NoFileSync(WatchedOs):
    """Forgets to sync files."""

    def fsync(self, descriptor: int) -> None:
        if not self._is_file(descriptor):
            super().fsync(descriptor)


class NoFolderSync(WatchedOs):
    """Forgets to sync folders."""

    def fsync(self, descriptor: int) -> None:
        if self._is_file(descriptor):
            super().fsync(descriptor)


class RenameBeforeSync(WatchedOs):
    """Renames first, and then syncs what was renamed."""

    def replace(self, old: Path, new: Path) -> None:
        """Do it before the last sync of what is renamed, or of what lies in it."""
        super().replace(old, new)
        renamed = self.operations.pop()
        assert isinstance(renamed, Rename)
        inside = self._tree.nodes[renamed.node]
        nodes = {renamed.node, *(inside.values() if isinstance(inside, dict) else ())}
        late = [each for each in self.operations if isinstance(each, Sync) and each.node in nodes]
        self.operations = [each for each in self.operations if each not in late]
        self.operations += [renamed, *late]

    rename = replace


class InPlace(WatchedOs):
    """Writes over the old file instead of beside it."""

    def open(self, path: Path, flags: int, mode: int = 0o777) -> int:
        return super().open(_without_new(path), flags, mode)

    def replace(self, old: Path, new: Path) -> None:
        if _without_new(old) != Path(new):
            super().replace(old, new)

    rename = replace

    def symlink(self, target: str, path: Path) -> None:
        if os.path.lexists(_without_new(path)):
            super().unlink(_without_new(path))
        super().symlink(target, _without_new(path))


class RemoveFirst(WatchedOs):
    """Removes the old file before the new one takes its name."""

    def replace(self, old: Path, new: Path) -> None:
        if os.path.lexists(new):
            super().unlink(new)
        super().replace(old, new)

    rename = replace


class FullDisk(WatchedOs):
    """Has no room left from the nth operation on that would need some, until `has_room` is set."""

    def __init__(self, root: Path, n_left: int) -> None:
        super().__init__(root)
        self.n_left = n_left
        self.has_room = False

    @property
    def was_full(self) -> bool:
        return self.n_left < 0

    def open(self, path: Path, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_CREAT:
            self._need_room(path)
        return super().open(path, flags, mode)

    def write(self, descriptor: int, data: memoryview) -> int:
        """The last half that fits is written, as disks do."""
        if descriptor in self._files:
            self.n_left -= 1
            if self.n_left == -1 and len(data) > 1:
                data = data[: len(data) // 2]
            elif self.n_left < 0 and not self.has_room:
                raise _no_room()
        return super().write(descriptor, data)

    def mkdir(self, path: Path) -> None:
        self._need_room(path)
        super().mkdir(path)

    def symlink(self, target: str, path: Path) -> None:
        self._need_room(path)
        super().symlink(target, path)

    def _need_room(self, path: Path) -> None:
        if self._is_ours(path):
            self.n_left -= 1
            if self.n_left < 0 and not self.has_room:
                raise _no_room()


def _no_room() -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _without_new(path: Path) -> Path:
    return Path(path).with_name(Path(path).name.removesuffix(".new"))
