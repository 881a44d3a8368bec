"""`python -m deploy fleet` on three boxes at once: real Ansible, three real sshd, the real forced command on each."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
import tempfile
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deploy.fleet.ansible import FOLDER
from deploy.fleet.boxes import read_boxes
from deploy.fleet.takes import read_origin
from device.core.motiongram import MotionSettings
from device.models.bundles import FACTORY, write_bundle
from device.store.store import TakeWriter, list_takes
from tests.fleet_ssh import FleetSsh, deploy_fleet
from tests.integration.test_install import HAVE, Box, make_box
from tests.long import long
from tests.performing_box import QUIET, PerformingBox
from tests.sshd import USER, Sshd, make_key
from tests.tone_bundles import read_files

ROOT = Path(__file__).parents[2]
HOSTS = ("hall", "stage", "loft")
RATE_HZ = 8000


class Fleet:
    """Three boxes, and a workstation whose ssh knows them.

    Attributes
    ----------
    bundle : Path
        'spring', newer than what they play, signed by a key that they know.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, key = folder, folder / "owner"
        make_key(key)
        signers = folder / "allowed_signers"
        signers.write_text(f"owner {key.with_suffix('.pub').read_text()}")
        self.boxes = {name: PerformingBox(folder / name, signers) for name in HOSTS}
        self.ssh = FleetSsh(folder, {name: box.sshd for name, box in self.boxes.items()})
        self.name, self.deploy = self.ssh.name, self.ssh.deploy
        manifest, files = read_files(FACTORY)
        self.bundle = folder / "bundle {{ 1 }} $(id)"
        write_bundle(self.bundle, replace(manifest, name="spring", version=manifest.version + 1), files, key)
        self.words = f"spring {manifest.version + 1}"

    def close(self) -> None:
        for box in self.boxes.values():
            box.close()

    def push(self, *options: str) -> subprocess.CompletedProcess[str]:
        return self.deploy("push", str(self.bundle), "--soak", "0.2", *options)

    def plays(self) -> list[str]:
        return [self.boxes[name].plays for name in HOSTS]

    def n_trials(self) -> list[int]:
        return [self.boxes[name].n_trials for name in HOSTS]


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    folder = Path(tempfile.mkdtemp(prefix="fleet-"))  # a short name, for sockets
    made = Fleet(folder)
    yield made
    made.close()
    shutil.rmtree(folder)


class Workplace:
    """A box to log in to, whose system is the fakes of the installer's tests, and an inventory that names it."""

    def __init__(self, folder: Path) -> None:
        self.box, self._sshd = make_box(folder / "box"), Sshd(folder / "sshd", "false")
        self.folder, self.config = self.box.root / "opt/dance-sampler", self.box.root / "etc/dance-sampler/config.toml"
        _let_in(self._sshd, self.box)
        self._inventory = folder / "boxes"
        self._inventory.write_text(
            f"login ansible_user={USER} ansible_become=false ansible_python_interpreter={sys.executable}\n[all:vars]\n"
            f"dance_sampler_folder={self.folder}\ndance_sampler_config={self.config}\ndance_sampler_keys=false\n"
            f"dance_sampler_install_options=['--root', '{self.box.root}']\n"
            "dance_sampler_card=hw:CARD=Device\ndance_sampler_camera='gst:videotestsrc $(touch here) ! \"x;y\"'\n"
        )

    def close(self) -> None:
        self._sshd.close()

    def install(self) -> str:
        """Install, and tell what has become of the box."""
        environ = {name: self._sshd.environment[name] for name in ("PATH", "SSH_AUTH_SOCK")}
        # A program that nobody edits meanwhile; and connections of which none stays for a minute.
        environ |= {
            "PYTHONPATH": str(self.box.source),
            "ANSIBLE_SSH_ARGS": "-o ControlMaster=no",
            "ANSIBLE_PIPELINING": "1",
        }
        done = deploy_fleet(self._sshd.folder / "home", "install", str(self._inventory), "--json", **environ)
        assert done.returncode == 0, done.stderr
        return str(json.loads(done.stdout)["boxes"]["login"]["outcome"])


