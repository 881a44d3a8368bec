"""A box that performs, behind a real sshd: real keys, the real forced command, the real store; its supervisor is fake.

The supervisor behaves: it tries a model as the real one does, and keeps it or goes back, on the same files.
"""

from __future__ import annotations

import json
import shlex
import socket
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from device.box.status_client import to_line
from device.models import model_trial
from device.models.bundles import read_manifest
from device.models.model_store import current_bundle
from tests.sshd import Sshd

ROOT = Path(__file__).parents[1]
TRIAL_S = 0.6
QUIET = "the sound is 40 dB softer than before, for the same dance"


class PerformingBox:
    """One box.

    Parameters
    ----------
    folder : Path
        Its name must be short, for a socket lies in it.
    signers : Path
        Who may sign what it plays.

    Attributes
    ----------
    refuses : bool
        No new model plays well on it.
    stumbles : bool
        Its model process ends again and again once a new model was kept: each answer counts one end more.
    n_trials : int
        Models that it tried.
    """

    def __init__(self, folder: Path, signers: Path) -> None:
        self.state = folder / "state"
        self.state.mkdir(parents=True)
        self.config = folder / "box.toml"
        self._socket = folder / "status"
        self.config.write_text(
            f'[state]\nfolder = "{self.state}"\n[store]\nallowed_signers = "{signers}"\n'
            f'[status]\nsocket = "{self._socket}"\n'
        )
        self.refuses, self.stumbles, self.n_trials = False, False, 0
        self._n_asked_since = 0
        self._trial: dict[str, Any] | None = None
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self._socket))
        self._listener.listen()
        threading.Thread(target=self._serve, daemon=True).start()
        shell = shlex.join([sys.executable, "-m", "device", "deploy-shell", "--config", str(self.config)])
        self.sshd = Sshd(folder / "sshd", f"cd {ROOT} && exec {shell}")

    def close(self) -> None:
        self.sshd.close()
        self.stop()

    def stop(self) -> None:
        """Perform no more; what is asked over SSH is still answered."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._socket.unlink(missing_ok=True)

    @property
    def plays(self) -> str:
        """Name of the model that plays."""
        return read_manifest(current_bundle(self.state)).name

    @property
    def last_good(self) -> Path:
        return model_trial.last_good(self.state)

    def holds(self) -> list[str]:
        """All that deployment has left there."""
        return sorted(str(path.relative_to(self.state)) for path in self.state.rglob("*"))

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with client, suppress(OSError):
                asked = client.makefile("rb").readline()
                if asked:  # else somebody only looked whether a box runs
                    client.sendall(to_line({"ok": True, **self._answer(json.loads(asked))}))

    def _answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        if asked["op"] == "trial":
            self._begin(Path(asked["path"]))
            return {"trial": self._trial_said()}
        if asked["op"] == "rollback":
            self._trial = None
            return {"model": str(model_trial.roll_back(self.state))}
        path = current_bundle(self.state)
        manifest = read_manifest(path)
        trial = self._trial_said()
        self._n_asked_since += trial is not None and trial["phase"] == "committed"
        n_restarts = {"model": self._n_asked_since if self.stumbles else 0, "sound": 0}
        return {
            "state": "performing", "safe": False, "uptime_s": time.monotonic(), "n_restarts": n_restarts,
            "model": {"path": str(path), "name": manifest.name, "version": manifest.version}, "missing": {},
            "n_bad_spectra": 0, "n_xruns": 0, "trial": trial,
        }  # fmt: skip

    def _begin(self, path: Path) -> None:
        if model_trial.trial_of(self.state) is None:  # it is the last good one already
            self._trial = {"path": str(path), "phase": "committed", "of_s": TRIAL_S, "began_s": 0.0, "reason": ""}
            return
        self.n_trials += 1
        model_trial.begin(self.state)
        self._trial = {
            "path": str(path), "phase": "trial", "of_s": TRIAL_S, "began_s": time.monotonic(), "reason": "",
        }  # fmt: skip

    def _trial_said(self) -> dict[str, Any] | None:
        """Say how the trial gets on; end it when its time has come."""
        trial = self._trial
        if trial is None:
            return None
        played_s = time.monotonic() - trial["began_s"]
        if trial["phase"] == "trial" and played_s >= TRIAL_S:
            if self.refuses:
                model_trial.roll_back(self.state)
                trial |= {"phase": "rolled_back", "reason": QUIET}
            else:
                model_trial.commit(self.state, Path(trial["path"]))
                trial["phase"] = "committed"
        said = {key: value for key, value in trial.items() if key != "began_s"}
        return {**said, "seconds": round(played_s, 1) if trial["phase"] == "trial" else None}
