"""`deploy fleet status`: a table of the boxes that an inventory names, all asked at once."""

from __future__ import annotations

import argparse
import json

from deploy.fleet import ansible as fleet_ansible
from deploy.fleet.boxes import read_boxes
from deploy.status import ask_all, is_well, table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `deploy fleet status`."""
    fleet_ansible.add_arguments(parser)


def main(args: argparse.Namespace) -> int:
    """Print the table, by the inventory's names.

    Returns
    -------
    int
        1 if any box could not be asked or does not run, else 0.
    """
    boxes = read_boxes(args)
    answers = ask_all(list(boxes.values()))
    said = {host: answers[box] for host, box in boxes.items()}
    print(json.dumps({"boxes": said}) if args.json else table(said))
    return int(not all(map(is_well, said.values())))