@pytest.fixture
def workplace(tmp_path: Path) -> Iterator[Workplace]:
    found = Workplace(tmp_path)
    yield found
    found.close()


def test_a_roll_out_stops_at_the_first_box_that_fails_and_goes_on_from_there(fleet: Fleet) -> None:
    before, last_good = fleet.plays(), fleet.boxes["stage"].last_good
    fleet.boxes["stage"].refuses = True
    done = fleet.push("--waves", "2,100%")
    assert done.returncode == 1
    assert done.stderr == (
        f"deploy: stopped at stage: {fleet.words} was not kept, the model before it plays: {QUIET}; 1 of 3 boxes plays "
        f"{fleet.words}, not touched: loft; mend that, then run this again: it goes on from there\n"
    )
    assert done.stdout == f"hall plays {fleet.words}\n"
    assert fleet.plays() == ["spring", before[1], before[2]]
    assert fleet.boxes["stage"].last_good == last_good
    assert fleet.n_trials() == [1, 1, 0]
    assert fleet.boxes["loft"].holds() == []

    fleet.boxes["stage"].refuses = False
    done = fleet.push("--json")
    assert done.returncode == 0, done.stderr
    assert {host: row["outcome"] for host, row in json.loads(done.stdout)["boxes"].items()} == {
        "hall": "played already", "stage": "plays", "loft": "plays",
    }  # fmt: skip
    assert fleet.plays() == ["spring"] * 3
    assert fleet.n_trials() == [1, 2, 1]

    done = fleet.push()
    assert (done.returncode, done.stdout) == (0, f"3 boxes play {fleet.words} already: nothing was changed\n")
    assert fleet.n_trials() == [1, 2, 1]


@long
def test_a_first_box_that_stumbles_later_goes_back_and_no_other_is_touched(fleet: Fleet) -> None:
    before = fleet.plays()
    fleet.boxes["hall"].stumbles = True
    done = fleet.push()
    assert done.returncode == 1
    assert "stopped at hall: " in done.stderr
    assert "its model process had to be started anew; " in done.stderr
    assert "0 of 3 boxes play" in done.stderr
    assert "not touched: stage, loft" in done.stderr
    assert fleet.plays() == before
    assert fleet.n_trials() == [1, 0, 0]


def test_boxes_that_cannot_be_asked_are_all_named_before_any_is_changed(fleet: Fleet) -> None:
    before = fleet.plays()
    fleet.boxes["loft"].stop()
    fleet.name("hall", "unknown", "off", "loft")
    done = fleet.push()
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("deploy: no box was changed: ")
    assert "unknown: its host key is not known here: connect once by hand" in line
    assert "off: nothing answers SSH there: switch SSH on on the box, or check the port" in line
    assert "loft: it does not run, and so can try no model" in line
    assert fleet.plays() == before
    assert fleet.n_trials() == [0, 0, 0]
    done = fleet.deploy("status")
    assert done.returncode == 1
    assert [row.split()[0] for row in done.stdout.splitlines()] == ["BOX", "hall", "unknown", "off", "loft"]


def test_the_takes_of_all_boxes_become_one_training_set(fleet: Fleet, tmp_path: Path) -> None:
    for n, box in enumerate(fleet.boxes.values()):
        record(box, 2 + n)
    home = tmp_path / "takes"
    fleet.name(*HOSTS, "off")
    done = fleet.deploy("pull", "--takes", str(home))
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("deploy: off: nothing answers SSH there")
    assert done.stdout.splitlines()[-1] == "3 new takes from 4 boxes"
    takes = list_takes(home)
    assert sorted(round(take.duration_s) for take in takes) == [2, 3, 4]
    origins = [read_origin(take.path) for take in takes]
    assert sorted(origin["box"] for origin in origins if origin) == sorted(HOSTS)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("", "names no boxes: write their hosts into it, a line each"),
        ("hall\nstage ansible_host='$(touch here)' ansible_port=22", "stage: 'ssh://$(touch here):22' is no name"),
        ("[broken", "cannot begin"),
    ],
)
def test_an_inventory_with_what_is_no_box_is_refused_in_one_line(tmp_path: Path, lines: str, said: str) -> None:
    (tmp_path / "boxes").write_text(lines + "\n")
    done = deploy_fleet(tmp_path, "status", str(tmp_path / "boxes"))
    assert done.returncode in (1, 2)
    (line,) = done.stderr.splitlines()
    assert said in line
    assert [path.name for path in tmp_path.iterdir() if path.name != ".ansible"] == ["boxes"]


