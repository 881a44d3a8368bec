"""The real box as a process: a video as its camera, PulseAudio as its card, mock pins, a socket as systemd."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from device.box.status_client import StatusError, ask
from device.core.presses import AT_START_S
from tests.eventually import eventually
from tests.pulse_card import PCM

HOLD_S, LONG_S = 0.5, 1.5
COUNT_IN_S = 0.3
WATCHDOG_S = 4.0
"""Without a sign of life for so long systemd would end it."""
PATIENCE_S = 60.0
"""Longer than anything here takes, even on a busy machine."""

Settings = Mapping[str, Mapping[str, object]]


class BoxProcess:
    """`python -m device run`, with all of its state in one folder.

    Parameters
    ----------
    folder : Path
        Its name must be short, for sockets lie in it.
    dance, music : Path
        What its camera sees and its input hears.
    environment : mapping of str to str
        Beside its own: the sound card's.
    settings : mapping, optional
        Configuration besides, by section and key.
    """

    def __init__(
        self, folder: Path, dance: Path, music: Path, environment: Mapping[str, str], settings: Settings | None = None
    ) -> None:
        self.folder, self.state = folder, folder / "state"
        self.config, self.log = folder / "config.toml", folder / "box.log"
        self._status, self._pins = folder / "status", folder / "pins"
        self._environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None
        self.state.mkdir(exist_ok=True)
        self._systemd = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._systemd.bind(str(folder / "notify"))
        self.told: list[str] = []
        self.sign_of_life_s = 0.0
        threading.Thread(target=self._hear, name="systemd", daemon=True).start()
        self.configure(
            {
                "camera": {"source": f"file:{dance}"},
                "audio": {"device": PCM, "period": 480, "n_periods": 4},
                "capture": {"audio_in": f"wav:{music}", "count_in_s": COUNT_IN_S},
                "state": {"folder": str(self.state)},
                "store": {"require_signature": False, "reserve_mb": 16},
                "status": {"socket": str(self._status)},
                "panel": {
                    "factory": "mock", "mock_control": str(self._pins),
                    "hold_s": HOLD_S, "power_off_s": LONG_S,
                },
            },
            settings or {},
        )  # fmt: skip

    @property
    def takes(self) -> Path:
        return self.state / "takes"

    @property
    def run_dir(self) -> Path:
        return self.folder

    def configure(self, *parts: Settings) -> None:
        """Write the configuration: later parts go over earlier ones."""
        merged: dict[str, dict[str, object]] = {}
        for part in parts:
            for section, keys in part.items():
                merged.setdefault(section, {}).update(keys)
        lines = []
        for section, keys in merged.items():
            lines += [f"[{section}]", *(f"{key} = {json.dumps(value)}" for key, value in keys.items())]
        self.config.write_text("\n".join(lines) + "\n")

    def start(self, until: str = "performing", hold_button: bool = False) -> None:
        """Start it, with a finger on the button or not, and wait until it says what it is doing."""
        self.launch()
        if hold_button:
            eventually(lambda: self._alive() and self._pins.exists(), patience_s=PATIENCE_S)
            self.button("down")
        # A press of the first moments means safe mode, or nothing.
        self.until(lambda box: box["state"] == until and (hold_button or box["uptime_s"] > AT_START_S + 0.5))

    def launch(self) -> None:
        """Start it, and wait for nothing."""
        assert self._process is None
        self.told.clear()
        environment = {**os.environ, **self._environment, "NOTIFY_SOCKET": str(self.folder / "notify"),
                       "WATCHDOG_USEC": str(round(1e6 * WATCHDOG_S)), "PYTHONFAULTHANDLER": "1"}  # fmt: skip
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "device", "run", "--config", str(self.config)],
                env=environment, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    @property
    def pid(self) -> int:
        """Number of the supervisor's process."""
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """End it as a pulled plug would; its children go with it."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._process = None

    def stop(self) -> int:
        """Ask it to end, as systemd does; give its exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self.ended()

    def ended(self) -> int:
        """Wait until it has ended; give its exit code."""
        assert self._process is not None
        code = self._process.wait(PATIENCE_S)
        self._process = None
        return code

    def close(self) -> None:
        """End it, and let everything go. May be called twice."""
        if self._process is not None:
            self.kill()
        self._systemd.shutdown(socket.SHUT_RDWR)
        self._systemd.close()

    def status(self) -> dict[str, Any]:
        """Ask what it is doing; nothing while it does not answer."""
        try:
            return ask(self._status, {"op": "status"})
        except StatusError:
            return {}

    def ask(self, **request: object) -> dict[str, Any]:
        return ask(self._status, request, PATIENCE_S)

    def until(self, holds: Callable[[dict[str, Any]], object], patience_s: float = PATIENCE_S) -> dict[str, Any]:
        """Wait until what it says of itself is so; give all that it says."""
        found: dict[str, Any] = {}

        def look() -> bool:
            assert self._alive(), self.log.read_text()
            found.clear()
            found.update(self.status())
            return bool(found.get("state")) and bool(holds(found))

        try:
            eventually(look, patience_s=patience_s)
        except AssertionError as error:
            if self._process is not None:  # Let it say where it stands.
                self._process.send_signal(signal.SIGABRT)
                self._process.wait(PATIENCE_S)
            raise AssertionError(f"{found}\n{self.log.read_text()[-12000:]}") from error
        return found

    def button(self, *words: str) -> None:
        """Move the button: 'down', 'up'."""
        with socket.socket(socket.AF_UNIX) as pins:
            pins.connect(str(self._pins))
            pins.sendall("".join(f"{word}\n" for word in words).encode())
            pins.shutdown(socket.SHUT_WR)
            while pins.recv(4096):
                pass

    def press(self, duration_s: float = 0.1) -> None:
        """Press the button for so long."""
        time.sleep(0.1)  # what a finger does, before and after: there is nothing to wait for
        self.button("down")
        time.sleep(duration_s)
        self.button("up")

    def _hear(self) -> None:
        """Take what systemd is told, as it does: who tells it waits otherwise."""
        with suppress(OSError):
            while True:
                told = self._systemd.recv(65536).decode().split("\n")
                if "WATCHDOG=1" in told:
                    self.sign_of_life_s = time.monotonic()
                self.told += told

    def _alive(self) -> bool:
        return self._process is not None and self._process.poll() is None
