"""Crash replay: what a real ext4 holds after the power was cut at any write, and whether the box keeps its word then.

Each check starts workers (`tests.twin.replay.worker`), as many at once as there are cores. `REPLAY_CUTS=10` before the
command cuts the power at ten times as many points.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.twin.replay.control import FATES
from tests.twin.replay.groups import CAN_TELL, GROUPS, Group
from tests.twin.replay.worker import ONLY_LAST, Report
from tests.twin.replay.workload import CONTROL
from tests.twin.results import Check, Found, Results
from tests.twin.workbench import ROOT, TwinError, Workbench

N_TIMES = float(os.environ.get("REPLAY_CUTS", "1"))
PROGRAMS = ("qemu-storage-daemon", "mke2fs", "e2fsck", "unshare", "setpriv", "gcc", "ssh-keygen")
PATIENCE_S = 180.0
CHECKS: Sequence[Check] = (CAN_TELL, *(group.check for group in GROUPS))


@dataclass(frozen=True)
class Job:
    """One worker's work."""

    doing: str
    n_cuts: int
    bug: str | None = None


def run(results: Results, work: Workbench) -> None:
    """Try all."""
    if why := why_not():
        results.finish(CHECKS, why)
        return
    results.run(CAN_TELL, lambda planted: _tell(work, planted=planted))
    for group in GROUPS:
        results.run(group.check, lambda planted, group=group: _try(work, group, planted=planted))  # type: ignore[misc]


def why_not() -> str:
    """Say what this machine lacks, and what to do; empty if nothing."""
    if missing := [name for name in PROGRAMS if shutil.which(name) is None]:
        return f"{', '.join(missing)} missing: make twin installs what it needs"
    if os.geteuid() != 0:
        return "a disk is mounted: run it as root"
    lacks = [path for path in ("/dev/fuse", "/dev/loop-control") if not Path(path).exists()]
    return f"the kernel lacks {' and '.join(lacks)}: load its modules fuse and loop" if lacks else ""


def _try(work: Workbench, group: Group, *, planted: bool) -> Found:
    if planted:
        reports = replay_all(work, [Job(doing, group.doings[doing], bug) for bug, doing in group.bugs.items()])
        caught = {bug: report.broken for bug, report in zip(group.bugs, reports, strict=True)}
        missed = [bug for bug, broken in caught.items() if not broken]
        if missed:
            return Found(f"not seen: {', '.join(missed)}", len(caught))
        raise AssertionError("; ".join(f"{bug}: on {len(broken)} disks, {broken[0]}" for bug, broken in caught.items()))
    reports = replay_all(work, [Job(doing, round(n * N_TIMES)) for doing, n in group.doings.items()])
    broken = [f"{report.doing}: {each}" for report in reports for each in report.broken]
    n_cuts, n_promises = (sum(getattr(report, name) for report in reports) for name in ("n_cuts", "n_promises"))
    assert not broken, f"{len(broken)} of {n_cuts} disks: {broken[0]}"
    n_writes = sum(report.n_writes for report in reports)
    said = f"all was kept on {n_cuts} disks: {n_promises} promises, cut among {n_writes} writes"
    return Found(said, n_cuts)


def _tell(work: Workbench, *, planted: bool) -> Found:
    (report,) = replay_all(work, [Job(CONTROL, 250, ONLY_LAST if planted else None)])
    n = {fate: sum(f" {fate}" in each for each in report.broken) for fate in FATES}
    assert all(n.values()), f"the replay is too kind to say anything: of {report.n_cuts} disks {_counts(n)}"
    return Found(f"of {report.n_cuts} disks {_counts(n)}", report.n_cuts)


def _counts(n: dict[str, int]) -> str:
    return ", ".join(f"{count} with a file {fate}" for fate, count in n.items())


def replay_all(work: Workbench, jobs: Sequence[Job]) -> list[Report]:
    """Have jobs done, as many at once as there are cores; give their reports in the same order.

    Raises
    ------
    TwinError
        One could not be done.
    """
    waiting, running = list(enumerate(jobs)), dict[int, subprocess.Popen[bytes]]()
    while waiting or running:
        while waiting and len(running) < (os.cpu_count() or 1):
            index, job = waiting.pop(0)
            running[index] = _start(work, index, job)
        work.eventually(
            lambda: any(process.poll() is not None for process in running.values()),
            "a replay ends",
            PATIENCE_S * N_TIMES,
        )
        for index, process in [*running.items()]:
            if process.poll() is not None:
                del running[index]
                if process.returncode != 0:
                    raise TwinError(_why_failed(work, index, jobs[index]))
    return [_report(work, index) for index in range(len(jobs))]


def _start(work: Workbench, index: int, job: Job) -> subprocess.Popen[bytes]:
    place, report = _places(work, index)
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    report.unlink(missing_ok=True)
    command = ["unshare", "--mount", sys.executable, "-m", "tests.twin.replay.worker", job.doing]
    command += ["--work", str(place), "--report", str(report), "--cuts", str(job.n_cuts)]
    command += ["--bug", job.bug] if job.bug else []
    return work.start(*command, log=report.with_suffix(".log"), environ={"PYTHONPATH": str(ROOT)})


def _places(work: Workbench, index: int) -> tuple[Path, Path]:
    return work.folder / f"replay-{index}", work.folder / f"replay-{index}.json"


def _report(work: Workbench, index: int) -> Report:
    return Report(**json.loads(_places(work, index)[1].read_text(encoding="utf-8")))


def _why_failed(work: Workbench, index: int, job: Job) -> str:
    said = _places(work, index)[1].with_suffix(".log").read_text(errors="replace").strip().splitlines()
    return f"the replay of {job.doing} failed: {' / '.join(said[-3:])}"
