"""`device stick` as the box's service runs it: with real signatures, a box that listens, and a real file system."""

from __future__ import annotations

import json
import os
import pwd
import select
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from device.box.status import StatusServer
from device.core.motiongram import MotionSettings
from device.models.bundles import FACTORY, read_manifest, sign
from device.models.model_store import current_bundle
from device.store.store import Take, TakeWriter

ROOT = Path(__file__).parents[2]
RATE_HZ = 8000


class Box:
    """A box with a take, a key whose models it trusts, and a socket where it listens and agrees to all."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.heard = folder, list[dict[str, Any]]()
        self.state, self.key = folder / "state", folder / "owner"
        self.state.mkdir()
        self._record()
        keygen = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "owner"]
        subprocess.run([*keygen, "-f", str(self.key)], check=True)
        signers = folder / "allowed_signers"
        signers.write_text(f"owner {self.key.with_suffix('.pub').read_text()}")
        self.config = folder / "box.toml"
        self.config.write_text(
            f'[state]\nfolder = "{self.state}"\n[store]\nallowed_signers = "{signers}"\nrequire_signature = false\n'
            f'[status]\nsocket = "{folder / "status"}"\n'
        )
        self._server, self._is_over = StatusServer(folder / "status"), threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def end(self) -> None:
        self._is_over.set()
        self._thread.join()
        self._server.close()

    def _record(self) -> None:
        writer = TakeWriter(self.state / "takes", MotionSettings(), RATE_HZ, {})
        writer.add_columns(np.ones((500, 112), np.float32), np.arange(500) / 50.0)
        for second in range(10):
            writer.add_sound(np.ones(RATE_HZ, np.float32) / 8, float(second))
        writer.finish()

    def _serve(self) -> None:
        while not self._is_over.is_set():
            select.select([self._server], [], [], 0.01)
            for request in self._server.serve():
                self.heard.append(request.content)
                request.reply({"ok": True})


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    made = Box(tmp_path)
    yield made
    made.end()


def stick_command(box: Box, *argv: str | Path) -> tuple[int, dict[str, Any]]:
    command = [sys.executable, "-m", "device", "stick", "--config", str(box.config), "--json", *map(str, argv)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def prepare(stick: Path, key: Path | None) -> Path:
    """A stick with a bundle."""
    bundle = stick / "dance-sampler" / "bundle"
    shutil.copytree(FACTORY, bundle)
    if key is not None:
        sign(bundle, key)
    return bundle


def test_a_signed_bundle_is_installed_and_played_takes_are_copied_and_the_box_is_told(box: Box, tmp_path: Path) -> None:
    stick = tmp_path / "stick"
    bundle = prepare(stick, box.key)
    code, report = stick_command(box, "--folder", stick)
    manifest = read_manifest(bundle)
    assert (code, report["problems"]) == (0, [])
    assert (report["installed"], report["n_copied"]) == (f"{manifest.name} {manifest.version}", 1)
    playing = current_bundle(box.state)
    assert playing != FACTORY
    changes = [each["path"] for each in box.heard if each["op"] == "trial"]
    assert [Path(path).resolve() for path in changes] == [playing.resolve()]
    phases = [each["phase"] for each in box.heard if each["op"] == "stick"]
    assert (phases[0], phases[-1]) == ("busy", "done")
    (folder,) = (stick / "dance-sampler" / "takes").iterdir()
    assert Take.open(folder / "0001").n_columns == 500


def test_what_nobody_has_signed_is_not_installed_whatever_the_configuration_allows_others(
    box: Box, tmp_path: Path
) -> None:
    prepare(tmp_path / "stick", None)
    code, report = stick_command(box, "--folder", tmp_path / "stick")
    assert (code, report["installed"], report["n_copied"]) == (1, None, 1)
    assert report["problems"][0].startswith("no model was installed: ")
    assert current_bundle(box.state) == FACTORY
    assert box.heard[-1]["phase"] == "failed"


def test_a_stick_of_others_is_not_even_told_of(box: Box, tmp_path: Path) -> None:
    (tmp_path / "stick").mkdir()
    code, report = stick_command(box, "--folder", tmp_path / "stick")
    assert (code, report["is_ours"], box.heard) == (0, False, [])


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter, as a box's is; pytest's own are not."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_what_is_installed_is_the_boxs_users_and_not_roots(open_folder: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    user = pwd.getpwnam("nobody")
    started = subprocess.run(
        ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups",
         "sh", "-c", '"$0" -c ""', sys.executable],
        capture_output=True, check=False,
    )  # fmt: skip
    if started.returncode != 0:
        pytest.skip("this Python lies where no other user may start it, and a model is tried by one who may")
    box = Box(open_folder)
    try:
        for path in [box.state, *box.state.rglob("*")]:
            os.chown(path, user.pw_uid, user.pw_gid)
        prepare(open_folder / "stick", box.key)
        code, report = stick_command(box, "--folder", open_folder / "stick")
    finally:
        box.end()
    assert (code, report["problems"]) == (0, [])
    owners = {(path.lstat().st_uid, path.lstat().st_gid) for path in (box.state / "models").rglob("*")}
    assert owners == {(user.pw_uid, user.pw_gid)}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A real disk with a file system, such as a stick has, of 8 MB; with our folder on it."""
    image, point = tmp_path / "disk.img", tmp_path / "mounted"
    with image.open("wb") as file:
        file.truncate(8 << 20)
    try:
        subprocess.run(["mkfs.ext4", "-q", str(image)], check=True, capture_output=True)
        done = subprocess.run(["losetup", "-f", "--show", str(image)], check=True, capture_output=True, text=True)
        device = Path(done.stdout.strip())
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"this machine does not let us make a disk: {error}")
    try:
        point.mkdir()
        if subprocess.run(["mount", str(device), str(point)], check=False, capture_output=True).returncode != 0:
            pytest.skip("this machine does not let us mount a disk")
        (point / "dance-sampler").mkdir()
        subprocess.run(["umount", str(point)], check=True)
        yield device
    finally:
        subprocess.run(["umount", "--quiet", str(device)], check=False)  # should it be mounted still
        subprocess.run(["losetup", "-d", str(device)], check=True)


