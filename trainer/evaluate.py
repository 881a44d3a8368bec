"""`trainer evaluate`: play held-out dances through the engine itself and say how well they are followed.

Every figure stands beside its null (against the sound of other times: what would be reached without following) and its
ceiling (the true spectra through the same synth: what a perfect model would reach).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from device.core.bundle import Manifest
from device.core.errors import TakeError, UsageError
from device.edges.model import SpectrumModel
from device.models import choose_runtime, read_bundle, run_bundle
from device.store import Take
from trainer.dataset import spectra_at
from trainer.draws import evaluate_draws
from trainer.metrics import figures, still_level_dbfs
from trainer.playing import (
    Float32,
    Playing,
    Recorded,
    Span,
    held_out_spans,
    moves_of,
    play_span,
    play_spans,
    play_still,
    real_sound,
    shuffled_columns,
)
from trainer.prepare import Segments, load_takes, split
from trainer.settings import HELD_OUT, HOP_S, LARGEST_TEMPERATURE, ExampleSettings, check_range
from trainer.table import Figures, format_table

__all__ = [
    "Playing",
    "Recorded",
    "Span",
    "evaluate_bundle",
    "evaluate_model",
    "held_out_spans",
    "play_span",
    "play_spans",
    "play_still",
    "real_sound",
]

NULL_SHIFTS = (0.17, 0.37, 0.59, 0.83)
"""Shares of the held-out time; uneven, so that views of one dance never fall on each other."""

MOST_DRAWS = 100
DRAWN_AT = 1.0
"""Temperature of draws, unless the user says otherwise."""


def evaluate_model(playing: Playing, model: SpectrumModel, spans: list[Span], played: Float32) -> Figures:
    """Figures of what a model played on spans, and its level when nobody moves."""
    rate_hz = playing.synth.rate_hz
    still_level = still_level_dbfs(play_still(playing, model), rate_hz)
    return replace(figures(real_sound(spans), played, rate_hz, moves_of(spans)), still_level_dbfs=still_level)


def evaluate_shuffled(playing: Playing, model: SpectrumModel, spans: list[Span], temperature: float = 0.0) -> Figures:
    """Figures of what a model plays to the dance in another order of time, against the dance as it was."""
    played = play_spans(playing, model, spans, temperature, columns=shuffled_columns(spans))
    return figures(real_sound(spans), played, playing.synth.rate_hz, moves_of(spans))


def evaluate_null(playing: Playing, spans: list[Span], played: Float32) -> Figures:
    """Figures of what was played against real sound and motion of other times: the mean over `NULL_SHIFTS`."""
    real, moves, rate_hz = real_sound(spans), moves_of(spans), playing.synth.rate_hz
    others = []
    for shift in NULL_SHIFTS:
        n_samples = round(shift * len(real))
        others.append(figures(np.roll(real, n_samples), played, rate_hz, moves.rolled(n_samples / rate_hz)).as_dict())
    means = {}
    for name in others[0]:
        values = [value for other in others if (value := other[name]) is not None]
        means[name] = float(np.mean(values)) if values else None
    return Figures(**means)  # type: ignore[arg-type] # the names are its own


def evaluate_ceiling(playing: Playing, spans: list[Span]) -> Figures:
    """Figures of the true spectra through the same engine and synth."""
    true = [Recorded(playing, spectra_at(span.take, span.times_s, playing.example)) for span in spans]
    played = [play_span(playing, model, span) for model, span in zip(true, spans, strict=True)]
    return figures(real_sound(spans), np.concatenate(played), playing.synth.rate_hz, moves_of(spans))


def evaluate_real(playing: Playing, spans: list[Span]) -> Figures:
    """Figures of the real sound itself: how it hangs on the motion, and how its onsets rise."""
    real = real_sound(spans)
    return figures(real, real, playing.synth.rate_hz, moves_of(spans))


def check_takes(manifest: Manifest, takes: list[Take]) -> None:
    """Raise TakeError unless takes were made as the bundle's were."""
    for take in takes:
        if take.settings != manifest.motion or take.rate_hz != manifest.rate_hz:
            raise TakeError(
                f"take {take.path} has other motion settings or another rate than the bundle ({manifest.rate_hz} Hz, "
                f"{manifest.motion}): import the videos again with the bundle's settings"
            )


@dataclass(frozen=True)
class Trial:
    """A bundle that is about to be judged.

    Attributes
    ----------
    playing : Playing
    spans : list of Span
        What is played.
    models : mapping of str to SpectrumModel
        Variant ('f16', 'int8') to the model that plays.
    """

    playing: Playing
    spans: list[Span]
    models: Mapping[str, SpectrumModel]


