"""`trainer check`: which takes seem bad, and why, in a line each and in a picture."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from device.core.errors import UsageError
from trainer.checking.take_checks import TakeCheck, check_take
from trainer.data.prepare import load_takes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the arguments of `trainer check`."""
    argument = parser.add_argument
    argument("--takes", type=Path, required=True, metavar="DIR", help="folder of takes")
    argument("--picture", type=Path, metavar="FILE", help="PNG to draw the bad takes to, or the first if none is bad")
    argument("--json", action="store_true", help="print one object")


def main(args: argparse.Namespace) -> int:
    """Print what was found; takes that seem bad are no failure."""
    if args.picture is not None and args.picture.is_dir():
        raise UsageError(f"{args.picture} is a folder: give --picture the name of a file")
    checks = [check_take(take) for take in load_takes(args.takes)]
    bad = [check for check in checks if check.marks]
    if args.picture is not None:
        from trainer.checking.take_pictures import draw

        args.picture.write_bytes(draw(bad or checks))
    if args.json:
        print(json.dumps({"takes": [check.as_dict() for check in checks]}))
        return 0
    for check in checks:
        print(describe(check))
    if bad:
        numbers = ",".join(str(check.number) for check in bad)
        print(f"{len(bad)} of {len(checks)} takes seem bad: train without them by --leave-out {numbers}")
    else:
        print(f"nothing seems wrong with {len(checks)} takes")
    return 0


def describe(check: TakeCheck) -> str:
    """One line about a take."""
    late_s = check.figures.sound_late_s
    fit = "sound and motion: cannot be told" if late_s is None else f"sound {1000 * late_s:+.0f} ms after motion"
    return f"{check.number:04d}  {check.name}  {fit}  {', '.join(check.marks) or 'fine'}"
