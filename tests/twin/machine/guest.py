"""Who logs in to a machine: its owner, as root, over SSH."""

from __future__ import annotations

import shlex
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.twin.machine.qemu import Machine
from tests.twin.workbench import POLL_S, TwinError, end

BOOT_S = 240.0
"""From the switch to SSH: twice what was ever seen."""
COMMAND_S = 300.0
LOST = 255
"""Exit status of ssh itself."""


@dataclass
class Guest:
    """The system in a machine, over one SSH connection that is kept open.

    Parameters
    ----------
    machine : Machine
    key : Path
        Private key of its owner.
    """

    machine: Machine
    key: Path
    _master: subprocess.Popen[bytes] | None = None

    def wait_for_login(self, patience_s: float = BOOT_S) -> float:
        """Wait until its owner can log in, and give how long that took, in seconds."""
        return self.machine.work.eventually(self._can_log_in, "the machine lets its owner log in", patience_s)

    def run(self, command: str, timeout_s: float = COMMAND_S, stdin: str | None = None) -> str:
        """Run a command line of a shell, and give its output.

        Raises
        ------
        TwinError
            It failed, took too long, or the machine is gone.
        """
        done = self._ssh(command, timeout_s, stdin)
        if done.returncode:
            said = " / ".join((done.stderr or done.stdout).strip().splitlines()[-5:])
            raise TwinError(f"in the machine: {command.splitlines()[0][:200]}: exit {done.returncode}: {said}")
        return done.stdout

    def tries(self, command: str, timeout_s: float = COMMAND_S) -> bool:
        """Say whether a command line of a shell succeeds."""
        return self._ssh(command, timeout_s, None).returncode == 0

    def put(self, path: str, text: str) -> None:
        """Write a file."""
        self.run(f"mkdir -p $(dirname {shlex.quote(path)}) && cat >{shlex.quote(path)}", stdin=text)

    def ask(self, command: str, timeout_s: float = COMMAND_S) -> str:
        """Run a command line of a shell that may fail, and give its output; empty if nobody answers."""
        return self._ssh(command, timeout_s, None).stdout

    def lines(self, command: str) -> Iterator[str]:
        """Run a command line of a shell, and give each line of its output as soon as it is there."""
        self._connect()
        asked = ["ssh", *self._options(), "root@127.0.0.1", command]
        with subprocess.Popen(asked, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as process:
            try:
                yield from process.stdout or ()
            finally:
                process.terminate()

    def start(self, command: str, log: Path) -> subprocess.Popen[bytes]:
        """Start a command that lasts; what it says goes to a file."""
        self._connect()
        return self.machine.work.start("ssh", *self._options(), "root@127.0.0.1", command, log=log)

    def leave(self) -> None:
        """Close the connection."""
        if self._master is not None:
            end(self._master)
            self._master = None

    def _can_log_in(self) -> bool:
        if not self.machine.is_on:
            raise TwinError(f"the machine is off: {self.machine.console} says why")
        return self._connect()

    def _ssh(self, command: str, timeout_s: float, stdin: str | None) -> subprocess.CompletedProcess[str]:
        asked = ["ssh", *self._options(), "root@127.0.0.1", command]
        if not self._connect():
            return subprocess.CompletedProcess(asked, LOST, "", "no connection")
        try:
            return subprocess.run(
                asked, timeout=timeout_s, text=True, check=False, capture_output=True, input=stdin or "",
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(asked, LOST, "", f"no answer within {timeout_s:.0f} s")

    def _connect(self, patience_s: float = BOOT_S) -> bool:
        """See that there is a connection that commands can share; False if none comes about."""
        if self._master is None or self._master.poll() is not None:
            log = self.machine.folder / "ssh.log"
            asked = ["ssh", *self._options(), "-o", "ControlMaster=yes", "-N", "root@127.0.0.1"]
            self._socket.unlink(missing_ok=True)
            self._master = self.machine.work.start(*asked, log=log)
        until_s = time.monotonic() + patience_s
        while not self._socket.exists():
            if self._master.poll() is not None or time.monotonic() > until_s:
                return False
            time.sleep(POLL_S)
        return True

    @property
    def _socket(self) -> Path:
        return self.machine.folder / "ssh"

    def _options(self) -> list[str]:
        options = {
            "ControlPath": self._socket,
            "IdentityFile": self.key,
            "IdentitiesOnly": "yes",
            "UserKnownHostsFile": "/dev/null",
            "StrictHostKeyChecking": "no",
            "BatchMode": "yes",
            "ConnectTimeout": "240",
            "ServerAliveInterval": "60",
            "LogLevel": "ERROR",
        }
        return ["-F", "/dev/null", "-p", str(self.machine.port)] + [
            word for name, value in options.items() for word in ("-o", f"{name}={value}")
        ]
