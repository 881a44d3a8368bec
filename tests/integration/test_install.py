"""deploy/install.sh in a root of its own: the real script and program, with the system's commands as fakes that behave.

A whole installation, with packages, users and a systemd that runs, is tried in containers.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from device.edges.gstreamer import PACKAGES as GSTREAMER_PACKAGES

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "deploy/install.sh"
COPIED = ("device", "deploy", "systemd", "dance_sampler.dist-info", "requirements-device.txt", "README.md", "LICENSE")
CARDS = {
    0: ("vc4hdmi0", "vc4-hdmi - vc4-hdmi-0", "MAI PCM i2s-hifi-0", False),
    1: ("Device", "USB-Audio - USB Audio Device", "USB Audio", True),
}
CONFIG = "etc/dance-sampler/config.toml"
PROGRAM = "opt/dance-sampler"

# Each notes how it was called. One that is named in FAIL fails.
FAKE = """#!/bin/bash
name=${0##*/}
echo "$name $*" >>"$CALLS"
[[ " $FAIL " != *" $name "* ]] || exit 1
"""
SAYS = {
    "id": "echo ${FAKE_UID:-0}",
    "uname": "echo ${FAKE_KERNEL:-6.1.0-amd64}",
    "dpkg-query": 'for name in $HAVE; do echo "installed $name"; done',
}
QUIET = ("systemctl", "systemd-sysusers", "systemd-tmpfiles", "udevadm", "apt-get", "userdel", "usermod", "sync")
HAVE = "openssh-client python3 python3-venv libasound2 gcc pkg-config python3-dev libasound2-dev libsystemd-dev"

# A Python that makes environments of itself, and notes what it is to install instead of installing it.
PYTHON = """#!/bin/bash
case "$1 $2" in
    "-m venv") echo "$*" >>"$CALLS"
        mkdir -p "${@: -1}/bin" "${@: -1}/lib/python3.11/site-packages"
        ln -s "$PYTHON_FAKE" "${@: -1}/bin/python" ;;
    "-m pip") echo "$*" >>"$CALLS"; [[ " $FAIL " != *" pip "* ]] ;;
    "-m compileall") [ -n "$QUICK" ] || exec "$PYTHON_REAL" "$@" ;;
    "-m device") [ "$3" = models ] && [ -n "$QUICK" ] || exec "$PYTHON_REAL" "$@" ;;
    *) exec "$PYTHON_REAL" "$@" ;;
