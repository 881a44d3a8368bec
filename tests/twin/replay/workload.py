"""What a box does on the logged disk: the store's own operations, each acknowledged to somebody when it is done.

What it does to takes, models and small files is that of `tests.power_cut.box`, whose disk is a simulated one; here
the same goes through Linux and ext4, whose own commits fall between, and models come as a workstation sends them.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from device.config import Config, load_config
from device.core.errors import DanceSamplerError
from device.core.wire import digest_of, pack_bundle, parse_command
from device.models.bundles import FACTORY, sign, write_bundle
from device.models.model_trial import commit
from device.remote.models import activate
from device.remote.upload import incoming_folder, n_received, receive, uploaded_files
from tests.power_cut import box as doings
from tests.power_cut.box import FPS, PROMISE_EVERY, Box, Promised, Recording, problems
from tests.power_cut.watched_os import WatchedOs
from tests.tone_bundles import read_files
from tests.twin.replay.control import Written, what_became_of, write_without_sync
from tests.twin.replay.logged_disk import LoggedDisk
from tests.twin.replay.real_box import Played, plays, what_is_missing

N_PIECES = 3
"""A workstation's connection is cut so often that a bundle comes in so many parts."""
LONG_S = 12.0
"""Linux writes down by itself what nobody asked it to every 5 s."""


@dataclass(frozen=True, eq=False)
class Deployed(Promised):
    """What must be there if the power is cut now, with what was told to a workstation.

    Attributes
    ----------
    upload : bytes
        So much of a bundle was told to be there.
    is_complete : bool
        It was told to be there as a whole.
    digest : str
        Of the whole upload; empty: none is looked for.
    """

    upload: bytes = b""
    is_complete: bool = False
    digest: str = ""


class Deployment:
    """A bundle on its way from a workstation that was cut off twice; what is told is promised."""

    def __init__(self, box: Box, version: int) -> None:
        self._box = box
        sent = box.disk.root.parent / "sent"
        sent.mkdir(exist_ok=True)
        self._config = _config(box.state, sent)
        manifest, files = read_files(FACTORY)
        self.bundle = sent / f"sent-{version}"
        write_bundle(self.bundle, replace(manifest, name="sent", version=version, signed=False), files)
        sign(self.bundle, sent / "key")
        self.name = doings.name_of(self.bundle)
        self._stream = pack_bundle({each.name: each.read_bytes() for each in self.bundle.iterdir()})
        self._digest = digest_of(self._stream)

    def put(self, part: int) -> None:
        """Send one of `N_PIECES` parts, with what may have been lost of the one before."""
        size = len(self._stream)
        end = size if part == N_PIECES - 1 else (part + 1) * size // N_PIECES
        there = n_received(self._box.state, self._digest)
        command = parse_command(f"put {self._digest} {size} {there}")
        if part == 0:  # what another workstation left there goes
            self._box.promise(upload=b"", digest="")
        offset, is_complete = receive(self._box.state, command, [self._stream[there:end]])
        assert offset == end
        self._box.promise(upload=self._stream[:end], is_complete=is_complete, digest=self._digest)

    def activate(self, old: str) -> None:
        """Have it installed; the model before plays until it is told that it is."""
        self._box.promise(models=(old, self.name), upload=b"", digest="")

        def told(answer: Mapping[str, Any]) -> None:
            if answer["phase"] == "verified":
                self._box.promise(models=(self.name,))

        assert activate(self._config, self._digest, allow_downgrade=False, say=told) == 0

    def stays(self) -> None:
        """The box starts with it on trial, and finds it good."""
        old = FACTORY.name if self._box.promised.good is None else self._box.promised.good[0]
        assert doings.begins(self._box, old, self.name)
        self._box.promise(models=(old, self.name), good=(old, self.name))
        commit(self._box.state, self._box.state / "models" / self.name)
        self._box.promise(models=(self.name,), good=(self.name,))


