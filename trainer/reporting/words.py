"""Numbers and times as people read them, and what figures mean."""

from __future__ import annotations

import inspect
import re
from datetime import datetime, timezone

from trainer.evaluating.table import Figures

_FIRST_POSSIBLE_S = 1_577_836_800  # 2020: a smaller version number was no time


def minutes(seconds: float) -> str:
    """A length of time: '42 s', '3.4 min', '1.2 h'."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def clock(seconds: float) -> str:
    """A moment within a take: '1:05'."""
    whole = int(seconds)
    return f"{whole // 60}:{whole % 60:02d}"


def moment(created_s: int) -> str | None:
    """A time in seconds since 1970 as a date in UTC; None where it cannot be one."""
    if not _FIRST_POSSIBLE_S <= created_s < 1 << 33:
        return None
    return datetime.fromtimestamp(created_s, timezone.utc).strftime("%Y-%m-%d %H:%M UTC")


def size(n_bytes: int) -> str:
    """Bytes in decimal units."""
    return f"{n_bytes / 1e6:.2f} MB" if n_bytes >= 1_000_000 else f"{n_bytes / 1e3:.0f} kB"


def millions(n: float) -> str:
    """A large number in millions, three digits."""
    return f"{n / 1e6:.3g} million"


def figure_meanings() -> dict[str, str]:
    """What each figure means, by its name: what its own documentation says.

    A text that begins with "The same" follows the one before, which then comes first.
    """
    meanings: dict[str, str] = {}
    before = ""
    for names, text in _documented(inspect.getdoc(Figures) or ""):
        whole = f"{before} {text}" if text.startswith("The same") else text
        before = before if text.startswith("The same") else text
        meanings.update(dict.fromkeys(names, whole))
    return meanings


def _documented(doc: str) -> list[tuple[list[str], str]]:
    """Attributes of a numpydoc: (names, text without marks and references)."""
    found = re.search(r"^Attributes\n-+\n(.*?)(?:\n\n\w+\n-+\n|\Z)", doc, re.DOTALL | re.MULTILINE)
    entries: list[tuple[list[str], list[str]]] = []
    for line in (found[1] if found else "").splitlines():
        if line.startswith(" ") and entries:
            entries[-1][1].append(line.strip())
        elif " : " in line:
            entries.append((line.split(" : ")[0].split(", "), []))
    return [(names, _plain(" ".join(lines))) for names, lines in entries]


def _plain(text: str) -> str:
    """Without references to the program, and in the table's words."""
    return re.sub(r"\bNone\b", "no figure", re.sub(r" ?\(`[^)]*`\)|`", "", text))
