"""A workstation whose ssh knows several boxes, each behind an sshd of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.sshd import USER, Sshd

ROOT = Path(__file__).parents[1]


class FleetSsh:
    """The first box's client configuration, which gets to know the others, too.

    Parameters
    ----------
    folder : Path
        The inventory is written into it.
    sshds : mapping of str to Sshd
        By the name that ssh knows each by.
    """

    def __init__(self, folder: Path, sshds: Mapping[str, Sshd]) -> None:
        self._first = next(iter(sshds.values()))
        for name, sshd in sshds.items():
            known = {"IdentityFile": sshd.folder / "deploy", "UserKnownHostsFile": sshd.folder / "known_hosts"}
            self._first.add_host(name, sshd.port, **{key: str(path) for key, path in known.items()})
        self.inventory = folder / "boxes.ini"
        self.name(*sshds)

    def name(self, *lines: str) -> None:
        """Write the inventory: hosts are known to ssh by their own names, with the tests' user."""
        box = f"dance_sampler_box='{USER}@{{{{ inventory_hostname }}}}'"
        self.inventory.write_text("\n".join([*lines, "[all:vars]", box, ""]))

    def deploy(self, verb: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `python -m deploy fleet VERB INVENTORY` at home."""
        environ = {name: self._first.environment[name] for name in ("PATH", "SSH_AUTH_SOCK")}
        return deploy_fleet(self._first.folder / "home", verb, str(self.inventory), *arguments, **environ)


def deploy_fleet(home: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m deploy fleet` in a folder, as somebody who lives there."""
    return subprocess.run(
        [sys.executable, "-m", "deploy", "fleet", *arguments],
        cwd=home,
        env={
            **os.environ,
            "HOME": str(home),
            "XDG_CACHE_HOME": str(home / ".cache"),
            "PYTHONPATH": str(ROOT),
            **environ,
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
