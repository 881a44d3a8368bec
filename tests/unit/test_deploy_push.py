from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from deploy import push, status
from deploy.archive import pack
from deploy.box import Box
from deploy.errors import BoxError, CutError
from deploy.signing import SIGN_KEY, is_signed_by, make_signed
from deploy.ssh import BOX_USER, DEPLOY_KEY, check_box, explain, readable, ssh_command
from device.core.bundle import SIGNATURE
from device.core.errors import BundleError, UsageError
from device.core.wire import PROTOCOL_VERSION, digest_of, unpack_bundle
from device.models.bundles import FACTORY
from tests.fake_box import FakeSsh
from tests.sshd import make_key

DATA = bytes(range(256)) * 40
DIGEST = digest_of(DATA)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return shutil.copytree(FACTORY, tmp_path / "bundle")


def test_what_a_box_has_is_not_sent_again() -> None:
    ssh = FakeSsh()
    for place in (0, 1, 5000, len(DATA) - 1):
        ssh.uploads.clear()
        ssh.left = place
        with pytest.raises(CutError, match="run it again, it goes on from there; the box plays what it played"):
            push.upload(Box(ssh), DIGEST, DATA)
        ssh.left = None
        assert push.upload(Box(ssh), DIGEST, DATA) == len(DATA) - place
        assert ssh.uploads[DIGEST] == DATA


def test_the_stream_is_the_bundles_files(bundle: Path) -> None:
    assert unpack_bundle(pack(bundle)) == {path.name: path.read_bytes() for path in FACTORY.iterdir()}


@pytest.mark.parametrize(
    ("last", "said"),
    [
        ({"ok": False, "phase": "rolled_back", "reason": "quiet"}, "tiny 7 was not kept, the model before it plays: q"),
        ({"ok": False, "error": "version 7 is not newer: allow"}, "box: version 7 is not newer: allow"),
        ({"ok": True, "phase": "trial", "seconds": 3}, "was not kept, .* it ended at 'trial'"),
    ],
)
def test_a_model_that_was_not_kept_is_a_failure_with_its_reason(last: dict[str, Any], said: str) -> None:
    ssh = FakeSsh()
    ssh.steps = [{"ok": True, "phase": "verified", "name": "tiny", "version": 7}, last]
    with pytest.raises(BoxError, match=said):
        push.activate(Box(ssh), DIGEST, allow_downgrade=False)


def test_what_was_said_before_stays_known_at_the_end() -> None:
    ssh = FakeSsh()
    ssh.steps = [{"phase": "verified", "name": "tiny", "version": 7}, {"phase": "committed", "ok": True}]
    said = push.activate(Box(ssh), DIGEST, allow_downgrade=True)
    assert push.model_words(said) == "tiny 7"
    assert ssh.asked == [f"activate {DIGEST} allow-downgrade"]
    assert push.phase_words({"phase": "trial", "seconds": 10, "of_s": 60}) == "trial, 10 of 60 s"


@pytest.mark.parametrize(
    ("protocol", "said"),
    [(PROTOCOL_VERSION - 1, "run deploy/install.sh of this version on it"), (99, "update this program"), ("x", "upd")],
)
def test_another_protocol_says_which_side_is_to_be_updated(protocol: object, said: str) -> None:
    ssh = FakeSsh()
    ssh.protocol = protocol
    with pytest.raises(BoxError, match=f"it speaks protocol {protocol}, this program {PROTOCOL_VERSION}: {said}"):
        Box(ssh).offset(DIGEST)


def test_an_unsigned_bundle_is_signed_once_with_the_users_key(bundle: Path, tmp_path: Path) -> None:
    make_signed(bundle, None, home=tmp_path)
    assert not (bundle / SIGNATURE).exists()
    (tmp_path / ".ssh").mkdir()
    make_key(tmp_path / SIGN_KEY)
    make_signed(bundle, None, home=tmp_path)
    assert is_signed_by(bundle, tmp_path / SIGN_KEY)
    make_key(tmp_path / "other")
    make_signed(bundle, tmp_path / "other", home=tmp_path)
    assert is_signed_by(bundle, tmp_path / "other")
    assert not is_signed_by(bundle, tmp_path / SIGN_KEY)
    signed_at = (bundle / SIGNATURE).stat().st_ino
    make_signed(bundle, tmp_path / "other", home=tmp_path)
    make_signed(bundle, None, home=tmp_path)
    assert (bundle / SIGNATURE).stat().st_ino == signed_at  # not signed again: a box may have half of it


