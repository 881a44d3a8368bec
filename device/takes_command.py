"""`device takes`: list, verify and salvage recordings."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from device.core.errors import TakeError, UsageError
from device.store import Take, incomplete_takes, salvage, take_folders, why_incomplete


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `device takes`."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for action, what in (("list", "list the takes in a folder"), ("verify", "compare every checksum of every take")):
        of_folder = actions.add_parser(action, help=what, description=what)
        of_folder.add_argument("--takes", type=Path, required=True, metavar="DIR", help="the folder of the takes")
        of_folder.add_argument("--json", action="store_true", help="print one JSON object")
    what = "make a take whole that was cut short, up to its last whole chunk"
    of_take = actions.add_parser("salvage", help=what, description=what)
    of_take.add_argument("take", type=Path, metavar="TAKE", help="the folder of the take, such as takes/0001")


def main(args: argparse.Namespace) -> int:
    """List, verify or salvage.

    Returns
    -------
    int
        1 if a take is damaged or was cut short and all were to be verified, else 0.
    """
    if args.action == "salvage":
        print(_line(_facts(salvage(args.take))))
        return 0
    if not args.takes.is_dir():
        raise UsageError(f"{args.takes} is not a folder; name the folder that holds the takes")
    rows = _rows(args.takes, check=args.action == "verify")
    if args.json:
        print(json.dumps({"takes": rows}))
    else:
        print("\n".join(map(_line, rows)) or f"no takes in {args.takes}")
    return int(args.action == "verify" and any(row["state"] != "whole" for row in rows))


def _rows(takes_dir: Path, *, check: bool) -> list[dict[str, object]]:
    """Tell what is known of each take, by number; a damaged one does not hide the others."""
    rows: list[dict[str, object]] = []
    incomplete = incomplete_takes(takes_dir)
    for path in take_folders(takes_dir):
        if path in incomplete:
            rows.append({"take": str(path), "state": "incomplete", "why": why_incomplete(path)})
            continue
        try:
            rows.append(_facts(Take.open(path, check=check)))
        except TakeError as error:
            rows.append({"take": str(path), "state": "damaged", "why": str(error)})
    return rows


def _facts(take: Take) -> dict[str, object]:
    return {
        "take": str(take.path),
        "state": "whole",
        "duration_s": round(take.duration_s, 3),
        "n_columns": take.n_columns,
        "n_samples": take.n_samples,
        "rate_hz": take.rate_hz,
        "salvaged": take.facts.salvaged,
        "source": take.facts.source,
    }


def _line(row: dict[str, object]) -> str:
    if row["state"] != "whole":
        return f"{row['take']}  {row['state']}: {row['why']}"
    salvaged = "  salvaged" if row["salvaged"] else ""
    return f"{row['take']}  {row['duration_s']} s  {row['n_columns']} columns  {row['rate_hz']} Hz{salvaged}"
