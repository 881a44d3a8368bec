"""`python -m deploy` to a box that performs: real sshd, real deploy-shell, real supervisor, a card in real time."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from device.models.bundles import FACTORY, write_bundle
from tests.box_process import BoxProcess, Settings
from tests.media_files import make_sound_file, tone
from tests.pulse_card import PulseCard, pulse_card
from tests.sshd import BOX, Sshd, make_key
from tests.tone_bundles import read_files

__all__ = ["pulse_card"]

ROOT = Path(__file__).parents[2]
HEALTH_S = 3.0


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short name, for sockets."""
    path = Path(tempfile.mkdtemp(prefix="box-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def box(folder: Path, pulse_card: PulseCard) -> Iterator[BoxProcess]:
    """A box that plays a video, and takes bundles that are signed."""
    pulse_card.start()
    make_key(folder / "owner")
    signers = folder / "allowed_signers"
    signers.write_text(f"owner {(folder / 'owner.pub').read_text()}")
    music = make_sound_file(folder / "music.wav", tone(60.0, 48_000, 440.0, level=0.25), 48_000)
    store: dict[str, object] = {"require_signature": True, "allowed_signers": str(signers)}
    settings: Settings = {"deploy": {"health_s": HEALTH_S}, "store": store}
    found = BoxProcess(folder, FACTORY.parent / "dance.mp4", music, pulse_card.environment, settings)
    try:
        yield found
    finally:
        found.close()


@pytest.fixture
def sshd(box: BoxProcess) -> Iterator[Sshd]:
    shell = shlex.join([sys.executable, "-m", "device", "deploy-shell", "--config", str(box.config)])
    server = Sshd(box.folder / "sshd", f"cd {ROOT} && exec {shell}")
    yield server
    server.close()


def test_a_push_changes_what_is_heard_and_a_rollback_changes_it_back(box: BoxProcess, sshd: Sshd) -> None:
    manifest, files = read_files(FACTORY)
    bundle = box.folder / "bundle"
    write_bundle(bundle, replace(manifest, name="spring", version=manifest.version + 1), files, box.folder / "owner")
    box.start()
    before = box.status()
    began_s, change = time.monotonic(), _Change(box, before["model"]["path"])
    said = json.loads(_deploy(sshd, "push", BOX, str(bundle), "--json").stdout)
    assert (said["phase"], said["name"], said["signer"]) == ("committed", "spring", "owner")
    changed_s = change.at_s() - began_s
    after = box.status()
    print(f"push to new sound {changed_s:.1f} s, with health {time.monotonic() - began_s:.1f} s")
    print(f"underruns {after['n_xruns'] - before['n_xruns']}")
    assert after["model"]["name"] == "spring"
    assert after["n_restarts"] == before["n_restarts"]
    assert after["pids"]["sound"] == before["pids"]["sound"]  # it played through
    assert "spring" in _deploy(sshd, "status", BOX).stdout
    assert f"plays {manifest.name} {manifest.version} again" in _deploy(sshd, "rollback", BOX).stdout
    assert box.until(lambda said: said["model"]["path"] == str(FACTORY))
    assert _deploy(sshd, "log", BOX, "-n", "50").stdout.splitlines()


def _deploy(sshd: Sshd, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "deploy", *arguments]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=sshd.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


class _Change:
    """Looks out for another model to play."""

    def __init__(self, box: BoxProcess, path: str) -> None:
        self._changed_s = 0.0
        self._thread = threading.Thread(target=self._look, args=(box, path))
        self._thread.start()

    def at_s(self) -> float:
        """When that was, CLOCK_MONOTONIC."""
        self._thread.join()
        return self._changed_s

    def _look(self, box: BoxProcess, path: str) -> None:
        box.until(lambda said: said["model"].get("path", path) != path)
        self._changed_s = time.monotonic()
