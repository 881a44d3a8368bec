"""`trainer runs`: what was trained, listed with its figures, or two and more runs side by side."""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from device.core.errors import TrainingError
from trainer.runs.logbook import read_rows
from trainer.runs.folder import SETTINGS, WEIGHTS, flat, read_run
from trainer.runs.story import figures_of, preset_name, read_result
from trainer.settings import RunSettings
from trainer.evaluating.table import ROWS, format_table

DEPTH = 3
LISTED = ("loudness_rank_correlation", "pitch_within_semitone", "brightness_rank_correlation", "band_rank_correlation")
"""Figures in the list; two runs side by side have all."""


@dataclass(frozen=True, eq=False)
class RunLine:
    """What is told of a run.

    Attributes
    ----------
    path : Path
    state : str
        'finished', 'epoch 3 of 20', or what is damaged.
    settings : RunSettings or None
        None where it is damaged.
    facts, result : Mapping
        What `read_run` and `read_result` give; the result is empty where the run has not ended.
    """

    path: Path
    state: str
    settings: RunSettings | None
    facts: Mapping[str, Any]
    result: Mapping[str, Any]

    @property
    def judged_on(self) -> str:
        """A name for what was held out: runs with the same one can be compared by their figures."""
        data = self.facts.get("data")
        if not data:
            return "-"
        held = sorted((take["sha256"], take["held_out"]) for take in data if take["held_out"])
        return hashlib.sha256(json.dumps(held).encode()).hexdigest()[:6]

    @property
    def minutes(self) -> float:
        """How long the takes last."""
        return sum(float(take["duration_s"]) for take in self.facts.get("data") or ()) / 60

    @property
    def played(self) -> Mapping[str, Any]:
        """Figures of what was held out; empty where there are none."""
        return self.result.get("played") or {}

    def as_dict(self) -> dict[str, object]:
        """Ready for JSON."""
        return {
            "run": str(self.path),
            "state": self.state,
            "created_s": self.facts.get("created_s"),
            "settings": {} if self.settings is None else flat(self.facts["settings"]),
            "start": (self.facts.get("start") or {}).get("from"),
            "n_takes": len(self.facts.get("takes") or ()),
            "minutes": round(self.minutes, 2),
            "judged_on": self.judged_on,
            "result": dict(self.result),
        }


def find_runs(folders: Sequence[Path]) -> list[Path]:
    """Folders of runs: those that are given, and those in them.

    Raises
    ------
    TrainingError
        One of them holds no run.
    """
    found: list[Path] = []
    for folder in folders:
        here = [folder] if (folder / SETTINGS).exists() else []
        below = (path.parent for depth in range(1, DEPTH + 1) for path in folder.glob(f"{'*/' * depth}{SETTINGS}"))
        runs = here or sorted(below)
        if not runs:
            raise TrainingError(
                f"{folder} holds no run: begin one with python -m trainer train --run {folder / 'mine'}"
            )
        found += [run for run in runs if run not in found]
    return found


def read_line(path: Path) -> RunLine:
    """What is told of the run in a folder; one that is damaged says so."""
    try:
        settings, facts = read_run(path)
        result = read_result(path)
        if (path / WEIGHTS).exists():
            state = "finished"
        else:
            rows = read_rows(path)
            state = f"epoch {rows[-1]['epoch'] if rows else 0:.0f} of {settings.preset.n_epochs}"
        return RunLine(path, state, settings, facts, result)
    except TrainingError:
        return RunLine(path, "damaged", None, {}, {})


def format_list(lines: Sequence[RunLine]) -> str:
    """A line for each run."""
    forms = {name: (label, form, factor) for name, label, form, factor in ROWS}
    heads = {name: forms[name][0].split(",")[0].replace(" rank correlation", "") for name in LISTED}
    table = [["run", "begun", "state", "trained", "data", "held out", "s", "error", *heads.values()]]
    for line in lines:
        cells = [str(line.path), "-", line.state, "-", "-", line.judged_on, "-", "-"]
        if line.settings is not None:
            cells[1] = time.strftime("%Y-%m-%d %H:%M", time.localtime(line.facts["created_s"]))
            cells[3] = _trained(line.settings, line.facts)
            cells[4] = f"{line.minutes:.1f} min"
        if line.result:
            cells[6:8] = [f"{line.result['seconds']:.0f}", f"{line.result['held_out']['sound']:.3f}"]
        for name in LISTED:
            _, form, factor = forms[name]
            value = line.played.get(name)
            cells.append("-" if value is None else form.format(value * factor))
        table.append(cells)
    return _aligned(table)


def format_comparison(lines: Sequence[RunLine]) -> str:
    """Runs side by side: the settings in which they differ, then all figures."""
    names = _short_names([line.path for line in lines])
    kept = [flat(line.facts["settings"]) if line.settings is not None else {} for line in lines]
    for line, settings in zip(lines, kept, strict=True):
        settings |= {
            "began with": (line.facts.get("start") or {}).get("from") or "nothing",
            "takes": len(line.facts.get("takes") or ()),
            "minutes of takes": f"{line.minutes:.1f}",
            "held out": line.judged_on,
            "state": line.state,
            "seconds": f"{line.result['seconds']:.0f}" if line.result else "-",
            "held-out error": f"{line.result['held_out']['sound']:.3f}" if line.result else "-",
        }
    rows = [["", *names]]
    for name in dict.fromkeys(name for settings in kept for name in settings):
        values = [str(settings.get(name, "-")) for settings in kept]
        if len(set(values)) > 1:
            rows.append([name, *values])
    parts = [_aligned(rows) if len(rows) > 1 else "no setting differs"]
    judged = {
        name: figures
        for name, line in zip(names, lines, strict=True)
        if (figures := figures_of(line.result)) is not None
    }
    if judged:
        parts.append(format_table(judged))
    if len({line.judged_on for line in lines}) > 1:
        parts.append("Not the same was held out: figures of these runs cannot be compared.")
    return "\n\n".join(parts)


def _trained(settings: RunSettings, facts: Mapping[str, Any]) -> str:
    start = facts["start"]
    model = settings.model
    words = f"{preset_name(settings)}, {settings.example.segment_s:g} s, {model.n_latent}/{model.n_hidden}"
    return f"{words}, from {start['name']}" if start else words


def _short_names(paths: Sequence[Path]) -> list[str]:
    names = [path.resolve().name for path in paths]
    return names if len(set(names)) == len(names) else [str(path) for path in paths]


def _aligned(table: Sequence[Sequence[str]]) -> str:
    widths = [max(len(cell) for cell in cells) for cells in zip(*table, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in table)
    return "\n".join(line.rstrip() for line in lines)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the arguments of `trainer runs`."""
    argument = parser.add_argument
    argument(
        "folders", type=Path, nargs="*", default=[Path("runs")], metavar="DIR", help="runs, or folders of runs (runs)"
    )
    argument("--compare", action="store_true", help="set them side by side: settings that differ, and all figures")
    argument("--json", action="store_true", help="print one object")


def main(args: argparse.Namespace) -> int:
    """Run `trainer runs`."""
    lines = [read_line(path) for path in find_runs(args.folders)]
    if args.json:
        print(json.dumps({"runs": [line.as_dict() for line in lines]}))
    elif args.compare:
        print(format_comparison(lines))
    else:
        print(format_list(lines))
    return 0
