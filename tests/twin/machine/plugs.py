"""Pulled plugs: the machine ends while it records, saves, takes a model in or changes it, and is switched on again.

What its kernel has given to its disk is there then, and what it has not is lost, as with a card that is as fast as it
says; slower and less honest disks are the replay's. Before it is switched on again its state is looked at from outside,
by the store's own salvage. `PULLED_PLUGS=50` before the command pulls the plug so often.
"""

from __future__ import annotations

import os
import secrets
import sys
from dataclasses import replace
from typing import Any

import numpy as np

from device.core.wire import TAKE_FILES
from device.models.bundles import FACTORY
from tests.power_cut.box import LOST_S
from tests.twin.container.box import NAME, PYTHON, STATE
from tests.twin.machine.box import EmulatedBox
from tests.twin.machine.furniture import BUNDLE
from tests.twin.replay.look import to_json
from tests.twin.replay.real_box import Played
from tests.twin.results import Found
from tests.twin.workbench import ROOT, end

N_PLUGS = int(os.environ.get("PULLED_PLUGS", "5"))
TURNS = ("recording", "deploying", "saving", "switching")
LATE_S = 4.0
"""So much later than told may be what an emulated recorder has written, beside what may be lost."""
# An emulated box plays its configured bundle all the while: to try another out in its supervisor would take minutes.
MODELS = f"""\
import sys
from dataclasses import replace
from pathlib import Path
from device.core.bundle import MODEL_FILES
from device.models.bundles import read_bundle, write_bundle
from device.models.model_copy import name_of
from device.models.model_store import install_bundle, switch_current
from device.models.model_trial import commit
from device.models.model_tryout import Limits

state, slow = Path("{STATE}"), Limits(time_s=300.0, run_ms=1000.0, hop_ms=1000.0, synth_share=1000.0)


def install(version):
    files, sent = read_bundle(Path("{BUNDLE}")), Path(f"/tmp/sent-{{version}}")
    manifest = replace(files.manifest, version=version, signed=False)
    write_bundle(sent, manifest, {{MODEL_FILES[variant]: data for variant, data in files.models.items()}})
    print("begun", name_of(sent), flush=True)
    install_bundle(sent, state, allowed_signers=None, require_signature=False, limits=slow)
    commit(state, state / "models" / name_of(sent))
    print("done", name_of(sent), flush=True)


def switch(names):
    for turn in range(10_000):
        path = state / "models" / names[turn % len(names)]
        print("begun", path.name, flush=True)
        switch_current(state, path)
        commit(state, path)
        print("done", path.name, flush=True)


install(int(sys.argv[2])) if sys.argv[1] == "install" else switch(sys.argv[2:])
"""
SCRIPT = "/srv/models.py"
HEALTHY = f"""\
from pathlib import Path
from device.store.starts import note_healthy
note_healthy(Path("{STATE}"))
"""
FSYNC_OF_NO_FILE = """\
import os, stat
sync = os.fsync
os.fsync = lambda file: None if stat.S_ISREG(os.fstat(file).st_mode) else sync(file)
"""


def hold(box: EmulatedBox, planted: bool) -> Found:
    """Pull the plug in each turn; the seed of the moments is told, and another each time."""
    seed = secrets.randbelow(10_000)
    plug = Plug(box, seed)
    if planted:
        plug.forget_to_sync()
    for index in range(1 if planted else N_PLUGS):
        broken = plug.pull_while("saved" if planted else TURNS[index % len(TURNS)])
        assert not broken, f"seed {seed}: {broken[0]}"
        plug.switch_on()
    return Found(f"{'; '.join(plug.moments)} (seed {seed}): all was there, and it performed again", len(plug.moments))


