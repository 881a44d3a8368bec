"""`deploy status`: a table of boxes, all asked at once."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from deploy.box import Box
from deploy.errors import BoxError
from deploy.ssh import Ssh, may_ask, readable

MOST_AT_ONCE = 16
_HEAD = ("BOX", "STATE", "MODEL", "FREE", "FAULTS")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `deploy status`."""
    parser.add_argument("boxes", nargs="+", metavar="BOX", help="hosts, user@host, or Hosts of ~/.ssh/config")
    parser.add_argument("--json", action="store_true", help="print one JSON object, by box")


def main(args: argparse.Namespace) -> int:
    """Print the table; a box that cannot be asked is a line of it.

    Returns
    -------
    int
        1 if any box could not be asked or does not run, else 0.
    """
    said = ask_all(args.boxes)
    if args.json:
        print(json.dumps({"boxes": said}))
    else:
        print(table(said))
    return int(not all(map(is_well, said.values())))


def ask_all(boxes: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Ask boxes side by side; the answer of one that cannot be asked holds only why, under 'error'."""
    # One at a time may ask for a passphrase; many at once would be asking all over each other.
    asks = may_ask() and len(boxes) == 1
    asked = [Box(Ssh(box, asks=asks)) for box in dict.fromkeys(boxes)]
    with ThreadPoolExecutor(min(len(asked), MOST_AT_ONCE)) as pool:
        return dict(zip((box.name for box in asked), pool.map(_ask, asked), strict=True))


def is_well(answer: Mapping[str, Any]) -> bool:
    """Tell whether a box answered, and runs."""
    return "error" not in answer and answer.get("running") is not False


def _ask(box: Box) -> dict[str, Any]:
    try:
        return box.status()
    except BoxError as error:
        return {"error": str(error).removeprefix(f"{box.name}: ")}


def table(said: Mapping[str, Mapping[str, Any]]) -> str:
    """Write the boxes' answers as lines of equal columns.

    Parameters
    ----------
    said : mapping of str to mapping
        As `ask_all` gives it. Nothing in an answer is taken for granted.
    """
    rows = [_HEAD, *(_row(box, answer) for box, answer in said.items())]
    # Why a box cannot be asked is long, and runs over the columns to its right.
    whole = [row for row in rows if len(row) == len(_HEAD)]
    widths = [max(len(row[n]) for row in (whole if n else rows)) for n in range(len(_HEAD))]
    return "\n".join(
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=False)).rstrip() for row in rows
    )


def _row(box: str, answer: Mapping[str, Any]) -> tuple[str, ...]:
    if "error" in answer:
        return box, readable(answer["error"])
    return box, _state(answer), _model(answer), _free(answer), _faults(answer)


def _state(answer: Mapping[str, Any]) -> str:
    if answer.get("running") is False:
        return "does not run"
    return readable(answer.get("state", "unknown")) + (", safe mode" if answer.get("safe") else "")


def _model(answer: Mapping[str, Any]) -> str:
    model = answer.get("model")
    if not isinstance(model, Mapping):  # one that does not run tells what would play
        models = answer.get("models")
        rows = [row for row in models if isinstance(row, Mapping)] if isinstance(models, list) else []
        model = next((row for row in rows if row.get("is_current")), {})
    return readable(f"{model.get('name', '?')} {model.get('version', '')}")


def _free(answer: Mapping[str, Any]) -> str:
    disk = answer.get("disk")
    n_free = disk.get("free_bytes") if isinstance(disk, Mapping) else None
    if not isinstance(n_free, (int, float)):
        return "?"
    is_full = n_free <= (disk.get("reserve_bytes") or 0) if isinstance(disk, Mapping) else False
    return f"{n_free / 1e9:.1f} GB{' FULL' * is_full}"


def _faults(answer: Mapping[str, Any]) -> str:
    missing = answer.get("missing")
    return readable("; ".join(map(str, missing.values()))) if isinstance(missing, Mapping) and missing else "none"
