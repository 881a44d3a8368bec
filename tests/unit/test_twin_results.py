"""The twin's table: what is kept of a check, a fault that nobody catches, and that nothing is left out or behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import gettempdir

import pytest

from tests.eventually import eventually
from tests.twin.__main__ import beside, layer_names, try_layer
from tests.twin.results import PAGE, Check, Found, Results, load, page
from tests.twin.workbench import ROOT, TwinError, Workbench, processes_of

GOOD = Check("good", "it works", "tried", "some", "it is broken")
OTHER = Check("other", "it | holds", "tried, too", "some", "it is torn")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "some").mkdir()
    return tmp_path


def results(folder: Path, planted: set[str] | None = None) -> Results:
    heard: list[str] = []
    return Results(folder=folder, planted=planted, say=heard.append)


def works(planted: bool) -> Found:
    assert not planted, "it is broken, as was planted"
    return Found("3 ms", 5)


def test_what_was_found_is_kept_and_shown_with_its_figures(folder: Path) -> None:
    assert results(folder).run(GOOD, works)
    assert results(folder, {"good"}).run(GOOD, works)
    text = page([GOOD, OTHER], load(folder))
    row = next(line for line in text.splitlines() if line.startswith("| it works"))
    assert row.startswith("| it works | tried | some | 5 | 3 ms | 20")
    assert "it is broken: 20" in row
    assert "it \\| holds" in text
    assert "**NOT TESTED**: never" in text
    assert "**never tried**" in text


def test_where_checkout_and_temporary_files_lie_is_nobodys_business(folder: Path) -> None:
    said = f"{ROOT}/out/twin/disk and {gettempdir()}/run-x1_y2/root/takes/0001 are whole"
    assert results(folder).run(GOOD, lambda planted: f"{said}: {planted}")
    assert load(folder)["checks"]["good"]["said"] == "out/twin/disk and root/takes/0001 are whole: False"


@pytest.mark.parametrize(
    ("body", "verdict"),
    [
        (lambda planted: f"all is well, {planted}", "NOT CAUGHT: all is well, True"),
        (lambda planted: str(int(f"x{planted}")), "ValueError"),
    ],
)
def test_a_fault_that_is_not_caught_by_an_assertion_is_a_failure(
    folder: Path, body: Callable[[bool], str], verdict: str
) -> None:
    tried = results(folder, {"good"})
    assert not tried.run(GOOD, body)
    assert tried.failures == ["good"]
    assert verdict in tried.outcomes["good"].said
    assert "**NOT CAUGHT**" in page([GOOD], load(folder))


def test_a_check_that_fails_breaks_or_is_left_out_makes_the_run_fail(folder: Path) -> None:
    def breaks(planted: bool) -> str:
        raise OSError(f"the disk\nis full, {planted}")

    tried = results(folder)
    assert not tried.run(GOOD, breaks)
    assert tried.outcomes["good"].said == "OSError: the disk is full, False"
    tried.finish([GOOD, OTHER])
    assert tried.failures == ["good", "other"]
    assert tried.outcomes["other"].verdict == "NOT TESTED"
    assert "**FAILED**: OSError: the disk is full, False" in page([GOOD], load(folder))


def test_only_planted_checks_are_tried_when_faults_are_planted(folder: Path) -> None:
    tried = results(folder, {"other"})
    assert tried.run(GOOD, works)
    assert tried.outcomes == {}
    assert tried.wants(GOOD, OTHER)
    assert not tried.wants(GOOD)
    tried.not_tested(GOOD, "why")
    assert tried.failures == []
    only = Results(folder=folder, only=["other"])
    assert (only.wants(GOOD), only.wants(OTHER)) == (False, True)


def test_a_layer_that_ends_early_leaves_no_check_without_an_outcome(folder: Path) -> None:
    class Broken:
        CHECKS: Sequence[Check] = (GOOD, OTHER)

        def run(self, results: Results, work: Workbench) -> None:
            results.run(GOOD, works)
            raise TwinError(f"there is no disk in {work.folder.name[:3]}")

    tried = results(folder)
    try_layer(Broken(), tried)
    assert tried.is_broken
    assert tried.outcomes["good"].verdict == "ok"
    assert (tried.outcomes["other"].verdict, tried.outcomes["other"].said) == ("NOT TESTED", "there is no disk in run")


def test_every_check_of_every_layer_has_a_name_of_its_own_and_a_fault() -> None:
    listed = subprocess.run(
        [sys.executable, "-m", "tests.twin", "--list"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    names = [line.split()[1] for line in listed]
    assert len(names) == len(set(names))
    assert {line.split()[0] for line in listed} == set(layer_names())
    n_rows = PAGE.read_text(encoding="utf-8").count("\n| ") - 2  # without its head
    assert n_rows == len(names), "the page is of other checks: python -m tests.twin --page"


def test_a_layer_that_is_tried_beside_the_others_is_waited_for_and_its_failure_is_ours(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with beside(["--list"]) as codes:
        pass
    assert codes == [0]
    assert "machine-plugs" in capfd.readouterr().out, "it says what it finds where we do"
    with beside(["no-such-layer"]) as codes:
        pass
    assert codes == [2]
    with pytest.raises(KeyboardInterrupt), beside(["--list"]):
        raise KeyboardInterrupt


WORKS = """
import subprocess, sys, time
from pathlib import Path
from tests.twin.workbench import Workbench

