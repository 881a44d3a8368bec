"""`deploy push`: a bundle to a box, which checks it, plays it, and keeps it if all stays well."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deploy.archive import pack
from deploy.box import Box
from deploy.errors import BoxError, CutError, InterruptedWorkError
from deploy.signing import make_signed
from deploy.ssh import Ssh, may_ask, readable
from device.console import Progress
from device.core.wire import digest_of

COMMITTED, PENDING = "committed", "pending"
"""How a push that went well ends: the model plays and is kept; or it lies there and is tried as soon as it can be."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `deploy push`."""
    parser.add_argument("box", metavar="BOX", help="a host, user@host, or a Host of ~/.ssh/config")
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="the bundle's folder, from trainer export")
    parser.add_argument("--allow-downgrade", action="store_true", help="take a version that is not newer")
    parser.add_argument(
        "--sign-key", type=Path, metavar="KEY", help="sign it first with this key (an unsigned one: that of keygen)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def main(args: argparse.Namespace) -> int:
    """Sign if need be, send what the box has not yet, and follow the trial."""
    box = Box(Ssh(args.box, asks=may_ask()))
    last = push(box, args.bundle, args.sign_key, allow_downgrade=args.allow_downgrade)
    print(json.dumps(last) if args.json else end_words(box.name, last))
    return 0


def push(box: Box, bundle: Path, sign_key: Path | None, *, allow_downgrade: bool = False) -> dict[str, Any]:
    """Let a box have a bundle, and give all that it said of the trial, with 'box', 'n_bytes' and 'n_sent'.

    Raises
    ------
    BundleError
        It is not whole, or cannot be signed.
    BoxError
        The box cannot be reached, refuses it, or went back to the model before.
    InterruptedWorkError
        The user ended it.
    """
    make_signed(bundle, sign_key)
    data = pack(bundle)
    digest = digest_of(data)
    try:
        n_sent = upload(box, digest, data)
    except KeyboardInterrupt as error:
        raise InterruptedWorkError(
            f"{box.name}: interrupted: it plays what it played; run it again, it goes on from there"
        ) from error
    try:
        last = activate(box, digest, allow_downgrade=allow_downgrade)
    except KeyboardInterrupt as error:
        raise InterruptedWorkError(
            f"{box.name}: interrupted: it goes on with the trial by itself: see python -m deploy status {box.name}"
        ) from error
    return {**last, "box": box.name, "n_bytes": len(data), "n_sent": n_sent}


def upload(box: Box, digest: str, data: bytes) -> int:
    """Send what a box has not yet, and tell how many bytes that were.

    Raises
    ------
    BoxError
        It cannot be reached, refuses, or the connection was cut: what has come stays there for the next time.
    """
    offset = min(box.offset(digest), len(data))
    with Progress(f"sending to {box.name}: {{:.1f}} of {len(data) / 1e6:.1f} MB") as progress:
        try:
            is_complete = box.put(digest, data, offset, lambda n: progress((offset + n) / 1e6))
        except CutError as error:
            raise CutError(f"{error}: run it again, it goes on from there; the box plays what it played") from error
    if not is_complete:
        raise BoxError(f"{box.name}: it has not all of the bundle: run it again, it goes on from there")
    return len(data) - offset


def activate(box: Box, digest: str, *, allow_downgrade: bool) -> dict[str, Any]:
    """Let a box try what was sent, say how it gets on, and give all that it said.

    Raises
    ------
    BoxError
        It refuses the model or went back to the one before, and why.
    """
    said: dict[str, Any] = {}
    is_shown = sys.stderr.isatty()
    try:
        for news in box.activate(digest, allow_downgrade=allow_downgrade):
            said |= news
            if is_shown:
                sys.stderr.write(f"\r\033[K{box.name}: {phase_words(said)}")
                sys.stderr.flush()
    except CutError as error:
        raise CutError(f"{error}, and the box may still be at it: see python -m deploy status {box.name}") from error
    finally:
        if is_shown:
            sys.stderr.write("\r\033[K")
    if said.get("phase") not in (COMMITTED, PENDING):
        why = readable(said.get("reason") or f"it ended at '{said.get('phase', 'nothing')}'")
        raise BoxError(f"{box.name}: {model_words(said)} was not kept, the model before it plays: {why}")
    return said


def phase_words(said: Mapping[str, Any]) -> str:
    """Say what a box does with a model that is on trial."""
    words = readable(said.get("phase", "at work"))
    if said.get("seconds") is not None and "of_s" in said:
        words += f", {readable(said['seconds'])} of {readable(said['of_s'])} s"
    return words


def end_words(box: str, last: Mapping[str, Any]) -> str:
    """Say how a push that went well ended."""
    if last["phase"] == COMMITTED:
        return f"{box} plays {model_words(last)}"
    return f"{box} has {model_words(last)} and does not play it yet: {readable(last.get('reason', ''))}"


def model_words(said: Mapping[str, Any]) -> str:
    """Name the model that a box speaks of."""
    name, version = said.get("name"), said.get("version")
    return readable(f"{name} {version}") if name is not None else "the new model"
