"""The results as text: for the terminal and for `RESULTS.md`."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from itertools import chain
from pathlib import Path

from device.models.bundles import Bundle
from tests.bench.figures import Figure, Section

PACKAGES = ("numpy", "tflite-runtime", "ai-edge-litert", "av", "soundfile", "musicalgestures", "opencv-python", "scipy")

INTRODUCTION = """\
# What it costs

Written by `make bench`; to repeat it, run that: some 35 minutes once set up. At the top are the budgets, each figure
beside its limit; below, what other programs of the kind cost in the same run, how the cost grows, and what
follows for smaller machines. How each figure was measured is said at the end.
"""

HOW = """\
One run of `make bench`, one process after the other; nothing else should run on the machine. All of it is the
default bundle in the default configuration on the clip named above, unless said otherwise.
"""


def machine() -> dict[str, str]:
    """Say where it was measured."""
    cpus = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    model = next(
        (line.split(":", 1)[1].strip() for line in cpus if line.startswith(("model name", "Model"))), "unknown"
    )
    memory_gb = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
    return {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{platform.node()}, {platform.machine()}, {model}",
        "cores": f"{len(os.sched_getaffinity(0))}; {memory_gb:.1f} GB of memory",
        "system": platform.platform(),
        "load before": f"{os.getloadavg()[0]:.2f} (mean number of busy processes in the minute before)",
        "Python": platform.python_version(),
        "packages": ", ".join(_versions(PACKAGES)),
    }


class Others:
    """What else the processors did while it was measured.

    This process and those that it has waited for are ours; all other work on the machine, and what its host took away,
    is others'.
    """

    def __init__(self) -> None:
        self._started_s = time.monotonic()
        self._before_s = self._since_boot_s()

    def busy_s(self) -> float:
        """Processor time of others so far."""
        return self._since_boot_s() - self._before_s

    def describe(self) -> str:
        """How many processors they kept busy, on the mean."""
        n_busy = max(0.0, self.busy_s()) / max(time.monotonic() - self._started_s, 1e-9)
        return f"{n_busy:.2f} of {os.cpu_count()} cores busy with something else while it was measured"

    @staticmethod
    def _since_boot_s() -> float:
        """All work of all processors, without ours; proc(5) says what the numbers are."""
        user, nice, system, _, _, irq, softirq, steal = map(int, Path("/proc/stat").read_text().split()[1:9])
        return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK") - sum(os.times()[:4])


def _versions(packages: Iterable[str]) -> list[str]:
    return [f"{name} {found}" for name in packages if (found := _version(name))]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def describe_bundle(bundle: Bundle) -> str:
    """Say which model was measured."""
    manifest = bundle.manifest
    return (
        f"{manifest.name}, version {manifest.version}: {manifest.n_columns} columns of {manifest.n_features} at "
        f"{manifest.grid_rate_hz:g} Hz, {manifest.n_latent} latents, {manifest.n_bins} bins; "
        + ", ".join(f"{name} {entry.size / 1e3:.0f} kB" for name, entry in sorted(manifest.files.items()))
        + f"; plays {bundle.model.variant} on {bundle.model.runtime}"
    )


def table(figures: Sequence[Figure]) -> str:
    """One line a figure, as Markdown; limits only where there are some."""
    rows = [_row(figure) for figure in figures]
    header = ("what", "measured", "at most", "holds")
    n_cells = 4 if any(figure.limit is not None for figure in figures) else 2
    return grid(header[:n_cells], [row[:n_cells] for row in rows])


def grid(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Cells as a Markdown table whose columns line up."""
    rows = [header, *rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(header))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    return "\n".join([lines[0], "| " + " | ".join("-" * width for width in widths) + " |", *lines[1:]])


def _row(figure: Figure) -> tuple[str, str, str, str]:
    unit = f" {figure.unit}" if figure.unit else ""
    measured = ", ".join(f"{name} {digits(value)}" for name, value in figure.values.items()) + unit
    if figure.limit is None:
        return figure.what, measured, "", ""
    return figure.what, measured, f"{figure.limited} {figure.limit:g}{unit}", "yes" if figure.holds else "**NO**"


def digits(value: float) -> str:
    """Three digits that count."""
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def verdict(figures: Sequence[Figure]) -> str:
    """Say in one line whether all limits hold."""
    limited = [figure for figure in figures if figure.limit is not None]
    over = [figure.what for figure in limited if not figure.holds]
    if not over:
        return f"All {len(limited)} limits hold."
    return f"{len(over)} of {len(limited)} limits do not hold: {'; '.join(over)}."


def body(sections: Sequence[Section]) -> str:
    """Budgets of all sections first, then section by section."""
    limited = [figure for section in sections for figure in section.figures if figure.limit is not None]
    parts = ["## Budgets", table(limited), verdict(limited)] if limited else []
    for section in sections:
        free = [figure for figure in section.figures if figure.limit is None]
        shown = [table(free)] * bool(free) + [section.text.strip()] * bool(section.text.strip())
        if shown:
            parts += [f"## {section.title}", *shown]
    return "\n\n".join(parts) + "\n"


def page(about: dict[str, str], sections: Sequence[Section]) -> str:
    """All of `RESULTS.md`."""
    facts = "\n".join(f"- {name}: {value}" for name, value in about.items())
    how = "".join(chain(["## How it is measured\n\n", HOW, "\n"], (section.how for section in sections)))
    return "\n".join([INTRODUCTION, facts, "", body(sections), how])