def _config(state: Path, sent: Path) -> Config:
    """Give the configuration of a box that is not running, whose owner signs his models."""
    if not (sent / "key").exists():
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "owner", "-f", str(sent / "key")]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
        (sent / "allowed").write_text(f"owner@studio {(sent / 'key.pub').read_text()}")
    text = (
        f'[state]\nfolder = "{state}"\n[status]\nsocket = "{sent / "none"}"\n'
        f'[store]\nallowed_signers = "{sent / "allowed"}"\n'
    )
    (sent / "config.toml").write_text(text)
    return load_config(sent / "config.toml", sent / "none")


def deploys(box: Box) -> None:
    """A workstation sends two models, in parts; each is tried, and stays."""
    old = FACTORY.name
    box.promise(good=(old,))
    for version in (1, 2):
        deployment = Deployment(box, version)
        for part in range(N_PIECES):
            deployment.put(part)
        deployment.activate(old)
        deployment.stays()
        old = deployment.name


def dances_long(box: Box) -> None:
    """An evening: takes in real time, while a model comes, is installed and is committed between two of them."""
    deployment = Deployment(box, 1)
    box.promise(good=(FACTORY.name,))
    steps: list[Callable[[], None]] = [
        *(lambda part=part: deployment.put(part) for part in range(N_PIECES)),
        lambda: doings.learns_the_room(box),
        lambda: deployment.activate(FACTORY.name),
        lambda: doings.starts_again_and_again(box),
    ]
    _dance(box, LONG_S, 11, steps)
    deployment.stays()
    _dance(box, 3.0, 12, [])


def _dance(box: Box, duration_s: float, seed: int, steps: list[Callable[[], None]]) -> None:
    """Record in real time, at the pace of the frames, and do other things at equal distances."""
    recording = Recording(box, duration_s, seed)
    begin_s = time.monotonic()
    at = {(each + 1) * recording.n_frames // (len(steps) + 1): step for each, step in enumerate(steps)}
    for index in range(recording.n_frames):
        time.sleep(max(0.0, begin_s + index / FPS - time.monotonic()))
        recording.add()
        if index % PROMISE_EVERY == 0:
            box.promise(running=recording.safe())
        at.get(index, _nothing)()
    recording.writer.finish(n_dropped=0)
    whole = recording.whole()
    box.promise(running=None, takes=(*box.promised.takes, whole), highest=int(whole.name))


def _nothing() -> None:
    pass


DOINGS: dict[str, Callable[[Box], None]] = {
    **doings.DOINGS,
    deploys.__name__: deploys,
    dances_long.__name__: dances_long,
}
OTHERS: dict[str, Callable[[LoggedDisk], None]] = {each.__name__: each for each in (plays, write_without_sync)}
CONTROL = write_without_sync.__name__


def do(doing: str, disk: LoggedDisk) -> None:
    """Do one of `DOINGS`, with what comes before it, or of `OTHERS`; it promises as it goes."""
    if doing in OTHERS:
        OTHERS[doing](disk)
        return
    state = disk.root / "state"
    state.mkdir()
    before = doings.BEFORE[doing](state) if doing in doings.BEFORE else Promised()
    disk.settle()
    # A box wants to know of its disk only where it lies, and to tell it what it promises.
    box = Box(cast("WatchedOs", disk), Deployed(**vars(before)))
    box.promise()
    DOINGS[doing](box)


def broken_promises(root: Path, promised: object) -> list[str]:
    """Start a box on a disk that was cut off, and say what is not there of what was promised."""
    if isinstance(promised, Written):
        return what_became_of(root, promised)
    if isinstance(promised, Played):
        try:
            return what_is_missing(root / "state", promised)
        except DanceSamplerError as error:
            return [f"it does not start: {error}"]
    assert isinstance(promised, Deployed)
    state = root / "state"
    return [*_problems_of_upload(state, promised), *problems(state, promised)]


def _problems_of_upload(state: Path, promised: Deployed) -> list[str]:
    if not promised.digest:
        return []
    path = incoming_folder(state) / f"{promised.digest}.part"
    found = path.read_bytes() if path.exists() else b""
    if not found.startswith(promised.upload):
        return [f"{len(promised.upload)} bytes of an upload were told to be there, {len(found)} are, or others"]
    if promised.is_complete:
        uploaded_files(path.parent, promised.digest)
    return []
