"""`deploy fleet pack` and `keys`: what the playbook that installs boxes takes from the workstation."""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import json
import os
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

from deploy.keygen import Lines, allowed_signer_line, authorized_key_line, make_key, root_command
from deploy.signing import SIGN_KEY
from deploy.ssh import DEPLOY_KEY
from device.core.errors import UsageError
from device.store.files import explained, make_folders, replace_synced

ROOT = Path(__file__).parents[2]
INSTALLER = Path("deploy") / "install.sh"
_TIME_S = 1_000_000_000
"""Of every file, since 1970: equal programs are equal bytes."""


def add_pack_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `deploy fleet pack`."""
    parser.add_argument("file", type=Path, metavar="FILE", help="the file to write, a .tar.gz")


def add_keys_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `deploy fleet keys`: there are none."""


def pack(args: argparse.Namespace) -> int:
    """Write what deploy/install.sh installs, and itself, into one file, and print its digest as JSON."""
    data = pack_program(ROOT)
    with explained(args.file, UsageError):
        make_folders(args.file.absolute().parent)
        # Of a name of its own while it is written: others may pack the same at the same time.
        new = args.file.with_name(f"{args.file.name}.{os.getpid()}")
        replace_synced(new, gzip.compress(data, compresslevel=6, mtime=0))
        new.replace(args.file)
    print(json.dumps({"digest": hashlib.sha256(data).hexdigest()[:16], "n_bytes": len(data)}))
    return 0


def keys(args: argparse.Namespace) -> int:  # noqa: ARG001 - a verb is called so
    """Print the arguments of what lets a box know the keys, as JSON; keys that are missing are made."""
    lines = Lines(
        authorized_key_line(make_key(Path.home() / DEPLOY_KEY, "may deploy")),
        allowed_signer_line(make_key(Path.home() / SIGN_KEY, "signs bundles")),
    )
    print(json.dumps({"argv": root_command(lines, tells=True)}))
    return 0


def pack_program(root: Path) -> bytes:
    """Give the program as a tar file; equal programs give equal bytes.

    Parameters
    ----------
    root : Path
        Of a checkout.
    """
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path in _program_files(root):
            data = path.read_bytes()
            entry = tarfile.TarInfo(path.relative_to(root).as_posix())
            entry.size, entry.mtime = len(data), _TIME_S
            entry.mode = 0o755 if path.stat().st_mode & 0o100 else 0o644
            tar.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def _program_files(root: Path) -> Iterator[Path]:
    """Give the files that the installer names, in the order of their names."""
    names = re.search(r"^readonly FILES=\((.*)\)$", (root / INSTALLER).read_text(encoding="utf-8"), re.MULTILINE)
    if names is None:
        raise UsageError(f"{root / INSTALLER} does not say what it installs: restore it")
    for name in sorted(names[1].split()):
        found = [root / name] if (root / name).is_file() else sorted((root / name).rglob("*"))
        yield from (path for path in found if path.is_file() and "__pycache__" not in path.parts)
