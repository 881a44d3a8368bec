"""The results as text: for the terminal and for `RESULTS.md`."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from device.models import Bundle
from tests.bench.figures import Figure

PACKAGES = ("numpy", "tflite-runtime", "ai-edge-litert", "av", "soundfile", "musicalgestures", "opencv-python", "scipy")

HOW = """\
## How it is measured

One run of `make bench`, one process after the other; nothing else should run on the machine. All of it is the
default bundle in the default configuration on the clip named above, unless said otherwise.

- **motiongram**: each frame of the clip, decoded before; p50 and p99 over the frames, wall clock. In turn with it,
  frame by frame, the functions of musicalgestures for the same: OpenCV's difference to the frame before, its
  `filter_frame` ('Regular'), its `motiongram_data` for rows and for columns; without its median (kernel 1), which
  computes what ours does with difference time 0, and with its default kernel. Ours also gives quantity, centroid
  and area. (For video files it has another way, through FFmpeg.)
- **model**: runs back to back on the windows of the clip, inputs and output copied as the engine does; wall clock,
  one thread. Within the engine, where other work has used the caches since, a run takes longer.
- **synth**: real-time factor in processor time; the blocks' times are wall clock. The model's own spectra for the
  clip that are not silent, 60 a second.
- **whole chain**: `python -m device perform --clock virtual --json`, several runs: processor time of motiongram,
  window, model and synth over the time of the sound, which is the clip and a second. Decoding is not in it. Once at
  the clip's own rate; once at 60 fps, for which the budget is: the same pictures, shown faster.
- **engine**: from a frame's arrival to its first sample handed over, wall clock. With the virtual clock nobody
  waits: this is the work alone, and each percentile is that of the worst run. With the real clock the wait for the
  next block is in it, and the card is a WAV that takes blocks as a card would.
- **process start**: from just before the process is started to the moment when the file that it writes holds a
  whole block, looked at every millisecond; real clock, so the first block comes with the first frame. Python, all
  imports, checking and loading of the bundle and opening of the clip are in it. It is silent or nearly so: one
  frame shows no motion. The program's files are in the system's cache.
- **memory**: of the process that plays in real time. RSS is the kernel's own high-water mark and counts shared
  libraries in full; PSS, looked at four times a second, counts them in part. The limit is held against RSS, the
  larger.
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
    """One line a figure, as Markdown."""
    rows = [("what", "measured", "at most", "holds"), *map(_row, figures)]
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    return "\n".join([lines[0], "| " + " | ".join("-" * width for width in widths) + " |", *lines[1:]])


def _row(figure: Figure) -> tuple[str, str, str, str]:
    unit = f" {figure.unit}" if figure.unit else ""
    measured = ", ".join(f"{name} {_digits(value)}" for name, value in figure.values.items()) + unit
    if figure.limit is None:
        return figure.what, measured, "", ""
    return figure.what, measured, f"{figure.limited} {figure.limit:g}{unit}", "yes" if figure.holds else "**NO**"


def _digits(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def verdict(figures: Sequence[Figure]) -> str:
    """Say in one line whether all limits hold."""
    limited = [figure for figure in figures if figure.limit is not None]
    over = [figure.what for figure in limited if not figure.holds]
    if not over:
        return f"All {len(limited)} limits hold."
    return f"{len(over)} of {len(limited)} limits do not hold: {'; '.join(over)}."


def page(about: dict[str, str], figures: Sequence[Figure]) -> str:
    """All of `RESULTS.md`."""
    facts = "\n".join(f"- {name}: {value}" for name, value in about.items())
    return "\n".join(
        [
            "# What it costs",
            "",
            "Written by `make bench`; to repeat it, run that. It takes less than a minute once set up.",
            "",
            facts,
            "",
            table(figures),
            "",
            verdict(figures),
            "",
            HOW,
        ]
    )
