"""The bench: `python -m tests.bench` measures what the box's program costs, each figure beside its limit."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from device.config import DEFAULT_PATH, load_config
from device.core.bundle import MODEL_FILES
from device.core.errors import DanceSamplerError
from device.edges.model_tflite import installed_runtimes, preload
from device.files import replace_synced
from device.models import FACTORY, load_bundle
from tests.bench.figures import Figure
from tests.bench.parts import Dance, load_dance, measure_model, measure_motiongram, measure_synth
from tests.bench.results import describe_bundle, machine, page, table, verdict
from tests.bench.whole import Show, measure_chain, measure_memory, measure_start

RESULTS = Path(__file__).with_name("RESULTS.md")
CLIP = FACTORY.parent / "dance.mp4"


@dataclass(frozen=True)
class Effort:
    """How long each part is measured."""

    n_frames: int = 2000
    n_model_runs: int = 3000
    synth_s: float = 20.0
    n_chain_runs: int = 3
    n_starts: int = 5
    real_clock_s: float = 8.0


def main(argv: Sequence[str]) -> int:
    """Measure, print, and keep what was measured of the factory's bundle."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="measure what the program costs")
    parser.add_argument("--bundle", type=Path, default=FACTORY, help="another bundle (default: the factory's)")
    parser.add_argument("--clip", type=Path, default=CLIP, help="another dance (default: the factory's)")
    parser.add_argument(
        "--results", type=Path, metavar="FILE", help="the page to write (default: RESULTS.md, for the factory's only)"
    )
    args = parser.parse_args(argv)
    show = Show(args.bundle.resolve(), args.clip.resolve())
    results = args.results or results_of(show)
    try:
        about, figures = measure(show, Effort())
        print(f"{table(figures)}\n{verdict(figures)}")
        if results is not None:
            replace_synced(results, page(about, figures).encode())
            print(f"kept in {results}")
    except (DanceSamplerError, OSError) as error:
        print(f"bench: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


def results_of(show: Show) -> Path | None:
    """Where the page goes unless told: only the factory's dance is kept."""
    return RESULTS if show == Show(FACTORY.resolve(), CLIP.resolve()) else None


def measure(show: Show, effort: Effort) -> tuple[dict[str, str], list[Figure]]:
    """Measure everything once; give what was measured where, and the figures."""
    about = machine()
    preload()
    config = load_config(DEFAULT_PATH)
    bundle = load_bundle(show.bundle, config.model.variant, config.model.runtime)
    dance = load_dance(show.clip, bundle, effort.n_frames)
    about |= {"bundle": describe_bundle(bundle), "clip": f"{show.clip.name}, {len(dance.frames)} frames"}
    figures = [
        *measure_motiongram(dance.frames, bundle.manifest.motion),
        *_models(show.bundle, dance, effort.n_model_runs),
        *measure_synth(bundle.manifest.synth, dance.spectra, config.audio.period, effort.synth_s),
        *measure_chain(show, effort.n_chain_runs),
        measure_start(show, effort.n_starts),
        *measure_memory(show, effort.real_clock_s),
    ]
    return about, figures


def _models(path: Path, dance: Dance, n_runs: int) -> Iterator[Figure]:
    """Both variants on every runtime that is here."""
    for variant in MODEL_FILES:
        for runtime in installed_runtimes():
            yield measure_model(load_bundle(path, variant, runtime).model, dance.windows, n_runs)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
