"""One command on a box through the user's own ssh: their configuration, agent, known hosts and jump hosts.

What ssh says when it fails is turned into one line that says what to do. Nothing that a box sends is trusted: text is
shown without its control characters, and waits end.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from deploy.errors import BoxError, CutError
from device.core.errors import UsageError

BOX_USER = "dance-sampler"
"""Who answers on a box, unless BOX names another: user@host."""
DEPLOY_KEY = Path(".ssh") / "dance-sampler"
"""The key that `deploy keygen` makes, below the user's home; used where it is there, beside the user's others."""
CONNECT_S, ALIVE_S, N_ALIVE = 10, 5, 3
BLOCK = 1 << 16
LONGEST_TEXT = 300
SSH_FAILED = 255

_BOX = re.compile(r"(ssh://)?([A-Za-z0-9._-]+@)?[A-Za-z0-9\[._][A-Za-z0-9\[\].:_%-]*")
_OPTIONS = {
    "ConnectTimeout": str(CONNECT_S),
    "ServerAliveInterval": str(ALIVE_S),
    "ServerAliveCountMax": str(N_ALIVE),
    # What would mix with what the box says, or fail beside another connection to it.
    "ClearAllForwardings": "yes",
    "RemoteCommand": "none",
    "RequestTTY": "no",
    "PermitLocalCommand": "no",
    # How it says what went wrong is read below.
    "LogLevel": "INFO",
}
_WORDS = (
    (
        "REMOTE HOST IDENTIFICATION HAS CHANGED",
        "its host key is not the one that you know: if it was set up anew, forget the old one: ssh-keygen -R {host}",
    ),
    (
        "Host key verification failed",
        "its host key is not known here: connect once by hand, compare the fingerprint and accept it: ssh {login}",
    ),
    ("Too many authentication failures", "it was offered too many keys: name one with IdentityFile in ~/.ssh/config"),
    (r"Permission denied \(", "it refuses your key: install one with: python -m deploy keygen {box}"),
    ("Could not resolve hostname", "no such host: check the name and the network"),
    ("Connection refused", "nothing answers SSH there: switch SSH on on the box, or check the port"),
    (
        r"Operation timed out|Connection timed out|No route to host|Network is unreachable|Host is down",
        "it cannot be reached: is it switched on, and on this network?",
    ),
    (r"Bad (owner|configuration)|command-line line|terminating, \d+ bad", "ssh refuses its configuration: {said}"),
)
_CUT = re.compile(
    r"Connection (to .* )?(closed|reset)|closed by remote host|Broken pipe|not responding|banner exchange"
    r"|Corrupted MAC|message authentication|Bad packet length|padding error|Connection to .* timed out"
)


def check_box(box: str) -> str:
    """Give a box's name back if ssh can take it for nothing but a host.

    Raises
    ------
    UsageError
        It is no host's name.
    """
    if not _BOX.fullmatch(box) or len(box) > 255:
        raise UsageError(f"{readable(box)!r} is no name of a host: give one, or user@host, or a Host of ~/.ssh/config")
    return box


def may_ask() -> bool:
    """Whether somebody is there whom ssh may ask: for a passphrase, or whether a host is the right one."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def ssh_command(box: str, line: str, *, asks: bool, home: Path | None = None) -> list[str]:
    """Give the arguments that run one line on a box.

    Parameters
    ----------
    box : str
        A host, user@host, or a Host of the user's configuration.
    line : str
        What the box is asked; without characters that a shell would read.
    asks : bool
        Whether ssh may ask the user.
    home : Path, optional
        Where the deploy key lies; the user's home otherwise.
    """
    key = (home or Path.home()) / DEPLOY_KEY
    options = {**_OPTIONS, "BatchMode": "no" if asks else "yes"}
    user = [] if "@" in box else ["-l", BOX_USER]
    identity = ["-i", str(key)] if key.exists() else []
    named = [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
    return ["ssh", "-T", "-x", *named, *user, *identity, "--", check_box(box), line]


class Ssh:
    """Runs lines on one box, one connection each.

    Parameters
    ----------
    box : str
        See `ssh_command`.
    asks : bool
        Whether ssh may ask the user.
    """

    def __init__(self, box: str, *, asks: bool) -> None:
        self.box = check_box(box)
        self._asks = asks

    def run(self, line: str, timeout_s: float) -> tuple[int, bytes]:
        """Run a line, and give its exit status and all that it wrote.

        Raises
        ------
        BoxError
            The box cannot be reached, or did not answer in time.
        """
        with self._started(line, subprocess.DEVNULL) as (process, said):
            try:
                out, _ = process.communicate(timeout=timeout_s)
            except subprocess.TimeoutExpired as error:
                raise BoxError(f"{self.box}: no answer in {timeout_s:g} s: look at its log, then try again") from error
            self._check(process, said)
            return process.returncode, out

    def send(self, line: str, data: memoryview, sent: Callable[[int], None]) -> tuple[int, bytes]:
        """Run a line with `data` on its standard input, and give its exit status and all that it wrote.

        Parameters
        ----------
        line : str
        data : memoryview
        sent : callable
            Told how many bytes have gone, after each block.

        Raises
        ------
        BoxError
            The box cannot be reached, or the connection was cut.
        """
        with self._started(line, subprocess.PIPE) as (process, said):
            assert process.stdin is not None  # noqa: S101 - asked for above
            assert process.stdout is not None  # noqa: S101
            with suppress(BrokenPipeError):  # it refuses, and says why; or the connection was cut
                for start in range(0, len(data), BLOCK):
                    process.stdin.write(data[start : start + BLOCK])
                    sent(min(start + BLOCK, len(data)))
            with suppress(BrokenPipeError):
                process.stdin.close()
            out = process.stdout.read()
            self._check(process, said)
            return process.returncode, out

    def lines(self, line: str) -> Iterator[bytes]:
        """Run a line and give what it writes, a line at a time as it comes; its exit status is not asked for.

        Raises
        ------
        BoxError
            As `send`.
        """
        with self._started(line, subprocess.DEVNULL) as (process, said):
            assert process.stdout is not None  # noqa: S101 - asked for above
            yield from process.stdout
            self._check(process, said)

    def receive(self, line: str, take: Callable[[bytes], None]) -> int:
        """Run a line, hand over what it writes block by block, and give its exit status.

        Raises
        ------
        BoxError
            As `send`; what was handed over before is good.
        """
        with self._started(line, subprocess.DEVNULL) as (process, said):
            assert process.stdout is not None  # noqa: S101 - asked for above
            while block := process.stdout.read1(BLOCK):  # type: ignore[attr-defined]  # a BufferedReader
                take(block)
            self._check(process, said)
            return process.returncode

    @contextmanager
    def _started(self, line: str, stdin: int) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
        # A file, not a pipe: whatever ssh says, nobody has to read it in time.
        with tempfile.TemporaryFile() as said:
            command = ssh_command(self.box, line, asks=self._asks)
            try:
                process = subprocess.Popen(
                    command,
                    stdin=stdin,
                    stdout=subprocess.PIPE,
                    stderr=said,
                    env={**os.environ, "LC_ALL": "C"},  # its words are looked for
                )
            except FileNotFoundError as error:
                raise BoxError("ssh is missing: install it with: apt install openssh-client") from error
            try:
                yield process, said
            finally:
                with suppress(BrokenPipeError):
                    if process.stdin:
                        process.stdin.close()
                if process.poll() is None:
                    process.kill()
                process.wait()
                if process.stdout:
                    process.stdout.close()

    def _check(self, process: subprocess.Popen[bytes], said: IO[bytes]) -> None:
        """Raise if ssh itself failed, or the box ran no command of ours."""
        returncode = process.wait()
        said.seek(0)
        text = said.read().decode(errors="replace")
        if returncode == SSH_FAILED or returncode < 0:
            raise explain(self.box, text)
        if returncode not in (0, 1):
            raise BoxError(
                f"{self.box}: it does not answer as a dance sampler ({last_line(text) or f'exit {returncode}'}): "
                f"bring it up to date with deploy/install.sh, then: python -m deploy keygen {self.box}"
            )


def explain(box: str, text: str, *, own_login: bool = False) -> BoxError:
    """Turn what ssh said into an error that says what to do.

    Parameters
    ----------
    box : str
    text : str
        What ssh wrote to standard error.
    own_login : bool
        It was the user's ordinary login, not that of the deploy key.
    """
    host = box.removeprefix("ssh://").rpartition("@")[2]
    login = box if "@" in box or own_login else f"{BOX_USER}@{box}"
    if own_login and "Permission denied (" in text:
        return BoxError(f"{box}: you may not log in there: this needs your ordinary login: try by hand: ssh {box}")
    for pattern, words in _WORDS:
        if re.search(pattern, text):
            return BoxError(f"{box}: {words.format(box=box, host=host, login=login, said=last_line(text))}")
    if _CUT.search(text):
        return CutError(f"{box}: the connection was cut ({last_line(text)})")
    return CutError(f"{box}: ssh failed ({last_line(text) or 'without a word'}): try by hand: ssh {login} status")


def last_line(text: str) -> str:
    """Give the last line that says something, fit to be shown."""
    lines = [line for line in text.splitlines() if line.strip()]
    return readable(lines[-1]) if lines else ""


def readable(text: object) -> str:
    """Give text without what would steer a terminal, on one line, and not too long."""
    shown = "".join(each if each.isprintable() else " " for each in str(text))
    return " ".join(shown.split())[:LONGEST_TEXT]
