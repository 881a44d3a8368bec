"""How the machine itself is: heat, power, load, memory, clock. Each figure is None where the machine does not tell."""

from __future__ import annotations

import contextlib
import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

VCGENCMD_S = 2.0
LIKELY_C = (-40.0, 99.9)
"""Temperatures outside are no temperatures: some zones of a Jetson say 100 for ever, or -256 when they are off."""

_PROCESSOR = re.compile(r"cpu|soc|pkg|package|x86", re.IGNORECASE)
_THROTTLED = {
    0: "under-voltage now: use a stronger power supply",
    1: "slowed down now: frequency capped",
    2: "slowed down now: throttled",
    3: "too hot now: soft temperature limit",
    16: "under-voltage since the start",
    17: "frequency capped since the start",
    18: "throttled since the start",
    19: "too hot since the start",
}
"""Bits of a Pi's firmware, `vcgencmd get_throttled`; what is now is not said again of the time before."""


@dataclass(frozen=True)
class Vitals:
    """A look at the machine.

    Attributes
    ----------
    temperature_c : float or None
        Of the processor, else of the hottest zone.
    throttled : list of str or None
        What the power supply or the heat does to a Pi, in words; None on other machines.
    load : float or None
        Mean number of processes that wanted to run in the last minute.
    memory_bytes : int
        Proportional set size of the processes that were named: what they share counts once.
    free_memory_bytes : int or None
        What the machine could give.
    """

    temperature_c: float | None
    throttled: list[str] | None
    load: float | None
    memory_bytes: int
    free_memory_bytes: int | None


def look(pids: Iterable[int] = (), root: Path = Path("/")) -> Vitals:
    """Look at the machine; takes some milliseconds, on a Pi without the file in /sys some tens.

    Parameters
    ----------
    pids : iterable of int
        The box's processes.
    root : Path
        Where /sys, /proc and /usr/bin lie.
    """
    return Vitals(
        temperature_c(root),
        throttled(root),
        load(root),
        sum(memory_bytes(pid, root) for pid in pids),
        free_memory_bytes(root),
    )


def temperature_c(root: Path = Path("/")) -> float | None:
    """Temperature of the processor, else of the hottest zone, in degrees Celsius."""
    found: dict[bool, list[float]] = {True: [], False: []}
    for zone in sorted((root / "sys/class/thermal").glob("thermal_zone*")):
        with contextlib.suppress(OSError, ValueError):  # a zone whose sensor is off gives an error
            value = int((zone / "temp").read_text()) / 1000.0
            if LIKELY_C[0] <= value <= LIKELY_C[1] or _PROCESSOR.search(_text(zone / "type") or ""):
                found[bool(_PROCESSOR.search(_text(zone / "type") or ""))].append(value)
    hottest = found[True] or found[False]
    return max(hottest) if hottest else None


def throttled(root: Path = Path("/")) -> list[str] | None:
    """What power and heat do to a Pi, now and since its start; an empty list: nothing."""
    bits = _throttled_bits(root)
    if bits is None:
        return None
    now = {bit for bit in range(4) if bits >> bit & 1}
    return [said for bit, said in _THROTTLED.items() if bits >> bit & 1 and bit - 16 not in now]


def load(root: Path = Path("/")) -> float | None:
    """Mean number of processes that wanted to run in the last minute."""
    try:
        return float((_text(root / "proc/loadavg") or "").split()[0])
    except (ValueError, IndexError):
        return None


def memory_bytes(pid: int, root: Path = Path("/")) -> int:
    """Proportional set size of a process; its resident set where that is not to be had; 0 when it has ended."""
    for line in (_text(root / f"proc/{pid}/smaps_rollup") or "").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    for line in (_text(root / f"proc/{pid}/status") or "").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def free_memory_bytes(root: Path = Path("/")) -> int | None:
    """Memory that the machine could give."""
    for line in (_text(root / "proc/meminfo") or "").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def is_clock_synchronised(root: Path = Path("/")) -> bool | None:
    """Whether the clock was set by the network since the start; None where systemd-timesyncd is not used."""
    folder = root / "run/systemd/timesync"
    return (folder / "synchronized").exists() if folder.is_dir() else None


def _throttled_bits(root: Path) -> int | None:
    for file in sorted((root / "sys/devices/platform").glob("soc*/*firmware/get_throttled")):
        with contextlib.suppress(ValueError):
            return int(_text(file) or "", 16)
    program = root / "usr/bin/vcgencmd"
    if not program.exists():
        return None
    try:
        done = subprocess.run(
            [program, "get_throttled"], capture_output=True, text=True, timeout=VCGENCMD_S, check=False
        )
        return int(done.stdout.strip().removeprefix("throttled="), 16)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None
