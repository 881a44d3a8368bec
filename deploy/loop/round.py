"""A round of `deploy loop`, all of it in its folder: what it learns from, how far it has come, how it ended.

    WORK/takes/NNNN             all takes of the box, as `deploy pull` writes them
    WORK/rounds/NNNN/round.json what it was begun with
                     takes/     links to its takes: what comes later is for the next round
                     run/       the trainer's
                     failed     why training came to nothing, the last time
                     bundle/    is there: it is trained
                     figures.json, report.html
                     end.json   is there: it is over

What is there is whole: whoever is interrupted looks what there is, and goes on.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from device.core.errors import UsageError
from device.store.files import make_folders, remove_file, remove_tree, rename_synced, replace_synced

PUSHED, DECLINED, FELL, SUPERSEDED = "pushed", "declined", "fell", "superseded"
"""How a round ends: the box has its bundle; its user did not want it; its figures fell; other takes came instead."""
_NUMBER = re.compile(r"\d{4,9}")
_FACTS = "round.json"


@dataclass(frozen=True)
class Plan:
    """What a round is begun with.

    Attributes
    ----------
    takes : list of str
        Names of their folders, in order.
    left_out : list of int
        Numbers of takes that are not learned from.
    start : str
        The run whose weights are the start; empty for none.
    before : str
        The bundle that this one is compared with; empty for none.
    preset : str
        How long to train.
    options : list of str
        For `trainer train`, besides.
    """

    takes: list[str]
    left_out: list[int]
    start: str
    before: str
    preset: str
    options: list[str]


@dataclass(frozen=True)
class Round:
    """One round: its folder, and what it was begun with."""

    path: Path
    plan: Plan

    @property
    def takes(self) -> Path:
        """The takes that it learns from."""
        return self.path / "takes"

    @property
    def run(self) -> Path:
        """The trainer's folder."""
        return self.path / "run"

    @property
    def bundle(self) -> Path:
        """What it makes."""
        return self.path / "bundle"

    @property
    def figures(self) -> Path:
        """What was measured, as JSON."""
        return self.path / "figures.json"

    @property
    def report(self) -> Path:
        """The page to look at."""
        return self.path / "report.html"

    @property
    def end(self) -> str:
        """How it ended; empty while it is not over."""
        path = self.path / "end.json"
        return str(_read(path).get("end", "")) if path.exists() else ""

    @property
    def is_trained(self) -> bool:
        """Whether its bundle is there."""
        return self.bundle.is_dir()

    @property
    def goes_on(self) -> bool:
        """Whether other takes have to wait for it: it is being trained, and nothing has gone wrong."""
        return self.run.is_dir() and not self.is_trained and not (self.path / "failed").exists()

    def close(self, end: str) -> None:
        """Let it be over."""
        replace_synced(self.path / "end.json", json.dumps({"end": end}).encode())

    def note_failure(self, why: str) -> None:
        """Keep why training came to nothing: it is tried again, or gives way to newer takes."""
        replace_synced(self.path / "failed", why.encode())

    def note_success(self) -> None:
        """Training goes well now."""
        remove_file(self.path / "failed")


class Rounds:
    """All rounds of one box.

    Parameters
    ----------
    work : Path
        The folder of the loop.
    """

    def __init__(self, work: Path) -> None:
        self._takes, self._folder = work / "takes", work / "rounds"

    def latest(self) -> Round | None:
        """The newest; None if there is none."""
        found = self._all()
        return found[-1] if found else None

    def last_good(self) -> Round | None:
        """The newest whose bundle the box was sent; what the next one starts from and is compared with."""
        return next((each for each in reversed(self._all()) if each.end == PUSHED and each.is_trained), None)

    def begin(self, plan: Plan) -> Round:
        """Make the folder of a round, whole or not at all."""
        latest = self.latest()
        number = int(latest.path.name) + 1 if latest else 1
        path, new = self._folder / f"{number:04d}", self._folder / ".new"
        remove_tree(new)
        make_folders(new / "takes")
        for name in plan.takes:
            (new / "takes" / name).symlink_to(os.path.relpath(self._takes / name, path / "takes"))
        replace_synced(new / _FACTS, json.dumps(asdict(plan), indent=1).encode())
        rename_synced(new, path)
        return Round(path, plan)

    def _all(self) -> list[Round]:
        if not self._folder.is_dir():
            return []
        found = (path for path in self._folder.iterdir() if _NUMBER.fullmatch(path.name))
        return [_open(path) for path in sorted(found, key=lambda path: int(path.name))]


def same_takes(plan: Plan, names: Sequence[str]) -> bool:
    """Whether a round was begun with just these takes."""
    return sorted(plan.takes) == sorted(names)


def _open(path: Path) -> Round:
    try:
        return Round(path, Plan(**_read(path / _FACTS)))
    except TypeError as error:
        raise _damaged(path / _FACTS) from error


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(path) from error
    if not isinstance(content, dict):
        raise _damaged(path)
    return content


def _damaged(path: Path) -> UsageError:
    return UsageError(f"{path} is damaged: remove {path.parent}, the takes in it are links")
