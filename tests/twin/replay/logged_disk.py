"""A real ext4 on a disk whose every write and flush is logged: the state's partition, as the README has it made.

Below the file system lies a loop device, below that a file that QEMU's storage daemon exports over FUSE, and below
that `blklogwrites`. A promise is written down in the same log, behind the file system, so that there is no doubt about
what was promised when. It mounts: whoever uses it is root, in a mount namespace of its own.
"""

from __future__ import annotations

import os
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from tests.twin.replay.cuts import SECTOR, mark
from tests.twin.replay.write_log import Entry, count_entries, read_log

DISK_BYTES = 96 << 20
"""Room for what must stay free, and for a few models."""
MOUNT_OPTIONS = "defaults,noatime"
_TAIL_BYTES = 1 << 20
_DAEMON_S = 20.0


def make_file_system(image: Path) -> None:
    """Format an image as `mkfs.ext4` formats a card: with 4096-byte blocks, all of its tables written at once."""
    with image.open("wb") as file:
        file.truncate(DISK_BYTES)
    options = "lazy_itable_init=0,lazy_journal_init=0,nodiscard"
    run("mke2fs", "-q", "-t", "ext4", "-b", "4096", "-I", "256", "-E", options, "-L", "dance-state", str(image))


def run(*command: str) -> str:
    """Run a program, and give what it said.

    Raises
    ------
    OSError
        It failed.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise OSError(f"{' '.join(command)} failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


class LoggedDisk:
    """Mounted while it is entered.

    Parameters
    ----------
    work : Path
        An empty folder.

    Attributes
    ----------
    root : Path
        Where the file system is mounted.
    start : Path
        The disk as it was before the first entry of the log.
    promises : list of object
        By number.
    """

    def __init__(self, work: Path) -> None:
        self.root = work / "disk"
        self.start = work / "start.img"
        self.promises: list[object] = []
        self._log, self._image, self._export = work / "log", work / "image", work / "export"
        self._n_entries = 0
        self._mounted = ExitStack()

    def __enter__(self) -> LoggedDisk:
        self.root.mkdir()
        make_file_system(self._image)
        run("cp", "--sparse=always", str(self._image), str(self.start))
        with self._image.open("r+b") as file:
            file.truncate(DISK_BYTES + _TAIL_BYTES)
        for path in (self._log, self._export):
            path.touch()
        with ExitStack() as stack:
            self._start_daemon(stack)
            options = f"loop,sizelimit={DISK_BYTES},{MOUNT_OPTIONS}"
            run("mount", "-t", "ext4", "-o", options, str(self._export), str(self.root))
            stack.callback(run, "umount", str(self.root))
            self._marks = os.open(self._export, os.O_WRONLY)
            stack.callback(os.close, self._marks)
            self._mounted = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._mounted:
            os.fsync(self._marks)  # only a flush lets the log's first sector tell of all that came before
            self._n_entries = count_entries(self._log)

    def promise(self, what: object) -> None:
        """Write down what is promised from now on; it is in the log when this returns."""
        self.promises.append(what)
        os.pwrite(self._marks, mark(len(self.promises) - 1), DISK_BYTES)

    def settle(self) -> None:
        """Wait until the disk has everything."""
        run("sync", "--file-system", str(self.root))

    def entries(self) -> list[Entry]:
        """What was asked of the disk until it was left; its unmounting is not in it."""
        return read_log(self._log, self._n_entries)

    def _start_daemon(self, stack: ExitStack) -> None:
        command = [
            "setpriv", "--pdeathsig", "TERM", "--",  # it does not outlive us
            "qemu-storage-daemon",
            "--blockdev", f"driver=file,node-name=image,filename={self._image}",
            "--blockdev", f"driver=file,node-name=log,filename={self._log}",
            "--blockdev", f"driver=blklogwrites,node-name=logged,file=image,log=log,log-sector-size={SECTOR}",
            "--export", f"type=fuse,id=export,node-name=logged,mountpoint={self._export},writable=on",
        ]  # fmt: skip
        daemon = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        stack.callback(daemon.wait)
        stack.callback(daemon.terminate)
        until_s = time.monotonic() + _DAEMON_S
        while self._export.stat().st_size < DISK_BYTES:
            if daemon.poll() is not None or time.monotonic() > until_s:
                raise OSError("qemu-storage-daemon exports no disk: install QEMU's tools, and FUSE in the kernel")
            time.sleep(0.01)