def open_trial(bundle_dir: Path, takes: list[Take], held_out: Segments) -> Trial:
    """Load both variants of a bundle, in the runtime that the box would choose, and what they are to play.

    Raises
    ------
    BundleError
        The bundle is not whole.
    TakeError
        The takes do not fit the bundle, or hold nothing to play.
    """
    files = read_bundle(bundle_dir)
    manifest = files.manifest
    check_takes(manifest, takes)
    example = ExampleSettings(manifest.segment_s, manifest.grid_rate_hz, manifest.lead_s, 0, 0, manifest.synth)
    runtime = choose_runtime()
    models = {variant: run_bundle(bundle_dir, files, variant, runtime).model for variant in files.models}
    return Trial(Playing(manifest.motion, example), held_out_spans(takes, held_out), models)


def evaluate_bundle(
    bundle_dir: Path, takes: list[Take], held_out: Segments, temperature: float = 0.0
) -> dict[str, Figures]:
    """Figures of both variants of a bundle, and what to set beside them.

    Returns
    -------
    dict
        'f16' and 'int8', then 'shuffled' (f16 plays the dance in another order), 'null', 'ceiling' and 'real' (the
        real sound against itself) to figures.

    Raises
    ------
    BundleError
        The bundle is not whole.
    TakeError
        The takes do not fit the bundle, or hold nothing to play.
    """
    return evaluate_trial(open_trial(bundle_dir, takes, held_out), temperature)


def evaluate_trial(trial: Trial, temperature: float = 0.0) -> dict[str, Figures]:
    """Figures of all columns: see `evaluate_bundle`."""
    playing, spans = trial.playing, trial.spans
    played = {variant: play_spans(playing, model, spans, temperature) for variant, model in trial.models.items()}
    columns = {variant: evaluate_model(playing, trial.models[variant], spans, played[variant]) for variant in played}
    columns["shuffled"] = evaluate_shuffled(playing, trial.models["f16"], spans, temperature)
    columns["null"] = evaluate_null(playing, spans, played["f16"])
    columns["ceiling"] = evaluate_ceiling(playing, spans)
    columns["real"] = evaluate_real(playing, spans)
    return columns


def learned_split(manifest: Manifest) -> tuple[float, list[int]]:
    """What the bundle's training held out: the end of each take, and numbers of whole takes."""
    kept = manifest.figures.get("held_out")
    if not isinstance(kept, dict):
        return HELD_OUT, []
    return float(kept["part"]), sorted(int(number) for number in kept["takes"])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the arguments of `trainer evaluate`."""
    argument = parser.add_argument
    argument("--bundle", type=Path, required=True, metavar="DIR", help="folder of a bundle")
    argument("--takes", type=Path, required=True, metavar="DIR", help="folder of the takes that it was trained on")
    argument("--held-out", type=float, metavar="PART", help="end of each take that is played (default: as in training)")
    argument("--held-out-takes", type=int, nargs="+", metavar="N", help="takes played whole (default: as in training)")
    argument("--temperature", type=float, metavar="T", help="0 plays the mean (default), 1 draws (default of --draws)")
    argument("--draws", type=int, default=0, metavar="N", help="draw N times too, and show how far the draws agree")
    argument("--json", action="store_true", help="print one object")


def main(args: argparse.Namespace) -> int:
    """Run `trainer evaluate`."""
    check_range("--draws", args.draws, 0, MOST_DRAWS)
    temperature, drawn_at = temperatures(args)
    takes = load_takes(args.takes)
    manifest = read_bundle(args.bundle).manifest
    part, numbers = learned_split(manifest)
    if args.held_out is not None or args.held_out_takes is not None:
        part, numbers = args.held_out or 0.0, args.held_out_takes or []
    _, held_out = split(takes, manifest.segment_s, HOP_S, part, numbers)
    trial = open_trial(args.bundle, takes, held_out)
    columns = evaluate_trial(trial, temperature)
    draws = None
    if args.draws:
        draws = evaluate_draws(trial.playing, trial.models["f16"], trial.spans, args.draws, drawn_at)
    if args.json:
        drawn = {} if draws is None else {"draws": draws.as_dict()}
        print(json.dumps({name: column.as_dict() for name, column in columns.items()} | drawn))
    else:
        of = f"takes {' '.join(map(str, numbers))}" if numbers else f"the last {part:.0%} of each of {len(takes)} takes"
        print(f"played: {of}\n{format_table(columns)}")
        if draws is not None:
            print(f"\ndrawn at temperature {drawn_at:g}, f16\n{draws.format()}")
    return 0


def temperatures(args: argparse.Namespace) -> tuple[float, float]:
    """What the first table and what the draws are played at."""
    given = args.temperature
    check_range("--temperature", given or 0.0, 0.0, LARGEST_TEMPERATURE)
    if args.draws and given == 0.0:
        raise UsageError("--draws at --temperature 0 would all be the same: give a temperature above 0, or none")
    return (0.0, DRAWN_AT) if given is None else (given, given)