class Plug:
    """A box's plug, and what the box has promised.

    Parameters
    ----------
    box : EmulatedBox
        Switched on.
    seed : int
        Of the moments.

    Attributes
    ----------
    moments : list of str
        When the plug was pulled, each time.
    """

    def __init__(self, box: EmulatedBox, seed: int) -> None:
        self.moments: list[str] = []
        self._box, self._rng = box, np.random.default_rng(seed)
        self._promised = Played({}, None, (FACTORY.name,))
        self._n_models = 0
        self._note()
        box.guest.put(SCRIPT, MODELS)
        for _ in range(2):
            self._n_models += 1
            self._promise_models(self._box.guest.run(self._models("install", str(self._n_models))))
        box.guest.run("sync")

    def switch_on(self) -> None:
        """Let it start again, until it performs; what it keeps then is promised."""
        self._box.switch_on()
        self._box.guest.wait_for_login()
        self._note()
        # As after a minute of performing: of a start that ends sooner, whoever ends it, three in a row mean safe mode.
        self._box.guest.run(f"runuser -u {NAME} -- {PYTHON} -c '{HEALTHY}'")

    def pull_while(self, doing: str) -> list[str]:
        """Have it do one of `TURNS`, pull the plug meanwhile, and say what is not there of what was promised."""
        self.moments.append(getattr(self, f"_{doing}")())
        self._box.switch_off()
        work, folder = self._box.work, self._box.folder
        state, promised = folder / "state.img", folder / "promised.json"
        work.run("qemu-img", "convert", "-O", "raw", self._box.drives[1].path, state)
        promised.write_text(to_json(self._promised), encoding="utf-8")
        look = ["unshare", "--mount", sys.executable, "-m", "tests.twin.replay.look"]
        said = work.run(*look, state, promised, cwd=ROOT)
        return [f"{self.moments[-1]}: {line}" for line in said.splitlines() if line]

    def forget_to_sync(self) -> None:
        """Plant a bug: no process of the box syncs a file."""
        guest = self._box.guest
        site = guest.run(f"{PYTHON} -c 'import site; print(site.getsitepackages()[0])'").strip()
        # Debian's own sitecustomize.py comes before any other.
        guest.put(f"{site}/no_sync_of_files.py", FSYNC_OF_NO_FILE)
        guest.put(f"{site}/no_sync_of_files.pth", "import no_sync_of_files\n")
        guest.run(f"sync; systemctl restart {NAME}")
        self._note()

    def _note(self) -> None:
        """Wait until it performs; the whole takes that it keeps then are promised."""
        self._box.performs()
        sums = self._box.guest.run(f"cd {STATE}/takes 2>/dev/null && sha256sum */take.json */*.bin || true")
        takes: dict[str, dict[str, str]] = {}
        for line in sums.splitlines():
            digest, path = line.split()
            takes.setdefault(path.split("/")[0], {})[path.split("/")[1]] = digest
        whole = {name: files for name, files in takes.items() if len(files) == len(TAKE_FILES)}
        self._promised = replace(self._promised, takes=whole, running=None)

    # --- What it does when the plug is pulled ---

    def _recording(self) -> str:
        return f"{self._record(self._rng.uniform(5.0, 12.0)):.1f} s into a take"

    def _saving(self) -> str:
        self._record(4.0)
        self._box.press()
        return self._wait(1.5, "after the press that saves a take")

    def _saved(self) -> str:
        """Not a moment by chance: as soon as it says that the take is there."""
        self._record(6.0)
        self._box.press()
        self._box.until("the take is saved", lambda said: said["state"] != "recording" and not said["take"])
        name = max(self._box.takes())
        sums = self._box.guest.run(f"cd {STATE}/takes/{name} && sha256sum take.json *.bin").splitlines()
        files = {line.split()[1]: line.split()[0] for line in sums}
        self._promised = replace(self._promised, takes={**self._promised.takes, name: files}, running=None)
        return "when a take was said to be saved"

    def _deploying(self) -> str:
        self._n_models += 1
        return self._change_models(20.0, "into taking a model in", "install", str(self._n_models))

    def _switching(self) -> str:
        names = self._box.guest.run(f"cd {STATE}/models && ls -d ????????????????").split()
        return self._change_models(6.0, "into changing between models", "switch", *names)

    def _change_models(self, most_s: float, what: str, *words: str) -> str:
        log = self._box.folder / "models.log"
        process = self._box.guest.start(self._models(*words), log)
        try:
            self._box.work.eventually(lambda: "begun" in log.read_text(), "models are changed", 120.0)
            moment = self._wait(most_s, what)
            self._box.switch_off()
        finally:
            end(process)
        self._promise_models(log.read_text())
        return f"{moment}, {log.read_text().count('done')} done"

    def _models(self, *words: str) -> str:
        return f"exec runuser -u {NAME} -- {PYTHON} {SCRIPT} {' '.join(words)}"

    def _promise_models(self, said: str) -> None:
        """What was done last may play, and what was begun after it."""
        for word, name in (line.split() for line in said.splitlines() if len(line.split()) == 2):
            kept = () if word == "done" else self._promised.models
            self._promised = replace(self._promised, models=(*(each for each in kept if each != name), name))

    def _record(self, seconds: float) -> float:
        """Press, and wait until a take is so long; what is safe of it is promised."""
        told_s = 0.0

        def look(said: dict[str, Any]) -> bool:
            nonlocal told_s
            told_s = float(said["take"]["seconds"]) if said["take"] else 0.0
            return told_s >= seconds

        self._box.press()
        self._box.until(f"{seconds:.1f} s of a take are recorded", look)
        folders = self._box.guest.run(f"ls {STATE}/takes").split()
        name = max(folder for folder in folders if folder.isdigit())
        safe_s = told_s - LOST_S - LATE_S
        self._promised = replace(self._promised, running=(name, safe_s) if safe_s > 0.0 else None)
        return told_s

    def _wait(self, most_s: float, what: str) -> str:
        """Let a time go by that nobody has chosen, by the machine's own clock."""
        wait_s = float(self._rng.uniform(0.0, most_s))
        self._box.guest.run(f"sleep {wait_s:.2f}")
        return f"{wait_s:.1f} s {what}"
