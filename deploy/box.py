"""What a box is asked, and what it answers: the verbs of its deploy-shell, a function each.

A box answers in JSON, one object a line. What it says is looked at before it is used: it may be older, newer, broken.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from deploy.errors import BoxError
from deploy.ssh import Ssh, readable
from device.core.wire import PROTOCOL_VERSION, Command, build_command

STATUS_S, LIST_S, SHORT_S = 30.0, 600.0, 120.0
"""How long an answer is waited for. A list takes longest: the box reads all of its takes for their sums."""

Answer = dict[str, Any]


class Box:
    """One box; every call is a connection of its own.

    Parameters
    ----------
    ssh : Ssh
    """

    def __init__(self, ssh: Ssh) -> None:
        self.name = ssh.box
        self._ssh = ssh

    def status(self) -> Answer:
        """Ask what the box is doing: the snapshot of `device status` and more."""
        return self._asked(Command("status"), STATUS_S)

    def listed(self) -> Answer:
        """Ask for the models and takes that lie there."""
        return self._asked(Command("list"), LIST_S)

    def offset(self, digest: str) -> int:
        """Ask how many bytes of an upload the box has already."""
        return self._integer(self._asked(Command("offset", digest), SHORT_S), "offset")

    def put(self, digest: str, data: bytes, offset: int, sent: Callable[[int], None]) -> bool:
        """Send an upload from an offset on, and tell whether the box now has all of it.

        Raises
        ------
        CutError
            The connection was cut; the box keeps what has come.
        BoxError
            It refuses: there is no room, or another upload is under way.
        """
        rest = memoryview(data)[offset:]
        line = build_command(Command("put", digest, size=len(data), offset=offset))
        returncode, out = self._ssh.send(line, rest, sent)
        answer = self._answer(out, returncode)
        return answer.get("complete") is True

    def activate(self, digest: str, *, allow_downgrade: bool) -> Iterator[Answer]:
        """Let the box check, try and keep an upload, and give what it says meanwhile: 'phase', and what belongs to it.

        Raises
        ------
        BoxError
            It refuses the bundle, and changed nothing; or the connection was cut.
        """
        command = Command("activate", digest, allow_downgrade=allow_downgrade)
        for line in self._ssh.lines(build_command(command)):
            said = self._object(line)
            if "phase" not in said:
                self._check_ok(said, 0)
            yield said

    def rollback(self) -> Answer:
        """Let the box play its last good model."""
        return self._asked(Command("rollback"), SHORT_S)

    def pull_take(self, number: int, file: str, offset: int, take: Callable[[bytes], None]) -> int:
        """Hand over one file of one take from an offset on, block by block, and give the exit status.

        At status 1 what was handed over is no part of the file, but why there is none.
        """
        return self._ssh.receive(build_command(Command("pull-take", number=number, file=file, offset=offset)), take)

    def log(self, n_lines: int) -> list[str]:
        """Ask for the last lines of the box's log."""
        lines = self._asked(Command("log", n_lines=n_lines), SHORT_S).get("lines")
        if not isinstance(lines, list):
            raise BoxError(f"{self.name}: its answer has no lines: bring it up to date with deploy/install.sh")
        return list(map(str, lines))

    def refusal(self, out: bytes) -> BoxError:
        """Give the error that a refusal stands for."""
        try:
            self._answer(out, 1)
        except BoxError as error:
            return error
        return BoxError(f"{self.name}: it failed and did not say why: look at its log")

    def _asked(self, command: Command, timeout_s: float) -> Answer:
        returncode, out = self._ssh.run(build_command(command), timeout_s)
        return self._answer(out, returncode)

    def _answer(self, out: bytes, returncode: int) -> Answer:
        """Read the one object that a box answers with."""
        answer = self._object(out)
        self._check_ok(answer, returncode)
        return answer

    def _object(self, out: bytes) -> Answer:
        try:
            answer = json.loads(out)
        except (ValueError, RecursionError) as error:
            first = readable(out[:80].decode(errors="replace"))
            raise BoxError(
                f"{self.name}: it does not answer as a dance sampler ({first!r}): its key must be bound to "
                f"deploy-shell, which does: python -m deploy keygen {self.name}"
            ) from error
        if not isinstance(answer, dict):
            raise BoxError(f"{self.name}: its answer is no object: bring it up to date with deploy/install.sh")
        self._check_protocol(answer)
        return answer

    def _check_ok(self, answer: Answer, returncode: int) -> None:
        if answer.get("ok") is False or returncode != 0:
            raise BoxError(f"{self.name}: {readable(answer.get('error', 'it failed and did not say why'))}")

    def _check_protocol(self, answer: Mapping[str, Any]) -> None:
        theirs = answer.get("protocol", PROTOCOL_VERSION)
        if theirs != PROTOCOL_VERSION:
            is_older = isinstance(theirs, int) and theirs < PROTOCOL_VERSION
            remedy = "run deploy/install.sh of this version on it" if is_older else "update this program"
            raise BoxError(
                f"{self.name}: it speaks protocol {readable(theirs)}, this program {PROTOCOL_VERSION}: {remedy}"
            )

    def _integer(self, answer: Mapping[str, Any], key: str) -> int:
        value = answer.get(key)
        if type(value) is not int or value < 0:
            raise BoxError(f"{self.name}: its answer has no {key}: bring it up to date with deploy/install.sh")
        return value
