"""The box's service under a real systemd, in a container: the short version of `make twin-container`.

Nothing is fetched but Debian's minimal system, once; Python's packages are those of this environment.
"""

from __future__ import annotations

import shutil
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.twin.container import endurance, guard, service
from tests.twin.container.box import CONFIG, DANCE, NAME, build_card
from tests.twin.container.nspawn import why_not
from tests.twin.container.root import debian_root
from tests.twin.container.stage import Stage, furnish_root
from tests.twin.results import Found
from tests.twin.workbench import ROOT, TwinError, Workbench

BOOKWORMS = (3, 11)
RELEASE = Path(f"opt/{NAME}/releases/test")
UNITS = {
    f"{NAME}.service": f"etc/systemd/system/{NAME}.service",
    f"{NAME}.sysusers": f"etc/sysusers.d/{NAME}.conf",
    f"{NAME}.tmpfiles": f"etc/tmpfiles.d/{NAME}.conf",
}


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    """The program of this checkout, put where the installer puts it."""
    if why := why_not():
        pytest.skip(why)
    if sys.version_info[:2] != BOOKWORMS:
        pytest.skip("Debian Bookworm has Python 3.11, and the packages of this environment are for another")
    with Workbench() as work:
        try:
            base = debian_root(work, "bookworm")
        except TwinError as error:
            pytest.skip(f"Debian's minimal system cannot be had: {error}")
        yield Stage(work, {"bookworm": (put_program(work), base)}, lent_packages())


def put_program(work: Workbench) -> Path:
    """Give a layer with program, units and the owner's configuration."""
    root = work.folder / "program"
    for name in ("device", "systemd"):
        shutil.copytree(ROOT / name, root / RELEASE / name, ignore=shutil.ignore_patterns("__pycache__"))
    venv = root / RELEASE / ".venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "lib/python3.11/site-packages").mkdir(parents=True)
    (venv / "bin/python").symlink_to("/usr/bin/python3")
    (venv / "pyvenv.cfg").write_text("home = /usr/bin\n")
    (root / f"opt/{NAME}/current").symlink_to("releases/test")
    for name, place in UNITS.items():
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "systemd" / name, root / place)
    wanted = root / f"etc/systemd/system/multi-user.target.wants/{NAME}.service"
    wanted.parent.mkdir()
    wanted.symlink_to(f"/etc/systemd/system/{NAME}.service")
    build_card(work, root)
    config = root / CONFIG.lstrip("/")
    config.parent.mkdir(parents=True)
    config.write_text(f'[audio]\ndevice = "card"\n\n[camera]\nsource = "file:{DANCE}"\n')
    furnish_root(root)
    return root


def lent_packages() -> tuple[str, ...]:
    """Give options that show Python's packages and ALSA of this machine in a container."""
    (alsa,) = Path("/usr/lib").glob("*/libasound.so.2")
    shown = {
        sysconfig.get_path("purelib"): f"/{RELEASE}/.venv/lib/python3.11/site-packages",
        str(alsa.resolve()): str(alsa),
    }
    return tuple(f"--bind-ro={here}:{there}" for here, there in {**shown, "/usr/share/alsa": "/usr/share/alsa"}.items())


@pytest.mark.parametrize("body", [service.ready_without_anything, service.camera_hangs, guard.sandbox])
def test_the_service_under_systemd(stage: Stage, body: Callable[[Stage, bool], str | Found]) -> None:
    print(body(stage, False))
    print(endurance.leftovers(stage, False))
