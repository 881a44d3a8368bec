"""`deploy fleet pull`: the takes of many boxes become one training set, each under a number of that set."""

from __future__ import annotations

import argparse
import json
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from deploy.box import Box
from deploy.fleet import ansible as fleet_ansible
from deploy.fleet.boxes import read_boxes
from deploy.fleet.takes import TrainingSet
from deploy.pull import RemoteTake, remote_takes
from deploy.ssh import Ssh, may_ask, readable
from device.console import Progress
from device.core.errors import DanceSamplerError

MOST_AT_ONCE = 4


@dataclass
class Pulled:
    """What came from one box.

    Attributes
    ----------
    n_takes : int
        Whole ones that lie there.
    new : dict of str to str
        Its number on the box -> its number here, of each take that came.
    damaged : dict of str to str
        Number on the box -> what is wrong with it.
    error : str or None
        Why not all could be brought.
    """

    n_takes: int = 0
    new: dict[str, str] = field(default_factory=dict)
    damaged: dict[str, str] = field(default_factory=dict)
    error: str | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `deploy fleet pull`."""
    fleet_ansible.add_arguments(parser)
    parser.add_argument("--takes", type=Path, required=True, metavar="DIR", help="the training set: one for all boxes")


def main(args: argparse.Namespace) -> int:
    """Bring home what is not here yet; what is wrong with one box keeps no other from it.

    Returns
    -------
    int
        1 if anything was left on a box.
    """
    boxes = read_boxes(args)
    asks = may_ask() and len(boxes) == 1
    pulled = pull_all(
        {host: Box(Ssh(box, asks=asks)) for host, box in boxes.items()}, TrainingSet(args.takes), is_quiet=args.json
    )
    if args.json:
        print(json.dumps({"boxes": {host: vars(each) for host, each in pulled.items()}}))
    else:
        n_new = sum(len(each.new) for each in pulled.values())
        print(f"{n_new or 'no'} new take{'s' * (n_new != 1)} from {len(boxes)} box{'es' * (len(boxes) != 1)}")
    for host, each in pulled.items():
        for number, why in each.damaged.items():
            print(f"deploy: {readable(host)}: take {number} was left there: {why}", file=sys.stderr)
        if each.error:
            print(f"deploy: {readable(host)}: {each.error}", file=sys.stderr)
    return int(any(each.damaged or each.error for each in pulled.values()))


def pull_all(boxes: Mapping[str, Box], takes: TrainingSet, *, is_quiet: bool) -> dict[str, Pulled]:
    """Bring the takes of all boxes, some at a time.

    Parameters
    ----------
    boxes : mapping of str to Box
        Each by the name that is kept of it.
    takes : TrainingSet
    is_quiet : bool
        Print nothing of what came.
    """
    with (
        Progress(f"bringing takes of {len(boxes)} boxes: {{:.1f}} MB") as progress,
        ThreadPoolExecutor(min(len(boxes), MOST_AT_ONCE)) as pool,
    ):
        shown = _Shown(progress, is_quiet=is_quiet)
        done = pool.map(lambda host: _pull(host, boxes[host], takes, shown), boxes)
        return dict(zip(boxes, done, strict=True))


def _pull(host: str, box: Box, takes: TrainingSet, shown: _Shown) -> Pulled:
    """Bring the takes of one box."""
    pulled = Pulled()
    try:
        there, pulled.damaged = remote_takes(box.name, box.listed())
        pulled.n_takes = len(there)
        for take in there:
            path = takes.bring(box, host, take, shown.count())
            if path is not None:
                pulled.new[f"{take.number:04d}"] = path.name
                shown.tell(host, take, path)
    except DanceSamplerError as error:
        pulled.error = str(error).removeprefix(f"{box.name}: ")
    return pulled


class _Shown:
    """Shows how all of it gets on, whoever of the threads brings it on.

    Parameters
    ----------
    progress : Progress
    is_quiet : bool
        Print nothing of what came.
    """

    def __init__(self, progress: Progress, *, is_quiet: bool) -> None:
        self._progress, self._is_quiet = progress, is_quiet
        self._lock = threading.Lock()
        self._n_bytes: list[int] = []

    def count(self) -> _Count:
        """Give what is told how many bytes of one take have come."""
        with self._lock:
            self._n_bytes.append(0)
            return _Count(self, len(self._n_bytes) - 1)

    def add(self, index: int, n_bytes: int) -> None:
        """Take in how many bytes of a take have come."""
        with self._lock:
            self._n_bytes[index] = n_bytes
            self._progress(sum(self._n_bytes) / 1e6)

    def tell(self, host: str, take: RemoteTake, path: Path) -> None:
        """Say that a take is here."""
        words = f"{path}  {readable(host)} {take.number:04d}  {take.n_bytes / 1e6:.1f} MB"
        with self._lock:
            if not self._is_quiet:
                self._progress.__exit__()
                print(words + "  cancelled" * take.is_cancelled, flush=True)


@dataclass(frozen=True)
class _Count:
    """Counts the bytes of one take."""

    shown: _Shown
    index: int

    def __call__(self, n_bytes: int) -> None:
        self.shown.add(self.index, n_bytes)
