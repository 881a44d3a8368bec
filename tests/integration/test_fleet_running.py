"""`python -m deploy fleet push` to three boxes that perform: the real supervisor, camera and engine on each.

They share a sound card; of all that is tried here nothing is heard but seen in what the boxes say.
"""

from __future__ import annotations

import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from device.models.bundles import FACTORY, write_bundle
from tests.box_process import BoxProcess, Settings
from tests.fleet_ssh import FleetSsh
from tests.long import long
from tests.media_files import make_restless_dance, make_sound_file, make_video, tone
from tests.pulse_card import PulseCard, pulse_card
from tests.sshd import Sshd, make_key
from tests.tone_bundles import read_files

__all__ = ["pulse_card"]

ROOT = Path(__file__).parents[2]
HOSTS = ("hall", "stage", "loft")
HEALTH_S = 3.0
POWER = 0.03
"""Of the synth: a spectrum is taken for a magnitude to this power, and what is below full scale all but vanishes."""


class Running:
    """Three boxes that perform; before one of them somebody dances.

    Attributes
    ----------
    bundle : Path
        'hush' plays whatever it is shown so softly that it is not heard.
    """

    def __init__(self, folder: Path, card: PulseCard, ends: ExitStack) -> None:
        make_key(folder / "owner")
        signers = folder / "allowed_signers"
        signers.write_text(f"owner {(folder / 'owner.pub').read_text()}")
        music = make_sound_file(folder / "music.wav", tone(60.0, 48_000, 440.0, level=0.25), 48_000)
        still = make_video(folder / "still.mp4", [np.full((48, 64), 90, np.uint8)] * 250)
        films = dict.fromkeys(HOSTS, still) | {"stage": make_restless_dance(folder / "dance.mp4")}
        store: dict[str, object] = {"require_signature": True, "allowed_signers": str(signers)}
        self.boxes: dict[str, BoxProcess] = {}
        sshds = {}
        for name in HOSTS:
            (folder / name).mkdir()
            settings: Settings = {"deploy": {"health_s": HEALTH_S}, "store": store, "audio": {"n_periods": 16}}
            self.boxes[name] = box = BoxProcess(folder / name, films[name], music, card.environment, settings)
            ends.callback(box.close)
            shell = shlex.join([sys.executable, "-m", "device", "deploy-shell", "--config", str(box.config)])
            sshds[name] = Sshd(folder / name / "sshd", f"cd {ROOT} && exec {shell}")
            ends.callback(sshds[name].close)
        self.ssh = FleetSsh(folder, sshds)
        manifest, files = read_files(FACTORY)
        self.bundle = folder / "bundle"
        hush = replace(manifest, name="hush", version=manifest.version + 1, synth=replace(manifest.synth, power=POWER))
        write_bundle(self.bundle, hush, files, folder / "owner")

    def models(self) -> list[str]:
        return [box.status()["model"]["name"] for box in self.boxes.values()]


@pytest.fixture
def running(pulse_card: PulseCard) -> Iterator[Running]:
    folder = Path(tempfile.mkdtemp(prefix="fleet-"))  # a short name, for sockets
    pulse_card.start()
    with ExitStack() as ends:
        ends.callback(shutil.rmtree, folder)
        yield Running(folder, pulse_card, ends)


@long
@pytest.mark.timeout(600)
def test_the_one_box_that_hears_the_difference_goes_back_and_the_roll_out_stops(running: Running) -> None:
    for box in running.boxes.values():
        box.start()
    before, pids = running.models(), [box.status()["pids"]["sound"] for box in running.boxes.values()]
    done = running.ssh.deploy("push", str(running.bundle), "--soak", "3", "--waves", "1,1,100%")
    assert done.returncode == 1
    assert "stopped at stage: hush" in done.stderr, done.stderr
    assert "not kept, the model before it plays" in done.stderr
    assert "not touched: loft; mend that, then run this again" in done.stderr
    assert running.models() == ["hush", before[1], before[2]]
    assert [box.status()["pids"]["sound"] for box in running.boxes.values()] == pids  # it was heard all the time
