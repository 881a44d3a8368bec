"""`deploy loop`: the round trip. New takes come home, a model learns from them, and goes back if it is no worse.

Each step leaves something whole in the folder of its round (`deploy.loop.round`): interrupted anywhere, the same
command goes on from there.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import sys
import webbrowser
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deploy.box import Box
from deploy.loop.figures import MARGIN, Row, judge, table, why_not
from deploy.loop.round import DECLINED, FELL, PUSHED, SUPERSEDED, Plan, Round, Rounds, same_takes
from deploy.loop.trainer import Trainer, TrainerError, TrainerProcesses, check_trainer
from deploy.pull import bring_all, remote_takes
from deploy.push import end_words, push
from deploy.ssh import Ssh, may_ask
from device.core.bundle import MANIFEST, Manifest
from device.core.errors import UsageError
from device.models.bundles import FACTORY, read_manifest
from device.store.files import explained, make_folders, replace_synced
from device.store.locks import FolderLock
from device.store.store import Take, incomplete_takes, take_folders

SCREENS = ("DISPLAY", "WAYLAND_DISPLAY", "__CFBundleIdentifier")
"""In the environment of who sits before one: X's, Wayland's, a Mac's."""
FACTORY_WORD = "factory"
"""In place of a start's folder: the bundle of a new box."""
PRESETS = ("quick", "standard", "full")
ENDS = {
    PUSHED: "pushed",
    DECLINED: "not pushed, as you wished",
    FELL: "not pushed, its figures fell",
    SUPERSEDED: "given up for newer takes",
}
"""How a round ended, in words."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `deploy loop`."""
    argument = parser.add_argument
    argument("box", metavar="BOX", help="a host, user@host, or a Host of ~/.ssh/config")
    argument("--work", type=Path, metavar="DIR", help="where takes, runs and bundles are kept (loop/BOX)")
    argument("--preset", choices=PRESETS, help="how long to train (as the last time; quick at first)")
    argument(
        "--from",
        dest="start",
        metavar="RUN",
        help="start from this run, bundle, or the factory's, not the last round's",
    )
    argument("--train", metavar="OPTIONS", help="for trainer train, such as '--segment-s 0.25' (as the last time)")
    argument("--scratch", action="store_true", help="start from nothing, and compare with nothing")
    argument("--leave-out", type=int, nargs="*", metavar="N", help="takes not to learn from, from now on; none: all do")
    argument("--margin", type=float, default=MARGIN, metavar="M", help="so much a figure may fall (%(default)s)")
    argument("--name", metavar="NAME", help="of the model (BOX)")
    argument("--sign-key", type=Path, metavar="KEY", help="sign with this key (that of deploy keygen)")
    argument("--yes", action="store_true", help="push without asking, if the figures hold")
    argument("--json", action="store_true", help="print one JSON object last")


def main(args: argparse.Namespace) -> int:
    """Go one round, or go on with it.

    Returns
    -------
    int
        1 if there is a new bundle whose figures do not hold, else 0.
    """
    if not 0.0 <= args.margin <= 1.0:
        raise UsageError(f"--margin {args.margin:g}: give 0 to 1")
    box = Box(Ssh(args.box, asks=may_ask()))
    check_trainer()
    host = args.box.removeprefix("ssh://").rpartition("@")[2]
    host = re.sub(r"[^A-Za-z0-9._-]", "-", host).lstrip("._-")[:64] or "box"  # as a bundle may be called, too
    work = args.work or Path("loop") / host
    with _alone(work) as lock:
        return Loop(args, box, work, args.name or host, TrainerProcesses(lock)).go()


@contextmanager
def _alone(work: Path) -> Iterator[int]:
    """Keep a second loop out, and the training of one that was killed."""
    with explained(work):
        make_folders(work)
    try:
        lock = FolderLock(work)
    except BlockingIOError as error:
        raise UsageError(f"another loop, or the training that it began, works in {work}: wait for its end") from error
    try:
        yield lock.descriptor
    finally:
        lock.release()


