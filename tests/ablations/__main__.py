"""`python -m tests.ablations`: the program beside what it could have been, on the same takes, steps and batches."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from device.core.errors import DanceSamplerError, UsageError
from device.store.files import replace_synced
from tests.ablations.cases import Case, Group, groups
from tests.ablations.results import Results, Row
from tests.ablations.table import page, read_decisions
from trainer.data.prepare import load_takes
from trainer.settings import PRESETS

if TYPE_CHECKING:
    from tests.ablations.material import Material

PAGE = Path(__file__).parents[2] / "trainer" / "ABLATIONS.md"
MUSIC_HELD_OUT = 1 / 3
"""The last third: `dancer.avi`, say, is one piece danced three times."""


def main(argv: Sequence[str]) -> int:
    """Measure what is not measured yet, and write the page where asked."""
    args = _arguments(argv)
    try:
        if args.takes is not None:
            measure(args)
        elif not args.table:
            raise UsageError("nothing to do: give --takes to measure, or --table to write the page")
        if args.table:
            results = Results(args.out)
            made = groups(float(results.about["minutes of takes"]), "music" in results.about)
            replace_synced(args.page, page(made, results, read_decisions()).encode())
            print(f"kept in {args.page}")
    except (DanceSamplerError, OSError) as error:
        print(f"ablations: {' '.join(str(error).split())}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    return 0


def measure(args: argparse.Namespace) -> None:
    """Measure the cases of the chosen groups that have no row yet."""
    if args.steps is None:
        raise UsageError("--steps is missing: say how long each model is trained, 2000 for instance")
    from tests.ablations.material import Material

    preset = replace(PRESETS["quick"], n_steps=args.steps)
    materials = {"takes": Material(load_takes(args.takes), preset, args.held_out, args.held_out_takes)}
    if args.music is not None:
        materials["music"] = Material(load_takes(args.music), preset, MUSIC_HELD_OUT, [])
    cases = chosen(groups(materials["takes"].minutes, "music" in materials), args.only)
    results = Results(args.out, _about(materials, args))
    from tests.ablations.measure import Ablations
    from trainer.backend import tf

    tf.config.experimental.enable_op_determinism()
    go_on(cases, results, Ablations(materials, args.played_s, _say).row)


def go_on(cases: Sequence[Case], results: Results, row_of: Callable[[Case], Row]) -> None:
    """Measure the cases that have no row; keep each row as soon as it is known."""
    waiting = [case for case in cases if case.key not in results.rows]
    for number, case in enumerate(waiting, 1):
        started_s = time.perf_counter()
        results.add(case.key, row_of(case))
        _say(f"{number} of {len(waiting)} in {time.perf_counter() - started_s:.0f} s: {case.key}")


def chosen(made: dict[str, Group], only: str | None) -> list[Case]:
    """Cases of the groups, each once, those of one training side by side."""
    names = list(made) if only is None else only.split(",")
    unknown = [name for name in names if name not in made]
    if unknown:
        raise UsageError(f"there is no group '{unknown[0]}': choose from {', '.join(made)}")
    by_training: dict[Any, dict[str, Case]] = {}
    for name in names:
        for case in made[name].cases.values():
            by_training.setdefault(case.training, {})[case.key] = case
    return [case for cases in by_training.values() for case in cases.values()]


def _about(materials: dict[str, Material], args: argparse.Namespace) -> dict[str, Any]:
    """What all rows have in common."""
    takes = materials["takes"]
    held_out = [f"{number:04d}" for number in takes.held_out_takes] or f"the last {takes.held_out:.0%} of each take"
    about = {
        "steps": takes.preset.n_steps,
        "batch": takes.preset.batch_size,
        "takes": _named(takes),
        "minutes of takes": round(takes.minutes, 2),
        "held out": held_out,
        "held-out seconds played at most": args.played_s,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores; times are wall clock",
    }
    return {**about, "music": _named(materials["music"])} if "music" in materials else about


def _named(material: Material) -> str:
    seconds = sum(take.duration_s for take in material.takes)
    return f"{len(material.takes)} of {seconds:.1f} s in all at {material.takes[0].rate_hz} Hz"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.ablations", description=__doc__)
    argument = parser.add_argument
    argument("--takes", type=Path, metavar="DIR", help="folder of takes, of filmed salsa for instance")
    argument("--held-out", type=float, default=0.2, metavar="PART", help="end of each take not learned (%(default)s)")
    argument("--held-out-takes", type=int, nargs="+", default=[], metavar="N", help="hold out whole takes instead")
    argument("--music", type=Path, metavar="DIR", help="folder of takes of a dance to music; its last third is played")
    argument("--steps", type=int, metavar="N", help="batches that each model is trained on")
    argument("--only", metavar="GROUP,...", help="these groups (default: all)")
    argument("--played-s", type=float, default=120.0, metavar="S", help="held-out time played at most (%(default)s)")
    argument("--out", type=Path, required=True, metavar="FILE", help="rows; those that are there are not repeated")
    argument("--table", action="store_true", help="write the page from the rows")
    argument("--page", type=Path, default=PAGE, metavar="FILE", help="where the page goes (trainer/ABLATIONS.md)")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
