"""`deploy fleet`: many boxes at once, as an inventory of Ansible names them.

What is done to all of them in order is a playbook in deploy/ansible, which runs on the workstation what a user runs for
one box; a few of these verbs are for the playbooks alone, and stand at the end of the list.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

from deploy.fleet import install, program, pull, push, status, watch


@dataclass(frozen=True)
class Verb:
    """What it does, in one line, its options, and what runs it and gives the exit code."""

    help: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    main: Callable[[argparse.Namespace], int]


VERBS = {
    "push": Verb("roll a bundle out: one box, its soak, five more, then the rest",
                 push.add_arguments, push.main),
    "status": Verb("what the boxes are doing, a line each", status.add_arguments, status.main),
    "pull": Verb("bring the takes of all boxes into one training set", pull.add_arguments, pull.main),
    "install": Verb("install the program on boxes, or bring it up to date",
                    install.add_arguments, install.main),
    "look": Verb("for the playbooks: tell whether a box plays a bundle",
                 watch.add_look_arguments, watch.look),
    "watch": Verb("for the playbooks: see that a box plays a bundle, and goes on so",
                  watch.add_watch_arguments, watch.watch),
    "pack": Verb("for the playbooks: write the program that boxes get into one file",
                 program.add_pack_arguments, program.pack),
    "keys": Verb("for the playbooks: give the command that lets a box know your keys",
                 program.add_keys_arguments, program.keys),
}  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verbs of `deploy fleet`."""
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    for name, verb in VERBS.items():
        subparser = verbs.add_parser(name, help=verb.help, description=verb.help)
        verb.add_arguments(subparser)
        subparser.set_defaults(run_verb=verb.main)


def main(args: argparse.Namespace) -> int:
    """Do what the verb says.

    Returns
    -------
    int
        1 if it was not done on all boxes.
    """
    code: int = args.run_verb(args)
    return code
