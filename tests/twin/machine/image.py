"""The machine's disk: Debian with the box installed by its own installer, and drivers that stand for a Pi's.

Made once and kept in the cache, by the content of what it is made from; a machine writes to an overlay of it.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
import tarfile
import uuid
from dataclasses import dataclass
from pathlib import Path

from tests.twin.container.box import NAME
from tests.twin.container.root import Loan, debian_root, layer, lend_network, upper_of
from tests.twin.machine import drivers, furniture, light_bundle
from tests.twin.machine.qemu import Drive
from tests.twin.workbench import ROOT, TwinError, Workbench

SUITE = "trixie"
PACKAGES = (
    # What Raspberry Pi OS Lite has, and the box stands on.
    "systemd", "systemd-sysv", "dbus", "udev", "kmod", "openssh-server", "python3", "python3-venv", "iproute2",
    "procps", "ca-certificates", "alsa-utils", "v4l-utils", "e2fsprogs", "initramfs-tools",
    "linux-image-amd64",
    # picamera2's side of the system.
    "python3-libcamera", "libcamera-ipa", "python3-prctl",
    # To build with: the kernel's drivers, and what the installer builds.
    "linux-headers-amd64", "linux-source", "make", "swig", "python3-pip", "gcc", "pkg-config", "python3-dev",
    "libasound2-dev", "libsystemd-dev",
)  # fmt: skip
PROGRAM = ("device", "deploy", "systemd", "dance_sampler.dist-info", "requirements-device.txt", "README.md", "LICENSE")
ROOT_MIB, STATE_MIB = 2600, 1024
STATE_LABEL = "dance-state"
INITRD_MODULES = "virtio_pci\nvirtio_blk\next4\n"
NOT_IN_A_BOX = ("usr/src", "root/checkout", "var/cache/apt", "var/lib/apt/lists")


@dataclass(frozen=True)
class Image:
    """An installed box that is switched off.

    Attributes
    ----------
    folder : Path
        `root.img` (ext4, label root), `state.img` (ext4, label dance-state, empty), both raw and never written to;
        kernel, initrd, and the private key of its owner, who is root.
    """

    folder: Path

    @property
    def root(self) -> Path:
        """Its root."""
        return self.folder / "root.img"

    @property
    def state(self) -> Path:
        """An empty state partition."""
        return self.folder / "state.img"

    @property
    def kernel(self) -> Path:
        """Its kernel."""
        return self.folder / "vmlinuz"

    @property
    def initrd(self) -> Path:
        """What its kernel starts from."""
        return self.folder / "initrd"

    @property
    def key(self) -> Path:
        """Of its owner."""
        return self.folder / "key"

    def drives(self, work: Workbench, folder: Path) -> tuple[Drive, Drive]:
        """Make overlays in a folder, of the root and the state, that a machine may write to and that outlive it."""
        folder.mkdir(parents=True, exist_ok=True)
        made = []
        for base in (self.root, self.state):
            overlay = folder / f"{base.stem}.qcow2"
            work.run("qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "raw", overlay)
            made.append(Drive(overlay))
        return made[0], made[1]


def make_image(work: Workbench) -> Image:
    """Give the image, from the cache where it is there.

    Parameters
    ----------
    work : Workbench

    Raises
    ------
    TwinError
        A part of it cannot be fetched, built or installed.
    """
    name = f"machine-{image_key()}"
    for old in work.cache.glob("machine-*"):
        if old.name != name:
            shutil.rmtree(old, ignore_errors=True)
    return Image(work.cached(name, lambda path: _build(work, path)))


def image_key() -> str:
    """Name all that decides what lies in the image: the program and what this folder adds to it."""
    found = hashlib.sha256(repr((SUITE, PACKAGES)).encode())
    sources = [path for name in PROGRAM for path in [ROOT / name, *(ROOT / name).rglob("*")]]
    here = [Path(module.__file__ or "") for module in (drivers, furniture, light_bundle)] + [Path(__file__)]
    for path in sorted({*sources, *here}):
        if path.is_file() and "__pycache__" not in path.parts:
            found.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes())
    return found.hexdigest()[:12]


def _build(work: Workbench, path: Path) -> None:
    base = debian_root(work, SUITE, PACKAGES)
    root = layer(work, "machine-root", base)
    loan = lend_network(root)
    drivers.build(work, root, lambda command: in_root(work, root, loan, command))
    _copy_program(work, root)
    _furnish(root)
    in_root(work, root, loan, _packages_of_a_pi())
    in_root(work, root, loan, "/root/checkout/deploy/install.sh --no-start --no-tone --card "
            f"{furniture.CARD} --camera v4l2:/dev/video0")  # fmt: skip
    in_root(work, root, loan, _finish())
    path.mkdir(parents=True)
    for name, stem in (("vmlinuz", "vmlinuz-"), ("initrd", "initrd.img-")):
        shutil.copyfile(_the_one(root / "boot", stem), path / name)
    work.run(sys.executable, "-m", "tests.twin.machine.light_bundle", root / furniture.BUNDLE.lstrip("/"), cwd=ROOT)
    work.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "owner", "-f", path / "key")
    keys = root / "root/.ssh/authorized_keys"
    keys.parent.mkdir(mode=0o700, exist_ok=True)
    shutil.copyfile(path / "key.pub", keys)
    _tidy(root)
    work.run("mke2fs", "-q", "-t", "ext4", "-L", "root", "-d", root, path / "root.img", f"{ROOT_MIB}M")
    # Its guide's `systemd-tmpfiles --create` gives it to the service's user.
    owner = f"root_owner={_ids(root, NAME)}"
    work.run("mke2fs", "-q", "-t", "ext4", "-L", STATE_LABEL, "-E", owner, path / "state.img", f"{STATE_MIB}M")
    work.run("umount", "--lazy", root)
    shutil.rmtree(upper_of(root), ignore_errors=True)


def in_root(work: Workbench, root: Path, loan: Loan, command: str, timeout_s: float = 900.0) -> str:
    """Run a command line of a shell in a root that is not booted, in this machine's network."""
    given = [f"--setenv={name}={value}" for name, value in loan.environ]
    shown = [f"--bind-ro={each}" for each in loan.folders]
    return work.run(
        "systemd-nspawn", "--quiet", "--directory", root, "--pipe", "--register=no", "--keep-unit",
        "--resolv-conf=off", *given, *shown, "bash", "-ec", command, timeout_s=timeout_s,
    )  # fmt: skip