def on_disk(device: Path, point: Path) -> dict[str, int]:
    """Files on a disk that is not mounted."""
    subprocess.run(["mount", "-o", "ro", str(device), str(point)], check=True)
    try:
        files = [path for path in (point / "dance-sampler").rglob("*") if path.is_file()]
        return {f"{path.parent.name}/{path.name}": path.stat().st_size for path in files}
    finally:
        subprocess.run(["umount", str(point)], check=True)


def test_a_real_disk_is_mounted_filled_and_let_go(box: Box, disk: Path, tmp_path: Path) -> None:
    code, report = stick_command(box, "--device", disk)
    assert (code, report["n_copied"], report["problems"]) == (0, 1, [])
    assert str(disk) not in Path("/proc/mounts").read_text()
    names = {"take.json", "sound.bin", "columns.bin", "SHA256SUMS"}
    assert on_disk(disk, tmp_path / "mounted").keys() == {f"0001/{name}" for name in names}
    code, report = stick_command(box, "--device", disk)
    assert (code, report["n_copied"], report["n_there"]) == (0, 0, 1)


def test_a_real_disk_that_may_not_be_written_to_is_left_as_it_is(box: Box, disk: Path, tmp_path: Path) -> None:
    subprocess.run(["blockdev", "--setro", str(disk)], check=True)
    code, report = stick_command(box, "--device", disk)
    subprocess.run(["blockdev", "--setrw", str(disk)], check=True)
    assert (code, report["n_left"]) == (1, 1)
    assert "read-only" in report["problems"][0]
    assert on_disk(disk, tmp_path / "mounted") == {}
    assert str(disk) not in Path("/proc/mounts").read_text()


@pytest.mark.parametrize(
    ("option", "path", "code", "said"),
    [
        ("--device", "/dev/null", 2, "is no disk"),
        ("--device", "/dev/none", 1, "there is no"),
        ("--folder", "/dev/null", 2, "is no folder"),
    ],
)
def test_what_is_no_stick_is_one_line(option: str, path: str, code: int, said: str) -> None:
    command = [sys.executable, "-m", "device", "stick", option, path]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (code, 1)
    assert said in done.stderr
