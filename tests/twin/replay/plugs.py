"""Machines whose plug is pulled: an emulated box that ends while it records, saves, takes a model in or changes it.

What its kernel has given to its disk is there then, and what it has not is lost, as with a card that is as fast as it
says; slower and less honest disks are the replay's. Before it is switched on again its state is looked at from outside.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from deploy.signing import SIGN_KEY
from device.models.bundles import FACTORY, sign, write_bundle
from tests.power_cut.box import LOST_S, name_of
from tests.tone_bundles import read_files
from tests.twin.container.box import CONFIG, NAME, PYTHON, STATE
from tests.twin.machine.box import EmulatedBox
from tests.twin.machine.image import Image
from tests.twin.replay.look import to_json
from tests.twin.replay.real_box import Played
from tests.twin.workbench import ROOT, Workbench, end

HOST = "box.local"
LATE_S = 4.0
"""So much later than told may be what an emulated recorder has written, beside what may be lost."""
HEALTH_S = 3
TURNS = ("recording", "saving", "deploying", "switching")
FSYNC_OF_NO_FILE = """\
import os, stat
sync = os.fsync
os.fsync = lambda file: None if stat.S_ISREG(os.fstat(file).st_mode) else sync(file)
"""


class Plug:
    """A box in a machine, its plug, and what it has promised.

    Parameters
    ----------
    work : Workbench
    image : Image
    bundle : Path
        A model that an emulated machine can play.
    seed : int
        Of the moments.

    Attributes
    ----------
    moments : list of str
        When the plug was pulled, each time.
    """

    def __init__(self, work: Workbench, image: Image, bundle: Path, seed: int) -> None:
        self.moments: list[str] = []
        self._work, self._bundle, self._rng = work, bundle, np.random.default_rng(seed)
        self._folder = work.folder / "plugs"
        self._drives = image.drives(work, self._folder)
        self._owner = Owner(self._folder / "owner", image.key)
        self._n_bundles = 0
        self._promised = Played({}, None, (FACTORY.name,))
        self.box = EmulatedBox(work, image, "plugs", drives=self._drives)
        self.box.guest.wait_for_login()
        self._set_up()
        self._note()

    def switch_on(self) -> None:
        """Let it start again, until it performs; what it plays and keeps then is what is promised."""
        self.box.switch_on()
        self.box.guest.wait_for_login()
        self._note()

    def pull_while(self, doing: str) -> list[str]:
        """Have it do one of `TURNS`, pull the plug meanwhile, and say what is not there of what was promised."""
        self.moments.append(getattr(self, f"_{doing}")())
        self.box.switch_off()
        state, promised = self._folder / "state.img", self._folder / "promised.json"
        self._work.run("qemu-img", "convert", "-O", "raw", self._drives[1].path, state)
        promised.write_text(to_json(self._promised), encoding="utf-8")
        look = ["unshare", "--mount", sys.executable, "-m", "tests.twin.replay.look"]
        said = self._work.run(*look, state, promised, cwd=ROOT)
        return [f"{self.moments[-1]}: {line}" for line in said.splitlines() if line]

    def forget_to_sync(self) -> None:
        """Plant a bug: no process of the box syncs a file."""
        guest = self.box.guest
        site = guest.run(f"{PYTHON} -c 'import site; print(site.getsitepackages()[0])'").strip()
        guest.put(f"{site}/sitecustomize.py", FSYNC_OF_NO_FILE)
        guest.run(f"sync; systemctl restart {NAME}")
        self._note()

    def _set_up(self) -> None:
        """Do what an owner does once: keys, and a shorter trial of a new model."""
        self._owner.connect(self.box.machine.port)
        self._owner.run("keygen", f"root@{HOST}")
        self.box.guest.run(f"printf '\\n[deploy]\\nhealth_s = {HEALTH_S}\\n' >>{CONFIG}; sync")
        self.box.restart()

    def _note(self) -> None:
        self._owner.connect(self.box.machine.port)
        self.box.performs()
        sums = self.box.guest.run(f"cd {STATE}/takes 2>/dev/null && sha256sum */take.json */*.bin || true")
        takes: dict[str, dict[str, str]] = {}
        for line in sums.splitlines():
            digest, path = line.split()
            takes.setdefault(path.split("/")[0], {})[path.split("/")[1]] = digest
        whole = {name: files for name, files in takes.items() if len(files) == 3}
        self._promised = Played(whole, None, (Path(self.box.status()["model"]["path"]).name,))

    # --- What it does when the plug is pulled ---

    def _recording(self) -> str:
        return f"{self._record(self._rng.uniform(2.0, 8.0)):.1f} s into a take"

    def _saving(self) -> str:
        self._record(2.0)
        self.box.press()
        return self._wait(1.5, "after the press that saves a take")

    def _saved(self) -> str:
        """Not a moment by chance: as soon as it says that the take is there."""
        self._record(6.0)
        self.box.press()
        self.box.until_state("performing")
        name = max(self.box.takes())
        sums = self.box.guest.run(f"cd {STATE}/takes/{name} && sha256sum take.json *.bin").splitlines()
        files = {line.split()[1]: line.split()[0] for line in sums}
        self._promised = replace(self._promised, takes={**self._promised.takes, name: files}, running=None)
        return "when a take was said to be saved"

    def _deploying(self) -> str:
        self._n_bundles += 1
        manifest, files = read_files(self._bundle)
        sent = self._folder / f"sent-{self._n_bundles}"
        write_bundle(sent, replace(manifest, name="sent", version=self._n_bundles, signed=False), files)
        sign(sent, self._owner.folder / SIGN_KEY)
        self._promised = replace(self._promised, models=(*self._promised.models, name_of(sent)))
        with self._owner.start("push", HOST, sent) as process:
            moment = self._wait(25.0, "into a push")
            end(process)
        return moment

    def _switching(self) -> str:
        models = self.box.guest.run(f"ls {STATE}/models 2>/dev/null || true").split()
        self._promised = replace(self._promised, models=(*self._promised.models, FACTORY.name, *models))
        self.box.press(1.5)
        return self._wait(8.0, "after the press that changes the model")

    def _record(self, seconds: float) -> float:
        """Press, and wait until a take is so long; what is safe of it is promised."""
        told_s = 0.0

        def look(said: dict[str, object]) -> bool:
            nonlocal told_s
            take = said.get("take")
            told_s = float(take["seconds"]) if isinstance(take, dict) else 0.0
            return told_s >= seconds

        self.box.press()
        self.box.until(f"{seconds:.1f} s of a take are recorded", look)
        guest = self.box.guest
        folders = guest.run(f"ls {STATE}/takes").split()
        name = max(folder for folder in folders if folder.isdigit())
        safe_s = told_s - LOST_S - LATE_S
        self._promised = replace(self._promised, running=(name, safe_s) if safe_s > 0.0 else None)
        return told_s

    def _wait(self, most_s: float, what: str) -> str:
        """Let a time go by that nobody has chosen."""
        wait_s = float(self._rng.uniform(0.0, most_s))
        time.sleep(wait_s)
        return f"{wait_s:.1f} s {what}"


class Owner:
    """A home with the keys of somebody who deploys, and an SSH that finds the box."""

    def __init__(self, folder: Path, key: Path) -> None:
        self.folder, self._key = folder, key
        for each in (folder / "bin", folder / ".ssh"):
            each.mkdir(parents=True, mode=0o700)
        wrapper = folder / "bin/ssh"
        wrapper.write_text(f'#!/bin/sh\nexec /usr/bin/ssh -F "{folder}/.ssh/config" "$@"\n')
        wrapper.chmod(0o755)

    def connect(self, port: int) -> None:
        """Know where the box is; whether it is the same one is known from its port alone."""
        (self.folder / ".ssh/config").write_text(
            f"Host {HOST}\n  HostName 127.0.0.1\n  Port {port}\n  StrictHostKeyChecking no\n"
            f"  UserKnownHostsFile /dev/null\n  GlobalKnownHostsFile /dev/null\n  IdentityFile {self._key}\n"
        )

    def run(self, *arguments: str | Path) -> str:
        """Run `python -m deploy`, and give what it printed.

        Raises
        ------
        AssertionError
            It failed.
        """
        with self.start(*arguments) as process:
            said, _ = process.communicate(timeout=300.0)
        assert process.returncode == 0, f"deploy {arguments[0]}: {said.decode(errors='replace').strip()}"
        return said.decode(errors="replace")

    def start(self, *arguments: str | Path) -> subprocess.Popen[bytes]:
        """Start `python -m deploy`."""
        path = f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
        environ = {**os.environ, "HOME": str(self.folder), "SSH_AUTH_SOCK": "", "LC_ALL": "C", "PATH": path}
        return subprocess.Popen(
            [sys.executable, "-m", "deploy", *map(str, arguments)], cwd=ROOT, env=environ,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
