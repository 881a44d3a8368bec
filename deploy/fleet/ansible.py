"""Runs the playbooks of deploy/ansible by the Ansible of this Python, and tells what happens to each host."""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

from deploy.errors import BoxError
from deploy.ssh import last_line, readable
from device.core.errors import UsageError

FOLDER = Path(__file__).parents[1] / "ansible"
"""Of the playbooks."""
N_AT_ONCE = 20
NO_WORDS = "non-zero return code"
"""What Ansible says of a command that failed."""
OK, FAILED, UNREACHABLE, START, SKIPPED = "ok", "failed", "unreachable", "start", "skipped"


@dataclass(frozen=True)
class Event:
    """What happened to a host.

    Attributes
    ----------
    kind : str
        `START` of a task, or its end: `OK`, `SKIPPED`, `FAILED`, or `UNREACHABLE` by Ansible itself.
    host : str
        As the inventory names it.
    step : str
        The task's first tag; empty: it has none.
    is_changed : bool
    msg, stdout, stderr : str
        What a task that ended said.
    """

    kind: str
    host: str
    step: str
    is_changed: bool = False
    msg: str = ""
    stdout: str = ""
    stderr: str = ""

    @property
    def why(self) -> str:
        """The line that says why a task failed, as what it ran said, or as Ansible did."""
        said = last_line(self.stderr).removeprefix("deploy: ") or last_line(self.stdout)
        return said if said and self.msg in ("", NO_WORDS) else readable(self.msg) or said

    @property
    def answer(self) -> dict[str, Any]:
        """What a command of ours wrote as JSON; empty if it wrote none."""
        try:
            found = json.loads(self.stdout)
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that all verbs for many boxes have."""
    parser.add_argument("inventory", metavar="INVENTORY", help="Ansible's: a file, a folder, or names with commas")
    parser.add_argument("--limit", metavar="PATTERN", help="only these of its hosts, as Ansible has it: stage,!hall")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def play(
    playbook: str,
    args: argparse.Namespace,
    variables: Mapping[str, object],
    tell: Callable[[Event], None],
    options: Sequence[str] = (),
) -> int:
    """Run a playbook of ours on an inventory's hosts, and give Ansible's exit status.

    Parameters
    ----------
    playbook : str
        Its name in `FOLDER`.
    args : argparse.Namespace
        With the options of `add_arguments`.
    variables : mapping of str to object
        For the playbook. Nothing in them is taken for a template.
    tell : callable
        Told of each event, as it comes.
    options : sequence of str
        Of ansible-playbook.

    Raises
    ------
    UsageError
        Ansible is not installed, or there is no such inventory.
    BoxError
        Ansible failed before it had done anything to a host.
    """
    inventory = _inventory(args.inventory)
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as said:
        given = Path(folder) / "variables.yml"
        given.write_text(write_variables(variables), encoding="utf-8")
        command = [*_ansible(), "playbook", "-i", inventory, "-e", f"@{given}", *options]
        command += ["--limit", args.limit] if args.limit else []
        n_events, returncode = _run([*command, str(FOLDER / playbook)], said, tell)
        if returncode != 0 and n_events == 0:
            said.seek(0)
            raise BoxError(
                f"Ansible cannot begin: {_reason(said.read().decode(errors='replace'))}: mend that, then try again"
            )
    return returncode


def _ansible() -> list[str]:
    if find_spec("ansible") is None:
        project = Path(__file__).parents[2] / "pyproject.toml"
        raise UsageError(f"Ansible is not installed: run {sys.executable} -m pip install --group {project}:fleet")
    return [sys.executable, "-m", "ansible"]


def _inventory(inventory: str) -> str:
    """Give the inventory as Ansible takes it; refuse what it would only warn of."""
    if "," in inventory:
        return inventory
    if not Path(inventory).exists():
        raise UsageError(f"there is no inventory {inventory}: give a file that names your boxes, a line each")
    return str(Path(inventory).absolute())


def write_variables(variables: Mapping[str, object]) -> str:
    """Write variables as YAML, in which what JSON has means the same; text is marked as no template."""
    return f"{{{', '.join(f'{name}: {_yaml(value)}' for name, value in variables.items())}}}\n"


def _yaml(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_yaml, value))}]"
    return f"!unsafe {json.dumps(value)}" if isinstance(value, str) else json.dumps(value)


def _environment() -> dict[str, str]:
    """Give Ansible what it needs of ours, and leave the user's own configuration as it is."""
    plugins = [str(FOLDER / "callback_plugins"), os.environ.get("ANSIBLE_CALLBACK_PLUGINS", "")]
    ours = {
        "ANSIBLE_CALLBACK_PLUGINS": os.pathsep.join(filter(None, plugins)),
        "ANSIBLE_STDOUT_CALLBACK": "fleet_events",
        "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "true",
        "ANSIBLE_NOCOLOR": "true",
        "LC_ALL": "C.UTF-8",  # it runs in no other encoding
    }
    return {"ANSIBLE_FORKS": str(N_AT_ONCE), **os.environ, **ours}


def _run(command: Sequence[str], said: IO[bytes], tell: Callable[[Event], None]) -> tuple[int, int]:
    """Run Ansible to its end; give the number of events, and its exit status."""
    n_events = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, env=_environment()) as process:
        assert process.stdout is not None  # noqa: S101 - asked for above
        for line in process.stdout:
            event = read_event(line)
            if event is not None:
                n_events += 1
                tell(event)
    return n_events, process.returncode


def read_event(line: bytes) -> Event | None:
    """Read one line of our plugin; what else Ansible may write there is none."""
    try:
        found: dict[str, Any] = json.loads(line)
        tags = found["tags"]
        texts = {key: str(found.get(key) or "") for key in ("msg", "stdout", "stderr")}
        return Event(found["event"], found["host"], tags[0] if tags else "", found.get("changed") is True, **texts)
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _reason(text: str) -> str:
    """Find the line in which Ansible says what is wrong."""
    lines = [line for line in text.splitlines() if line.strip()]
    wrong = [line for line in lines if line.startswith(("ERROR", "[ERROR]"))]
    said = readable((wrong or lines or ["without a word"])[0 if wrong else -1])
    return re.sub(r"^(\[?ERROR\]?:? ?|!)+", "", said).rstrip(".")
