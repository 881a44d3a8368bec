"""The box in a container, set up by the commands of its guide: a user `pi`, a checkout, `sudo deploy/install.sh`."""

from __future__ import annotations

import socket
import struct
import subprocess
import time
from pathlib import Path
from typing import Any

from device.box.status_client import StatusError, ask
from device.core.presses import AT_START_S
from tests.twin.container.nspawn import Container
from tests.twin.workbench import ROOT, Workbench

NAME = "dance-sampler"
SERVICE = f"{NAME}.service"
PYTHON = f"/opt/{NAME}/current/.venv/bin/python"
CONFIG = f"/etc/{NAME}/config.toml"
STATE = f"/var/lib/{NAME}"
CARD_SOURCE = Path(__file__).with_name("clock_card.c")
PLUGIN = "/usr/local/lib/libclockcard.so"
LEVELS = f"/run/{NAME}/levels"
CARD_IS_GONE = "/run/card-is-gone"
DANCE = f"/opt/{NAME}/current/device/factory/dance.mp4"
ALSA = f"""\
pcm_type.clockcard {{ lib "{PLUGIN}" }}
pcm.card {{ type clockcard levels "{LEVELS}" gone "{CARD_IS_GONE}" }}
"""
AS_USER = ("--card", "card", "--camera", f"file:{DANCE}")
"""What the owner of a box answers to the installer, where there is no USB card and no camera."""
PINS = f"/run/{NAME}/pins"
PLAYS_S = 60.0


