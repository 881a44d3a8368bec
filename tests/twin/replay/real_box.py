"""The whole box on the logged disk: it records, saves, installs, tries and goes back, as a finger and SSH ask it to.

Its camera is a video, its card one that goes by the clock, its button a socket; nothing of what it does to the disk is
told to it by us. What it says to who asks is what is promised: that a take is saved, how long the one is that is being
recorded, that a model was verified, stays or is back.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from device.core.wire import TAKE_FILES, digest_of, pack_bundle
from device.models.bundles import FACTORY, write_bundle
from device.models.model_trial import bundle_at_start
from device.store.store import Take, list_takes, salvage_all
from tests.box_process import BoxProcess, Settings
from tests.eventually import eventually
from tests.media_files import make_sound_file, tone
from tests.power_cut.box import LOST_S, name_of
from tests.tone_bundles import read_files
from tests.twin.container.box import CARD_SOURCE
from tests.twin.replay.logged_disk import LoggedDisk, run

HEALTH_S = 4.0
N_PIECES = 3
N_TRIALS = 4
"""On a busy machine a model may be found to play badly."""
TOLD_EVERY_S = 0.1
LATE_S = 1.5
"""Beside what may be lost, how late a busy machine may be: of a take the box tells how long it is by the clock."""


@dataclass(frozen=True)
class Played:
    """What must be there if the power is cut now.

    Attributes
    ----------
    takes : dict of str to (dict of str to str)
        Of those that were told to be saved, the hashes of their files.
    running : (str, float) or None
        The take that is being recorded, and the seconds of it that must be there.
    models : tuple of str
        Folders of which one must play; 'bundle' is the factory's.
    """

    takes: dict[str, dict[str, str]]
    running: tuple[str, float] | None
    models: tuple[str, ...]


class RealBox:
    """A box that runs, and what its owner does.

    Parameters
    ----------
    disk : LoggedDisk
    folder : Path
        For all that does not lie on the box's disk; its name must be short.
    """

    def __init__(self, disk: LoggedDisk, folder: Path) -> None:
        folder.mkdir()
        music = make_sound_file(folder / "music.wav", tone(120.0, 48_000, 440.0, level=0.25), 48_000)
        self._disk, self._folder = disk, folder
        self.state = disk.root / "state"
        self.state.mkdir()
        settings: Settings = {
            "audio": {"device": "card"},
            "state": {"folder": str(self.state)},
            "deploy": {"health_s": HEALTH_S},
        }
        dance = FACTORY.parent / "dance.mp4"
        self.process = BoxProcess(folder, dance, music, {"ALSA_CONFIG_PATH": str(_card(folder))}, settings)
        self._promised = Played({}, None, (FACTORY.name,))
        self.promise()

    def promise(self, **changes: Any) -> None:
        self._promised = replace(self._promised, **changes)
        self._disk.promise(self._promised)

    def record(self, seconds: float) -> Iterator[float]:
        """Press, and give how long the take is by now, again and again, until it is so long."""
        self.process.press()
        told_s = 0.0
        while told_s < seconds:
            take = self.process.until(lambda box: box["state"] == "recording" and box["take"])["take"]
            told_s = float(take["seconds"])
            (name,) = {path.name for path in (self.state / "takes").glob("[0-9]*")} - set(self._promised.takes)
            safe_s = told_s - LOST_S - LATE_S
            self.promise(running=(name, safe_s) if safe_s > 0.0 else None)
            yield told_s
            time.sleep(TOLD_EVERY_S)

    def save(self) -> None:
        """Press again; from when the box performs the take is there."""
        assert self._promised.running is not None
        name, _ = self._promised.running
        self.process.press()
        self.process.until(lambda box: box["state"] == "performing")
        self.promise(takes={**self._promised.takes, name: hashes(self.state / "takes" / name)}, running=None)

    def ask(self, line: str, data: bytes = b"") -> Iterator[dict[str, Any]]:
        """Log in with a key for deployment, and give each answer as it comes."""
        environment = {**os.environ, "SSH_ORIGINAL_COMMAND": line}
        shell = [sys.executable, "-m", "device", "deploy-shell", "--config", str(self.process.config)]
        with subprocess.Popen(shell, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(data)
            process.stdin.close()
            for answer in process.stdout:
                yield json.loads(answer)

    def bundle(self) -> tuple[str, bytes]:
        """Give a model that plays, as a stream, and the name of its folder when it is installed."""
        manifest, files = read_files(FACTORY)
        path = self._folder / "sent"
        write_bundle(path, replace(manifest, name="sent", version=manifest.version + 1, signed=False), files)
        return name_of(path), pack_bundle({each.name: each.read_bytes() for each in path.iterdir()})

    def put(self, stream: bytes, begin: int, end: int) -> None:
        """Send a part of a bundle; it goes on from there, should the rest never come."""
        (answer,) = self.ask(f"put {digest_of(stream)} {len(stream)} {begin}", stream[begin:end])
        assert answer.get("offset") == end, answer

    def activate(self, name: str, digest: str) -> bool:
        """Have a model installed and tried; until it is told to stay, the one before may play. Say whether it stays."""
        self.promise(models=(FACTORY.name, name))
        phase = ""
        for answer in self.ask(f"activate {digest}"):
            assert "phase" in answer, answer
            phase = answer["phase"]
        if phase in ("committed", "rolled_back"):
            self.promise(models=(name if phase == "committed" else FACTORY.name,))
        return phase == "committed"

    def roll_back(self, name: str) -> None:
        self.promise(models=(name, FACTORY.name))
        (answer,) = self.ask("rollback")
        assert Path(answer.get("model", "")) == FACTORY, answer
        self.promise(models=(FACTORY.name,))

    def pull_the_plug(self) -> None:
        """End it at once; the processes that it started end with it."""
        pids = self.process.status().get("pids", {}).values()
        self.process.close()
        eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), "all of the box has ended")


def plays(disk: LoggedDisk) -> None:
    """An evening: a take while a model comes, the model's trial, a take with it, the way back, and a take cut short."""
    box = RealBox(disk, disk.root.parent / "box")
    try:
        name, stream = box.bundle()
        box.process.start()
        ends = [len(stream) * (part + 1) // N_PIECES for part in range(N_PIECES)]
        parts = list(zip([0, *ends], ends, strict=False))
        for told_s in box.record(7.0):
            if parts and told_s > 1.0:
                box.put(stream, *parts.pop(0))
        box.save()
        for _ in range(N_TRIALS):
            if box.activate(name, digest_of(stream)):
                break
            box.put(stream, 0, len(stream))
        else:
            raise AssertionError(f"{N_TRIALS} trials of a model went badly: is the machine busy?")
        for _ in box.record(4.0):
            pass
        box.save()
        box.roll_back(name)
        for _ in box.record(5.0):
            pass
    finally:
        box.pull_the_plug()


def _card(folder: Path) -> Path:
    """Build the card, and give the configuration of ALSA's that knows it."""
    plugin = folder / "card.so"
    run("gcc", "-O2", "-shared", "-fPIC", "-DPIC", str(CARD_SOURCE), "-o", str(plugin), "-lasound", "-lm")
    config = folder / "alsa.conf"
    config.write_text(
        f'</usr/share/alsa/alsa.conf>\npcm_type.clockcard {{ lib "{plugin}" }}\npcm.card {{ type clockcard }}\n'
    )
    return config


def hashes(take: Path) -> dict[str, str]:
    """Give the sha256 of each file of a take."""
    return {name: hashlib.sha256((take / name).read_bytes()).hexdigest() for name in TAKE_FILES}


def what_is_missing(state: Path, played: Played) -> list[str]:
    """Start a box whose disk was cut off, and say what is not there of what was promised."""
    problems = [salvaged.why_not for salvaged in salvage_all(state / "takes") if _must_be_there(salvaged.path, played)]
    found = {take.path.name: take for take in list_takes(state / "takes")}
    for name, due in played.takes.items():
        if name not in found or hashes(found[name].path) != due:
            problems.append(f"take {name} was saved, and is not there as it was")
    if played.running is not None:
        name, seconds = played.running
        if name not in found or _least_s(found[name]) < seconds:
            problems.append(f"take {name}: {seconds:.1f} s must be there: {found.get(name)}")
    playing = bundle_at_start(state)[0].name
    if playing not in played.models:
        problems.append(f"{playing} plays, not one of {played.models}")
    return [each for each in problems if each]


def _must_be_there(path: Path, played: Played) -> bool:
    return path.name in played.takes or (played.running is not None and path.name == played.running[0])


def _least_s(take: Take) -> float:
    """How much of a take has motion and sound, in seconds."""
    return min(float(take.times_s[-1] - take.times_s[0]), take.n_samples / take.rate_hz)
