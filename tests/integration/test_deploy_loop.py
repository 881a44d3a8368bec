"""`python -m deploy loop`, interrupted at every step: a real sshd, real processes, a trainer that stands in.

With LONG_TESTS=1 the real trainer, too.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from device.models.bundles import read_manifest
from device.models.model_store import current_bundle, installed_bundles
from tests.eventually import eventually
from tests.long import long
from tests.off_box import CUT, ROOT, OffBox
from tests.stand_in_trainer import StandInTrainer
from tests.terminal import Terminal
from tests.tiny_runs import make_takes

pytestmark = pytest.mark.timeout(600)
STAND_IN = "import sys\nfrom tests.stand_in_trainer import main\nsys.exit(main())\n"
TINY = "from tests.tiny_runs import TINY\nfrom trainer.settings import PRESETS\nPRESETS['quick'] = TINY\n"
"""Lets the real trainer's shortest preset take seconds."""


class Workstation:
    """Where `deploy loop` is called: a folder of its own, in which another trainer is found than the real one."""

    def __init__(self, folder: Path, box: OffBox, *, is_real: bool = False) -> None:
        self.folder, self.work = folder, folder / "work"
        (folder / "trainer").mkdir(parents=True)
        if is_real:
            (folder / "sitecustomize.py").write_text(TINY)
        else:
            (folder / "trainer" / "__init__.py").touch()
            (folder / "trainer" / "__main__.py").write_text(STAND_IN)
        (folder / "quality").write_text("0.8")
        self.trainer = StandInTrainer(folder)
        self._command = [sys.executable, "-m", "deploy", "loop", CUT, "--work", str(self.work), "--name", "mine"]
        self._command += ["--sign-key", str(box.key)]
        self._environment = {
            **box.sshd.environment,
            "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}",
            "STAND_IN": str(folder),
        }

    def start(self, *options: str) -> subprocess.Popen[str]:
        # Tests that run in the background ignore SIGINT, and who is started by them.
        return subprocess.Popen(
            ["env", "--default-signal=INT", *self._command, *options], cwd=self.folder, env=self._environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def loop(self, *options: str) -> tuple[int, str, str]:
        """Give exit code, standard output and standard error."""
        with self.start(*options) as process:
            out, err = process.communicate()
        return process.returncode, out, err

    def on_a_terminal(self, answer: str) -> tuple[int, str]:
        """Answer the one question; give the exit code, and all that was seen."""
        terminal = Terminal(self._command, self.folder, self._environment)
        terminal.until("[y/N] ")
        terminal.type(f"{answer}\n")
        return terminal.ended(), terminal.seen


@pytest.fixture
def box(tmp_path: Path) -> Iterator[OffBox]:
    made = OffBox(tmp_path)
    made.record()
    yield made
    made.close()


@pytest.fixture
def here(box: OffBox, tmp_path: Path) -> Iterator[Workstation]:
    made = Workstation(tmp_path / "studio", box)
    yield made
    for pid in _sessions(made.work):
        os.kill(pid, signal.SIGKILL)


def test_interrupted_at_several_steps_it_goes_on_from_each(box: OffBox, here: Workstation) -> None:
    (here.folder / "hang").touch()
    with here.start() as process:
        eventually(lambda: list(here.work.glob("rounds/0001/run/begun-0")), "it trains")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
    assert process.returncode == 130
    assert err == "deploy: interrupted: the same command goes on from there\n"
    (here.folder / "kill").write_text("evaluate")
    assert here.loop()[0] == -signal.SIGKILL
    box.proxy.cut_after(200_000)
    code, out, err = here.loop("--yes")
    assert code == 1
    assert re.fullmatch(r"deploy: .*the connection was cut.*run it again, it goes on from there.*\n", err), err
    assert "loudness rank correlation, f16" in out
    box.proxy.cut_after(None)
    assert installed_bundles(box.state) == []
    code, seen = here.on_a_terminal("y")
    assert code == 0, seen
    assert f"push it to {CUT}? [y/N] " in seen
    assert read_manifest(current_bundle(box.state)).name == "mine"
    assert len(here.trainer.asked("train")) == 2  # begun, and gone on with
    assert [len(here.trainer.asked(name)) for name in ("export", "report")] == [1, 1]
    code, out, err = here.loop("--yes", "--json")
    assert (code, json.loads(out)["new"], json.loads(out)["pushed"]) == (0, [], False)
    assert "nothing new to learn from" in err


def test_a_training_whose_loop_was_killed_keeps_others_out_until_it_ends(here: Workstation) -> None:
    (here.folder / "hang").touch()
    with here.start() as process:
        eventually(lambda: list(here.work.glob("rounds/0001/run/begun-0")), "it trains")
        process.kill()
    code, _, err = here.loop("--yes")
    assert code == 2
    assert "another loop, or the training that it began, works in" in err
    for pid in _sessions(here.work):
        os.kill(pid, signal.SIGINT)
    eventually(lambda: not _sessions(here.work), "the training has ended")
    assert here.loop("--yes")[0] == 0


@long
@pytest.mark.parametrize("command", ["train", "export", "evaluate", "report"])
def test_killed_at_any_step_it_goes_on(box: OffBox, here: Workstation, command: str) -> None:
    (here.folder / "kill").write_text(command)
    assert here.loop("--yes")[0] == -signal.SIGKILL
    eventually(lambda: not _sessions(here.work), "all have ended")
    assert here.loop("--yes")[0] == 0
    assert read_manifest(current_bundle(box.state)).name == "mine"


@long
def test_with_the_real_trainer(box: OffBox, tmp_path: Path) -> None:
    shutil.rmtree(box.state / "takes")
    make_takes(box.state / "takes")
    here = Workstation(tmp_path / "studio", box, is_real=True)
    code, out, err = here.loop("--yes", "--json")
    assert code == 0, err
    first = json.loads(out)
    assert (first["new"], first["pushed"]) == (["0001", "0002"], True)
    assert read_manifest(current_bundle(box.state)).version == first["version"]
    make_takes(box.state / "takes", n_takes=1, first=2)
    code, out, err = here.loop("--yes", "--json", "--margin", "0.3")
    assert code == 0, err
    second = json.loads(out)
    assert (second["new"], second["pushed"]) == (["0003"], True)
    assert second["version"] > first["version"]
    assert all(row["before"] is not None for row in second["figures"] if row["words"].startswith("loudness"))
    assert (here.work / "rounds/0002/report.html").stat().st_size > 100_000
    assert str((here.work / "rounds/0001/run").resolve()) in (here.work / "rounds/0002/run/run.json").read_text()


def _sessions(work: Path) -> list[int]:
    """Numbers of the processes that train there."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if str(work).encode() in path.read_bytes():
                found.append(int(path.parent.name))
    return found
