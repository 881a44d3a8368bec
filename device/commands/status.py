"""`python -m device status`: what a running box says of itself."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from device.box.status_client import ask, follow
from device.box.status_page import page
from device.config import load_what_can_be_used

_HOME_AND_CLEAR = "\033[H\033[J"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `device status`."""
    parser.add_argument("--follow", action="store_true", help="go on, whenever the box has news, until interrupted")
    parser.add_argument("--json", action="store_true", help="print one JSON object, or one a line with --follow")
    parser.add_argument("--socket", type=Path, metavar="PATH", help="where the box answers (default: as configured)")
    parser.add_argument("--config", type=Path, metavar="FILE", help="a TOML file that overrides the machine's")


def main(args: argparse.Namespace) -> int:
    """Print the status; a box that does not run is a failure."""
    path = args.socket or Path(load_what_can_be_used(args.config)[0].status.socket)  # as the box reads it
    if not args.follow:
        _show(ask(path, {"op": "status"}), args.json)
        return 0
    is_screen = sys.stdout.isatty() and not args.json
    try:
        for snapshot in follow(path):
            sys.stdout.write(_HOME_AND_CLEAR if is_screen else "")
            _show(snapshot, args.json)
            sys.stdout.write("" if is_screen or args.json else "\n")
            sys.stdout.flush()
    except KeyboardInterrupt:
        return 0  # the way to end it
    print("the box has ended", file=sys.stderr)
    return 1


def _show(snapshot: dict[str, Any], as_json: bool) -> None:
    print(json.dumps(snapshot, ensure_ascii=False) if as_json else page(snapshot))
