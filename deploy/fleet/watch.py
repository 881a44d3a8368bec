"""`deploy fleet look` and `watch`: does one box play a bundle, and does it go on so? What a roll-out is stopped by.

A model has shown itself on a box when its trial there has ended well. What shows later than that - a leak, a crash in
the second minute - is what the soak is for: a box that stumbles over its new model goes back to the one before it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from deploy.box import Box
from deploy.errors import BoxError
from deploy.push import model_words
from deploy.ssh import Ssh, may_ask, readable
from device.models.bundles import read_manifest
from device.models.model_copy import name_of

LOOK_S = 5.0
GONE_S = 60.0
"""So long a box may not answer: a network is not always there."""
PATIENCE_S = 900.0
"""So long the trial is waited for, as while a take is recorded."""
MOST_XRUNS_PER_MINUTE, USUAL_FACTOR = 10.0, 2.0
"""So many underruns beside so many times the usual: a box that stumbles anyway is no fault of its model."""
UNDER_WAY = ("waiting", "trial")

Answer = Mapping[str, Any]


def add_look_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `deploy fleet look`."""
    parser.add_argument("box", metavar="BOX", help="a host, user@host, or a Host of ~/.ssh/config")
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="the bundle's folder")


def add_watch_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `deploy fleet watch`."""
    add_look_arguments(parser)
    parser.add_argument("--soak", type=float, default=0.0, metavar="S", help="seconds to watch it play; 0: do not")
    parser.add_argument("--patience", type=float, default=PATIENCE_S, metavar="S", help="seconds to wait for its trial")


def look(args: argparse.Namespace) -> int:
    """Print whether a box plays a bundle and keeps it, as one JSON object."""
    box = Box(Ssh(args.box, asks=may_ask()))
    answer = check_runs(box, box.status())
    print(json.dumps({"box": box.name, "plays": plays(answer, name_of(args.bundle))}))
    return 0


def watch(args: argparse.Namespace) -> int:
    """Wait until a box plays a bundle and keeps it, then see that it goes on so."""
    box = Box(Ssh(args.box, asks=may_ask()))
    manifest = read_manifest(args.bundle)
    words = model_words({"name": manifest.name, "version": manifest.version})
    model, soaks = name_of(args.bundle), Soaks(Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"))
    watched = Watch(box, model, words, time.monotonic, time.sleep)
    watched.settle(args.patience)
    soak_s = args.soak if soaks.longest_s(box.name, model) < args.soak else 0.0
    watched.soak(soak_s)
    soaks.remember(box.name, model, soak_s)
    print(json.dumps({"box": box.name, "plays": True, "soak_s": soak_s}))
    return 0


class Soaks:
    """Remembers which box was watched with which model, and for how long: who runs a roll-out again waits once.

    Parameters
    ----------
    cache : Path
        The user's folder for what may be lost.
    """

    def __init__(self, cache: Path) -> None:
        self._folder = cache / "dance-sampler" / "soaks"

    def longest_s(self, box: str, model: str) -> float:
        """For how long a box played a model well, seconds; 0 if nobody knows."""
        try:
            return float(self._path(box, model).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return 0.0

    def remember(self, box: str, model: str, soak_s: float) -> None:
        """Note it; where that cannot be written, it costs time only."""
        if soak_s > 0.0:
            with suppress(OSError):
                self._folder.mkdir(parents=True, exist_ok=True)
                self._path(box, model).write_text(str(soak_s), encoding="utf-8")

    def _path(self, box: str, model: str) -> Path:
        # A name from an inventory is no name of a file.
        return self._folder / f"{model}-{hashlib.sha256(box.encode()).hexdigest()[:16]}"


class Watch:
    """Looks at one box every `LOOK_S` seconds.

    Parameters
    ----------
    box : Box
    model : str
        Name of the model's folder there: `device.models.model_copy.name_of` of its bundle.
    words : str
        Name and version, to be shown.
    clock : callable
        Gives the time in seconds.
    sleep : callable
        Waits for so many seconds.
    """

    def __init__(
        self, box: Box, model: str, words: str, clock: Callable[[], float], sleep: Callable[[float], None]
    ) -> None:
        self._box, self._model, self._words = box, model, words
        self._clock, self._sleep = clock, sleep

    def settle(self, patience_s: float) -> None:
        """Wait until the model plays and is kept.

        Raises
        ------
        BoxError
            It was not kept, or it took too long.
        """
        until_s = self._clock() + patience_s
        while True:
            answer = self._ask()
            if plays(answer, self._model):
                return
            trial = _trial(answer, self._model)
            if trial.get("phase") not in UNDER_WAY:
                why = readable(trial.get("reason") or f"see python -m deploy log {self._box.name}")
                raise BoxError(f"{self._box.name}: {self._words} was not kept, the model before it plays: {why}")
            if self._clock() >= until_s:
                state = readable(answer.get("state", "busy"))
                raise BoxError(
                    f"{self._box.name}: it has {self._words} and does not play it yet: it is {state}: run this again "
                    "when it performs"
                )
            self._sleep(LOOK_S)

    def soak(self, soak_s: float) -> None:
        """See that the model plays well for so long; if it does not, let the one before it play again.

        Raises
        ------
        BoxError
            It did not, or the box could not be watched.
        """
        if soak_s <= 0.0:
            return
        first, began_s = self._ask(), self._clock()
        while (left_s := began_s + soak_s - self._clock()) > 0.0:
            self._sleep(min(LOOK_S, left_s))
            answer, played_s = self._ask(), self._clock() - began_s
            if not plays(answer, self._model):
                other = model_words(answer.get("model") or {})
                raise BoxError(f"{self._box.name}: it plays {other} now, which somebody chose there")
            if problem := find_problem(first, answer, played_s):
                self._take_back(problem, played_s)

    def _take_back(self, problem: str, played_s: float) -> None:
        """Let the model before it play, and say why."""
        try:
            end = f"{model_words(self._box.rollback())} plays again"
        except BoxError as error:
            end = f"it plays on, for {str(error).removeprefix(f'{self._box.name}: ')}"
        raise BoxError(f"{self._box.name}: {self._words} went wrong after {played_s:.0f} s: {problem}; {end}")

    def _ask(self) -> Answer:
        """Ask how it is; a network that is away for a moment is waited for."""
        until_s = self._clock() + GONE_S
        while True:
            try:
                return check_runs(self._box, self._box.status())
            except BoxError:
                if self._clock() >= until_s:
                    raise
            self._sleep(LOOK_S)


def check_runs(box: Box, answer: Answer) -> Answer:
    """Give an answer back if the box runs, and so can try a model.

    Raises
    ------
    BoxError
        It does not.
    """
    if answer.get("running") is not True:
        raise BoxError(f"{box.name}: it does not run, and so can try no model: start it, or see its log")
    if answer.get("safe"):
        raise BoxError(f"{box.name}: it is in safe mode, and tries no model: see python -m deploy status {box.name}")
    return answer


def plays(answer: Answer, model: str) -> bool:
    """Tell whether a model plays, and has shown that it does so well."""
    said = answer.get("model")
    path = said.get("path") if isinstance(said, Mapping) else None
    return Path(str(path)).name == model and _trial(answer, model).get("phase") not in UNDER_WAY


def _trial(answer: Answer, model: str) -> Mapping[str, Any]:
    """What a box says of the trial of a model; empty if there was none."""
    trial = answer.get("trial")
    if not isinstance(trial, Mapping) or Path(str(trial.get("path"))).name != model:
        return {}
    return trial


def find_problem(first: Answer, now: Answer, played_s: float) -> str:
    """Say what a model has done to a box since an answer; empty: nothing.

    Cameras and cards that were pulled out are none of its business.

    Parameters
    ----------
    first, now : mapping
        What the box said.
    played_s : float
        Seconds between them.
    """
    if _number(now, "uptime_s") < _number(first, "uptime_s"):
        return "the box's service was started anew"
    restarts = [now.get("n_restarts"), first.get("n_restarts")]
    for process in ("model", "sound"):
        after, before = (_number(each, process) if isinstance(each, Mapping) else 0.0 for each in restarts)
        if after > before:
            return f"its {process} process had to be started anew"
    if _number(now, "n_bad_spectra") > _number(first, "n_bad_spectra"):
        return "it gave spectra that are none"
    missing = now.get("missing")
    if isinstance(missing, Mapping) and "model" in missing:
        return readable(missing["model"])
    n_xruns = _number(now, "n_xruns") - _number(first, "n_xruns")
    usual_per_s = _number(first, "n_xruns") / max(_number(first, "uptime_s"), 1.0)
    if n_xruns > MOST_XRUNS_PER_MINUTE * max(played_s / 60.0, 1.0) + USUAL_FACTOR * usual_per_s * played_s:
        return f"{n_xruns:.0f} underruns"
    return ""


def _number(answer: Mapping[str, Any], key: str) -> float:
    value = answer.get(key)
    return float(value) if isinstance(value, (int, float)) else 0.0