esac
"""


@dataclass
class Box:
    """A root to install into, and a checkout to install from."""

    folder: Path

    @property
    def root(self) -> Path:
        return self.folder / "root"

    @property
    def source(self) -> Path:
        return self.folder / "source"

    @property
    def current(self) -> str:
        return str((self.root / PROGRAM / "current").readlink())

    def install(self, *options: str, **environ: str) -> subprocess.CompletedProcess[str]:
        known = {
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "CALLS": str(self.folder / "calls"),
            "PYTHON_FAKE": str(self.folder / "bin/python3"),
            "PYTHON_REAL": sys.executable,
            "HAVE": HAVE,
            "QUICK": "yes",
            "FAIL": "",
        }
        asked: list[str | Path] = [self.source / "deploy/install.sh", "--root", self.root, "--no-tone", *options]
        return subprocess.run(
            asked, env={**known, **environ}, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
        )

    def calls(self) -> str:
        """What was called since it was asked last."""
        path = self.folder / "calls"
        said = path.read_text() if path.exists() else ""
        path.write_text("")
        return said

    def change_program(self, word: str) -> None:
        with (self.source / "device/setup/tone.py").open("a") as file:
            file.write(f"\n# {word}\n")

    def tree(self) -> dict[str, tuple[int, int]]:
        """Every file with its number and its time: a file that is written anew has another."""
        files = [path for path in self.root.rglob("*") if "__pycache__" not in path.parts and "run" not in path.parts]
        return {str(path): (path.lstat().st_ino, path.lstat().st_mtime_ns) for path in files if not path.is_dir()}


def make_box(folder: Path) -> Box:
    bin_folder = folder / "bin"
    bin_folder.mkdir(parents=True)
    for name in (*SAYS, *QUIET):
        (bin_folder / name).write_text(f"{FAKE}{SAYS.get(name, '')}\n")
    (bin_folder / "python3").write_text(PYTHON)
    for fake in bin_folder.iterdir():
        fake.chmod(0o755)
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / "source" / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(ROOT / name, folder / "source" / name)
    plug_in(folder / "root", CARDS)
    return Box(folder)


def plug_in(root: Path, cards: dict[int, tuple[str, str, str, bool]]) -> None:
    """Write what the kernel says of its sound cards."""
    asound = root / "proc/asound"
    shutil.rmtree(asound, ignore_errors=True)
    asound.mkdir(parents=True)
    lines = []
    for number, (identity, name, pcm, is_usb) in cards.items():
        lines.append(f"{number:2d} [{identity:15s}]: {name}\n                      somewhere\n")
        for way in "pc" if is_usb else "p":
            (asound / f"card{number}/pcm0{way}").mkdir(parents=True)
            (asound / f"card{number}/pcm0{way}/info").write_text(f"card: {number}\nid: {pcm}\n")
        (asound / f"card{number}/id").write_text(f"{identity}\n")
        if is_usb:
            (asound / f"card{number}/usbid").write_text("0d8c:0014\n")
    (asound / "cards").write_text("".join(lines))


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Box:
    """A box on which all went well, with nothing left out but packages."""
    box = make_box(tmp_path_factory.mktemp("installed") / "box")
    done = box.install("--camera", "v4l2:/dev/video7", QUICK="")
    assert done.returncode == 0, done.stderr
    return box


@pytest.fixture
def box(installed: Box, tmp_path: Path) -> Box:
    """A copy of it."""
    shutil.copytree(installed.folder, tmp_path / "box", symlinks=True)
    again = Box(tmp_path / "box")
    again.calls()
    return again


def test_keys_move_from_where_the_program_writes(box: Box) -> None:
    """The user of earlier versions had its home there, and could have let others in."""
    passwd, old = box.root / "etc/passwd", box.root / "var/lib/dance-sampler/.ssh/authorized_keys"
    new = box.root / "etc/dance-sampler/.ssh/authorized_keys"
    passwd.write_text("dance-sampler:x:990:990:Dance sampler:/var/lib/dance-sampler:/bin/sh\n")
    old.parent.mkdir(parents=True)
    old.write_text("restrict ssh-ed25519 AAAA\n")
    assert box.install(FAIL="usermod").returncode == 1
    assert old.exists()  # nobody is locked out meanwhile
    assert box.install().returncode == 0
    assert f"usermod --root {box.root} --home /etc/dance-sampler dance-sampler" in box.calls()
    assert (new.read_text(), old.exists()) == ("restrict ssh-ed25519 AAAA\n", False)
    passwd.write_text("dance-sampler:x:990:990:Dance sampler:/etc/dance-sampler:/bin/sh\n")
    assert box.install().returncode == 0
    assert "usermod" not in box.calls()


def test_everything_is_in_its_place(installed: Box) -> None:
    root = installed.root
    assert re.fullmatch(r"releases/\d+\.\d+\.\d+-[0-9a-f]{12}", installed.current)
    for name in ("dance-sampler.service", "dance-sampler-poweroff.path", "dance-sampler-stick@.service"):
        assert (root / "etc/systemd/system" / name).read_text() == (ROOT / "systemd" / name).read_text()
    for name in (
        "etc/udev/rules.d/70-dance-sampler.rules",
        "etc/sysusers.d/dance-sampler.conf",
        "etc/tmpfiles.d/dance-sampler.conf",
        "etc/systemd/system.conf.d/60-dance-sampler-watchdog.conf",
        "etc/systemd/journald.conf.d/60-dance-sampler.conf",
    ):
        assert (root / name).is_file(), name
    assert os.access(root / "usr/local/bin/dance-sampler", os.X_OK)
    assert not (root / PROGRAM / "current/tests").exists()
    assert list((root / PROGRAM / "current/device/engine/__pycache__").glob("engine.*.pyc"))
    calls = (installed.folder / "calls").read_text()
    assert f"systemctl --root={root} --quiet enable dance-sampler.service dance-sampler-poweroff.path" in calls
    assert re.search(r"-m pip install .*-r \S+/requirements-device\.txt", calls)
    assert "apt-get" not in calls


def test_the_one_usb_card_is_taken_never_hdmi_and_the_input_with_it(installed: Box) -> None:
    config = (installed.root / CONFIG).read_text()
    assert 'device = "hw:CARD=Device"' in config
    assert 'audio_in = "alsa:hw:CARD=Device"' in config
    assert 'source = "v4l2:/dev/video7"' in config
    assert "hdmi" not in config


def test_the_installed_program_knows_its_configuration(installed: Box) -> None:
    """The program that was copied runs from where it was copied to."""
    current = installed.root / PROGRAM / "current"
    asked: list[str | Path] = [sys.executable, "-m", "device", "config", "--config", installed.root / CONFIG]
    said = subprocess.run(asked, cwd=current, capture_output=True, text=True, check=True).stdout
    assert f'device = "hw:CARD=Device"  # {installed.root / CONFIG}' in said


def test_a_second_run_changes_nothing(box: Box) -> None:
    before = box.tree()
    # A checkout that is used has these, and is the same program.
    (box.source / "device/__pycache__").mkdir()
    (box.source / "device/__pycache__/tone.cpython-311.pyc").write_bytes(b"x")
    done = box.install()
    assert done.returncode == 0, done.stderr
    assert box.tree() == before
    assert "pip install" not in box.calls()


def test_an_upgrade_keeps_what_is_the_persons_and_the_version_before(box: Box) -> None:
    take = box.root / "var/lib/dance-sampler/takes/0001/take.json"
    take.parent.mkdir(parents=True)
    take.write_text("{}")
    config = box.root / CONFIG
    config.write_text("# ours\n" + config.read_text().replace("[audio]", "[audio]\nperiod = 256 # Ida's card"))
    mine, first = config.read_text(), box.current
    box.change_program("second")
    assert box.install().returncode == 0
    second = box.current
    assert second != first
    assert config.read_text() == mine
    assert take.read_text() == "{}"
    box.change_program("third")
    assert box.install().returncode == 0
    assert box.install().returncode == 0  # which is no reason to forget the version before
    assert {each.name for each in (box.root / PROGRAM / "releases").iterdir()} == {
        second.removeprefix("releases/"),
        box.current.removeprefix("releases/"),
    }
    assert "pip install" not in box.calls()


def test_an_upgrade_that_needs_no_other_packages_needs_no_compiler_and_no_network(box: Box) -> None:
    """As a box that was installed from wheels has none."""
    box.change_program("newer")
    done = box.install(HAVE="openssh-client python3 python3-venv libasound2", FAIL="apt-get")
    assert done.returncode == 0, done.stderr
    assert "apt-get" not in box.calls()
    (box.source / "requirements-device.txt").write_text("other==1\n")
    assert "lists cannot be fetched" in box.install(HAVE="python3 python3-venv libasound2", FAIL="apt-get").stderr


def test_with_wheels_what_is_missing_is_fetched_where_there_is_a_network(box: Box, tmp_path: Path) -> None:
    (tmp_path / "wheels").mkdir()
    done = box.install("--wheels", str(tmp_path / "wheels"), HAVE="python3", FAIL="apt-get")
    assert "these packages are missing: openssh-client python3-venv libasound2;" in done.stderr
    assert "apt-get update" in box.calls()


@pytest.mark.parametrize(
    ("breaks", "said"),
    [("pip", "Python's packages cannot be installed"), ("systemd-sysusers", "is in its place again")],
)
def test_an_upgrade_that_fails_leaves_the_old_version_running(box: Box, breaks: str, said: str) -> None:
    before, unit = box.current, (box.root / "etc/systemd/system/dance-sampler.service").read_text()
    box.change_program("worse")
    with (box.source / "systemd/dance-sampler.service").open("a") as file:
        file.write("# worse\n")
    (box.source / "requirements-device.txt").write_text("worse==1\n")
    done = box.install(FAIL=breaks)
    assert done.returncode == 1
    assert said in done.stderr
    assert box.current == before
    assert (box.root / "etc/systemd/system/dance-sampler.service").read_text() == unit
    # What failed once is done again, not believed to be there.
    assert box.install().returncode == 0
    assert box.current != before


def test_a_program_that_does_not_work_is_not_switched_to(box: Box) -> None:
    before = box.current
    (box.source / "device/commands/models.py").write_text("raise RuntimeError\n")
    done = box.install(QUICK="")
    assert done.returncode == 1
    assert "does not work on this box; the old one stays" in done.stderr
    assert box.current == before
    assert len(list((box.root / PROGRAM / "releases").iterdir())) == 1


def test_uninstalled_the_takes_stay_unless_purged(box: Box) -> None:
    take = box.root / "var/lib/dance-sampler/takes/0001/take.json"
    take.parent.mkdir(parents=True)
    take.write_text("{}")
    assert box.install("--uninstall").returncode == 0
    left = {
        str(path.relative_to(box.root))
        for path in box.root.rglob("*")
        if path.is_file() and path.relative_to(box.root).parts[0] not in ("proc", "run")
    }
    assert left == {CONFIG, "var/lib/dance-sampler/takes/0001/take.json"}
    assert "disable dance-sampler.service" in box.calls()
    assert box.install("--uninstall", "--purge").returncode == 0
    assert not take.exists()
    assert not (box.root / CONFIG).exists()


def test_without_a_card_it_is_installed_and_says_what_is_left_to_do(box: Box) -> None:
    (box.root / CONFIG).unlink()
    plug_in(box.root, {0: CARDS[0]})
    done = box.install("--camera", "picamera2")
    assert done.returncode == 1
    assert "there is no USB sound card: plug it in" in done.stderr
    assert (box.root / CONFIG).read_text().count("=") == 1
    assert 'source = "picamera2"' in (box.root / CONFIG).read_text()


def test_two_usb_cards_are_not_chosen_between_without_a_person(box: Box) -> None:
    (box.root / CONFIG).unlink()
    plug_in(box.root, {**CARDS, 2: ("Second", "USB-Audio - Second", "USB Audio", True)})
    done = box.install("--camera", "picamera2")
    assert done.returncode == 1
    assert "there are 2 USB sound cards: choose one" in done.stderr
    assert box.install("--card", "hw:CARD=Second").returncode == 0
    assert 'device = "hw:CARD=Second"' in (box.root / CONFIG).read_text()


def test_a_webhook_opens_the_network_and_its_end_closes_it(box: Box) -> None:
    drop_in = box.root / "etc/systemd/system/dance-sampler.service.d/network.conf"
    config = box.root / CONFIG
    config.write_text(config.read_text() + '\n[faults]\nwebhook = "https://example.org/box"\n')
    assert box.install().returncode == 0
    assert drop_in.is_file()
    config.write_text(config.read_text().replace("https://example.org/box", ""))
    assert box.install().returncode == 0
    assert not drop_in.exists()


def test_a_pi_uses_the_systems_camera_packages(box: Box) -> None:
    done = box.install(FAKE_KERNEL="6.6.51+rpt-rpi-v8", HAVE=f"{HAVE} python3-lgpio")
    assert done.returncode == 0, done.stderr
    calls = box.calls()
    assert "apt-get install -qq -y --no-install-recommends python3-picamera2\n" in calls
    assert "-m venv --system-site-packages" in calls


def test_a_camera_of_gstreamers_brings_gstreamer(box: Box) -> None:
    done = box.install("--camera", "gst:videotestsrc ! video/x-raw", HAVE=f"{HAVE} libgstreamer1.0-0")
    assert done.returncode == 0, done.stderr
    installed = re.findall(r"apt-get install .*-recommends (.*)", box.calls())
    assert " ".join(["libgstreamer1.0-0", *" ".join(installed).split()]) == GSTREAMER_PACKAGES
    assert 'source = "gst:videotestsrc ! video/x-raw"' in (box.root / CONFIG).read_text()


def test_a_jetson_gets_the_drop_in_for_its_camera(box: Box) -> None:
    (box.root / "etc/nv_tegra_release").write_text("# R36\n")
    assert box.install().returncode == 0
    assert (box.root / "etc/systemd/system/dance-sampler.service.d/jetson.conf").is_file()


def test_without_a_network_packages_come_from_a_folder(box: Box) -> None:
    shutil.rmtree(box.root / PROGRAM)
    wheels = box.folder / "wheels"
    wheels.mkdir()
    done = box.install("--wheels", str(wheels), HAVE="openssh-client python3 python3-venv libasound2", FAIL="apt-get")
    assert done.returncode == 0, done.stderr
    calls = box.calls()
    assert f"--no-index --find-links {wheels}" in calls
    assert "apt-get" not in calls


def test_packages_that_cannot_be_had_are_named(box: Box) -> None:
    done = box.install(HAVE=HAVE.replace("openssh-client ", ""), FAIL="apt-get")
    assert done.returncode == 1
    assert "connect the box to a network" in done.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--colour"], "there is no option --colour"),
        (["--purge"], "--purge goes with --uninstall"),
        (["--card"], "--card needs a value"),
        (["--wheels", "/nowhere"], "there is no folder /nowhere"),
    ],
)
def test_wrong_use_is_one_line_and_changes_nothing(installed: Box, options: list[str], said: str) -> None:
    before = installed.tree()
    done = installed.install(*options)
    assert done.returncode == 2
    assert done.stderr == f"install.sh: {said}; see --help\n"
    assert installed.tree() == before


def test_only_root_may(installed: Box) -> None:
    before = installed.tree()
    done = installed.install(FAKE_UID="1000")
    assert (done.returncode, done.stderr) == (1, "install.sh: this changes the system: run it with sudo\n")
    assert installed.tree() == before


def test_help_names_every_option() -> None:
    said = subprocess.run([SCRIPT, "--help"], capture_output=True, text=True, check=True).stdout
    parsed = re.findall(r"^ +(--[a-z-]+(?: \| --[a-z-]+)*)\)", SCRIPT.read_text(), re.MULTILINE)
    options = {option for group in parsed for option in group.split(" | ")}
    assert len(options) > 10
    assert all(f"{option} " in said for option in options)


def test_what_is_said_has_no_colours(box: Box) -> None:
    box.change_program("louder")
    done = box.install()
    assert "\x1b" not in done.stdout + done.stderr


def test_the_packages_are_those_of_the_makefile() -> None:
    needed = re.search(r"^PACKAGES := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert needed is not None
    script = SCRIPT.read_text()
    assert all(re.search(rf"\b{re.escape(name)}\b", script) for name in needed[1].split())


@pytest.mark.parametrize("script", ["deploy/install.sh", "systemd/command"])
def test_shellcheck_finds_nothing(script: str) -> None:
    program = Path(sys.executable).with_name("shellcheck")
    done = subprocess.run([program, ROOT / script], capture_output=True, text=True, check=False)
    assert done.stdout + done.stderr == ""