def test_a_damaged_bundle_is_not_sent(bundle: Path) -> None:
    path = bundle / "model.f16.tflite"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(BundleError, match="was changed or damaged"):
        make_signed(bundle, None)


def test_ssh_is_asked_for_the_box_and_nothing_else(tmp_path: Path) -> None:
    command = ssh_command("box.local", "status", asks=False, home=tmp_path)
    assert command[0] == "ssh"
    assert command[-3:] == ["--", "box.local", "status"]
    assert "BatchMode=yes" in command
    assert command[command.index("-l") + 1] == BOX_USER
    assert "-i" not in command
    (tmp_path / ".ssh").mkdir()
    (tmp_path / DEPLOY_KEY).write_text("")
    command = ssh_command("me@box.local", "status", asks=True, home=tmp_path)
    assert "BatchMode=no" in command
    assert "-l" not in command
    assert command[command.index("-i") + 1] == str(tmp_path / DEPLOY_KEY)
    # Every option is one that ssh knows: -G only prints what holds.
    done = subprocess.run([command[0], "-G", *command[1:]], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("box", ["box", "box.local", "me@10.0.0.7", "fe80::1%eth0", "ssh://me@box:2222", "[::1]"])
def test_names_of_hosts_are_taken(box: str) -> None:
    assert check_box(box) == box


@pytest.mark.parametrize("box", ["", "-v", "a b", "a;b", "$(id)", "a\nb", "me@-oX", "x" * 256])
def test_what_is_no_host_is_not(box: str) -> None:
    with pytest.raises(UsageError):
        check_box(box)


@pytest.mark.parametrize(
    ("text", "is_cut", "said"),
    [
        ("client_loop: send disconnect: Broken pipe\r\n", True, "the connection was cut"),
        ("Timeout, server box not responding.\n", True, "the connection was cut"),
        ("Connection closed by 10.0.0.7 port 22\n", True, "the connection was cut"),
        ("kex_exchange_identification: Connection closed by remote host\n", True, "was cut"),
        ("ssh: connect to host box port 22: No route to host\n", False, "is it switched on"),
        ("ssh: connect to host box port 22: Connection timed out\n", False, "is it switched on"),
        ("Received disconnect from 10.0.0.7 port 22:2: Too many authentication failures\n", False, "too many keys"),
        (
            "/x/config: line 2: Bad configuration option: nme\n/x/config: terminating, 1 bad\n",
            False,
            "refuses its conf",
        ),
        ("", True, "try by hand: ssh dance-sampler@box status"),
    ],
)
def test_what_ssh_says_is_told_with_what_to_do(text: str, *, is_cut: bool, said: str) -> None:
    error = explain("box", text)
    assert said in str(error)
    assert isinstance(error, CutError) == is_cut
    assert "\n" not in str(error)


def test_what_a_box_says_cannot_steer_the_terminal() -> None:
    ssh = FakeSsh()
    ssh.listed = {"ok": False, "error": "\x1b]0;owned\x07\x1b[2J\nno room\u202e"}
    with pytest.raises(BoxError) as caught:
        Box(ssh).listed()
    assert all(each.isprintable() for each in str(caught.value))
    assert readable("a\x00b\tc" + "d" * 999) == "a b c" + "d" * 295
    assert "\x1b" not in status.table({"box": {"state": "\x1b[31mred", "model": {"name": "\x1b", "version": 1}}})


def test_the_table_shows_each_box_in_a_line() -> None:
    said: dict[str, dict[str, Any]] = {
        "stage.local": {
            "running": True,
            "state": "performing",
            "safe": True,
            "model": {"name": "salsa", "version": 12},
            "disk": {"free_bytes": 3.2e9, "reserve_bytes": 5e8},
            "missing": {"camera": "no camera: plug it in"},
        },
        "off": {"running": False, "models": [{"name": "old", "version": 1, "is_current": True}], "disk": {}},
        "full": {"running": True, "disk": {"free_bytes": 1e8, "reserve_bytes": 5e8}, "missing": {}},
        "gone": {"error": "it cannot be reached: is it switched on, and on this network?"},
        "odd": {"disk": 3, "model": [], "missing": "x", "state": None},
    }
    assert status.table(json.loads(json.dumps(said))).splitlines() == [
        "BOX          STATE                  MODEL     FREE         FAULTS",
        "stage.local  performing, safe mode  salsa 12  3.2 GB       no camera: plug it in",
        "off          does not run           old 1     ?            none",
        "full         unknown                ?         0.1 GB FULL  none",
        "gone         it cannot be reached: is it switched on, and on this network?",
        "odd          None                   ?         ?            none",
    ]