def test_hosts_are_boxes_as_ssh_knows_them(tmp_path: Path) -> None:
    (tmp_path / "boxes").write_text(
        "stage.local\n"
        "[others]\n"
        "hall ansible_host=10.0.0.7 ansible_connection=ssh ansible_python_interpreter=/nonexistent\n"
        "loft:2222 ansible_host=fe80::1\n"
        "gate dance_sampler_box=me@behind\n"
        "yard\n"
    )
    found = read_boxes(Namespace(inventory=str(tmp_path / "boxes"), limit="all,!yard"))
    assert found == {
        "stage.local": "stage.local", "hall": "10.0.0.7", "loft": "ssh://[fe80::1]:2222", "gate": "me@behind",
    }  # fmt: skip


def test_a_box_is_installed_over_ssh(workplace: Workplace) -> None:
    assert workplace.install() == "installed"
    assert (workplace.folder / "current/device/default.toml").is_file()
    assert 'source = "gst:videotestsrc $(touch here) ! \\"x;y\\""' in workplace.config.read_text()
    assert not list(workplace.box.folder.parent.rglob("here"))


@long
def test_a_box_that_is_up_to_date_is_left_alone_and_an_upgrade_keeps_what_it_knows(workplace: Workplace) -> None:
    workplace.install()
    before, config = workplace.box.tree(), workplace.config.read_text()
    assert workplace.install() == "up to date"
    after = workplace.box.tree()
    assert {path for path in before if before[path] != after[path]} == set()
    workplace.box.change_program("newer")
    assert workplace.install() == "installed"
    assert workplace.config.read_text() == config
    assert len(list((workplace.folder / "releases").iterdir())) == 2
    assert len(list((workplace.folder / "source").iterdir())) == 1


def test_the_playbooks_are_as_ansible_wants_them() -> None:
    lint = Path(sys.executable).with_name("ansible-lint")
    done = subprocess.run(
        [lint, "--offline", "--nocolor", "-c", FOLDER / ".ansible-lint", FOLDER],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def record(box: PerformingBox, n_seconds: int) -> None:
    """Let a take lie on a box."""
    writer = TakeWriter(box.state / "takes", MotionSettings(), RATE_HZ, {})
    noise = np.random.default_rng(n_seconds)
    n_columns = 50 * n_seconds + 1
    writer.add_columns(noise.random((n_columns, 112), np.float32), np.arange(n_columns) / 50.0)
    for second in range(n_seconds):
        writer.add_sound(noise.integers(-9000, 9000, RATE_HZ, np.int16), float(second))
    writer.finish()


def _let_in(sshd: Sshd, box: Box) -> None:
    """Let those who log in find the system's commands as fakes, which are the installer's tests'."""
    given = {
        "CALLS": box.folder / "calls", "PYTHON_FAKE": box.folder / "bin/python3", "PYTHON_REAL": sys.executable,
        "HAVE": HAVE, "QUICK": "yes", "FAIL": "",
    }  # fmt: skip
    exports = "".join(f"export {name}={shlex.quote(str(value))}\n" for name, value in given.items())
    for program in (box.folder / "bin").iterdir():
        shebang, _, text = program.read_text().partition("\n")
        program.write_text(f"{shebang}\n{exports}{text}")
        (sshd.folder / "bin" / program.name).symlink_to(program)
