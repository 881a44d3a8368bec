"""`python -m tests.twin.replay.worker DOING --work DIR`: one thing that a box does, and the power cut at many points.

Run by root in a mount namespace of its own (`unshare --mount`), so that nothing stays mounted whatever happens to it.
Prints one JSON object: what was tried, and what was found broken.
"""

from __future__ import annotations

import argparse
import json
import logging
import signal
import sys
import time
from collections import Counter
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.twin.replay.bugs import BUGS
from tests.twin.replay.cuts import Cut, Cuts, marked
from tests.twin.replay.logged_disk import DISK_BYTES, LoggedDisk, run
from tests.twin.replay.replayed import Replay
from tests.twin.replay.workload import DOINGS, OTHERS, broken_promises, do
from tests.twin.replay.write_log import Flush, Write

ONLY_LAST = "only-last"
"""Not the store's bug but the replay's: the disk is looked at only when all was written."""


@dataclass
class Report:
    """What came of it.

    Attributes
    ----------
    doing : str
    n_writes, n_flushes, n_promises : int
        In the log.
    n_cuts : int
        Disks that differ, or what was promised of them, that were tried.
    fates : dict of str to int
        How often each was tried.
    broken : list of str
        Of each disk that did not hold what was promised: where, and what.
    seconds : float
    """

    doing: str
    n_writes: int = 0
    n_flushes: int = 0
    n_promises: int = 0
    n_cuts: int = 0
    fates: dict[str, int] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    seconds: float = 0.0


def replay(doing: str, work: Path, n_cuts: int, seed: int, bug: str | None = None) -> Report:
    """Do something on a logged disk, then cut its power: after each promise, and at others up to `n_cuts` points.

    The bug is one of `BUGS`, or `ONLY_LAST`.
    """
    begin_s = time.monotonic()
    with LoggedDisk(work) as disk, BUGS.get(bug or "", nullcontext)(disk):
        do(doing, disk)
    entries = disk.entries()
    cuts = Cuts(entries, DISK_BYTES, seed)
    chosen = [[*cuts.all()][-1]] if bug == ONLY_LAST else cuts.chosen(n_cuts)
    report = Report(doing, n_promises=len(disk.promises), n_cuts=len(chosen))
    report.n_writes = sum(isinstance(each, Write) and marked(each, DISK_BYTES) is None for each in entries)
    report.n_flushes = sum(isinstance(each, Flush) for each in entries)
    report.fates = dict(Counter(cut.fate for cut in chosen))
    replayed = Replay(work, disk.start, entries, cuts)
    for cut in chosen:
        if wrong := _look(replayed, cut, disk.promises[cut.promise]):
            report.broken.append(f"{cut}: {wrong}")
    report.seconds = round(time.monotonic() - begin_s, 1)
    return report


def _look(replayed: Replay, cut: Cut, promised: object) -> str:
    try:
        with replayed.after(cut) as root:
            return "; ".join(broken_promises(root, promised))
    except OSError as error:
        return str(error)


def main() -> int:
    """Read the command line, and write what was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.twin.replay.worker")
    parser.add_argument("doing", choices=[*DOINGS, *OTHERS])
    parser.add_argument("--work", type=Path, required=True, help="an empty folder: memory is mounted over it")
    parser.add_argument("--report", type=Path, required=True, help="where what was found goes, as JSON")
    parser.add_argument("--cuts", type=int, default=100, help="points at which the power is cut")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn by lot")
    parser.add_argument("--bug", choices=[*BUGS, ONLY_LAST], help="plant a bug in the store, or in the replay")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what is mounted is unmounted
    logging.disable()  # of what is missing, the report tells
    run("mount", "-t", "tmpfs", "-o", "size=1g", "tmpfs", str(args.work))
    report = replay(args.doing, args.work, args.cuts, args.seed, args.bug)
    args.report.write_text(json.dumps(asdict(report)), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
