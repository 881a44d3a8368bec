"""`deploy log`: the last lines of a box's log."""

from __future__ import annotations

import argparse
import sys

from deploy.box import Box
from deploy.ssh import Ssh, may_ask
from device.core.errors import UsageError
from device.core.wire import MOST_LOG_LINES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `deploy log`."""
    parser.add_argument("box", metavar="BOX", help="a host, user@host, or a Host of ~/.ssh/config")
    parser.add_argument("-n", type=int, default=50, metavar="N", help="how many lines (50)")


def main(args: argparse.Namespace) -> int:
    """Print the lines, without what would steer a terminal."""
    if not 0 < args.n <= MOST_LOG_LINES:
        raise UsageError(f"-n {args.n}: ask for 1 to {MOST_LOG_LINES} lines")
    for line in Box(Ssh(args.box, asks=may_ask())).log(args.n):
        sys.stdout.write("".join(each if each.isprintable() or each == "\t" else "?" for each in line) + "\n")
    return 0
