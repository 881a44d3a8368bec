"""The bench: `python -m tests.bench` measures what the box's program costs, each figure beside its limit."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from device.core.errors import DanceSamplerError
from device.models.bundles import FACTORY
from device.store.files import replace_synced
from tests.bench.bench import CLIP, Bench, Effort, Show, open_bench
from tests.bench.box import measure_box
from tests.bench.budgets import measure_budgets
from tests.bench.figures import Section
from tests.bench.growth import measure_growth
from tests.bench.latency import measure_latency
from tests.bench.layouts import measure_layouts
from tests.bench.macs import measure_macs
from tests.bench.peers import measure_peers
from tests.bench.results import Others, body, describe_bundle, machine, page
from tests.bench.scale import measure_scale
from tests.bench.target import measure_target
from tests.bench.training import measure_training
from tests.bench.workers import measure_workers

RESULTS = Path(__file__).with_name("RESULTS.md")

SECTIONS: dict[str, Callable[[Bench], Section]] = {
    "budgets": measure_budgets,
    "box": measure_box,
    "latency": measure_latency,
    "layouts": measure_layouts,
    "peers": measure_peers,
    "growth": measure_growth,
    "macs": measure_macs,
    "training": measure_training,
    "scale": measure_scale,
    "workers": measure_workers,
    "target": measure_target,
}
"""In the order in which they are measured and shown."""


def main(argv: Sequence[str]) -> int:
    """Measure, print, and keep what was measured of the factory's bundle."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="measure what the program costs")
    parser.add_argument("--bundle", type=Path, default=FACTORY, help="another bundle (default: the factory's)")
    parser.add_argument("--clip", type=Path, default=CLIP, help="another dance (default: the factory's)")
    parser.add_argument("--only", choices=SECTIONS, action="append", help="measure this part, and keep no page")
    parser.add_argument(
        "--results",
        type=Path,
        metavar="FILE",
        help="the page to write (default: RESULTS.md, for all parts of the factory's only)",
    )
    args = parser.parse_args(argv)
    show = Show(args.bundle.resolve(), args.clip.resolve())
    results = args.results or (None if args.only else results_of(show))
    try:
        about, sections = measure(open_bench(show, Effort(), _say), args.only or SECTIONS)
        print(body(sections), end="")
        if results is not None:
            replace_synced(results, page(about, sections).encode())
            print(f"kept in {results}")
    except (DanceSamplerError, OSError) as error:
        print(f"bench: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


def results_of(show: Show) -> Path | None:
    """Where the page goes unless told: only the factory's dance is kept."""
    return RESULTS if show == Show(FACTORY.resolve(), CLIP.resolve()) else None


def measure(bench: Bench, names: Collection[str]) -> tuple[dict[str, str], list[Section]]:
    """Measure sections in their order; give what was measured where, and what was found."""
    about = machine()
    about |= {
        "bundle": describe_bundle(bench.bundle),
        "clip": f"{bench.show.clip.name}, {len(bench.dance.frames)} frames",
    }
    others = Others()
    sections = [part(bench) for name, part in SECTIONS.items() if name in names]
    return about | {"others": others.describe()}, sections


def _say(what: str) -> None:
    """Show progress on a terminal; a pipe stays quiet."""
    if sys.stderr.isatty():
        print(f"bench: {what} ...", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
