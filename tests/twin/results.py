"""What the twin promises, tries and finds: one table of checks, kept in `results.json`, shown in `RESULTS.md`.

A layer is a package `tests.twin.NAME` whose module `layer` has `CHECKS`, all that it shows, and `run(results, work)`.
Each check has a fault that can be planted, with which it must fail: a check that cannot fail shows nothing.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from subprocess import SubprocessError
from tempfile import gettempdir
from typing import Any, Literal, NamedTuple

from device.core.errors import DanceSamplerError
from device.store.files import replace_synced
from tests.twin.workbench import ROOT

HERE = Path(__file__).parent
KEPT = "results.json"
"""In each layer's folder."""
_OF_THIS_RUN = re.compile(f"({re.escape(str(ROOT))}|{re.escape(gettempdir())}/[^/ ]+)/")
"""Where the project and a run's own files happened to lie."""
PAGE = Path(__file__).with_name("RESULTS.md")
FAILURES = (
    AssertionError,
    OSError,
    SubprocessError,
    RuntimeError,
    ValueError,
    LookupError,
    EOFError,
    DanceSamplerError,
)
"""What a check may fail with; anything else is a mistake in the twin itself, and ends it."""

Verdict = Literal["ok", "FAILED", "NOT TESTED"]


@dataclass(frozen=True)
class Check:
    """One promise and how it is tried.

    Attributes
    ----------
    name : str
        One word, `a-b-c`, for `--plant`; unique among all layers.
    promise : str
        What somebody is promised, in words of the README or the box's guide.
    how : str
        How it is tried.
    layer : str
    plant : str
        The fault that is planted to see that it is caught, in words.
    """

    name: str
    promise: str
    how: str
    layer: str
    plant: str


class Found(NamedTuple):
    """What a check found.

    Attributes
    ----------
    said : str
        Figures with their units.
    n_times : int
        How often it was tried.
    """

    said: str
    n_times: int = 1


Body = Callable[[bool], str | Found]
"""Tries a check, its fault planted or not; gives what was found, or raises one of `FAILURES`."""


@dataclass(frozen=True)
class Outcome:
    """How a check went when it was tried last: what is kept."""

    verdict: Verdict
    said: str
    n_times: int
    seconds: float
    day: str


@dataclass
class Results:
    """Runs checks, or their planted faults, prints a line for each at once and keeps what was found.

    Parameters
    ----------
    folder : Path
        What was found, in this run and before, lies in a folder for each layer in it.
    planted : collection of str, optional
        Names of checks whose faults are planted, and which alone are tried then; otherwise all are tried, as they are.
    only : collection of str, optional
        Names of the checks that are tried; otherwise all.
    say : callable, optional
        Told a line for each check.
    """

    folder: Path = HERE
    planted: Collection[str] | None = None
    only: Collection[str] | None = None
    say: Callable[[str], None] = print
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    """Of this run, by name."""
    is_broken: bool = False
    """A layer came to no end of its own."""

    def wants(self, *checks: Check) -> bool:
        """Say whether one of these is tried in this run: otherwise a layer need not prepare for it."""
        names = self.only if self.planted is None else self.planted
        return names is None or any(check.name in names for check in checks)

    def run(self, check: Check, body: Body) -> bool:
        """Try a check, and say whether it went well; with its fault planted: whether that was caught."""
        if not self.wants(check):
            return True
        begun_s = time.monotonic()
        try:
            outcome = _try_planted(body) if self.planted is not None else _try(body)
        except FAILURES as error:
            outcome = ("FAILED", Found(_one_line(error)))
        verdict, found = outcome
        self._note(check, verdict, found, time.monotonic() - begun_s)
        return verdict == "ok"

    def not_tested(self, check: Check, why: str) -> None:
        """Say that a check could not be tried: this fails the whole run."""
        if self.wants(check):
            self._note(check, "NOT TESTED", Found(why, 0), 0.0)

    def finish(self, checks: Sequence[Check], why: str = "its layer did not come to it") -> None:
        """End a layer: of its checks, what was not tried is said to be so."""
        for check in checks:
            if check.name not in self.outcomes:
                self.not_tested(check, why)

    @property
    def failures(self) -> list[str]:
        """Names of the checks that failed or were not tested; none: all is well."""
        return [name for name, outcome in self.outcomes.items() if outcome.verdict != "ok"]

    def _note(self, check: Check, verdict: Verdict, found: Found, seconds: float) -> None:
        day = datetime.now(timezone.utc).strftime("%Y-%m-%d")
        said = _OF_THIS_RUN.sub("", found.said)
        outcome = Outcome(verdict, said, found.n_times, round(seconds, 1), day)
        self.outcomes[check.name] = outcome
        times = f", {found.n_times} times" if found.n_times > 1 else ""
        what = f"planted fault: {check.plant}" if self.planted is not None else check.promise
        self.say(f"{verdict:10} {check.layer}: {check.name} ({seconds:.1f} s{times}): {what}: {found.said}")
        path = self.folder / check.layer / KEPT
        kept = _load(path)
        kept["plants" if self.planted is not None else "checks"][check.name] = asdict(outcome)
        replace_synced(path, (json.dumps(kept, indent=1, sort_keys=True) + "\n").encode())


