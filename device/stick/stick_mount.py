"""A stick is mounted, first read-only, and always without its programs, devices and privileges; and let go again."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path
from types import TracebackType

from device.core.errors import UsageError
from device.stick.stick_copy import StickError

SAFE = "nosuid,nodev,noexec"
FILE_SYSTEMS = "vfat,exfat,ext4,ext3,ext2"
MOUNT_S, UNMOUNT_S = 30.0, 600.0
"""Mounting is quick; unmounting may have to write what is left."""


class Mount:
    """A mounted stick, for a `with`; a stick that was pulled is let go too.

    Parameters
    ----------
    device : Path
        Such as /dev/sda1.
    folder : Path
        Where it is mounted: an empty folder.

    Raises
    ------
    UsageError
        It is no disk.
    StickError
        It cannot be mounted.
    """

    def __init__(self, device: Path, folder: Path) -> None:
        try:
            is_disk = stat.S_ISBLK(device.stat().st_mode)
        except OSError as error:
            raise StickError(f"there is no {device} ({error.strerror}): plug the stick in again") from error
        if not is_disk:
            raise UsageError(f"{device} is no disk: give a stick's partition, such as --device /dev/sda1")
        self.folder = folder
        self._device = device

    def __enter__(self) -> Mount:
        said = _run("mount", "-t", FILE_SYSTEMS, "-o", f"ro,{SAFE}", str(self._device), str(self.folder))
        if said is not None:
            raise StickError(f"{self._device} cannot be mounted ({said}): format the stick as FAT or exFAT")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if _run("umount", str(self.folder), timeout_s=UNMOUNT_S) is not None:
            _run("umount", "--lazy", str(self.folder))

    def allow_writing(self) -> None:
        """Let it be written to.

        Raises
        ------
        StickError
            It is read-only by itself.
        """
        said = _run("mount", "-o", f"remount,rw,{SAFE}", str(self.folder))
        if said is not None:
            raise StickError(f"the stick is read-only ({said}): no take was copied; move its switch, or use another")


def _run(*command: str, timeout_s: float = MOUNT_S) -> str | None:
    """Run a command; give the last line that it says when it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode == 0:
        return None
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    return lines[0] if lines else f"{command[0]} ended with {done.returncode}"
