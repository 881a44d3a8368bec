"""`trainer evaluate`: play held-out dances through the engine itself and say how well they are followed.

Every figure stands beside its null (against the sound of other times: what would be reached without following), its
ceiling (the true spectra through the same synth: what a perfect model would reach), the real sound itself, and what is
played to the dance in another order of time.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from device.core.bundle import Manifest
from device.core.errors import TakeError, UsageError
from device.edges.model import SpectrumModel
from device.models.bundles import choose_runtime, read_bundle, run_bundle
from device.store.store import Take
from trainer.data.prepare import Segments, load_takes, split
from trainer.evaluating.draws import evaluate_draws
from trainer.evaluating.metrics import still_level_dbfs
from trainer.evaluating.playing import (
    Float32,
    Playing,
    Recorded,
    Span,
    held_out_spans,
    play_span,
    play_spans,
    play_still,
    real_sound,
)
from trainer.evaluating.reference import Reference
from trainer.evaluating.table import Figures, format_table
from trainer.settings import HELD_OUT, HOP_S, LARGEST_TEMPERATURE, ExampleSettings, check_range

__all__ = [
    "Playing",
    "Recorded",
    "Span",
    "evaluate_bundle",
    "evaluate_ceiling",
    "evaluate_model",
    "evaluate_null",
    "evaluate_real",
    "held_out_spans",
    "play_span",
    "play_spans",
    "play_still",
    "real_sound",
]

MOST_DRAWS = 100
DRAWN_AT = 1.0
"""Temperature of draws, unless the user says otherwise."""


def evaluate_model(playing: Playing, model: SpectrumModel, spans: list[Span], played: Float32) -> Figures:
    """Figures of what a model played on spans, and its level when nobody moves."""
    return with_still(Reference.of(playing, spans).figures(played), playing, model)


def evaluate_null(playing: Playing, spans: list[Span], played: Float32) -> Figures:
    """Figures of what was played against real sound and motion of other times."""
    return Reference.of(playing, spans).null(played)


def evaluate_ceiling(playing: Playing, spans: list[Span]) -> Figures:
    """Figures of the true spectra through the same engine and synth."""
    return Reference.of(playing, spans).ceiling()


def evaluate_real(playing: Playing, spans: list[Span]) -> Figures:
    """Figures of the real sound itself: how it hangs on the motion, and how its onsets rise."""
    return Reference.of(playing, spans).itself()


def with_still(found: Figures, playing: Playing, model: SpectrumModel) -> Figures:
    """Add the level when nobody moves."""
    return replace(found, still_level_dbfs=still_level_dbfs(play_still(playing, model), playing.synth.rate_hz))


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
        real sound against itself): see `Reference`.

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
    reference = Reference.of(playing, spans)
    played = {variant: play_spans(playing, model, spans, temperature) for variant, model in trial.models.items()}
    columns = {
        variant: with_still(reference.figures(sound), playing, trial.models[variant])
        for variant, sound in played.items()
    }
    columns["shuffled"] = reference.shuffled(trial.models["f16"], temperature)
    columns["null"] = reference.null(played["f16"])
    columns["ceiling"] = reference.ceiling()
    columns["real"] = reference.itself()
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