def load(folder: Path = HERE) -> dict[str, dict[str, Any]]:
    """Read what was found in all layers until now: by 'checks' and 'plants', then by name."""
    every = [_load(path) for path in sorted(folder.glob(f"*/{KEPT}"))]
    return {kind: {name: each for kept in every for name, each in kept[kind].items()} for kind in ("checks", "plants")}


def _load(path: Path) -> dict[str, dict[str, Any]]:
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return {"checks": {}, "plants": {}, **found}


def _try(body: Body) -> tuple[Verdict, Found]:
    found = body(False)
    return "ok", Found(found) if isinstance(found, str) else found


def _try_planted(body: Body) -> tuple[Verdict, Found]:
    """Only an assertion catches a fault: a check that breaks for another reason has seen nothing."""
    try:
        found = body(True)
    except AssertionError as error:
        return "ok", Found(f"caught: {_one_line(error)}")
    said = found if isinstance(found, str) else found.said
    return "FAILED", Found(f"NOT CAUGHT: {said}")


def _one_line(error: BaseException) -> str:
    said = " ".join(str(error).split()) or type(error).__name__
    return said if isinstance(error, AssertionError) else f"{type(error).__name__}: {said}"


# --- The page ---

HEAD = """\
# The box without its hardware: what was tried, and what was found

Written by `make twin`, which tries all of it again; `make twin-container` tries the part of every day. Each row is a
promise; its last column is the fault with which the check must fail (`python -m tests.twin --plants` plants them all).
What it cannot show: speed on a Pi or a Jetson, a real camera, a real card, real power. Those have not been tried.

"""
COLUMNS = ("promise", "how tested", "layer", "times", "found", "day", "planted fault, and when it was caught last")


def page(checks: Sequence[Check], kept: Mapping[str, Mapping[str, Any]]) -> str:
    """Give the table of all checks, with what was found when each was tried last."""
    rows = [COLUMNS, ("---",) * len(COLUMNS), *(_row(check, kept) for check in checks)]
    return HEAD + "".join(f"| {' | '.join(_cell(each) for each in row)} |\n" for row in rows)


def _row(check: Check, kept: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    outcome = kept["checks"].get(check.name) or asdict(Outcome("NOT TESTED", "never", 0, 0.0, "-"))
    plant = kept["plants"].get(check.name)
    said = outcome["said"] if outcome["verdict"] == "ok" else f"**{outcome['verdict']}**: {outcome['said']}"
    caught = "**never tried**" if plant is None else plant["day"] if plant["verdict"] == "ok" else "**NOT CAUGHT**"
    return (
        check.promise, check.how, check.layer, str(outcome["n_times"]), said, outcome["day"],
        f"{check.plant}: {caught}",
    )  # fmt: skip


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
