"""`trainer train`: what can be chosen, and what follows from it."""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from device.core.errors import UsageError
from device.core.synth import SynthSettings
from device.store.store import Take
from trainer.data.prepare import load_takes
from trainer.data.spectra_cache import add_cache_arguments, cache_of
from trainer.learning.compute import Compute
from trainer.learning.course import Limits
from trainer.learning.crew import add_worker_arguments, crew_of
from trainer.learning.training import train
from trainer.learning.warm_start import Start, open_start
from trainer.runs.folder import WEIGHTS, open_takes, read_run
from trainer.runs.story import read_result
from trainer.settings import (
    GRID_RATE_HZ,
    HELD_OUT,
    LEAD_S,
    PRESETS,
    ExampleSettings,
    LossSettings,
    ModelSettings,
    Preset,
    RunSettings,
    check_range,
)

__all__ = ["add_arguments", "chosen_settings", "main", "numbers", "opened_takes", "run_settings", "train"]

SEGMENT_S, N_LATENT = 0.5, 32
"""Unless the user says otherwise."""


def run_settings(
    takes: list[Take],
    preset: Preset,
    segment_s: float = SEGMENT_S,
    *,
    lead_s: float = LEAD_S,
    n_latent: int = N_LATENT,
    held_out: float = HELD_OUT,
    held_out_takes: list[int] | None = None,
    body_leads: bool = True,
    seed: int = 0,
) -> RunSettings:
    """Settings of a run on given takes; sizes follow from them."""
    synth = SynthSettings(rate_hz=takes[0].rate_hz)
    model = ModelSettings(
        n_columns=0,
        n_features=takes[0].settings.n_features,
        n_bins=synth.n_bins,
        n_rows=takes[0].settings.height,
        n_latent=n_latent,
        n_hidden=preset.n_hidden,
        n_filters=preset.n_filters,
    )
    example = ExampleSettings(segment_s, GRID_RATE_HZ, lead_s, model.n_sound_frames, model.n_bands, synth, body_leads)
    model = replace(model, n_columns=example.n_columns)
    return RunSettings(preset, example, model, LossSettings(), held_out, held_out_takes or [], seed)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the arguments of `trainer train`."""
    argument = parser.add_argument
    argument("--takes", type=Path, metavar="DIR", help="folder of takes")
    argument(
        "--run", type=Path, required=True, metavar="DIR", help="folder of the run; an unfinished one is gone on with"
    )
    argument(
        "--resume", action="store_true", help="go on with the run in --run as it was begun: no other option needed"
    )
    argument(
        "--from",
        dest="start",
        metavar="RUN",
        help="begin with what a finished run or a bundle has learned, or the factory's; its settings hold",
    )
    argument("--segment-s", type=float, metavar="S", help=f"length of a segment, 0.05 to 2 ({SEGMENT_S})")
    argument("--preset", choices=list(PRESETS), default="quick", help="how long to train (%(default)s)")
    argument("--steps", type=int, metavar="N", help="steps in all (the preset's)")
    argument("--lead-s", type=float, metavar="S", help=f"sound ahead of motion ({LEAD_S})")
    argument("--latents", type=int, metavar="N", help=f"size of the latent space ({N_LATENT})")
    argument("--held-out", type=float, metavar="PART", help=f"end of each take not learned ({HELD_OUT})")
    argument("--held-out-takes", type=int, nargs="+", metavar="N", help="hold out whole takes instead")
    argument(
        "--loudness",
        choices=["body", "music"],
        help="body: made to follow the dance where it does not by itself; music: as recorded (body)",
    )
    argument("--leave-out", type=numbers, default=[], metavar="N,...", help="takes that are not used")
    argument(
        "--minutes", type=float, metavar="M", help="no more steps after that time; the learning rate falls over it"
    )
    argument("--patience", type=int, metavar="N", help="end when N epochs brought nothing, and keep the best")
    argument("--seed", type=int, default=0, metavar="N", help="of everything random (%(default)s)")
    argument(
        "--compute",
        choices=["auto", "plain"],
        default="auto",
        help="auto: number format, XLA and threads by what is fastest here; plain: float32 (%(default)s)",
    )
    add_cache_arguments(parser)
    add_worker_arguments(parser)


def chosen_settings(args: argparse.Namespace, takes: list[Take], start: Start | None) -> RunSettings:
    """Settings of a run: what the user gave, else what it begins with has, else the defaults."""
    preset = PRESETS[args.preset]
    if args.steps is not None:
        check_range("--steps", args.steps, preset.n_epochs, 100_000_000)
        preset = replace(preset, n_steps=args.steps)
    held_out, held_out_takes = (HELD_OUT, []) if start is None else start.held_out(takes)
    if args.held_out is not None or args.held_out_takes:
        held_out, held_out_takes = (HELD_OUT if args.held_out is None else args.held_out), args.held_out_takes or []
    defaults: dict[str, Any] = {"segment_s": SEGMENT_S, "lead_s": LEAD_S, "n_latent": N_LATENT, "loudness": "body"}
    if start is not None:
        preset = replace(preset, n_hidden=start.n_hidden, n_filters=start.n_filters)
        defaults |= {"segment_s": start.segment_s, "lead_s": start.lead_s, "n_latent": start.n_latent}
        if start.run is not None and not start.run.example.body_leads:
            defaults["loudness"] = "music"
    given = {
        "segment_s": args.segment_s, "lead_s": args.lead_s, "n_latent": args.latents, "loudness": args.loudness
    }  # fmt: skip
    chosen = {name: default if given[name] is None else given[name] for name, default in defaults.items()}
    body_leads = chosen.pop("loudness") == "body"
    return run_settings(
        takes, preset, held_out=held_out, held_out_takes=held_out_takes, body_leads=body_leads, seed=args.seed, **chosen
    )


def numbers(text: str) -> list[int]:
    """Read numbers with commas between them."""
    return [int(number) for number in text.split(",")]


def opened_takes(takes_dir: Path | None, leave_out: list[int]) -> list[Take]:
    """Open the takes of a folder but those that the user leaves out.

    Raises
    ------
    UsageError
        No folder is given, or there is no such take, or none is left.
    TakeError
        See `load_takes`.
    """
    if takes_dir is None:
        raise UsageError("there is nothing to learn from: give --takes DIR, or --resume to go on with a run")
    takes = load_takes(takes_dir)
    if unknown := sorted(set(leave_out) - {take.number for take in takes}):
        raise UsageError(f"there is no take {unknown[0]:04d} to leave out: choose of those that trainer prepare lists")
    kept = [take for take in takes if take.number not in leave_out]
    if not kept:
        raise UsageError("all takes are left out: leave one in")
    return kept


def resumed(args: argparse.Namespace) -> tuple[list[Take], RunSettings, Limits]:
    """What a run was begun with; its limits are those that are given now, if any are.

    Raises
    ------
    UsageError
        The run is finished.
    TrainingError
        There is no run, or a take of it is gone or was changed.
    """
    settings, facts = read_run(args.run)
    if (args.run / WEIGHTS).exists():
        raise UsageError(f"the run in {args.run} is finished: begin another with --from {args.run}, or export it")
    kept = facts["limits"] or {}
    limits = Limits(
        kept.get("minutes") if args.minutes is None else args.minutes,
        kept.get("patience") if args.patience is None else args.patience,
    )
    return open_takes(facts), settings, limits


def main(args: argparse.Namespace) -> int:
    """Run `trainer train`."""
    start, cache = None, cache_of(args)
    if args.resume:
        takes, settings, limits = resumed(args)
    else:
        limits = Limits(args.minutes, args.patience)
        start = None if args.start is None else open_start(args.start)
        takes = opened_takes(args.takes, args.leave_out)
        settings = chosen_settings(args, takes, start)
    crew = crew_of(args.workers, settings.preset.batch_size)
    if crew is not None and (limits.minutes, limits.patience) != (None, None):
        raise UsageError("--minutes and --patience are for one worker: leave them out, or give --workers 1")
    compute = Compute() if args.compute == "plain" else None
    started_s = time.monotonic()
    figures = train(takes, args.run, settings, start, limits, cache, crew=crew, compute=compute)
    if not figures:
        print("trained; the first worker finishes the run")
        return 0
    print(
        f"trained on {len(takes)} takes in {time.monotonic() - started_s:.0f} s: held-out error {figures['sound']:.3f} "
        f"of the variance, {figures['n_active']} of {settings.model.n_latent} latents active, {figures['kl']:.1f} nats"
    )
    if why := read_result(args.run)["why_ended"]:
        print(f"ended early: {why}")
    print(f"next: python -m trainer export --run {args.run} --bundle DIR")
    return 0
