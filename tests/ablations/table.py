"""The page: a table for each group, one column a case, and what was decided."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tests.ablations.cases import Group
from tests.ablations.results import Results
from tests.bench.results import digits
from trainer.evaluating.table import ROWS

Row = dict[str, Any]

DECISIONS = Path(__file__).with_name("decisions.json")
"""By name of the group; written by hand."""

INTRODUCTION = """\
# What else was tried

Written by `python -m tests.ablations --table`, from rows that the same command measures (`--help` says how); what was
decided stands in `tests/ablations/decisions.json`. Every column is a model trained on the same takes for the same
number of steps with the same batches, and played on the same held-out dances; what its heading does not name is as the
program's own default has it. Figures are those of `python -m trainer evaluate`.
"""

COSTS: tuple[tuple[str, Callable[[Row], float]], ...] = (
    ("parameters on the box, thousands", lambda row: row["n_parameters"] / 1e3),
    ("MMAC a run", lambda row: row["mmacs_a_run"]),
    ("runs a second of sound", lambda row: row["runs_per_s"]),
    ("MMAC a second of sound", lambda row: row["mmacs_a_run"] * row["runs_per_s"]),
    ("one run here, ms", lambda row: row["inference_ms"]),
    ("training, s", lambda row: row["training_s"]),
)
NOTES = {
    "draws_agree": "loudness rank correlation of two draws",
    "signs_right": "signs right, share of energy",
    "codes_right": "likeliest code is the nearest, share",
}


def page(groups: dict[str, Group], results: Results, decisions: dict[str, str]) -> str:
    """All of the page; groups of which nothing was measured are left out."""
    facts = "\n".join(f"- {name}: {_said(value)}" for name, value in results.about.items())
    parts = [INTRODUCTION + "\n" + facts]
    for name, group in groups.items():
        columns = {label: results.rows.get(case.key) for label, case in group.cases.items()}
        if any(row is not None for row in columns.values()):
            decision = decisions.get(name, "not yet taken.")
            parts.append(f"## {group.title}\n\n{group.about}\n\n{table(columns)}\n\nDecision: {decision}")
    return "\n\n".join(parts) + "\n"


def table(columns: dict[str, Row | None]) -> str:
    """Figures, costs and notes as Markdown; '-' where a column has no such thing, or was not measured."""
    lines = [["", *columns], ["---", *["---:"] * len(columns)]]
    for name, label, form, factor in ROWS:
        cells = [_figure(row, name, form, factor) for row in columns.values()]
        lines.append([label, *cells])
    for label, cost in COSTS:
        lines.append(
            [label, *(digits(cost(row)) if row and "n_parameters" in row else "-" for row in columns.values())]
        )
    for name, label in NOTES.items():
        notes = [(row or {}).get("notes", {}).get(name) for row in columns.values()]
        lines.append([label, *("-" if note is None else f"{note:.3f}" for note in notes)])
    told = [line for line in lines if any(cell != "-" for cell in line[1:])]
    return "\n".join("| " + " | ".join(line) + " |" for line in told)


def read_decisions() -> dict[str, str]:
    """What was decided, by name of the group."""
    found: dict[str, str] = json.loads(DECISIONS.read_text())
    return found


def _figure(row: Row | None, name: str, form: str, factor: float) -> str:
    value = None if row is None else row["figures"].get(name)
    # Adding 0 takes the sign from a rounded -0.
    return "-" if value is None else form.format(round(value * factor, 3) + 0.0)


def _said(value: object) -> str:
    if isinstance(value, Iterable) and not isinstance(value, str):
        return ", ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
