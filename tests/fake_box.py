"""A box that behaves, without SSH: it keeps what came of an upload, gives its takes, and can be cut at any byte."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from typing import Any

from deploy.errors import CutError
from deploy.ssh import Ssh
from device.core.wire import PROTOCOL_VERSION, TAKE_FILES, Command, digest_of, parse_command


class FakeSsh(Ssh):
    """Stands where `Ssh` does; lines are read as a box reads them.

    Attributes
    ----------
    takes : dict of int to dict of str to bytes
        Number -> name -> content of each file.
    uploads : dict of str to bytearray
        Digest -> what has come.
    left : int or None
        Bytes that pass, either way, before the next connection is cut; None: all.
    n_passed : int
        Bytes that have passed.
    """

    def __init__(self) -> None:
        super().__init__("box", asks=False)
        self.takes: dict[int, dict[str, bytes]] = {}
        self.uploads: dict[str, bytearray] = {}
        self.left: int | None = None
        self.n_passed = 0
        self.asked: list[str] = []
        self.steps: list[dict[str, Any]] = [{"ok": True, "phase": "committed", "name": "tiny", "version": 7}]
        self.listed: dict[str, Any] | None = None  # what it says it has, if not what it has
        self.protocol: object = PROTOCOL_VERSION

    def run(self, line: str, timeout_s: float) -> tuple[int, bytes]:  # noqa: ARG002 - it answers at once
        command = self._heard(line)
        if command.verb == "list" and self.listed is not None:
            return 0, json.dumps(self.listed).encode()
        if command.verb == "list":
            return 0, self._json(models=[], takes=[self._facts(number) for number in sorted(self.takes)])
        if command.verb == "offset":
            return 0, self._json(offset=len(self.uploads.get(command.digest, b"")))
        return 1, self._json(ok=False, error=f"no {command.verb} here: ask for something else")

    def send(self, line: str, data: memoryview, sent: Callable[[int], None]) -> tuple[int, bytes]:
        command = self._heard(line)
        upload = self.uploads.setdefault(command.digest, bytearray())
        assert command.offset <= len(upload)
        del upload[command.offset :]
        upload += self._pass(bytes(data))
        sent(len(data))
        if self.left == 0:
            raise CutError("box: the connection was cut")
        if len(upload) == command.size and digest_of(bytes(upload)) != command.digest:
            return 1, self._json(ok=False, error="what came is damaged: push again")
        return 0, self._json(offset=len(upload), complete=len(upload) == command.size)

    def lines(self, line: str) -> Iterator[bytes]:
        self._heard(line)
        for step in self.steps:
            yield self._json(**step)

    def receive(self, line: str, take: Callable[[bytes], None]) -> int:
        command = self._heard(line)
        files = self.takes.get(command.number)
        if files is None:
            take(self._json(ok=False, error="no such take: list them again"))
            return 1
        rest = self._pass(files[command.file][command.offset :])
        for start in range(0, len(rest), 100):
            take(rest[start : start + 100])
        if self.left == 0:
            raise CutError("box: the connection was cut")
        return 0

    def _heard(self, line: str) -> Command:
        self.asked.append(line)
        return parse_command(line)

    def _pass(self, data: bytes) -> bytes:
        passed = data if self.left is None else data[: self.left]
        self.left = None if self.left is None else self.left - len(passed)
        self.n_passed += len(passed)
        return passed

    def _facts(self, number: int) -> dict[str, object]:
        files = self.takes[number]
        return {
            "number": number,
            "duration_s": 1.0,
            "n_bytes": sum(map(len, files.values())),
            "files": {
                name: {"size": len(files[name]), "sha256": hashlib.sha256(files[name]).hexdigest()}
                for name in TAKE_FILES
            },
            "cancelled": False,
            "salvaged": False,
        }

    def _json(self, **answer: object) -> bytes:
        return json.dumps({"protocol": self.protocol, "ok": True, **answer}).encode() + b"\n"
