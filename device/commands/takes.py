"""`device takes`: list, verify and salvage recordings, and carry them away."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

from device.config import load_config
from device.core.errors import TakeError, UsageError
from device.store.state import takes_folder
from device.store.store import Take, incomplete_takes, is_being_recorded, salvage, take_folders, why_incomplete
from device.store.take_export import Exported, export_take, tar_takes

_T = TypeVar("_T")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `device takes`."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for action, what in (("list", "list the takes in a folder"), ("verify", "compare every checksum of every take")):
        of_folder = actions.add_parser(action, help=what, description=what)
        of_folder.add_argument("--takes", type=Path, metavar="DIR", help="the folder of the takes (the box's)")
        of_folder.add_argument("--json", action="store_true", help="print one JSON object")
        of_folder.add_argument("--config", type=Path, metavar="FILE", help="a TOML file that overrides the machine's")
    what = "make a take whole that was cut short, up to its last whole chunk"
    of_take = actions.add_parser("salvage", help=what, description=what)
    of_take.add_argument("take", type=Path, metavar="TAKE", help="the folder of the take, such as takes/0001")
    _add_export(actions.add_parser("export", help="copy takes elsewhere, each compared with its copy"))


def _add_export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("takes", nargs="*", type=Path, metavar="TAKE", help="folders of takes (all of the box's)")
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--to", type=Path, metavar="DIR", help="a folder; takes that are there already are left alone")
    target.add_argument("--tar", metavar="FILE", help="one tar file; - is standard output, for a pipe over SSH")
    parser.add_argument(
        "--tables", action="store_true", help="with --to: sound.wav, columns.npy and frames.csv as well"
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="a TOML file that overrides the machine's")


def main(args: argparse.Namespace) -> int:
    """List, verify, salvage or export.

    Returns
    -------
    int
        1 if a take is damaged or was cut short and all were to be verified or exported, else 0.
    """
    if args.action == "salvage":
        print(_line(_facts(salvage(args.take))))
        return 0
    if args.action == "export":
        return _export(args)
    takes_dir = args.takes or takes_folder(Path(load_config(args.config).state.folder))
    if args.takes is None and not takes_dir.exists():
        rows: list[dict[str, object]] = []  # The box makes the folder with its first take.
    elif not takes_dir.is_dir():
        raise UsageError(f"{takes_dir} is not a folder; name the folder that holds the takes")
    else:
        rows = _rows(takes_dir, check=args.action == "verify")
    if args.json:
        print(json.dumps({"takes": rows}))
    else:
        print("\n".join(map(_line, rows)) or f"no takes in {takes_dir}")
        finished = [row for row in rows if row["state"] != "recording"]
        if args.action == "verify" and finished:
            print(_verdict(finished))
    return int(args.action == "verify" and any(row["state"] not in ("whole", "recording") for row in rows))


def _rows(takes_dir: Path, *, check: bool) -> list[dict[str, object]]:
    """Tell what is known of each take, by number; a damaged one does not hide the others."""
    rows: list[dict[str, object]] = []
    incomplete = incomplete_takes(takes_dir)
    for path in take_folders(takes_dir):
        if path in incomplete and is_being_recorded(path):
            rows.append({"take": str(path), "state": "recording", "why": "it is being recorded"})
            continue
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
        "cancelled": take.facts.cancelled,
        "source": take.facts.source,
        "notes": take.facts.notes,
    }


def _verdict(rows: list[dict[str, object]]) -> str:
    n_whole = sum(row["state"] == "whole" for row in rows)
    return f"every checksum compared: {n_whole} of {len(rows)} takes {'is' if n_whole == 1 else 'are'} whole"


def _line(row: dict[str, object]) -> str:
    if row["state"] != "whole":
        return f"{row['take']}  {row['state']}: {row['why']}"
    marks = "".join(f"  {mark}" for mark in ("salvaged", "cancelled") if row[mark])
    return f"{row['take']}  {row['duration_s']} s  {row['n_columns']} columns  {row['rate_hz']} Hz{marks}"


def _export(args: argparse.Namespace) -> int:
    """Carry takes away; one that cannot be carried is told and does not keep the others."""
    box_takes = takes_folder(Path(load_config(args.config).state.folder))
    paths = args.takes or [path for path in take_folders(box_takes) if path not in incomplete_takes(box_takes)]
    if not paths:
        raise UsageError(f"there are no whole takes in {box_takes}: name the folders of takes")
    if args.tar and args.tables:
        raise UsageError("--tables goes with --to: leave one of them out")
    wrong: list[str] = []
    for done in _carried(paths, args, wrong):
        what = f"{done.n_bytes / 1e6:.1f} MB" if done.is_new else "is there already"
        print(f"{done.path}  {what}", file=sys.stderr if args.tar == "-" else sys.stdout)
    for what in wrong:
        print(f"device: {what}", file=sys.stderr)
    return int(bool(wrong))


def _carried(paths: list[Path], args: argparse.Namespace, wrong: list[str]) -> Iterator[Exported]:
    takes = (take for path in paths if (take := _tried(partial(Take.open, path), wrong)))
    if args.to is not None:
        for take in takes:
            if done := _tried(partial(export_take, take, args.to, tables=args.tables), wrong):
                yield done
    elif args.tar == "-":
        yield from tar_takes(takes, sys.stdout.buffer)
    else:
        part = Path(f"{args.tar}.part")
        with part.open("wb") as file:
            yield from tar_takes(takes, file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(args.tar)


def _tried(do: Callable[[], _T], wrong: list[str]) -> _T | None:
    """Do it, or add what is wrong to the list."""
    try:
        return do()
    except TakeError as error:
        wrong.append(str(error))
        return None
