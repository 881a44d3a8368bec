"""The owner's workstation before a box in a container: their ssh, a home of their own, `python -m deploy`."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from device.models.bundles import FACTORY, write_bundle
from tests.sshd import make_key
from tests.tone_bundles import read_files
from tests.twin.container.box import Box
from tests.twin.workbench import ROOT

HOST = "box.local"
N_PUSHES = 4
SLOW = ("too slow", "underrun", "late", "blocks a second")
"""Words of a trial that a busy machine has spoilt: a bundle may be pushed again."""


class Workstation:
    """A home with an SSH configuration in which `box.local` is the box, and a key for its user `pi`.

    Parameters
    ----------
    folder : Path
        Must not exist.
    box : Box
        Runs; its user `pi` gets this owner's key, as Raspberry Pi Imager gives it.
    """

    def __init__(self, folder: Path, box: Box) -> None:
        self.folder, self._box = folder, box
        for each in (folder / "bin", folder / ".ssh"):
            each.mkdir(parents=True, mode=0o700)
        make_key(folder / ".ssh/id_ed25519")
        public = (folder / ".ssh/id_ed25519.pub").read_text()
        box.as_pi(f"mkdir -m 700 -p .ssh && echo {shlex.quote(public.strip())} >.ssh/authorized_keys")
        host_key = (box.container.root / "etc/ssh/ssh_host_ed25519_key.pub").read_text().split()
        # What one accepts who has compared the fingerprint.
        (folder / ".ssh/known_hosts").write_text(f"{HOST} {host_key[0]} {host_key[1]}\n")
        wrapper = folder / "bin/ssh"
        wrapper.write_text(f'#!/bin/sh\nexec /usr/bin/ssh -F {shlex.quote(str(folder / ".ssh/config"))} "$@"\n')
        wrapper.chmod(0o755)
        self.connect()

    def connect(self) -> None:
        """Find the box anew: it was started again."""
        network = ["nsenter", "--target", str(self._box.container.leader), "--net"]
        relay = shlex.join([*network, sys.executable, str(Path(__file__).with_name("relay.py")), "22"])
        (self.folder / ".ssh/config").write_text(
            f"Host {HOST}\n  ProxyCommand {relay}\n  UserKnownHostsFile {self.folder}/.ssh/known_hosts\n"
            f"  GlobalKnownHostsFile /dev/null\n  IdentityFile {self.folder}/.ssh/id_ed25519\n"
        )

    def deploy(self, *arguments: str | Path) -> str:
        """Run `python -m deploy`, and give what it printed.

        Raises
        ------
        AssertionError
            It failed.
        """
        done = self.run([sys.executable, "-m", "deploy", *map(str, arguments)])
        assert done.returncode == 0, f"deploy {arguments[0]}: {done.stderr.strip() or done.stdout.strip()}"
        return done.stdout

    def ask(self, *arguments: str | Path) -> dict[str, Any]:
        """As `deploy`, with --json: give the object."""
        return dict(json.loads(self.deploy(*arguments, "--json")))

    def push(self, bundle: Path) -> int:
        """Push a bundle until it is kept, and give how often that was; who pushes before a show does the same.

        Raises
        ------
        AssertionError
            It is not kept, for another reason than that this machine is busy, or again and again.
        """
        for n_pushes in range(1, N_PUSHES + 1):
            done = self.run([sys.executable, "-m", "deploy", "push", HOST, str(bundle)])
            if done.returncode == 0:
                return n_pushes
            assert any(word in done.stderr for word in SLOW), f"deploy push: {done.stderr.strip()}"
        raise AssertionError(f"deploy push, {N_PUSHES} times: {done.stderr.strip()}")

    def run(self, command: Sequence[str], given: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command at home."""
        environ = {**os.environ, "HOME": str(self.folder), "SSH_AUTH_SOCK": "", "LC_ALL": "C"}
        environ["PATH"] = f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
        return subprocess.run(
            command, cwd=ROOT, env=environ, input=given, capture_output=True, text=True, check=False, timeout=300.0
        )  # fmt: skip

    def bundle(self, name: str, n_newer: int = 1) -> Path:
        """Make a bundle that is newer than the factory's, by so many versions."""
        manifest, files = read_files(FACTORY)
        path = self.folder / name
        write_bundle(path, replace(manifest, name=name, version=manifest.version + n_newer), files)
        return path
