"""What `python -m deploy` says when SSH itself fails, and that it uses the user's own: a real sshd on loopback."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.errors import BoxError
from deploy.keygen import SHELL_COMMAND, Lines, allowed_signer_line, authorized_key_line, install, make_key
from device.models.signature import check_signature, sign_file
from tests.sshd import BOX, USER, Sshd

ROOT = Path(__file__).parents[2]
STATUS = '{"protocol": 1, "running": true, "state": "performing", "model": {"name": "salsa", "version": 3}}'


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """Before a box that knows one answer, and writes down what it was asked."""
    folder = tmp_path_factory.mktemp("ssh") / "sshd"
    server = Sshd(folder, f"echo \"$SSH_ORIGINAL_COMMAND\" >>{folder}/asked; echo '{STATUS}'")
    yield server
    server.close()


def deploy(sshd: Sshd, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "deploy", *arguments],
        cwd=ROOT,
        env=sshd.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_box_is_asked_through_the_users_own_configuration_and_jump_hosts(sshd: Sshd) -> None:
    done = deploy(sshd, "status", BOX, f"{USER}@behind", "--json")
    assert done.returncode == 0, done.stderr
    boxes = json.loads(done.stdout)["boxes"]
    assert [answer["model"]["name"] for answer in boxes.values()] == ["salsa", "salsa"]
    assert set((sshd.folder / "asked").read_text().splitlines()) == {"status"}


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("unknown", f"its host key is not known here: connect once by hand, .*: ssh {USER}@unknown"),
        ("changed", "its host key is not the one that you know: .*: ssh-keygen -R changed"),
        ("refused", "it refuses your key: install one with: python -m deploy keygen .*refused"),
        ("off", "nothing answers SSH there: switch SSH on on the box, or check the port"),
        ("nowhere", "no such host: check the name and the network"),
    ],
)
def test_what_is_wrong_with_the_way_is_said_in_one_line(sshd: Sshd, host: str, said: str) -> None:
    done = deploy(sshd, "log", f"{USER}@{host}")
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"deploy: {USER}@{host}: ")
    assert re.search(said, line), line


def test_a_box_that_cannot_be_asked_is_a_line_of_the_table(sshd: Sshd) -> None:
    done = deploy(sshd, "status", BOX, f"{USER}@off")
    assert done.returncode == 1
    head, well, off = done.stdout.splitlines()
    assert head.split() == ["BOX", "STATE", "MODEL", "FREE", "FAULTS"]
    assert well.split()[:4] == [BOX, "performing", "salsa", "3"]
    assert off.split(maxsplit=1)[0] == f"{USER}@off"
    assert "nothing answers SSH there" in off


def test_a_login_that_gives_a_shell_is_told_from_a_box(sshd: Sshd) -> None:
    done = deploy(sshd, "status", f"{USER}@login")
    assert "does not answer as a dance sampler" in done.stdout
    assert "deploy keygen" in done.stdout


@pytest.mark.parametrize("name", ["-oProxyCommand=touch${IFS}planted", "box;reboot", "box status", "", "a\nb"])
def test_a_name_that_is_no_host_starts_nothing(sshd: Sshd, name: str) -> None:
    done = deploy(sshd, "log", "--", name)
    assert done.returncode == 2
    assert "no name of a host" in done.stderr


def test_a_box_gets_to_know_the_users_keys_and_no_others_are_lost(sshd: Sshd, tmp_path: Path) -> None:
    home = tmp_path / "box"
    (home / ".ssh").mkdir(parents=True)
    keys, signers = home / ".ssh" / "authorized_keys", tmp_path / "etc" / "allowed_signers"
    keys.write_text("ssh-ed25519 AAAAsomebodyelse them\n")
    _stand_in_getent(sshd, home)
    public = make_key(tmp_path / "keys" / "deploy", "may deploy")
    lines = Lines(authorized_key_line(public), allowed_signer_line(public))
    for _ in range(2):  # again changes nothing
        _install(sshd, f"{USER}@login", lines, signers)
    assert keys.read_text().splitlines() == ["ssh-ed25519 AAAAsomebodyelse them", lines.authorized_key]
    assert signers.read_text().splitlines() == [lines.allowed_signer]
    assert (home / "usermod").read_text() == "--shell /bin/sh dance-sampler\n"  # or sshd could run nothing as it
    assert lines.authorized_key.startswith(f'restrict,command="{SHELL_COMMAND}" ssh-ed25519 AAAA')
    path = tmp_path / "manifest.json"
    path.write_bytes(b"{}")
    sign_file(path, tmp_path / "keys" / "deploy")
    assert check_signature(b"{}", path.with_name("manifest.json.sig"), signers) is not None


def test_keys_need_a_login_that_is_let_in(sshd: Sshd) -> None:
    lines = Lines("restrict ssh-ed25519 AAAAkey me", "me ssh-ed25519 AAAAkey")
    with pytest.raises(BoxError, match="you may not log in there: this needs your ordinary login"):
        _install(sshd, f"{USER}@refused", lines, Path("/nonexistent/signers"))


def _install(sshd: Sshd, box: str, lines: Lines, signers: Path) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PATH", sshd.environment["PATH"])
        install(box, lines, signers=str(signers))


def _stand_in_getent(sshd: Sshd, home: Path) -> None:
    """Let the box have a user, whom this machine does not have, as install.sh makes it, with a home of the test's."""
    user = f"dance-sampler:x:1:1::{home}:/usr/sbin/nologin"
    for name, does in {
        "getent": f'[ "$*" = "passwd dance-sampler" ] && echo "{user}"',
        "usermod": f'echo "$*" >{home}/usermod',
    }.items():
        program = sshd.folder / "bin" / name
        program.write_text(f"#!/bin/sh\n{does}\n")
        program.chmod(0o755)
