"""Figures, each beside its limit, and the sections of the page that they make up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

MODEL_P99_MS = 0.5
ENGINE_P99_MS = 8.0
CHAIN_RTF = 0.05
START_S = 1.5
MEMORY_MB = 250.0
TRAINING_MIN = 5.0


@dataclass(frozen=True)
class Figure:
    """One line of the results.

    Attributes
    ----------
    what : str
        What was measured.
    unit : str
        Of the values and the limit; empty for ratios and counts.
    values : Mapping[str, float]
        By name: 'p50', 'p99', 'worst' and the like.
    limit : float or None
        At most this; None: it has no limit of its own.
    limited : str
        Name of the value that the limit is for.
    """

    what: str
    unit: str
    values: Mapping[str, float]
    limit: float | None = None
    limited: str = "p99"

    @property
    def holds(self) -> bool | None:
        """Whether the limit is kept; None without one. What is not a number keeps none."""
        return None if self.limit is None else self.values[self.limited] <= self.limit


@dataclass(frozen=True)
class Section:
    """What one part of the bench found, and a part of the page.

    Attributes
    ----------
    title : str
    figures : sequence of Figure
        Those with a limit go to the table of budgets at the top of the page, the others to a table here.
    text : str
        Markdown: whatever else there is to say or to show, below that table.
    how : str
        Markdown: how it was measured, as list items; it goes to the end of the page.
    """

    title: str
    figures: Sequence[Figure] = ()
    text: str = ""
    how: str = ""


def percentiles(durations_s: npt.NDArray[np.float64], units_per_s: float) -> dict[str, float]:
    """Give 'p50' and 'p99' of durations, in another unit."""
    return {f"p{percent}": float(np.percentile(durations_s, percent)) * units_per_s for percent in (50, 99)}


def of_runs(values: list[float]) -> dict[str, float]:
    """Give 'median' and 'worst' of several runs, where less is better."""
    # max() passes over what is not a number, np.max does not.
    return {"median": float(np.median(values)), "worst": float(np.max(values))}