class Box:
    """A container with the box's program, and what its owner does and sees there.

    Parameters
    ----------
    work : Workbench
    container : Container
        Runs, or will.
    """

    def __init__(self, work: Workbench, container: Container) -> None:
        self.work = work
        self._use(container)

    def _use(self, container: Container) -> None:
        self.container = container
        self.run, self.ask = container.run, container.ask

    def switch_on(self, *options: str) -> None:
        """Boot a box that is off with other options of systemd-nspawn."""
        self._use(Container(self.work, self.container.root, options=options))
        self.container.boot()

    # --- The installation ---

    def prepare(self) -> None:
        """Make a user as Raspberry Pi OS has one, and a sound card."""
        root = self.container.root
        build_card(self.work, root)
        self.run("useradd", "--create-home", "--shell", "/bin/bash", "pi")
        (root / "etc/sudoers.d/010_pi-nopasswd").write_text("pi ALL=(ALL) NOPASSWD: ALL\n")

    def copy_checkout(self, commit: str = "HEAD", folder: str = NAME) -> Path:
        """Copy a commit as the guide says, with git archive; give where it lies as seen from here."""
        home = self.container.root / "home/pi"
        self.run("rm", "-rf", f"/home/pi/{folder}")
        packed = home / "checkout.tar"
        archive: list[str | Path]
        archive = ["git", "-C", ROOT, "archive", f"--prefix={folder}/", f"--output={packed}", commit]
        self.work.run(*archive)
        packed.chmod(0o644)
        self.as_pi(f"tar -x -f checkout.tar && rm -f {folder}.tar")
        return home / folder

    def install(self, *options: str, folder: str = NAME) -> str:
        """Run the installer as its user does, and give what it said."""
        return self.as_pi(f"sudo {folder}/deploy/install.sh {' '.join(options)}", timeout_s=1200.0)

    def as_pi(self, line: str, timeout_s: float = 120.0) -> str:
        """Run a line of the shell as a user who has logged in."""
        return self.run("sh", "-c", f"cd && {line}", user="pi", timeout_s=timeout_s)

    # --- What it says of itself ---

    def status(self) -> dict[str, Any]:
        """What `dance-sampler status --json` says; nothing while it does not answer."""
        try:
            return self.request(op="status")
        except StatusError:
            return {}

    def request(self, **words: object) -> dict[str, Any]:
        """Ask the running program through its socket, as `dance-sampler` does, and far faster."""
        return ask(self.inside(f"/run/{NAME}/status"), words)

    def inside(self, path: str) -> Path:
        """Give where a file of the running box is seen from here."""
        return self.container.inside / path.lstrip("/")

    def until(self, what: str, patience_s: float = PLAYS_S, **wanted: object) -> dict[str, Any]:
        """Wait until the status has these values; give all of it.

        Raises
        ------
        AssertionError
            It has not in time: with what it says instead.
        """
        found: dict[str, Any] = {}

        def look() -> bool:
            found.clear()
            found.update(self.status())
            return bool(found) and all(found.get(key) == value for key, value in wanted.items())

        try:
            self.container.eventually(look, what, patience_s)
        except AssertionError as error:
            shown = {key: found.get(key) for key in (*wanted, "state", "missing", "notes")}
            raise AssertionError(f"{error}; instead {shown}; {self.journal(5)}") from error
        return found

    def plays(self) -> dict[str, Any]:
        """Wait until it performs, with camera and card."""
        return self.until("the box performs", state="performing", missing={})

    def journal(self, n_lines: int) -> str:
        """Give the last lines of its log, as one."""
        return " / ".join(self.ask("journalctl", "-t", NAME, "-o", "cat", "-n", str(n_lines))[1].splitlines())

    def pid(self) -> int:
        """Number of the supervisor's process in the container; 0: none runs."""
        return int(self.property("MainPID"))

    def kill(self, signal: str, pid: int) -> None:
        """Send a signal, 'STOP' or 'KILL', to a process of the container."""
        self.run("kill", f"-{signal}", str(pid))

    def dance(self) -> str:
        """Give the video that is its camera, in the container."""
        return DANCE

    def property(self, name: str, unit: str = SERVICE) -> str:
        """Give what systemd knows of a unit."""
        return self.run("systemctl", "show", "--value", "-p", name, unit).strip()

    def levels(self) -> list[tuple[float, float]]:
        """How loud each 10 ms was that the card took: (CLOCK_MONOTONIC in s, root mean square)."""
        path = self.inside(LEVELS)
        data = path.read_bytes() if path.exists() else b""
        return list(struct.iter_unpack("dd", data[: len(data) // 16 * 16]))

    def configure(self, text: str) -> None:
        """Write the owner's configuration, as with an editor."""
        path = self.container.root / CONFIG.lstrip("/")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    def press(self, *words: str) -> None:
        """Move the button: 'down', 'up'."""
        with socket.socket(socket.AF_UNIX) as pins:
            pins.connect(str(self.inside(PINS)))
            pins.sendall("".join(f"{word}\n" for word in words).encode())
            pins.shutdown(socket.SHUT_WR)
            while pins.recv(4096):
                pass

    def record(self, seconds: float) -> None:
        """Press, let somebody dance for so long, press again, and wait until the take is saved."""
        n_before = len(self.takes())
        self.container.eventually(lambda: self.status().get("uptime_s", 0.0) > AT_START_S + 0.5, "the start is over")
        self.tap()
        self.container.eventually(lambda: self.recorded_s() >= seconds, f"{seconds} s of a take are recorded")
        self.tap()
        self.container.eventually(lambda: len(self.takes()) == n_before + 1, "the take is saved")
        self.plays()

    def tap(self) -> None:
        """Press the button for a moment, as a finger does."""
        self.press("down")
        time.sleep(0.1)
        self.press("up")

    def takes(self) -> list[str]:
        """Give the numbers of the takes that are whole."""
        return sorted(path.parent.name for path in self.inside(f"{STATE}/takes").glob("*/take.json"))

    def recorded_s(self) -> float:
        """How long the take that is being recorded is by now, in seconds; 0: none is."""
        take = self.status().get("take")
        return float(take["seconds"]) if take else 0.0

    def restart(self) -> None:
        """Start the service again."""
        self.run("systemctl", "restart", SERVICE)

    def drop_in(self, text: str) -> None:
        """Change the service on this box, as `systemctl edit` does; nothing: undo that."""
        folder = self.container.root / f"etc/systemd/system/{SERVICE}.d"
        folder.mkdir(exist_ok=True)
        path = folder / "twin.conf"
        if text:
            path.write_text(text)
        else:
            path.unlink(missing_ok=True)
        if self.container.is_running:
            self.run("systemctl", "daemon-reload")

    def make_at_boot(self, line: str) -> None:
        """Have a file made at each boot."""
        (self.container.root / "etc/tmpfiles.d").mkdir(exist_ok=True)
        (self.container.root / "etc/tmpfiles.d/twin.conf").write_text(f"{line}\n")


def build_card(work: Workbench, root: Path) -> None:
    """Put the card into a root, with a configuration of ALSA's that knows it as `card`."""
    plugin = root / PLUGIN.lstrip("/")
    plugin.parent.mkdir(parents=True, exist_ok=True)
    work.run("gcc", "-Wall", "-Wextra", "-Werror", "-O2", "-shared", "-fPIC", "-DPIC", CARD_SOURCE, "-o", plugin,
             "-lasound", "-lm")  # fmt: skip
    (root / "etc/asound.conf").write_text(ALSA)


def previous_release() -> str:
    """Give the commit of the release before this one: the newest tag, or where the device's program was last another.

    Raises
    ------
    TwinError
        This is no clone with a history.
    """
    asked = ["git", "-C", str(ROOT), "log", "-n", "2", "--format=%H", "--", "device", "systemd", "deploy/install.sh"]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()[-1]
