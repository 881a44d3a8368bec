"""What the container layer's checks share: the box, installed once for each system, and a fresh copy for each check."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.media_files import make_sound_file, tone
from tests.twin.container.box import AS_USER, CONFIG, NAME, PINS, Box
from tests.twin.container.nspawn import Container
from tests.twin.container.root import Loan, debian_root, layer, lend_network, upper_of
from tests.twin.results import Check, Found
from tests.twin.workbench import TwinError, Workbench

SUITES = {"bookworm": "tflite-runtime", "trixie": "ai-edge-litert"}
"""And the runtime that each must end up with."""
MUSIC, MUSIC_S = "/srv/music.wav", 60.0
SAFE_S, HEALTH_S, HOLD_S, POWER_OFF_S = 10, 4, 0.5, 2.0
OWNERS = f"""
# What the owner wrote.
[capture]
audio_in = "wav:{MUSIC}"
count_in_s = 0.3

[panel]
factory = "mock"
mock_control = "{PINS}"
safe_s = {SAFE_S}
hold_s = {HOLD_S}
power_off_s = {POWER_OFF_S}

[deploy]
health_s = {HEALTH_S}

[store]
reserve_mb = 16
"""
REQUIREMENTS = "requirements-device.txt"
LAYER = "container"


class Try(NamedTuple):
    """A check, and what tries it: given the stage, and whether its fault is planted."""

    check: Check
    body: Callable[[Stage, bool], str | Found]


class Stage:
    """Installs the box where that has not been done yet, and gives fresh copies of it.

    Parameters
    ----------
    work : Workbench
    installed : dict of str to tuple of Path, optional
        By suite: folders, uppermost first, that are a root with the box installed already.
    options : tuple of str
        Of systemd-nspawn, for each container.
    """

    def __init__(
        self, work: Workbench, installed: dict[str, tuple[Path, ...]] | None = None, options: tuple[str, ...] = ()
    ) -> None:
        self.work, self._options = work, options
        self._installed = dict(installed or {})
        self._failed: set[str] = set()
        self._n_made = 0

    @contextmanager
    def system(
        self, *lower: Path, loan: Loan | None = None, options: Sequence[str] = (), keep: Path | None = None
    ) -> Iterator[Box]:
        """Give a box that is switched off, in a fresh root over others; afterwards it is gone.

        Parameters
        ----------
        *lower : Path
            The uppermost first.
        loan, options
            See `Container`.
        keep : Path, optional
            Where what was changed in it is kept.
        """
        self._n_made += 1
        root = layer(self.work, f"box-{self._n_made}", *lower)
        box = Box(self.work, Container(self.work, root, loan, options=(*self._options, *options)))
        went_well = False
        try:
            yield box
            went_well = True
        finally:
            box.container.pull_the_plug()
            subprocess.run(["umount", root], check=True)
            if keep is not None and went_well:
                upper_of(root).rename(keep)
            shutil.rmtree(root.parent)

    @contextmanager
    def online(self, *lower: Path, keep: Path | None = None) -> Iterator[Box]:
        """Give a box that runs, in this machine's network, to install something in it."""
        # The settings lie in a layer of their own, which is not there any more when what was installed is tried.
        settings = Path(tempfile.mkdtemp(prefix="network-", dir=self.work.folder))
        settings.chmod(0o755)
        loan = lend_network(settings)
        with self.system(settings, *lower, loan=loan, keep=keep) as box:
            box.container.boot()
            yield box

    @contextmanager
    def box(
        self, suite: str = "bookworm", *, boots: bool = True, more: str = "", options: Sequence[str] = ()
    ) -> Iterator[Box]:
        """Give a box that is installed, without a network, booted or not.

        Parameters
        ----------
        suite : str
        boots : bool
        more : str
            Configuration beside the owner's.
        options : sequence of str
            Of systemd-nspawn.
        """
        with self.system(*self.installed(suite), options=options) as box:
            if more:
                path = box.container.root / "etc/dance-sampler/config.toml"
                path.write_text(path.read_text() + more)
            if boots:
                box.container.boot()
            yield box

    def installed(self, suite: str) -> tuple[Path, ...]:
        """Give the folders, uppermost first, that are a root with the box installed."""
        if suite in self._failed:
            raise TwinError(f"the box could not be installed on {suite}: see there")
        if suite not in self._installed:
            self.install(suite)
        return self._installed[suite]

    def install(self, suite: str, change: Callable[[Path], object] | None = None) -> str:
        """Install the box from nothing, as its guide says, and keep what that made.

        Parameters
        ----------
        suite : str
        change : callable, optional
            Given the checkout before it is installed from: plants a fault.

        Returns
        -------
        str
            What the installer said.
        """
        base, kept = debian_root(self.work, suite), self.work.folder / f"installed-{suite}"
        self._failed.add(suite)
        with self.online(base, keep=kept) as box:
            box.prepare()
            checkout = box.copy_checkout()
            if change is not None:
                change(checkout)
            said = self.run_installer(box, suite)
            furnish(box)
            box.container.power_off()
        self._failed.discard(suite)
        self._installed[suite] = (kept, base)
        return said

    def run_installer(self, box: Box, suite: str, folder: str = NAME) -> str:
        """Run the installer of a checkout in a box that is online; Python's packages are fetched once, and kept."""
        wanted = hashlib.sha256((box.container.root / "home/pi" / folder / REQUIREMENTS).read_bytes()).hexdigest()
        wheels, home = self.work.cache / f"wheels-{suite}-{wanted[:8]}", box.container.root / "home/pi/wheels"
        if wheels.exists():
            shutil.copytree(wheels, home, dirs_exist_ok=True)
            said = box.install(*AS_USER, "--wheels", "/home/pi/wheels", folder=folder)
        else:
            said = box.install(*AS_USER, "--save-wheels", "/home/pi/wheels", folder=folder)
            self.work.cached(wheels.name, lambda path: shutil.copytree(home, path))
        shutil.rmtree(home)
        return said

    def forget(self, suite: str) -> None:
        """Install anew what is asked for next: this one has a fault."""
        self._failed.discard(suite)
        for folder in self._installed.pop(suite, ())[:1]:
            shutil.rmtree(folder)


def furnish(box: Box) -> None:
    """Write the owner's configuration below what the installer wrote, and put music where it says."""
    furnish_root(box.container.root)


def furnish_root(root: Path) -> None:
    """Do so in a root."""
    music = root / MUSIC.lstrip("/")
    music.parent.mkdir(exist_ok=True)
    make_sound_file(music, tone(MUSIC_S, 48_000, 440.0, level=0.25), 48_000)
    path = root / CONFIG.lstrip("/")
    text = path.read_text()
    path.write_text(text if OWNERS in text else text + OWNERS)
