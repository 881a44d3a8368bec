"""Hours of performing on a machine, on request: `TWIN_SOAK_HOURS=6 make twin`. Only the log grows, within bounds."""

from __future__ import annotations

import os
from typing import NamedTuple

from tests.twin.container.box import NAME
from tests.twin.machine.box import EmulatedBox
from tests.twin.results import Check

VARIABLE = "TWIN_SOAK_HOURS"
WARM_S = 120.0
LOOK_S = 60.0
MORE_MEMORY = 1.1
LOG_LINES_AN_HOUR = 200
MB_OF_JOURNAL = 64
CHECK = Check(
    "machine-soak",
    "it performs for hours: memory, descriptors and threads flat, the log bounded",
    "what the kernel says of its processes, once a minute, by its own clock",
    "machine",
    "somebody keeps connections to its status open",
)
_COUNT = (
    "for pid in $(cat /sys/fs/cgroup/system.slice/dance-sampler.service/cgroup.procs); do "
    "echo $(awk '/^Pss:/ {print $2}' /proc/$pid/smaps_rollup) "
    "$(ls /proc/$pid/fd | wc -l) $(ls /proc/$pid/task | wc -l); done"
)
_CLINGING = (
    "import socket, time; kept = [socket.socket(1) for n in range(6)]; "
    "[each.connect('/run/dance-sampler/status') for each in kept]; time.sleep(36000)"
)


class Use(NamedTuple):
    """What the processes of the box use together."""

    memory_kib: int
    n_descriptors: int
    n_threads: int


def hours() -> float:
    """How long it is to last; 0: not asked for."""
    return float(os.environ.get(VARIABLE, "0"))


def holds(box: EmulatedBox, planted: bool) -> str:
    """Dance for hours, and look again and again."""
    box.performs(300.0)
    box.dance("/dev/video0", WARM_S / 4, (3, 2, 1, 0))
    first, begun_s = use(box), box.clock_s()
    if planted:
        box.guest.run(f'nohup python3 -IS -c "{_CLINGING}" >/dev/null 2>&1 &')
    lines = _log_lines(box)
    worst = first
    length_s = 60.0 if planted else 3600.0 * hours()
    while box.clock_s() - begun_s < length_s:
        box.dance("/dev/video0", LOOK_S / 4, (3, 0, 2, 1))
        worst = Use(*map(max, zip(worst, use(box), strict=True)))
        box.performs()
    lasted_h = (box.clock_s() - begun_s) / 3600.0
    said_lines = _log_lines(box) - lines
    shown = f"{lasted_h:.2f} h: {first} at first, {worst} at most, {said_lines} lines of log"
    assert worst.memory_kib <= MORE_MEMORY * first.memory_kib, shown
    assert worst.n_descriptors <= first.n_descriptors + 2, shown
    assert worst.n_threads <= first.n_threads + 1, shown
    assert said_lines <= max(50.0, LOG_LINES_AN_HOUR * lasted_h), shown
    return shown


def use(box: EmulatedBox) -> Use:
    """Count what all of its processes have."""
    rows = [list(map(int, line.split())) for line in box.guest.run(_COUNT).splitlines() if len(line.split()) == 3]
    return Use(*map(sum, zip(*rows, strict=True)))


def _log_lines(box: EmulatedBox) -> int:
    return int(box.guest.run(f"journalctl -t {NAME} -o cat --no-pager | wc -l"))