class Loop:
    """One round, from the box and back.

    Parameters
    ----------
    args : argparse.Namespace
        See `add_arguments`.
    box : Box
    work : Path
        Where all of it is kept.
    name : str
        Of the model.
    trainer : Trainer
    """

    def __init__(self, args: argparse.Namespace, box: Box, work: Path, name: str, trainer: Trainer) -> None:
        self._args, self._box, self._name, self._trainer = args, box, name, trainer
        self._takes, self._rounds = work / "takes", Rounds(work)
        self._said: dict[str, Any] = {"box": box.name, "pushed": False}

    def go(self) -> int:
        """Do what is left to do."""
        self._pull()
        turn = self._choose()
        if turn is None:
            return self._end(0)
        self._said["round"] = str(turn.path)
        self._train(turn)
        rows = self._judge(turn)
        self._report(turn)
        why = why_not(rows, self._args.margin)
        if why:
            turn.close(FELL)
            self._say(f"not pushed, its figures fell {why}")
            self._say(self._how_to_push(turn, "all the same"))
            return self._end(1)
        if self._agrees(turn):
            self._push(turn)
        return self._end(0)

    def _pull(self) -> None:
        takes, damaged = remote_takes(self._box.name, self._box.listed())
        new = [path.name for path, _ in bring_all(self._box, takes, self._takes)]
        self._said["new"] = new
        self._say(f"{self._box.name}: {len(new) or 'no'} new take{'s' * (len(new) != 1)}")
        for number, why in damaged.items():
            print(f"deploy: {self._box.name}: take {number} was left there: {why}", file=sys.stderr)

    def _choose(self) -> Round | None:
        """Give the round to go on with: the one that is not over, or a new one if there is something new to learn."""
        latest = self._rounds.latest()
        left_out = self._args.leave_out if self._args.leave_out is not None else latest.plan.left_out if latest else []
        names = self._learned_from(left_out)
        if not names:
            self._say("there is no take to learn from yet: record some")
            return None
        if latest is None:
            return self._begin(names, left_out)
        is_another = self._is_another(latest.plan)
        is_same = same_takes(latest.plan, names) and not is_another
        if latest.end and is_same:
            self._say_how_it_ended(latest)
            return None
        if not latest.end:
            if is_same or (latest.goes_on and not is_another):
                self._say(f"going on with {latest.path}{'' if is_same else '; what came since is for the next round'}")
                return latest
            latest.close(SUPERSEDED)
        return self._begin(names, left_out, latest.plan)

    def _is_another(self, plan: Plan) -> bool:
        """Whether the user asks for another training than this one."""
        args = self._args
        return bool(
            (args.preset and args.preset != plan.preset)
            or (args.train is not None and shlex.split(args.train) != plan.options)
            or (args.scratch and plan.start)
            or (args.start and _start(args.start)[0] != plan.start)
        )

    def _begin(self, names: list[str], left_out: list[int], last: Plan | None = None) -> Round:
        """Begin a round: as the last one was, unless the user says otherwise."""
        args, good = self._args, self._rounds.last_good()
        start = before = ""
        if good is not None and not args.scratch:
            start, before = str(good.run.resolve()), str(good.bundle.resolve())
        if args.start is not None:
            start, of_start = _start(args.start)
            before = before or of_start
        preset = args.preset or (last.preset if last else PRESETS[0])
        options = shlex.split(args.train) if args.train is not None else last.options if last else []
        return self._rounds.begin(Plan(names, left_out, start, before, preset, options))

    def _say_how_it_ended(self, last: Round) -> None:
        self._say(f"nothing new to learn from; the last round, {last.path}, was {ENDS[last.end]}")
        if last.end != PUSHED:
            self._say(self._how_to_push(last, "all the same"))

    def _learned_from(self, left_out: list[int]) -> list[str]:
        """Name the whole takes that their recorder and the user want."""
        cut_short = set(incomplete_takes(self._takes))
        paths = [path for path in take_folders(self._takes) if path not in cut_short]
        if unknown := sorted(set(left_out) - {int(path.name) for path in paths}):
            raise UsageError(f"--leave-out {unknown[0]}: there is no such take in {self._takes}")
        wanted = [path for path in paths if int(path.name) not in left_out]
        return [path.name for path in wanted if not Take.open(path, check=False).facts.cancelled]

    def _train(self, turn: Round) -> None:
        """Train and export; what is trained already is left as it is."""
        if turn.is_trained:
            return
        plan, n = turn.plan, len(turn.plan.takes)
        start = f", from {plan.start}" if plan.start else ""
        self._tell(f"training on {n} take{'s' * (n != 1)}{start}: {turn.run}")
        command = ["train", "--takes", str(turn.takes), "--run", str(turn.run), "--preset", plan.preset]
        command += [*(["--from", plan.start] if plan.start else []), *plan.options]
        try:
            self._trainer.run(*command)
            self._trainer.run("export", "--run", str(turn.run), "--bundle", str(turn.bundle), "--name", self._name)
        except TrainerError as error:
            turn.note_failure(str(error))
            remedy = "; --scratch starts from nothing" if plan.start else ""
            raise TrainerError(f"{error} (the same command tries again{remedy})") from error
        turn.note_success()

    def _judge(self, turn: Round) -> list[Row]:
        """Play what was held out with the new bundle and the one before it; show how they compare."""
        if turn.figures.exists():
            found = json.loads(turn.figures.read_bytes())
        else:
            before = self._measure(turn, Path(turn.plan.before)) if turn.plan.before else None
            found = {"now": self._measure(turn, turn.bundle), "before": before}
            replace_synced(turn.figures, json.dumps(found).encode())
        rows = judge(found["now"], found["before"], self._args.margin)
        self._said["figures"] = [vars(row) for row in rows]
        self._say(table(rows, is_first=found["before"] is None))
        return rows

    def _measure(self, turn: Round, bundle: Path) -> Mapping[str, Any]:
        """Play what the new bundle's training held out: both bundles the same."""
        self._tell(f"playing what was held out with {bundle}")
        command = ["evaluate", "--bundle", str(bundle), "--takes", str(turn.takes), "--json"]
        if bundle != turn.bundle:
            command += _held_out(read_manifest(turn.bundle))
        found: Mapping[str, Any] = json.loads(self._trainer.run(*command).splitlines()[-1])
        return found

    def _report(self, turn: Round) -> None:
        """Write the page, and open it where there is a screen and somebody before it."""
        is_new = not turn.report.exists()
        if is_new:
            self._tell("writing the report")
            self._trainer.run("report", "--run", str(turn.run), "--bundle", str(turn.bundle), "--out", str(turn.report))
        url = turn.report.resolve().as_uri()
        self._said["report"] = url
        self._say(f"report: {url}")
        if is_new and may_ask() and any(map(os.environ.get, SCREENS)):  # without one it might be a browser of text
            webbrowser.open(url)

    def _agrees(self, turn: Round) -> bool:
        """Ask the user, where there is one to be asked; nothing is pushed unasked."""
        if self._args.yes:
            return True
        if not may_ask():
            self._say("not pushed: nobody is there to be asked; run it again on a terminal, or with --yes")
            return False
        sys.stderr.write(f"push it to {self._box.name}? [y/N] ")
        sys.stderr.flush()
        if sys.stdin.readline().strip().lower() in ("y", "yes"):
            return True
        turn.close(DECLINED)
        self._say(f"not pushed; {self._how_to_push(turn, 'after all')}")
        return False

    def _push(self, turn: Round) -> None:
        last = push(self._box, turn.bundle, self._args.sign_key)
        turn.close(PUSHED)
        self._said |= {"pushed": True, **last}
        self._say(end_words(self._box.name, last))

    def _how_to_push(self, turn: Round, words: str) -> str:
        return f"python -m deploy push {self._box.name} {turn.bundle} pushes it {words}"

    def _say(self, words: str) -> None:
        """Tell the user where it stands; beside one JSON object, on standard error."""
        print(words, file=sys.stderr if self._args.json else sys.stdout, flush=True)

    def _tell(self, words: str) -> None:
        """Say on a terminal what takes long now."""
        if sys.stderr.isatty():
            print(words, file=sys.stderr, flush=True)

    def _end(self, code: int) -> int:
        if self._args.json:
            print(json.dumps(self._said))
        return code


def _start(given: str) -> tuple[str, str]:
    """Give what the trainer is to start from, and the bundle to compare with, if it is one."""
    if given == FACTORY_WORD:
        return given, str(FACTORY)
    path = Path(given).resolve()
    if not path.is_dir():
        raise UsageError(f"there is no run at {given}: give --from the folder of one, or the word {FACTORY_WORD}")
    return str(path), str(path) if (path / MANIFEST).exists() else ""


def _held_out(manifest: Manifest) -> list[str]:
    """Give the options that make the trainer play what the training of a bundle held out."""
    kept = manifest.figures.get("held_out")
    if not isinstance(kept, dict):
        return []
    if kept["takes"]:
        return ["--held-out-takes", *map(str, kept["takes"])]
    return ["--held-out", str(kept["part"])]
