"""`deploy fleet push`: a bundle to all boxes in waves, up to the first that does not keep it; run again, it goes on."""

from __future__ import annotations

import argparse
import json
import re
import sys
from contextlib import suppress
from pathlib import Path

from deploy.errors import BoxError
from deploy.fleet import ansible as fleet_ansible
from deploy.fleet.ansible import FAILED, SKIPPED, START, UNREACHABLE, Event, play
from deploy.fleet.boxes import read_boxes
from deploy.push import COMMITTED, model_words
from deploy.signing import make_signed
from deploy.ssh import readable
from device.core.errors import UsageError
from device.models.bundles import read_manifest

SOAK_S, MOST_S = 300.0, 7 * 86400.0
WAVES = "1,5,100%"
MOST_NAMED = 5
PLAYS, PLAYED, WAITS, FELL, UNTOUCHED = "plays", "played already", "waits", "failed", "untouched"
"""What has become of a box: it plays the bundle, or did so before; it has it, and tries it later; it failed; or nobody
came to it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `deploy fleet push`."""
    fleet_ansible.add_arguments(parser)
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="the bundle's folder, from trainer export")
    parser.add_argument("--soak", type=read_seconds, default=SOAK_S, metavar="S", help="seconds to watch the first box")
    parser.add_argument("--waves", type=read_waves, default=read_waves(WAVES), metavar="N,...", help=f"default {WAVES}")
    parser.add_argument("--allow-downgrade", action="store_true", help="take a version that is not newer")
    parser.add_argument("--sign-key", type=Path, metavar="KEY", help="sign it first with this key")


def main(args: argparse.Namespace) -> int:
    """Sign if need be, and roll the bundle out.

    Returns
    -------
    int
        1 if it was stopped.
    """
    boxes = read_boxes(args)
    make_signed(args.bundle, args.sign_key)
    manifest = read_manifest(args.bundle)
    told = Told(list(boxes), model_words({"name": manifest.name, "version": manifest.version}))
    variables: dict[str, object] = {
        "dance_sampler_bundle": str(args.bundle.absolute()),
        "dance_sampler_waves": args.waves,
        "dance_sampler_soak_s": args.soak,
        "dance_sampler_allow_downgrade": args.allow_downgrade,
        "dance_sampler_workstation_python": sys.executable,
    }

    def tell(event: Event) -> None:
        words = told.hear(event)
        if words and not args.json:
            _show(words, is_over=event.kind != START)

    returncode = play("push.yml", args, variables, tell)
    if args.json:
        rows = {host: {"outcome": outcome, "why": told.reasons.get(host)} for host, outcome in told.outcomes.items()}
        print(json.dumps({"name": manifest.name, "version": manifest.version, "boxes": rows}))
    if told.reasons or returncode != 0:
        raise BoxError(told.stopped())
    if not args.json:
        print(told.done())
    return 0


