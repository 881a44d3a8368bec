"""The twin: `python -m tests.twin [LAYER...]` tries the whole box without its hardware, and writes `RESULTS.md`."""

from __future__ import annotations

import argparse
import importlib
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Protocol, cast

from device.store.files import replace_synced
from tests.twin.results import FAILURES, PAGE, Check, Results, load, page
from tests.twin.workbench import Workbench, end

ORDER = ("container", "replay", "machine")
"""Cheapest first: a layer tries only what the one before cannot."""
BESIDE = "machine"
"""Goes by a clock of its own, however busy this machine is: where all are tried it runs beside the others."""

OWN_MOUNTS = "DANCE_TWIN_HAS_OWN_MOUNTS"


class Layer(Protocol):
    """What a module `tests.twin.NAME.layer` has."""

    CHECKS: Sequence[Check]

    def run(self, results: Results, work: Workbench) -> None:
        """Try all of its checks."""


def main(argv: Sequence[str]) -> int:
    """Try layers, or the faults planted in them; write the page; say how it went."""
    names = layer_names()
    parser = argparse.ArgumentParser(prog="python -m tests.twin", description="try the box without its hardware")
    parser.add_argument("layers", nargs="*", metavar="LAYER", help=f"which to try: {', '.join(names)} (default: all)")
    parser.add_argument("--plants", action="store_true", help="plant the fault of each check: all must be caught")
    parser.add_argument("--plant", action="append", metavar="NAME", help="plant the fault of this check only")
    parser.add_argument("--check", action="append", metavar="NAME", help="try this check only")
    parser.add_argument("--list", action="store_true", help="list all checks with their names")
    parser.add_argument("--page", action="store_true", help="write RESULTS.md anew from what was found until now")
    parser.add_argument("--patience", type=float, default=1.0, metavar="N", help="wait N times as long as usual")
    args = parser.parse_args(argv)
    layers = {name: cast(Layer, importlib.import_module(f"tests.twin.{name}.layer")) for name in names}
    checks = {check.name: check for layer in layers.values() for check in layer.CHECKS}
    if unknown := [*(set(args.layers) - set(names)), *({*(args.plant or ()), *(args.check or ())} - set(checks))]:
        parser.error(f"there is no {unknown[0]}: --list lists all")
    if args.list:
        print("\n".join(f"{each.layer:10} {each.name:28} {each.promise}" for each in checks.values()))
        return 0
    if args.page:
        write_page(checks.values())
        return 0
    alone(argv)
    planted = set(args.plant or checks) if args.plants or args.plant else None
    results = Results(planted=planted, only=args.check)
    wanted = [name for name in args.layers or names if results.wants(*layers[name].CHECKS)]
    is_beside = planted is None and BESIDE in wanted and len(wanted) > 1
    with beside([BESIDE, *argv_without(argv, args.layers)]) if is_beside else nullcontext([0]) as codes:
        for name in wanted:
            if name != BESIDE or not is_beside:
                try_layer(layers[name], results, args.patience)
                write_page(checks.values())
    write_page(checks.values())
    return _verdict(results) or codes[0]


def argv_without(argv: Sequence[str], layers: Sequence[str]) -> list[str]:
    """Give a command's options without the layers that it named."""
    return [word for word in argv if word not in layers]


@contextmanager
def beside(argv: Sequence[str]) -> Iterator[list[int]]:
    """Try layers in a process of their own, which says what it finds where we do; in the end wait for it.

    Yields
    ------
    list of int
        Its exit code, from when the block was left.
    """
    command = ["setpriv", "--pdeathsig", "TERM", "--", sys.executable, "-m", "tests.twin", *argv]
    environ = {name: value for name, value in os.environ.items() if name != OWN_MOUNTS}
    codes = [0]
    with subprocess.Popen(command, env=environ) as process:
        try:
            yield codes
            codes[0] = process.wait()
        finally:
            end(process)


def write_page(checks: Iterable[Check]) -> None:
    """Write the table of all checks, those of layers that were not tried now as they were found last."""
    replace_synced(PAGE, page(list(checks), load()).encode())


def alone(argv: Sequence[str]) -> None:
    """Go on in a name space of mounts of our own: what is mounted here is gone when we are, however we end."""
    if os.geteuid() == 0 and OWN_MOUNTS not in os.environ:
        command = ["unshare", "--mount", "--propagation", "private", sys.executable, "-m", "tests.twin", *argv]
        os.execvpe(command[0], command, {**os.environ, OWN_MOUNTS: "yes"})  # noqa: S606 - it is this program


def layer_names() -> list[str]:
    """Give all layers, in the order in which they are tried."""
    return sorted((each.parent.name for each in Path(__file__).parent.glob("*/layer.py")), key=ORDER.index)


def try_layer(layer: Layer, results: Results, patience: float = 1.0) -> None:
    """Try one layer on a workbench of its own: whatever happens, each of its checks has an outcome."""
    why = "its layer did not come to it"
    try:
        with Workbench(n_times=patience) as work:
            layer.run(results, work)
    except FAILURES as error:
        why = " ".join(str(error).split())
        print(f"a layer ended: {why}", file=sys.stderr)
        results.is_broken = True  # even if what broke is the tidying up
    results.finish(layer.CHECKS, why)


def _verdict(results: Results) -> int:
    print(f"{len(results.outcomes) - len(results.failures)} of {len(results.outcomes)} checks went well; see {PAGE}")
    for name in results.failures:
        outcome = results.outcomes[name]
        print(f"{name}: {outcome.verdict}: {outcome.said}", file=sys.stderr)
    return 1 if results.failures or results.is_broken or not results.outcomes else 0


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # a line for each check, at once
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)