with Workbench(Path(sys.argv[1])) as work:
    work.start("sleep", "600", log=work.folder / "log")
    if sys.argv[2] == "mount":
        work.run("mount", "-t", "tmpfs", "tmpfs", work.folder)
        work.on_exit(lambda: subprocess.run(["umount", work.folder], check=True))
    print("begun", flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_however_it_is_ended_nothing_goes_on(tmp_path: Path, number: signal.Signals) -> None:
    may_mount = os.geteuid() == 0 and number != signal.SIGKILL and can_mount()
    command = [sys.executable, "-c", WORKS, str(tmp_path), "mount" if may_mount else "no"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == b"begun\n"
        children = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
        assert children
        # Until then it is still setpriv, which may not have asked to end with its parent yet.
        eventually(lambda: all(comm(each) == "sleep" for each in children), "what was started runs")
        run.send_signal(number)
        run.wait(30.0)
    eventually(lambda: not any(is_alive(int(each)) for each in children), "its processes have ended")
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()
    with Workbench(tmp_path) as again:  # which removes what a killed one could not
        assert [path.name for path in tmp_path.glob("run-*")] == [again.folder.name]
    assert not list(tmp_path.glob("run-*"))


def test_what_is_forgotten_is_said_and_ends_the_run_with_an_error(tmp_path: Path) -> None:
    with pytest.raises(TwinError, match="left behind: process"), Workbench(tmp_path) as work:
        forgotten = subprocess.Popen(["sleep", "600"], cwd=work.folder)
    assert processes_of(work.folder) == [forgotten.pid]
    forgotten.kill()
    forgotten.wait()


def test_the_cache_holds_what_was_made_whole_and_nothing_else(tmp_path: Path) -> None:
    def fails(path: Path) -> None:
        path.write_text("half")
        raise OSError("no network")

    with Workbench(tmp_path) as work:
        with pytest.raises(OSError, match="no network"):
            work.cached("thing", fails)
        assert work.cached("thing", lambda path: path.write_text("whole")).read_text() == "whole"
        assert work.cached("thing", fails).read_text() == "whole"
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["thing"]


def comm(pid: str) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def is_alive(pid: int) -> bool:
    """A process that has ended and that nobody has asked after is none."""
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False


def can_mount() -> bool:
    return shutil.which("unshare") is not None and not subprocess.run(
        ["unshare", "--mount", "true"], capture_output=True, check=False
    ).returncode  # fmt: skip