class Told:
    """What has become of each box, and how it is said.

    Parameters
    ----------
    hosts : list of str
        In the inventory's order.
    model : str
        Name and version of what they are to play.

    Attributes
    ----------
    outcomes : dict of str to str
        One of `PLAYS`, `PLAYED`, `WAITS`, `FELL`, `UNTOUCHED` for each host.
    reasons : dict of str to str
        Why those that failed did.
    """

    def __init__(self, hosts: list[str], model: str) -> None:
        self.outcomes = dict.fromkeys(hosts, UNTOUCHED)
        self.reasons: dict[str, str] = {}
        self._model = model
        self._is_begun = False

    def hear(self, event: Event) -> str:
        """Take in what happened, and give what is to be said of it; empty: nothing."""
        self._is_begun |= event.step in ("push", "watch")
        if event.kind in (FAILED, UNREACHABLE):
            self.reasons[event.host] = _without_address(event.why)
            self.outcomes[event.host] = FELL
        elif event.step == "push":
            return self._hear_push(event)
        elif event.step == "watch":
            return self._hear_watch(event)
        return ""

    def _hear_push(self, event: Event) -> str:
        host = readable(event.host)
        if event.kind == START:
            return f"{host}: {self._model} is sent, and tried"
        if event.kind == SKIPPED:
            self.outcomes[event.host] = PLAYED
            return ""
        is_kept = event.answer.get("phase") == COMMITTED
        self.outcomes[event.host] = PLAYS if is_kept else WAITS
        return f"{host} plays {self._model}" if is_kept else f"{host} has {self._model}, and is waited for"

    def _hear_watch(self, event: Event) -> str:
        host = readable(event.host)
        if event.kind == START:
            return f"{host}: it is watched"
        if event.kind == SKIPPED:
            return ""
        soak_s = event.answer.get("soak_s") or 0.0
        was_waiting = self.outcomes[event.host] == WAITS
        if was_waiting:
            self.outcomes[event.host] = PLAYS
        words = [f"{host} plays {self._model}"] if was_waiting else []
        words += [f"{host} played it well for {soak_s:g} s"] if soak_s else []
        return "\n".join(words)

    def done(self) -> str:
        """Say how it ended, when all went well."""
        n, n_new = len(self.outcomes), self._count(PLAYS)
        if n_new == 0:
            return f"{_boxes(n)} {_verb(n, 'play')} {self._model} already: nothing was changed"
        return f"{_boxes(n)} {_verb(n, 'play')} {self._model}, {n_new} of them since now"

    def stopped(self) -> str:
        """Say in one line where it was stopped, how the boxes stand, and what to do."""
        why = "; ".join(f"{readable(host)}: {reason}" for host, reason in self.reasons.items())
        why = why or "Ansible failed, and named no box"
        if not self._is_begun:
            return f"no box was changed: {why}; mend that, or leave it out with --limit '{self._without_failed()}'"
        n, n_play = len(self.outcomes), self._count(PLAYS) + self._count(PLAYED)
        parts = [f"{n_play} of {_boxes(n)} {'plays' if 1 in (n, n_play) else 'play'} {self._model}"]
        for outcome, words in ((WAITS, "to try it yet"), (UNTOUCHED, "not touched")):
            hosts = [host for host, found in self.outcomes.items() if found == outcome]
            parts += [f"{words}: {_named(hosts)}"] if hosts else []
        return f"stopped at {why}; {', '.join(parts)}; mend that, then run this again: it goes on from there"

    def _count(self, outcome: str) -> int:
        return list(self.outcomes.values()).count(outcome)

    def _without_failed(self) -> str:
        return ":".join(["all", *(f"!{readable(host)}" for host in self.reasons)])


def _show(words: str, *, is_over: bool) -> None:
    """Print what has become of a box; what begins only to who waits for it."""
    if is_over:
        print(words, flush=True)
    elif sys.stderr.isatty():
        print(f"{words} ...", file=sys.stderr)


def _without_address(why: str) -> str:
    """Take the address off what a command said of a box, which the inventory names otherwise."""
    return re.sub(r"^[^ ]+: ", "", why)


def _boxes(n: int) -> str:
    return f"{n} box{'es' * (n != 1)}"


def _verb(n: int, verb: str) -> str:
    return verb if n != 1 else f"{verb}s"


def _named(hosts: list[str]) -> str:
    more = f" and {len(hosts) - MOST_NAMED} more" if len(hosts) > MOST_NAMED else ""
    return ", ".join(map(readable, hosts[:MOST_NAMED])) + more


def read_seconds(text: str) -> float:
    """Read a time from 0 to a week.

    Raises
    ------
    UsageError
        It is none.
    """
    with suppress(ValueError):
        if 0.0 <= (seconds := float(text)) <= MOST_S:
            return seconds
    raise UsageError(f"{readable(text)!r} is no time: give seconds, 0 for none")


def read_waves(text: str) -> list[int | str]:
    """Read the sizes of waves: counts of boxes, or shares of them all.

    Raises
    ------
    UsageError
        They are none.
    """
    parts = text.split(",")
    if not all(re.fullmatch(r"[1-9]\d{0,5}|(100|[1-9]\d?)%", part) for part in parts):
        raise UsageError(f"{readable(text)!r} are no waves: give counts of boxes, or percentages: {WAVES}")
    return [part if part.endswith("%") else int(part) for part in parts]
