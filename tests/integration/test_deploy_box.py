"""`python -m deploy` to a box: a real sshd on loopback, the real forced command, real keys; the box itself is off.

DEPLOY_CUTS=200 cuts the connection at so many places; a few otherwise.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deploy.archive import pack
from device.models.bundles import read_manifest
from device.models.model_store import current_bundle
from device.store.store import Take
from tests.eventually import eventually
from tests.off_box import CUT, OffBox
from tests.sshd import BOX, make_key
from tests.terminal import CTRL_C, Terminal

ROOT = Path(__file__).parents[2]
N_CUTS = int(os.environ.get("DEPLOY_CUTS", "2"))


@pytest.fixture
def box(tmp_path: Path) -> Iterator[OffBox]:
    made = OffBox(tmp_path)
    yield made
    made.close()


def test_a_bundle_goes_to_a_box_and_its_takes_come_back(box: OffBox, tmp_path: Path) -> None:
    takes = [box.record(), box.record(20)]
    done = box.deploy("push", BOX, str(box.bundle), "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    manifest = read_manifest(box.bundle)
    assert (said["name"], said["version"], said["signer"]) == (manifest.name, manifest.version, "owner")
    assert said["n_sent"] == said["n_bytes"] == len(pack(box.bundle))
    assert {path.name: path.read_bytes() for path in current_bundle(box.state).iterdir()} == {
        path.name: path.read_bytes() for path in box.bundle.iterdir()
    }
    home = tmp_path / "takes"
    assert box.deploy("pull", BOX, "--takes", str(home)).returncode == 0
    assert [Take.open(home / path.name).facts for path in takes] == [Take.open(path).facts for path in takes]
    assert box.deploy("pull", BOX, "--takes", str(home)).stdout == f"{BOX}: no new takes\n"
    assert f"does not run  {manifest.name}" in box.deploy("status", BOX).stdout


def test_a_connection_that_is_cut_leaves_the_box_as_it_was_and_is_gone_on_from(box: OffBox) -> None:
    data, before = pack(box.bundle), box.holds()
    places = [3_000, *np.random.default_rng(6).integers(4_000, len(data), N_CUTS).tolist(), len(data) - 1]
    n_there = 0
    for place in places:
        is_used = place > len(data) / 2  # the box has begun to keep it; otherwise what was under way is lost as well
        shutil.rmtree(box.state / "incoming", ignore_errors=True)
        box.proxy.cut_after(place, first=partial(eventually, box.part, "a part is there") if is_used else None)
        done = box.deploy("push", CUT, str(box.bundle))
        assert done.returncode == 1
        assert len(done.stderr.splitlines()) == 1
        assert "the connection was cut" in done.stderr, done.stderr
        eventually(lambda: not box.sessions(), "the box has seen that the connection is cut")
        assert box.holds() == before
        n_there = len(box.part())
        assert data.startswith(box.part())
        assert n_there > 0 or not is_used
    box.proxy.cut_after(None)
    done = box.deploy("push", CUT, str(box.bundle), "--json")
    assert done.returncode == 0, done.stderr
    assert _json(done)["n_sent"] == len(data) - n_there
    assert read_manifest(current_bundle(box.state)).version == read_manifest(box.bundle).version


def test_on_a_terminal_it_says_how_far_it_is_and_ctrl_c_leaves_the_box_as_it_was(box: OffBox) -> None:
    before, arrived, goes_on = box.holds(), threading.Event(), threading.Event()

    def hold() -> None:
        arrived.set()
        goes_on.wait(60)

    box.proxy.cut_after(400_000, first=hold)
    command = [sys.executable, "-m", "deploy", "push", CUT, str(box.bundle)]
    terminal = Terminal(command, ROOT, box.sshd.environment)
    terminal.until(f"sending to {CUT}: ")
    assert arrived.wait(60)
    terminal.type(CTRL_C)
    assert terminal.ended() == 130
    goes_on.set()
    last = terminal.seen.replace("\r", "\n").split("\n")[-2].removeprefix("\033[K")
    assert last == "", terminal.seen
    assert terminal.seen.count(f"deploy: {CUT}: interrupted: it plays what it played; run it again, it goes on") == 1
    eventually(lambda: not box.sessions(), "the box has seen that the connection is cut")
    assert box.holds() == before
    box.proxy.cut_after(None)
    terminal = Terminal(command, ROOT, box.sshd.environment)
    assert terminal.ended() == 0
    assert " MB" in terminal.seen
    assert "verified" in terminal.seen or "pending" in terminal.seen
    assert read_manifest(current_bundle(box.state)).version == read_manifest(box.bundle).version


def test_takes_that_were_cut_short_on_their_way_come_whole_the_next_time(box: OffBox, tmp_path: Path) -> None:
    take, home = box.record(60), tmp_path / "takes"
    n_bytes = sum(path.stat().st_size for path in take.iterdir())
    for place in np.random.default_rng(7).integers(1_000, n_bytes, max(2, N_CUTS // 2)).tolist():
        box.proxy.cut_after(None, back=place)
        done = box.deploy("pull", CUT, "--takes", str(home))
        assert done.returncode == 1 or (home / take.name).is_dir()
        assert [path.name for path in home.glob("[0-9]*")] in ([], [take.name])
    box.proxy.cut_after(None)
    assert box.deploy("pull", CUT, "--takes", str(home)).returncode == 0
    assert {path.name: path.read_bytes() for path in (home / take.name).iterdir()} == {
        path.name: path.read_bytes() for path in take.iterdir()
    }


def test_of_two_pushes_at_once_each_is_told_and_one_plays(box: OffBox) -> None:
    command = [sys.executable, "-m", "deploy", "push", BOX, str(box.bundle)]
    pushes = [
        subprocess.Popen(
            command, cwd=ROOT, env=box.sshd.environment, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL
        )
        for _ in range(2)
    ]
    said = [(push.communicate()[1], push.returncode) for push in pushes]
    assert 0 in [code for _, code in said]
    for words, code in said:
        assert code == 0 or "another push to this box is under way" in words or "push it again" in words, words
    assert read_manifest(current_bundle(box.state)).version == read_manifest(box.bundle).version
    assert box.deploy("push", BOX, str(box.bundle)).returncode == 0


def test_a_full_card_is_said_and_the_push_works_once_there_is_room(box: OffBox) -> None:
    before = box.holds()
    box.is_full.touch()
    done = box.deploy("push", BOX, str(box.bundle))
    assert done.returncode == 1
    assert done.stderr == f"deploy: {BOX}: the box's card is full: pull its takes, then delete them there\n"
    assert box.holds() == before
    box.is_full.unlink()
    assert box.deploy("push", BOX, str(box.bundle)).returncode == 0


def test_a_bundle_that_another_signed_is_refused_in_words(box: OffBox, tmp_path: Path) -> None:
    before = box.holds()
    make_key(tmp_path / "another")
    done = box.deploy("push", BOX, str(box.bundle), "--sign-key", str(tmp_path / "another"))
    assert done.returncode == 1
    assert "signer is not in" in done.stderr
    assert box.holds() == before
    done = box.deploy("push", BOX, str(box.bundle), "--sign-key", str(box.key))
    assert done.returncode == 0, done.stderr


def test_nothing_can_be_asked_of_the_deploy_key_but_its_verbs(box: OffBox) -> None:
    before = box.holds()
    for line in ("", "status; id", "pull-take 1 ../../x 0"):
        command = ["ssh", BOX, *([line] if line else [])]
        done = subprocess.run(
            command, env=box.sshd.environment, stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
        assert done.returncode == 1, line
        assert json.loads(done.stdout)["ok"] is False
    assert box.holds() == before


def test_the_log_of_a_box_without_a_journal_says_why_there_is_none(box: OffBox) -> None:
    done = box.deploy("log", BOX, "-n", "5")
    assert (done.returncode, done.stdout != "") in ((0, True), (1, False))
    assert done.returncode == 0 or done.stderr.startswith(f"deploy: {BOX}: ")


def _json(done: subprocess.CompletedProcess[str]) -> Any:
    return json.loads(done.stdout)
