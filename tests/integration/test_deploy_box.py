"""`python -m deploy` to a box: a real sshd on loopback, the real forced command, real keys; the box itself is off.

DEPLOY_CUTS=200 cuts the connection at so many places; a few otherwise.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deploy.archive import pack
from device.core.motiongram import MotionSettings
from device.models.bundles import FACTORY, read_manifest, sign
from device.models.model_store import current_bundle
from device.store.store import Take, TakeWriter
from tests.cut_proxy import CutProxy
from tests.eventually import eventually
from tests.sshd import BOX, USER, Sshd, make_key

ROOT = Path(__file__).parents[2]
N_CUTS = int(os.environ.get("DEPLOY_CUTS", "2"))
RATE_HZ = 8000
FULL_DISK = """
import os, shutil
usage = shutil.disk_usage
shutil.disk_usage = lambda path: usage(path)._replace(free=1000) if os.path.exists({mark!r}) else usage(path)
"""
"""While a file is there, the box's disk has no room."""
CUT = f"{USER}@cut"


class OffBox:
    """The state of a box that does not run, behind its sshd, and a way to it that can be cut.

    Attributes
    ----------
    bundle : Path
        The factory's, signed by a key that the box knows.
    """

    def __init__(self, folder: Path) -> None:
        self.state, self.key = folder / "state", folder / "owner"
        self.state.mkdir()
        make_key(self.key)
        signers = folder / "allowed_signers"
        signers.write_text(f"owner {self.key.with_suffix('.pub').read_text()}")
        self.config = folder / "box.toml"
        self.config.write_text(
            f'[state]\nfolder = "{self.state}"\n[store]\nallowed_signers = "{signers}"\n'
            f'[status]\nsocket = "{folder / "status"}"\n'
        )
        self.bundle = shutil.copytree(FACTORY, folder / "bundle")
        sign(self.bundle, self.key)
        self.is_full = folder / "full"
        (folder / "site").mkdir()
        (folder / "site" / "sitecustomize.py").write_text(FULL_DISK.format(mark=str(self.is_full)))
        shell = shlex.join(
            [
                "env",
                f"PYTHONPATH={folder / 'site'}",
                sys.executable,
                "-m",
                "device",
                "deploy-shell",
                "--config",
                str(self.config),
            ]
        )
        self.sshd = Sshd(folder / "sshd", f"cd {ROOT} && exec {shell}")
        self.proxy = CutProxy(self.sshd.port)
        self.sshd.add_host("cut", self.proxy.port)

    def close(self) -> None:
        self.proxy.close()
        self.sshd.close()

    def deploy(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "deploy", *arguments],
            cwd=ROOT,
            env=self.sshd.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def record(self, n_seconds: int = 10) -> Path:
        """Let a take lie on the box."""
        writer = TakeWriter(self.state / "takes", MotionSettings(), RATE_HZ, {})
        noise = np.random.default_rng(n_seconds)
        n_columns = 50 * n_seconds
        writer.add_columns(noise.random((n_columns, 112), np.float32), np.arange(n_columns) / 50.0)
        for second in range(n_seconds):
            writer.add_sound(noise.integers(-9000, 9000, RATE_HZ, np.int16), float(second))
        return writer.finish().path

    def holds(self) -> dict[str, bytes]:
        """All that the box keeps, but for what is on its way in."""
        found = {}
        for path in sorted(self.state.rglob("*")):
            name = path.relative_to(self.state)
            if name.parts[0] not in ("incoming", "deploy"):
                found[str(name)] = path.readlink().name.encode() if path.is_symlink() else _content(path)
        return found

    def sessions(self) -> list[Path]:
        """Processes that answer here."""
        config = str(self.config).encode()
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                if config in path.read_bytes():
                    found.append(path)
        return found

    def part(self) -> bytes:
        """What has come of an upload."""
        parts = list((self.state / "incoming").glob("*.part"))
        return parts[0].read_bytes() if parts else b""


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


def _content(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b"a folder"
