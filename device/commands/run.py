"""`python -m device run`: the box. systemd starts it; it performs until it is told to stop."""

from __future__ import annotations

import argparse
import time
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `device run`."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="a TOML file that overrides the machine's")


def main(args: argparse.Namespace) -> int:
    """Run the box."""
    begun_s = time.monotonic()
    from device.box.box import Box
    from device.box.supervisor import Supervisor
    from device.core.errors import ConfigError

    if args.config is not None and not args.config.is_file():
        # What stands in a file must not keep a box from playing; a file that is named and not there is a slip.
        raise ConfigError(f"there is no configuration file {args.config}: check the path")
    Supervisor(Box(args.config, begun_s)).run()
    return 0
