"""The command `trainer tune`, and how it shows what was found: the front of quality against cost."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.checking.take_checks import check_take, warn
from trainer.data.spectra_cache import add_cache_arguments, cache_of
from trainer.evaluating.table import ROWS, Figures
from trainer.learning.command import numbers, opened_takes
from trainer.learning.course import Limits
from trainer.runs.story import read_result
from trainer.settings import HELD_OUT, LEAD_S, PRESETS, check_range
from trainer.tuning.tune import QUALITY, Budget, Task, trial_folder, tune

if TYPE_CHECKING:
    import optuna

MMACS, KB = 4.0, 4000.0
"""Preset standard's network has 2.9 and 1700. 4 million at 60 frames a second are a thirtieth of what a Pi 4 is said to
compute in a second."""
BETTER_LOW = {"excess_above_8k_db", "lag_ms", "still_level_dbfs", "frechet_db2", "frechet_ratio", "rise_time_ms"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the arguments of `trainer tune`."""
    argument = parser.add_argument
    argument("--takes", type=Path, required=True, metavar="DIR", help="folder of takes")
    argument("--run", type=Path, required=True, metavar="DIR", help="folder of the search; one there is gone on with")
    argument("--trials", type=int, default=20, metavar="N", help="trained networks in all (%(default)s)")
    argument("--max-mmacs", type=float, default=MMACS, metavar="M", help="million multiply-accumulates for a spectrum "
             "that the box allows (%(default)g)")  # fmt: skip
    argument("--max-kb", type=float, default=KB, metavar="KB", help="size that the box allows (%(default)g)")
    by = ["mean", *(field.name for field in fields(Figures) if field.name not in BETTER_LOW)]
    argument("--by", choices=by, default="mean", metavar="FIGURE", help="what is to be best: a figure of trainer "
             "evaluate, or the mean of loudness, brightness and bands (%(default)s)")  # fmt: skip
    argument("--preset", choices=list(PRESETS), default="quick", help="how long each is trained (%(default)s)")
    argument("--minutes", type=float, metavar="M", help="train none longer")
    argument("--lead-s", type=float, default=LEAD_S, metavar="S", help="sound ahead of motion (%(default)s)")
    argument(
        "--held-out", type=float, default=HELD_OUT, metavar="PART", help="end of each take not learned (%(default)s)"
    )
    argument("--held-out-takes", type=int, nargs="+", default=[], metavar="N", help="hold out whole takes instead")
    argument("--leave-out", type=numbers, default=[], metavar="N,...", help="takes that are not used")
    argument("--seed", type=int, default=0, metavar="N", help="of everything random (%(default)s)")
    argument("--json", action="store_true", help="print one object")
    add_cache_arguments(parser)


def main(args: argparse.Namespace) -> int:
    """Run `trainer tune`."""
    check_range("--trials", args.trials, 1, 10_000)
    check_range("--max-mmacs", args.max_mmacs, 0.01, 1e6)
    check_range("--max-kb", args.max_kb, 1.0, 1e6)
    takes = opened_takes(args.takes, args.leave_out)
    task = Task(
        folder=args.run,
        takes=takes,
        preset=PRESETS[args.preset],
        held_out=args.held_out,
        held_out_takes=args.held_out_takes,
        lead_s=args.lead_s,
        seed=args.seed,
        limits=Limits(args.minutes),
        by=args.by,
        budget=Budget(args.max_mmacs, args.max_kb),
        cache=cache_of(args),
    )
    if not args.run.exists():
        warn([check_take(take) for take in takes])
    study = tune(task, args.trials)
    print(json.dumps(as_dict(study, task)) if args.json else describe(study, task))
    return 0


def front(study: optuna.Study, task: Task) -> list[optuna.trial.FrozenTrial]:
    """Trials within a budget that no other beats in quality and cost at once, the best first."""
    within = [trial for trial in complete(study) if task.budget.holds(task.cost(trial.params))]
    kept = [
        one
        for one in within
        if not any(
            other.values[0] >= one.values[0] and other.values[1] <= one.values[1] and other.values != one.values
            for other in within
        )
    ]
    return sorted(kept, key=lambda trial: -trial.values[0])


def complete(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """Trials that were trained and judged."""
    return [trial for trial in study.get_trials(deepcopy=False) if trial.state.name == "COMPLETE"]


def trial_dict(trial: optuna.trial.FrozenTrial, task: Task) -> dict[str, Any]:
    """What a trial chose, costs and reached."""
    cost = task.cost(trial.params)
    run_dir = trial_folder(task.folder, trial.number)
    return {
        "trial": trial.number,
        "quality": trial.values[0],
        "n_macs": cost.n_macs,
        "n_bytes": cost.n_bytes,
        **trial.params,
        "run": str(run_dir),
        "played": read_result(run_dir).get("played") or {},
    }


def as_dict(study: optuna.Study, task: Task) -> dict[str, object]:
    """All trials and the front, ready for JSON."""
    return {
        "by": task.by,
        "trials": [trial_dict(trial, task) for trial in complete(study)],
        "front": [trial.number for trial in front(study, task)],
    }


def describe(study: optuna.Study, task: Task) -> str:
    """The front, a line for each trial on it, and how to use the best."""
    shown = [trial_dict(trial, task) for trial in front(study, task)]
    n_complete = len(complete(study))
    if not shown:
        return (
            f"none of {n_complete} trained networks is within the budget: allow more, or search on with more --trials"
        )
    lines = [
        f"quality ({task.by}) against cost: the best {len(shown)} of {n_complete} trained networks",
        *_table(shown),
        f"next: python -m trainer export --run {shown[0]['run']} --bundle DIR",
        f"or train it longer: python -m trainer train --from {shown[0]['run']} --takes DIR --run DIR --preset standard",
    ]
    return "\n".join(lines)


def _table(shown: list[dict[str, Any]]) -> list[str]:
    forms = {name: (form, factor) for name, _, form, factor in ROWS}
    head = ["trial", "quality", "MMAC", "kB", "loudness", "brightness", "bands", "pitch %",
            "latents", "hidden", "filters", "segment s", "rate"]  # fmt: skip
    table = [head]
    for each in shown:
        figures = [_figure(each["played"], name, forms) for name in (*QUALITY, "pitch_within_semitone")]
        table.append([
            str(each["trial"]), f"{each['quality']:.3f}", f"{each['n_macs'] / 1e6:.2f}", f"{each['n_bytes'] / 1e3:.0f}",
            *figures, str(each["n_latent"]), str(each["n_hidden"]), str(each["n_filters"]),
            f"{each['segment_s']:g}", f"{each['learning_rate']:.1e}",
        ])  # fmt: skip
    widths = [max(len(cell) for cell in cells) for cells in zip(*table, strict=True)]
    return ["  ".join(map(str.rjust, row, widths)) for row in table]


def _figure(played: Mapping[str, float | None], name: str, forms: Mapping[str, tuple[str, float]]) -> str:
    value = played.get(name)
    form, factor = forms[name]
    return "-" if value is None else form.format(value * factor)
