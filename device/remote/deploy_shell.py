"""`python -m device deploy-shell`: the one program that a key for deployment may run on the box.

sshd starts it in place of whatever was asked for, and gives what was asked for in SSH_ORIGINAL_COMMAND: one of the
lines of `device.core.wire`. Answers are JSON, an object a line; for `pull-take` the bytes of the file. What was wrong
is {"ok": false, "error": ...} and exit status 1.
"""

from __future__ import annotations

import argparse
import os
import select
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from device.box.status_client import StatusError, ask, to_line
from device.config import Config, load_what_can_be_used
from device.core.errors import DanceSamplerError, UsageError
from device.core.wire import PROTOCOL_VERSION, Command, parse_command
from device.remote.status import status_said
from device.remote.takes import read_from, take_file, takes_said
from device.remote.upload import SILENT_SHARE, incoming_folder, n_received, receive, somebody_waits
from device.store.locks import LOOK_S
from device.store.state import takes_folder

COMMAND = "SSH_ORIGINAL_COMMAND"
STDIN, STDOUT = 0, 1
_READ_BYTES = 1 << 16
_JOURNAL = Path("/run/systemd/journal/socket")
_JOURNAL_S = 20.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `device deploy-shell`."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="a TOML file that overrides the machine's")


def main(args: argparse.Namespace) -> int:
    """Do the one thing that was asked for.

    Returns
    -------
    int
        1 if it could not be done.
    """
    try:
        command = parse_command(os.environ.get(COMMAND, ""))
        config, _ = load_what_can_be_used(args.config)  # as the box, which says what was left out
        return _do(command, config)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), STDOUT)  # nobody is left to be told
        return 1
    except (DanceSamplerError, OSError) as error:
        what = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        say({"ok": False, "protocol": PROTOCOL_VERSION, "error": " ".join(what.split())})
        return 1


def _do(command: Command, config: Config) -> int:
    state = Path(config.state.folder)
    if command.verb in ("list", "activate", "rollback"):
        return _do_with_models(command, config)
    if command.verb == "status":
        _answer(status_said(config))
    elif command.verb == "offset":
        _answer({"offset": n_received(state, command.digest)})
    elif command.verb == "put":
        silent_s = SILENT_SHARE * config.deploy.idle_s
        data = _standard_input(config.deploy.idle_s, silent_s, partial(somebody_waits, state))
        offset, is_complete = receive(state, command, data, silent_s)
        _answer({"offset": offset, "complete": is_complete})
    elif command.verb == "pull-take":
        for piece in read_from(take_file(takes_folder(state), command.number, command.file), command.offset):
            _write(piece)
    else:
        _answer({"lines": _log(config, command.n_lines)})
    return 0


def _do_with_models(command: Command, config: Config) -> int:
    """Do what looks into bundles: only then numpy is loaded, which takes a Pi most of a second."""
    from device.remote.models import activate, models_said, roll_back

    state = Path(config.state.folder)
    if command.verb == "activate":
        return activate(config, command.digest, allow_downgrade=command.allow_downgrade, say=say)
    if command.verb == "rollback":
        _answer(roll_back(config))
    else:
        takes = takes_said(takes_folder(state), incoming_folder(state).with_name("deploy"))
        _answer({"models": models_said(state), "takes": takes})
    return 0


def say(content: Mapping[str, Any]) -> None:
    """Write one JSON object to who asked."""
    _write(to_line(content))


def _answer(content: Mapping[str, Any]) -> None:
    say({"ok": True, "protocol": PROTOCOL_VERSION, **content})


def _write(data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(STDOUT, rest) :]


def _standard_input(idle_s: float, silent_s: float, is_wanted: Callable[[], bool]) -> Iterator[bytes]:
    """Give what comes until its end, or until nothing has come for so long: a cut connection may not say so.

    Parameters
    ----------
    idle_s, silent_s : float
        How long nothing may come, and how long if somebody else waits.
    is_wanted : callable
        Whether somebody does.
    """
    heard_s = time.monotonic()
    while (silence_s := time.monotonic() - heard_s) < idle_s and not (silence_s >= silent_s and is_wanted()):
        if not select.select([STDIN], [], [], min(silent_s, LOOK_S))[0]:
            continue
        data = os.read(STDIN, _READ_BYTES)
        if not data:
            return
        yield data
        heard_s = time.monotonic()


def _log(config: Config, n_lines: int) -> list[str]:
    """Give the newest lines of the service's log: of the journal, where there is one, else those that the box keeps."""
    if not _JOURNAL.exists():
        try:
            lines: list[str] = ask(Path(config.status.socket), {"op": "log", "n_lines": n_lines})["lines"]
        except StatusError as error:
            raise UsageError(f"there is no journal here, and {error}") from error
        return lines
    command = ["journalctl", "--no-pager", "--quiet", "-t", "dance-sampler", "-n", str(n_lines), "-o", "short-iso"]
    done = subprocess.run(command, capture_output=True, timeout=_JOURNAL_S, check=False, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise UsageError(f"the journal cannot be read: {done.stderr.decode(errors='replace')[:200]}")
    return done.stdout.decode(errors="replace").splitlines()
