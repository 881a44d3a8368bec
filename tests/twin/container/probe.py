"""Tries, inside the service's own sandbox, what the program does not need: prints as JSON what it could do.

It stands in the place of `device run`: the unit's own file starts it, with all that the unit allows and forbids.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

STATE = Path("/var/lib/dance-sampler")


def opens(family: int, kind: int) -> Callable[[], object]:
    """Give what opens a socket."""
    return lambda: socket.socket(family, kind).close()


def writes(folder: str) -> Callable[[], object]:
    """Give what writes a file into a folder."""

    def write() -> None:
        path = Path(folder) / "probe"
        path.write_bytes(b"x")
        path.unlink()

    return write


def calls(name: str, *arguments: object) -> Callable[[], object]:
    """Give what calls a function of the C library that fails with -1."""

    def call() -> None:
        library = ctypes.CDLL(None, use_errno=True)
        if getattr(library, name)(*arguments) == -1:
            raise OSError(ctypes.get_errno(), name)

    return call


def sees_others() -> None:
    """Look for a process of another user."""
    if not any(each.stat().st_uid != os.getuid() for each in Path("/proc").glob("[0-9]*")):
        raise OSError("none is seen")


def has_interface() -> None:
    """Look for a network beside the loopback."""
    if set(Path("/sys/class/net").iterdir()) <= {Path("/sys/class/net/lo")}:
        raise OSError("none is there")


def has_capability() -> None:
    """Look for a capability."""
    status = Path("/proc/self/status").read_text()
    if all(not int(line.split()[1], 16) for line in status.splitlines() if line.startswith("Cap")):
        raise OSError("none is held")


ATTEMPTS: dict[str, Callable[[], object]] = {
    "write /etc": writes("/etc"),
    "write /usr": writes("/usr"),
    "write /opt/dance-sampler/current": writes("/opt/dance-sampler/current"),
    "write /run": writes("/run"),
    "read /root": lambda: list(Path("/root").iterdir()),
    "read /home": lambda: next(Path("/home").iterdir()),
    "read /etc/shadow": lambda: Path("/etc/shadow").read_bytes(),
    "open a network socket": opens(socket.AF_INET, socket.SOCK_STREAM),
    "open a raw socket": opens(socket.AF_PACKET, socket.SOCK_RAW),
    "see a network": has_interface,
    "see other users' processes": sees_others,
    "hold a capability": has_capability,
    "become root": lambda: os.setuid(0),
    "make memory executable": lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC),
    "mount": calls("mount", b"tmpfs", b"/var/lib/dance-sampler", b"tmpfs", 0, None),
    "make a namespace": calls("unshare", 0x10000000),
    "trace a process": calls("ptrace", 16, os.getppid(), 0, 0),
    "set the clock": calls("clock_settime", 0, b"\0" * 16),
    "load a kernel module": calls("syscall", 313, 0, b"", 0),
    "gain rights by sudo": lambda: subprocess.run(["sudo", "-n", "true"], check=True, capture_output=True),
    "open /dev/mem": lambda: Path("/dev/mem").open("rb").close(),
}
NEEDS: dict[str, Callable[[], object]] = {
    "write the state": writes(str(STATE)),
    "write the run-time folder": writes("/run/dance-sampler"),
    "open a local socket": opens(socket.AF_UNIX, socket.SOCK_DGRAM),
}


def main() -> None:
    """Try everything, and print what could be done, and which of its needs could not."""
    could = {name: said for name, attempt in {**ATTEMPTS, **NEEDS}.items() if (said := _tried(attempt)) == ""}
    missing = {name: said for name, attempt in NEEDS.items() if (said := _tried(attempt)) != ""}
    print(json.dumps({"could": sorted(set(could) - set(NEEDS)), "missing": missing, "uid": os.getuid()}))


def _tried(attempt: Callable[[], object]) -> str:
    """Say why something could not be done; empty: it could."""
    try:
        attempt()
    except (OSError, subprocess.SubprocessError, StopIteration) as error:
        return str(error) or type(error).__name__
    return ""


if __name__ == "__main__":
    main()
    sys.stdout.flush()
