"""A real sshd on loopback, with keys, port and configuration of its own, and a user's ssh that knows it.

It runs as whoever runs the tests and lets in that user only. `PATH` gets a folder whose `ssh` is Debian's with a
configuration of the tests': the program under test finds it as it finds its user's.
"""

from __future__ import annotations

import getpass
import os
import shlex
import socket
import subprocess
from functools import partial
from pathlib import Path

from tests.eventually import eventually

SSHD, SSH = "/usr/sbin/sshd", "/usr/bin/ssh"
USER = getpass.getuser()
BOX = f"{USER}@box"
"""As the tests' configuration knows it."""


class Sshd:
    """A server, and a client's configuration.

    Parameters
    ----------
    folder : Path
        Where all of it is kept; must not exist.
    forced : str
        The command that the deploy key is bound to.
    """

    def __init__(self, folder: Path, forced: str) -> None:
        self.folder = folder
        for each in (folder, folder / "bin", folder / "home"):
            each.mkdir(parents=True)
        for name in ("host", "deploy", "owner", "stranger"):
            make_key(folder / name)
        deploy, owner = self._public("deploy"), self._public("owner")
        keys = folder / "authorized_keys"
        keys.write_text(f"restrict,command={_quoted(forced)} {deploy}\n{owner}\n")
        self._known = folder / "known_hosts"
        self._known.write_text(f"box {self._public('host')}\n")
        (folder / "changed").write_text(f"box {self._public('stranger')}\n")
        self.port, self._process = self._start()
        wrapper = folder / "bin" / "ssh"
        wrapper.write_text(f'#!/bin/sh\nexec {SSH} -F {shlex.quote(str(folder / "ssh_config"))} "$@"\n')
        wrapper.chmod(0o755)
        self._write_config()

    @property
    def environment(self) -> dict[str, str]:
        """What a command must have around it to find this user's ssh, and no home of anyone's."""
        path = f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
        return {**os.environ, "PATH": path, "HOME": str(self.folder / "home"), "SSH_AUTH_SOCK": ""}

    def add_host(self, name: str, port: int, **options: str) -> None:
        """Let the user know one more way to the box, tried with the deploy key unless told otherwise."""
        settings = {
            "HostName": "127.0.0.1",
            "Port": str(port),
            "HostKeyAlias": "box",
            "IdentityFile": str(self.folder / "deploy"),
            "IdentitiesOnly": "yes",
            "UserKnownHostsFile": str(self._known),
            "GlobalKnownHostsFile": "/dev/null",
            **options,
        }
        lines = [f"Host {name}", *(f"    {key} {value}" for key, value in settings.items())]
        with (self.folder / "ssh_config").open("a") as config:
            config.write("\n".join(lines) + "\n")

    def close(self) -> None:
        """End the server. Sessions that it has begun go on to their own end."""
        self._process.terminate()
        self._process.wait()

    def _write_config(self) -> None:
        nothing = str(self.folder / "nothing")
        self.add_host("box", self.port)
        self.add_host("login", self.port, IdentityFile=str(self.folder / "owner"))
        self.add_host("behind", self.port, ProxyJump=f"{USER}@login")
        self.add_host("unknown", self.port, UserKnownHostsFile=nothing)
        self.add_host("changed", self.port, UserKnownHostsFile=str(self.folder / "changed"))
        self.add_host("refused", self.port, IdentityFile=str(self.folder / "stranger"))
        self.add_host("off", free_port())
        self.add_host("nowhere", self.port, HostName="nowhere.invalid")

    def _start(self) -> tuple[int, subprocess.Popen[bytes]]:
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # systemd makes it where sshd is its service
        for _ in range(10):
            port = free_port()
            process = self._try_start(port)
            eventually(partial(_is_settled, process, port), "sshd is up")
            if process.poll() is None:
                return port, process
        raise RuntimeError(f"sshd does not start: {(self.folder / 'log').read_text()}")

    def _try_start(self, port: int) -> subprocess.Popen[bytes]:
        config = {
            "Port": str(port),
            "ListenAddress": "127.0.0.1",
            "HostKey": str(self.folder / "host"),
            "AuthorizedKeysFile": str(self.folder / "authorized_keys"),
            "AllowUsers": USER,
            "PermitRootLogin": "prohibit-password",
            "PasswordAuthentication": "no",
            "KbdInteractiveAuthentication": "no",
            "UsePAM": "no",
            "StrictModes": "no",  # folders for tests lie below one that all may write to
            # No dotfiles of whoever runs the tests, and programs that a test puts there.
            "SetEnv": f"HOME={self.folder / 'home'} PATH={self.folder / 'bin'}:/usr/sbin:/usr/bin:/sbin:/bin",
            "PidFile": "none",
            "MaxStartups": "100",
            **self._newer_options(),
        }
        path = self.folder / "sshd_config"
        path.write_text("".join(f"{key} {value}\n" for key, value in config.items()))
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen([SSHD, "-D", "-e", "-f", str(path)], stdin=subprocess.DEVNULL, stderr=log)

    def _newer_options(self) -> dict[str, str]:
        """Leave out the penalties of newer servers: all that the tests do wrong comes from one address."""
        asked = [SSHD, "-t", "-f", "/dev/null", "-h", str(self.folder / "host"), "-o", "PerSourcePenalties=no"]
        done = subprocess.run(asked, capture_output=True, check=False)
        return {} if b"PerSourcePenalties" in done.stderr else {"PerSourcePenalties": "no"}

    def _public(self, name: str) -> str:
        return (self.folder / f"{name}.pub").read_text().strip()


def make_key(path: Path) -> None:
    """Make a key without a passphrase."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", path.name, "-f", str(path)], check=True)


def free_port() -> int:
    """Give a port of loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def answers(port: int) -> bool:
    """Tell whether somebody listens on a port of loopback."""
    try:
        socket.create_connection(("127.0.0.1", port), 1.0).close()
    except OSError:
        return False
    return True


def _is_settled(process: subprocess.Popen[bytes], port: int) -> bool:
    return process.poll() is not None or answers(port)


def _quoted(command: str) -> str:
    return '"' + command.replace("\\", "\\\\").replace('"', '\\"') + '"'
