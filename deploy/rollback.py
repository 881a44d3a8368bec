"""`deploy rollback`: back to the last good model of a box."""

from __future__ import annotations

import argparse
import json

from deploy.box import Box
from deploy.push import model_words
from deploy.ssh import Ssh, may_ask


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `deploy rollback`."""
    parser.add_argument("box", metavar="BOX", help="a host, user@host, or a Host of ~/.ssh/config")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def main(args: argparse.Namespace) -> int:
    """Let the box play its last good model."""
    box = Box(Ssh(args.box, asks=may_ask()))
    answer = box.rollback()
    print(json.dumps({"box": box.name, **answer}) if args.json else f"{box.name} plays {model_words(answer)} again")
    return 0
