"""Takes in which something seems wrong, as a picture: motion over sound, and how well each shift of the two fits."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from device.core.take_quality import SILENT_DBFS, STILL_QUANTITY
from trainer.checking.take_checks import TakeCheck
from trainer.checking.take_shift import ENVELOPE_HZ, LARGEST_SHIFT_S

MOST_SHOWN = 12
MOST_POINTS = 2000
MOTION, SOUND, WRONG = "#1f5fa8", "#b5541c", "#d62728"


def draw(checks: Sequence[TakeCheck]) -> bytes:
    """Draw takes one below the other, the first twelve.

    Parameters
    ----------
    checks : sequence of TakeCheck
        At least one.

    Returns
    -------
    bytes
        PNG.
    """
    from matplotlib.figure import Figure

    shown = checks[:MOST_SHOWN]
    figure = Figure(figsize=(12.0, 2.6 * len(shown) + 0.4), dpi=100, layout="constrained")
    rows = figure.subplots(len(shown), 2, squeeze=False, width_ratios=[3, 1])
    for check, (course, fit) in zip(shown, rows, strict=True):
        _draw_course(course, check)
        _draw_fit(fit, check)
    if len(checks) > len(shown):
        figure.suptitle(f"{len(shown)} of {len(checks)} takes", fontsize=9)
    data = io.BytesIO()
    figure.savefig(data, format="png")
    return data.getvalue()


def _draw_course(axes: object, check: TakeCheck) -> None:
    """Quantity of motion and level over time; what is still or silent is marked."""
    plot: Any = axes
    found = check.envelopes
    step = max(1, len(found.times_s) // MOST_POINTS)
    n = len(found.times_s) // step * step
    times_s = found.times_s[:n:step]
    quantity, power = (each[:n].reshape(-1, step).mean(axis=1) for each in (found.quantity, found.power))
    level_dbfs = 10 * np.log10(power + 1e-9)
    plot.set_title(f"take {check.number:04d}, {check.name}: {', '.join(check.marks) or 'nothing seems wrong'}",
                   fontsize=9, loc="left")  # fmt: skip
    plot.plot(times_s, quantity, color=MOTION, linewidth=0.8)
    plot.set_ylabel("motion", color=MOTION)
    plot.set_xlim(0, max(float(found.times_s[-1]), 1 / ENVELOPE_HZ))
    plot.set_ylim(0, max(float(quantity.max()) * 1.05, 4 * STILL_QUANTITY))
    plot.fill_between(
        times_s, 0, 0.04, where=quantity < STILL_QUANTITY, color=WRONG, transform=plot.get_xaxis_transform()
    )
    other = plot.twinx()
    other.plot(times_s, level_dbfs, color=SOUND, linewidth=0.8)
    other.set_ylim(-90, 3)
    other.set_ylabel("dBFS", color=SOUND)
    other.fill_between(
        times_s, 0.96, 1, where=level_dbfs < SILENT_DBFS, color=WRONG, transform=other.get_xaxis_transform()
    )
    plot.set_xlabel("s; red: nobody moves (below), silence (above)", fontsize=8)


def _draw_fit(axes: object, check: TakeCheck) -> None:
    plot: Any = axes
    plot.axvspan(-LARGEST_SHIFT_S, LARGEST_SHIFT_S, color="#dddddd")
    plot.plot(check.shift.shifts_s, check.shift.correlations, color="black", linewidth=0.8)
    late_s = check.shift.sound_late_s
    if late_s is not None:
        plot.axvline(late_s, color=WRONG if check.shift.is_bad else MOTION)
    plot.set_title("cannot be told" if late_s is None else f"sound {late_s:+.2f} s", fontsize=9)
    plot.set_xlabel("sound after motion, s", fontsize=8)
    plot.set_ylabel("fits", fontsize=8)
