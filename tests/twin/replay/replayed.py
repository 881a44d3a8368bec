"""A disk after a cut, as a box finds it when the power is back: checked, mounted, and looked at."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.twin.replay.cuts import Change, Cut, Cuts, marked
from tests.twin.replay.logged_disk import DISK_BYTES, MOUNT_OPTIONS, run
from tests.twin.replay.write_log import Discard, Entry, Flush, Write

MENDED = 1
"""e2fsck's exit status for a file system that it mended; systemd goes on."""


class Replay:
    """Makes disks of a log, one after the other, in the order of the log.

    Parameters
    ----------
    work : Path
        An empty folder, best in memory.
    start : Path
        The disk before the first entry.
    entries : sequence of Entry
    cuts : Cuts
        Of these entries.
    """

    def __init__(self, work: Path, start: Path, entries: Sequence[Entry], cuts: Cuts) -> None:
        self.root = work / "replayed"
        self.root.mkdir()
        self._flushed, self._image = work / "flushed.img", work / "replayed.img"
        self._entries, self._cuts, self._n_flushed = entries, cuts, 0
        run("cp", "--sparse=always", str(start), str(self._flushed))

    @contextmanager
    def after(self, cut: Cut) -> Iterator[Path]:
        """Give the file system after a cut, mounted; whatever is done to it is gone afterwards.

        Raises
        ------
        OSError
            It cannot be checked or mounted.
        """
        apply(self._flushed, self._entries[self._n_flushed : cut.flushed])
        self._n_flushed = max(self._n_flushed, cut.flushed)
        copy_sparse(self._flushed, self._image)
        apply(self._image, self._cuts.kept(cut))
        with mended(self._image, self.root):
            yield self.root


@contextmanager
def mended(image: Path, root: Path) -> Iterator[None]:
    """Have a file system checked and mounted as a system does that starts after a power cut.

    Raises
    ------
    OSError
        It cannot be checked or mounted.
    """
    done = subprocess.run(["e2fsck", "-p", str(image)], capture_output=True, text=True, check=False)
    if done.returncode & ~MENDED:
        raise OSError(f"e2fsck -p cannot mend the disk: {done.stdout.strip()} {done.stderr.strip()}")
    run("mount", "-t", "ext4", "-o", f"loop,{MOUNT_OPTIONS}", str(image), str(root))
    try:
        yield
    finally:
        run("umount", str(root))


def apply(image: Path, entries: Iterable[Entry | Change]) -> None:
    """Do to an image what was done to the disk; what lies behind the file system is left out."""
    descriptor = os.open(image, os.O_WRONLY)
    try:
        for entry in entries:
            if isinstance(entry, Discard):
                os.pwrite(descriptor, bytes(entry.size), entry.offset)
            elif not isinstance(entry, Flush) and marked(entry, DISK_BYTES) is None:
                assert isinstance(entry, Write)
                os.pwrite(descriptor, entry.data, entry.offset)
    finally:
        os.close(descriptor)


def copy_sparse(source: Path, target: Path) -> None:
    """Copy a file, leaving its holes alone: most of a disk's image is empty."""
    target.unlink(missing_ok=True)
    size = source.stat().st_size
    with source.open("rb") as old, target.open("wb") as new:
        new.truncate(size)
        end = 0
        while end < size:
            try:
                begin = os.lseek(old.fileno(), end, os.SEEK_DATA)
            except OSError:  # no data follows
                return
            end = os.lseek(old.fileno(), begin, os.SEEK_HOLE)
            os.pwrite(new.fileno(), os.pread(old.fileno(), end - begin, begin), begin)
