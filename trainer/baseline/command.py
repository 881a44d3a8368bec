"""`trainer baseline`: train the original's way on takes, and set it beside what it should have played."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from device.core.errors import UsageError
from device.core.synth import SynthSettings
from device.models.bundles import read_bundle
from device.store.store import Take
from trainer.baseline.original import Baseline, train_baseline
from trainer.data.prepare import Segments, load_takes, split
from trainer.evaluating.command import (
    check_takes,
    evaluate_bundle,
    evaluate_ceiling,
    evaluate_null,
    evaluate_real,
    learned_split,
)
from trainer.evaluating.metrics import figures, still_level_dbfs
from trainer.evaluating.playing import STILL_S, Playing, Span, held_out_spans, moves_of, real_sound
from trainer.evaluating.table import Figures, format_table
from trainer.settings import (
    GRID_RATE_HZ,
    HELD_OUT,
    HOP_S,
    LARGEST_TEMPERATURE,
    ExampleSettings,
    check_range,
)

Float32 = npt.NDArray[np.float32]

SECONDS = {"quick": 180.0, "standard": 1200.0}
"""What ours takes in a preset on two cores."""
LONGEST_TRAINING_S = 7 * 86400.0


def play_all(baseline: Baseline, spans: list[Span], temperature: float) -> Float32:
    """Play all spans, one after the other, as long as their real sound."""
    return np.concatenate([baseline.play(span, temperature) for span in spans])


def evaluate_baseline(baseline: Baseline, spans: list[Span], played: Float32) -> Figures:
    """Figures of what a baseline played on spans, and its level when nothing moves, not even noise."""
    rate_hz = baseline.settings.rate_hz
    times_s = np.arange(int(STILL_S * GRID_RATE_HZ)) / GRID_RATE_HZ
    columns = np.zeros((len(times_s), baseline.settings.n_features), np.float32)
    still = baseline.play_columns(columns, times_s, round(STILL_S * rate_hz))
    found = figures(real_sound(spans), played, rate_hz, moves_of(spans))
    return replace(found, still_level_dbfs=still_level_dbfs(still, rate_hz))


def beside(takes: list[Take], spans: list[Span], played: Float32) -> dict[str, Figures]:
    """What to set beside a baseline: its null, the ceiling of our synth, and the real sound."""
    example = ExampleSettings(0.5, GRID_RATE_HZ, 0.0, 0, 0, SynthSettings(rate_hz=takes[0].rate_hz))
    playing = Playing(takes[0].settings, example)
    return {
        "null": evaluate_null(playing, spans, played),
        "ceiling": evaluate_ceiling(playing, spans),
        "real": evaluate_real(playing, spans),
    }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the arguments of `trainer baseline`."""
    argument = parser.add_argument
    argument("--takes", type=Path, required=True, metavar="DIR", help="folder of takes")
    argument("--run", type=Path, required=True, metavar="DIR", help="folder to write; a baseline there is replaced")
    argument("--segment-s", type=float, default=0.1, metavar="S", help="length of a segment, 0.05 to 2 (%(default)s)")
    argument("--preset", choices=list(SECONDS), default="quick", help="train as long as ours takes (%(default)s)")
    argument("--seconds", type=float, metavar="N", help="train for so long instead")
    argument("--held-out", type=float, metavar="PART", help="end of each take not learned (the bundle's, or 0.2)")
    argument("--held-out-takes", type=int, nargs="+", metavar="N", help="hold out whole takes instead")
    argument("--bundle", type=Path, metavar="DIR", help="a bundle of ours, to set beside it")
    argument("--temperature", type=float, default=0.0, metavar="T", help="0 plays the mean (default), 1 draws")
    argument("--seed", type=int, default=0, metavar="N", help="of everything random (%(default)s)")
    argument("--json", action="store_true", help="print one object")


def main(args: argparse.Namespace) -> int:
    """Run `trainer baseline`."""
    check_range("--temperature", args.temperature, 0.0, LARGEST_TEMPERATURE)
    check_range("--seed", args.seed, 0, 2**31 - 1)
    seconds = SECONDS[args.preset] if args.seconds is None else args.seconds
    check_range("--seconds", seconds, 0.001, LONGEST_TRAINING_S)
    if args.run.exists() and not args.run.is_dir():
        raise UsageError(f"{args.run} is a file: give --run a folder")
    takes = load_takes(args.takes)
    training, held_out = _split(takes, args)
    spans = held_out_spans(takes, held_out)
    with _progress() as progress:
        baseline = train_baseline(
            takes, training, args.segment_s, duration_s=seconds, n_steps=None, seed=args.seed, progress=progress
        )
    baseline.save(args.run)
    played = play_all(baseline, spans, args.temperature)
    columns = {"baseline": evaluate_baseline(baseline, spans, played)}
    if args.bundle is not None:
        columns |= evaluate_bundle(args.bundle, takes, held_out, args.temperature)
    else:
        columns |= beside(takes, spans, played)
    if args.json:
        print(json.dumps({name: column.as_dict() for name, column in columns.items()}))
    else:
        print(f"trained for {seconds:g} s on segments of {args.segment_s:g} s: {args.run}\n{format_table(columns)}")
    return 0


def _split(takes: list[Take], args: argparse.Namespace) -> tuple[Segments, Segments]:
    """Training segments of the baseline's length, and what was held out from it and from the bundle."""
    numbers: list[int] = []
    part, longest_s = HELD_OUT, args.segment_s
    if args.bundle is not None:
        manifest = read_bundle(args.bundle).manifest
        check_takes(manifest, takes)
        part, numbers = learned_split(manifest)
        longest_s = max(longest_s, manifest.segment_s)
    if args.held_out is not None or args.held_out_takes is not None:
        part, numbers = args.held_out or 0.0, args.held_out_takes or []
    training, _ = split(takes, args.segment_s, HOP_S, part, numbers)
    _, held_out = split(takes, longest_s, HOP_S, part, numbers)
    return training, held_out


@contextmanager
def _progress() -> Iterator[Callable[[float], None]]:
    from tqdm import tqdm

    form = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}"
    with tqdm(total=1.0, desc="baseline", bar_format=form, disable=not sys.stderr.isatty(), dynamic_ncols=True) as bar:
        yield lambda share: bar.update(share - bar.n)