def _copy_program(work: Workbench, root: Path) -> None:
    """Copy the program as it is in this checkout: what is tried is what is there."""
    checkout = root / "root/checkout"
    checkout.mkdir(parents=True)
    listed = work.run("git", "-C", ROOT, "ls-files", "-z", "--", *PROGRAM).split("\0")
    with tarfile.open(checkout / "program.tar", "w") as packed:
        for name in filter(None, listed):
            if (ROOT / name).exists():
                packed.add(ROOT / name, name, recursive=False)
    work.run("tar", "-x", "-f", checkout / "program.tar", "-C", checkout, "--no-same-owner")


def _furnish(root: Path) -> None:
    for files, mode in ((furniture.FILES, 0o644), (furniture.PROGRAMS, 0o755)):
        for name, text in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            path.chmod(mode)
    with (root / "etc/initramfs-tools/modules").open("a") as modules:
        modules.write(INITRD_MODULES)
    (root / "etc/initramfs-tools/conf.d/twin").write_text("MODULES=list\n")


def _packages_of_a_pi() -> str:
    """What Raspberry Pi OS has as its own packages, built where Debian keeps such things."""
    target = "/usr/local/lib/python3.13/dist-packages"
    install = (
        "python3 -m pip install --quiet --no-deps --no-cache-dir --break-system-packages --root-user-action=ignore"
    )
    stand_in = f"cat >{target}/pykms.py <<'END'\n{furniture.PYKMS}END"
    pins, camera = " ".join(furniture.PINS_PACKAGES), " ".join(furniture.PICAMERA_PACKAGES)
    return f"export PYPI=1\n{install} {pins} {camera}\n{stand_in}\n"


def _finish() -> str:
    """Let the box's Python see the system's packages, as the installer does on a Pi; start what a Pi starts."""
    return """
        sed -i 's/^include-system-site-packages = false/include-system-site-packages = true/' \\
            /opt/dance-sampler/venvs/*/pyvenv.cfg
        systemctl --quiet enable systemd-networkd twin-pins ssh
        systemctl --quiet disable systemd-networkd-wait-online || true
        systemctl --quiet mask apt-daily.timer apt-daily-upgrade.timer \\
            dpkg-db-backup.timer e2scrub_all.timer fstrim.timer
        update-initramfs -u
    """


def _tidy(root: Path) -> None:
    """Leave out what no box has, and what this machine's network is."""
    for name in NOT_IN_A_BOX:
        shutil.rmtree(root / name, ignore_errors=True)
    for name in ("etc/apt/apt.conf.d/99lent", "etc/pip.conf"):
        (root / name).unlink(missing_ok=True)
    (root / "etc/resolv.conf").write_text("")
    # A box that has been started before: the first start of a system updates what its packages have brought.
    (root / "etc/machine-id").write_text(f"{uuid.uuid4().hex}\n")
    for name in ("etc/.updated", "var/.updated"):
        (root / name).touch()


def _ids(root: Path, user: str) -> str:
    """Give the numbers of a user and its group, as 'uid:gid'."""
    line = next(line for line in (root / "etc/passwd").read_text().splitlines() if line.startswith(f"{user}:"))
    return ":".join(line.split(":")[2:4])


def _the_one(folder: Path, stem: str) -> Path:
    found = sorted(folder.glob(f"{stem}*"))
    if len(found) != 1:
        raise TwinError(f"{folder} has {len(found)} files {stem}*: the machine's system needs one kernel")
    return found[0]
