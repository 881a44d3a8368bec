"""A box that does not run, behind a real sshd with real keys: its state, and a way to it that can be cut."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np

from device.core.motiongram import MotionSettings
from device.models.bundles import FACTORY, sign
from device.store.store import TakeWriter
from tests.cut_proxy import CutProxy
from tests.sshd import USER, Sshd, make_key

ROOT = Path(__file__).parents[1]
RATE_HZ = 8000
FULL_DISK = """
import os, shutil
usage = shutil.disk_usage
shutil.disk_usage = lambda path: usage(path)._replace(free=1000) if os.path.exists({mark!r}) else usage(path)
"""
"""While a file is there, the box's disk has no room."""
CUT = f"{USER}@cut"
"""The way that can be cut."""


class OffBox:
    """The state of a box that does not run, behind its sshd, and a way to it that can be cut.

    Attributes
    ----------
    bundle : Path
        The factory's, signed by a key that the box knows.
    """

    def __init__(self, folder: Path) -> None:
        self.state, self.key = folder / "state", folder / "owner"
        self.state.mkdir()
        make_key(self.key)
        signers = folder / "allowed_signers"
        signers.write_text(f"owner {self.key.with_suffix('.pub').read_text()}")
        self.config = folder / "box.toml"
        self.config.write_text(
            f'[state]\nfolder = "{self.state}"\n[store]\nallowed_signers = "{signers}"\n'
            f'[status]\nsocket = "{folder / "status"}"\n'
        )
        self.bundle = shutil.copytree(FACTORY, folder / "bundle")
        sign(self.bundle, self.key)
        self.is_full = folder / "full"
        (folder / "site").mkdir()
        (folder / "site" / "sitecustomize.py").write_text(FULL_DISK.format(mark=str(self.is_full)))
        shell = shlex.join(
            [
                "env",
                f"PYTHONPATH={folder / 'site'}",
                sys.executable,
                "-m",
                "device",
                "deploy-shell",
                "--config",
                str(self.config),
            ]
        )
        self.sshd = Sshd(folder / "sshd", f"cd {ROOT} && exec {shell}")
        self.proxy = CutProxy(self.sshd.port)
        self.sshd.add_host("cut", self.proxy.port)

    def close(self) -> None:
        self.proxy.close()
        self.sshd.close()

    def deploy(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "deploy", *arguments],
            cwd=ROOT,
            env=self.sshd.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def record(self, n_seconds: int = 10) -> Path:
        """Let a take lie on the box."""
        writer = TakeWriter(self.state / "takes", MotionSettings(), RATE_HZ, {})
        noise = np.random.default_rng(n_seconds)
        n_columns = 50 * n_seconds
        writer.add_columns(noise.random((n_columns, 112), np.float32), np.arange(n_columns) / 50.0)
        for second in range(n_seconds):
            writer.add_sound(noise.integers(-9000, 9000, RATE_HZ, np.int16), float(second))
        return writer.finish().path

    def holds(self) -> dict[str, bytes]:
        """All that the box keeps, but for what is on its way in."""
        found = {}
        for path in sorted(self.state.rglob("*")):
            name = path.relative_to(self.state)
            if name.parts[0] not in ("incoming", "deploy"):
                found[str(name)] = path.readlink().name.encode() if path.is_symlink() else _content(path)
        return found

    def sessions(self) -> list[Path]:
        """Processes that answer here."""
        config = str(self.config).encode()
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                if config in path.read_bytes():
                    found.append(path)
        return found

    def part(self) -> bytes:
        """What has come of an upload."""
        parts = list((self.state / "incoming").glob("*.part"))
        return parts[0].read_bytes() if parts else b""


def _content(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b"a folder"
