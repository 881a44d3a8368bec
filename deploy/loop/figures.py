"""Whether a new bundle may take the old one's place: what `trainer evaluate` says of both, set side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from deploy.ssh import readable
from device.core.bundle import MODEL_FILES

MARGIN = 0.05
"""So much a figure may fall, unless the user says otherwise: two trainings on the same takes differ by less."""
STILL_MARGIN_DB, HEARD_DBFS = 6.0, -60.0
"""What is played when nobody moves may be so much louder, or whatever it likes where nobody hears it."""
SHARES = {
    "loudness_rank_correlation": "loudness rank correlation",
    "loudness_link": "motion to loudness, link",
    "band_rank_correlation": "band rank correlation",
    "brightness_rank_correlation": "brightness rank correlation",
    "pitch_within_semitone": "pitch within a semitone, share",
}
"""Figures of which 1 is best."""
LIVELINESS, STILL = "liveliness", "still_level_dbfs"
_CHANCE = "shuffled"
"""The column of the same model that plays the dance in another order."""

Columns = Mapping[str, Mapping[str, Any]]
"""What `trainer evaluate --json` prints: column -> figure -> value or None."""


@dataclass(frozen=True)
class Row:
    """One figure of one variant, before and now; None where it could not be measured."""

    words: str
    variant: str
    before: float | None
    now: float | None
    holds: bool


def judge(now: Columns, before: Columns | None, margin: float) -> list[Row]:
    """Compare a new bundle with the one before it, on the same takes.

    Parameters
    ----------
    now, before : mapping
        See `Columns`. Without a bundle before it, it must at least follow the dance better than it follows the dance
        in another order.
    margin : float
        So much worse a figure may be.
    """
    if before is None:
        return [row for variant in MODEL_FILES for row in _first(variant, now, margin)]
    return [row for variant in MODEL_FILES for row in _compare(variant, now[variant], before[variant], margin)]


def table(rows: list[Row], *, is_first: bool) -> str:
    """Write the rows of the variant that is played by default, and of the other those that fell."""
    first = next(iter(MODEL_FILES))
    shown = [row for row in rows if row.variant == first or not row.holds]
    lines = [f"{'':<36}{'chance' if is_first else 'before':>9}{'now':>9}"]
    for row in shown:
        words = f"{row.words}, {row.variant}"
        lines.append(f"{words:<36}{_number(row.before):>9}{_number(row.now):>9}{'' if row.holds else '  fell'}")
    return "\n".join(lines)


def why_not(rows: list[Row], margin: float) -> str:
    """Name the figures that fell; empty if all hold."""
    fallen = [
        f"{row.words} ({row.variant}) {_number(row.before)} to {_number(row.now)}" for row in rows if not row.holds
    ]
    return f"beyond the margin of {margin:g}: {readable('; '.join(fallen))}" if fallen else ""


def _first(variant: str, now: Columns, margin: float) -> list[Row]:
    """Compare the first figure with chance; show the others."""
    name, *_ = SHARES
    chance, found = _value(now[_CHANCE], name), _value(now[variant], name)
    holds = found is not None and (chance is None or found > chance + margin)
    return [Row(SHARES[name], variant, chance, found, holds), *_compare(variant, now[variant], {}, margin)[1:]]


def _compare(variant: str, now: Mapping[str, Any], before: Mapping[str, Any], margin: float) -> list[Row]:
    rows = [_row(SHARES[name], variant, name, before, now, lambda share: share, margin) for name in SHARES]
    # Above 1 it is not livelier but restless; below what can be heard it is not stiller.
    rows.append(_row("liveliness, 1 is best", variant, LIVELINESS, before, now, lambda it: -abs(it - 1.0), margin))
    still = "level when still, dBFS"
    rows.append(_row(still, variant, STILL, before, now, lambda it: -max(it, HEARD_DBFS), STILL_MARGIN_DB))
    return rows


def _row(
    words: str,
    variant: str,
    name: str,
    before: Mapping[str, Any],
    now: Mapping[str, Any],
    worth: Callable[[float], float],
    margin: float,
) -> Row:
    """Compare one figure, of which `worth` says how good it is; what could not be measured before cannot fall."""
    old, new = _value(before, name), _value(now, name)
    holds = old is None or (new is not None and worth(new) >= worth(old) - margin)
    return Row(words, variant, old, new, holds)


def _value(column: Mapping[str, Any], name: str) -> float | None:
    value = column.get(name)
    return float(value) if isinstance(value, (int, float)) else None


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}" if abs(value) < 10.0 else f"{value:.0f}"
