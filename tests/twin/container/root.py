"""Debian roots to install the box in: fetched once, then layered, so that every try begins with a fresh one.

What this machine knows of its network (apt's proxy, pip's index, certificates) is lent to a root while the box is
installed in it, read from this machine's own configuration.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

from tests.twin.workbench import Workbench

PACKAGES = (
    "systemd", "systemd-sysv", "dbus", "udev", "kmod", "openssh-server", "sudo", "python3", "iproute2", "procps",
    "ca-certificates",
)  # fmt: skip
"""What Raspberry Pi OS Lite has, too, and the box stands on."""
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
NETWORK_VARIABLES = re.compile(r"(https?|no|all|ftp)_proxy|PIP_\w+|SSL_CERT_\w+|REQUESTS_CA_BUNDLE", re.IGNORECASE)
_APT_KEYS = ("Acquire::http", "Acquire::https", "Acquire::Check", "Acquire::Retries", "Acquire::ForceIP")


@dataclass(frozen=True)
class Loan:
    """What of this machine a container must see to reach the package registries as this machine does.

    Attributes
    ----------
    folders : tuple of Path
        Folders and files of packages or certificates that its settings name, to be seen at the same place.
    environ : tuple of (str, str)
        Variables of the environment.
    """

    folders: tuple[Path, ...]
    environ: tuple[tuple[str, str], ...]


def debian_root(work: Workbench, suite: str, packages: tuple[str, ...] = PACKAGES) -> Path:
    """Give a minimal root of a Debian suite, from the cache where it is there; nobody writes into it.

    Parameters
    ----------
    work : Workbench
    suite : str
        "bookworm" or "trixie".
    packages : tuple of str
        Beside the minimal ones.

    Raises
    ------
    TwinError
        It cannot be fetched.
    """
    mirror = _mirror(work)

    def make(path: Path) -> None:
        include = f"--include={','.join(packages)}"
        work.run("mmdebstrap", "--quiet", "--variant=minbase", include, suite, path, *mirror, timeout_s=900.0)
        # Whoever starts from it is a machine of its own.
        (path / "etc/machine-id").write_text("")
        (path / "etc/hostname").write_text("box\n")
        (path / "etc/hosts").write_text("127.0.0.1 localhost\n127.0.1.1 box\n")

    return work.cached(f"{suite}-{crc32(' '.join(packages).encode()):08x}", make)


def layer(work: Workbench, name: str, *lower: Path) -> Path:
    """Lay an empty writable folder over others, the uppermost first; what is written lies in `upper_of` it.

    Returns
    -------
    Path
        Where it is mounted, until the workbench ends.
    """
    folder = work.folder / name
    for each in ("root", "upper", "work"):
        (folder / each).mkdir(parents=True)
    options = f"lowerdir={':'.join(map(str, lower))},upperdir={folder / 'upper'},workdir={folder / 'work'}"
    work.run("mount", "-t", "overlay", "-o", options, "overlay", folder / "root")
    work.on_exit(lambda: subprocess.run(["umount", "--lazy", folder / "root"], check=False, stderr=subprocess.DEVNULL))
    return folder / "root"


def upper_of(root: Path) -> Path:
    """Give the folder in which lies what was changed in a root since `layer` made it."""
    return root.parent / "upper"


def lend_network(root: Path) -> Loan:
    """Write this machine's settings of apt, pip and names into a root that does not run, or into a layer over one."""
    shown = _output("apt-config", "dump").splitlines()
    lines = [line for line in shown if line.startswith(_APT_KEYS) and not line.endswith(' "";')]
    for name in ("etc/apt/apt.conf.d", "etc"):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "etc/apt/apt.conf.d/99lent").write_text("\n".join(lines) + "\n")
    shutil.copyfile("/etc/resolv.conf", root / "etc/resolv.conf")
    settings = _pip_settings()
    folders = {path for value in settings.values() for word in value.split() if (path := _folder_of(word))}
    text = "".join(f"{key} = {' '.join(value.split())}\n" for key, value in sorted(settings.items()))
    (root / "etc/pip.conf").write_text(f"[global]\n{text}")
    if CERTIFICATES.exists():
        folders.add(CERTIFICATES)
    return Loan(tuple(sorted(folders)), _lent_variables())


def _lent_variables() -> tuple[tuple[str, str], ...]:
    kept = {name: value for name, value in os.environ.items() if NETWORK_VARIABLES.fullmatch(name)}
    return tuple(sorted((name, value) for name, value in kept.items() if not name.startswith("PIP_")))


def _pip_settings() -> dict[str, str]:
    """Read what pip knows here from its files and its environment, the latter the stronger."""
    found: dict[str, str] = {}
    for line in _output(sys.executable, "-m", "pip", "config", "list").splitlines():
        key, _, value = line.partition("=")
        section, _, name = key.partition(".")
        if section in ("global", "install"):
            found.setdefault(name, value.strip("'\""))
        elif key.startswith(":env:."):
            found[key.removeprefix(":env:.")] = value.strip("'\"")
    return {name: value.replace("\\n", " ") for name, value in found.items() if name != "disable-pip-version-check"}


def _folder_of(word: str) -> Path | None:
    """Give the folder that a word of pip's settings names; with an index goes what lies beside it."""
    path = Path(word.removeprefix("file://"))
    if not path.is_absolute() or not path.exists():
        return None
    return path.parent if word.startswith("file://") else path


def _mirror(work: Workbench) -> list[str]:
    """Give the mirror that this machine's own Debian comes from, if it is one."""
    listed = work.run("apt-get", "indextargets", "--format", "$(ORIGIN) $(LABEL) $(REPO_URI)").splitlines()
    return [line.split()[2] for line in listed if line.startswith("Debian Debian http")][:1]


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
