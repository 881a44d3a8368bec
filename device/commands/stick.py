"""`python -m device stick`: what the box does with a USB stick that is plugged in; its service calls it as root."""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path

from device.box.status_client import StatusError, ask
from device.config import Config, load_what_can_be_used
from device.core.errors import UsageError
from device.stick.stick import StickReport, box_name, serve_stick
from device.stick.stick_mount import Mount
from device.store.state import takes_folder

TELL_EVERY_S = 1.0
TELL_S = 2.0
CHANGE_S = 90.0
"""The box loads, checks and warms a new model before it answers."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `device stick`."""
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--device", type=Path, metavar="DEV", help="the stick: it is mounted, and let go at the end")
    which.add_argument("--folder", type=Path, metavar="DIR", help="where a stick is mounted already")
    parser.add_argument("--config", type=Path, metavar="FILE", help="a TOML file that overrides the machine's")
    parser.add_argument("--json", action="store_true", help="print what was done as one JSON object")


def main(args: argparse.Namespace) -> int:
    """Serve a stick; say what was done, here and to the running box.

    Returns
    -------
    int
        1 if not all was done.
    """
    if args.folder is not None and not args.folder.is_dir():
        raise UsageError(f"{args.folder} is no folder: name the one in which the stick is mounted")
    config, _ = load_what_can_be_used(args.config)  # as the box, which says what was left out
    box = RunningBox(Path(config.status.socket))
    with ExitStack() as stack:
        mount = stack.enter_context(Mount(args.device, stack.enter_context(_mount_point()))) if args.device else None
        report = _serve(mount.folder if mount else args.folder, config, box, mount)
    # Only now, when all has been written and the stick was let go.
    if report.is_ours:
        box.tell("failed" if report.problems else "done", str(report))
    print(json.dumps(asdict(report)) if args.json else report)
    return int(bool(report.problems))


def _serve(folder: Path, config: Config, box: RunningBox, mount: Mount | None) -> StickReport:
    from device.stick.stick_install import install_files

    def install(files: dict[str, bytes]) -> str:
        installed = install_files(files, config)
        why_later = box.change_model(installed.path)
        return f"{installed.name} {installed.version}" + (f" for the next start ({why_later})" if why_later else "")

    return serve_stick(
        folder,
        takes_folder(Path(config.state.folder)),
        install=install if config.stick.install_bundle else None,
        box=box_name(),
        allow_writing=mount.allow_writing if mount else lambda: None,
        copies=config.stick.copy_takes,
        tell=box.tell_progress,
    )


class RunningBox:
    """The box, if it runs: it shows on its LED and in its status what happens to the stick.

    Parameters
    ----------
    socket : Path
        Where it answers.
    """

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._next_s = 0.0

    def tell_progress(self, what: str, n_bytes: int, of_bytes: int) -> None:
        """Tell how far it has come, now and then."""
        if time.monotonic() >= self._next_s:
            self._next_s = time.monotonic() + TELL_EVERY_S
            self.tell("busy", what, n_bytes, of_bytes)

    def tell(self, phase: str, what: str, n_bytes: int = 0, of_bytes: int = 0) -> None:
        """Tell what happens: 'busy', 'done' or 'failed'. A box that does not run, or is busy, need not know."""
        content = {"op": "stick", "phase": phase, "what": what, "n_bytes": n_bytes, "of_bytes": of_bytes}
        self._ask(content, TELL_S)

    def change_model(self, bundle: Path) -> str | None:
        """Have an installed model tried; say why not at once, as it is when the box starts next."""
        return self._ask({"op": "trial", "path": str(bundle)}, CHANGE_S)

    def _ask(self, content: dict[str, object], timeout_s: float) -> str | None:
        try:
            ask(self._socket, content, timeout_s)
        except StatusError as error:
            return str(error)
        return None


@contextmanager
def _mount_point() -> Iterator[Path]:
    """A folder of its own, in the one that systemd made for the service where there is one."""
    with tempfile.TemporaryDirectory(prefix="stick-", dir=os.environ.get("RUNTIME_DIRECTORY")) as folder:
        point = Path(folder) / "mounted"
        point.mkdir()
        yield point
        point.rmdir()  # not what is in it, should it be mounted still
