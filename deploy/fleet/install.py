"""`deploy fleet install`: the program on many boxes, from a fresh system or from an older version, in waves."""

from __future__ import annotations

import argparse
import json
import sys

from deploy.errors import BoxError
from deploy.fleet import ansible as fleet_ansible
from deploy.fleet.ansible import FAILED, OK, UNREACHABLE, Event, play
from deploy.fleet.boxes import read_boxes
from deploy.fleet.push import WAVES, read_waves
from deploy.ssh import explain, readable

N_LINES = 8
"""Of what the installer says when it fails, at most."""
INSTALLED, CURRENT, FELL, UNTOUCHED = "installed", "up to date", "failed", "untouched"
"""What has become of a box: it was installed or brought up to date; nothing was to be done; it failed; nobody came."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `deploy fleet install`."""
    fleet_ansible.add_arguments(parser)
    parser.add_argument("--waves", type=read_waves, default=read_waves(WAVES), metavar="N,...", help=f"default {WAVES}")
    parser.add_argument("-K", "--ask-become-pass", action="store_true", help="ask for the password of sudo")


def main(args: argparse.Namespace) -> int:
    """Install the program and the keys on all boxes, up to the first that fails.

    Returns
    -------
    int
        1 if it was stopped.
    """
    outcomes = dict.fromkeys(read_boxes(args), UNTOUCHED)
    reasons: dict[str, str] = {}

    def tell(event: Event) -> None:
        _hear(event, outcomes, reasons)
        if event.step == "answers" and event.kind == OK and not args.json:
            print(f"{readable(event.host)}: {outcomes[event.host]}", flush=True)

    variables: dict[str, object] = {
        "dance_sampler_waves": args.waves,
        "dance_sampler_workstation_python": sys.executable,
    }
    returncode = play("install.yml", args, variables, tell, ["--ask-become-pass"] if args.ask_become_pass else [])
    if args.json:
        rows = {host: {"outcome": outcome, "why": reasons.get(host)} for host, outcome in outcomes.items()}
        print(json.dumps({"boxes": rows}))
    if reasons or returncode != 0:
        why = "; ".join(f"{readable(host)}: {reason}" for host, reason in reasons.items())
        n_left = list(outcomes.values()).count(UNTOUCHED)
        raise BoxError(
            f"stopped: {why or 'Ansible failed, and named no box'} | {n_left} of {len(outcomes)} were not touched: "
            "mend that and run this again, it goes on from there"
        )
    return 0


def _hear(event: Event, outcomes: dict[str, str], reasons: dict[str, str]) -> None:
    """Take in what happened to a box."""
    if event.kind in (FAILED, UNREACHABLE):
        outcomes[event.host], reasons[event.host] = FELL, _reason(event)
        for line in (event.stdout.splitlines() + event.stderr.splitlines())[-N_LINES:]:
            print(f"    {readable(line)}", file=sys.stderr)
    elif event.kind == OK and event.step in ("install", "keys"):
        was = outcomes[event.host]
        outcomes[event.host] = INSTALLED if event.is_changed or was == INSTALLED else CURRENT


def _reason(event: Event) -> str:
    if event.kind == UNREACHABLE:
        return str(explain(event.host, event.why, own_login=True)).removeprefix(f"{event.host}: ")
    return event.why.removeprefix("install.sh: ")
