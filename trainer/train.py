"""`trainer train`: from takes to a trained model, in a run folder that can be gone on with."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from device.core.errors import TrainingError
from device.core.synth import SynthSettings
from device.store.store import Take
from trainer.prepare import Segments, load_takes, split
from trainer.run_folder import CHECKPOINTS, check_folder, keep_settings, restore, save_weights
from trainer.settings import (
    GRID_RATE_HZ,
    HELD_OUT,
    HOP_S,
    LEAD_S,
    PRESETS,
    ExampleSettings,
    LossSettings,
    ModelSettings,
    Preset,
    RunSettings,
)
from trainer.warm_start import Start, check_fit, open_start

if TYPE_CHECKING:
    from trainer.augment import Batch
    from trainer.dataset import Examples

SEGMENT_S, N_LATENT = 0.5, 32
"""Unless the user says otherwise."""
N_HELD_OUT_SEEN = 2048
LEAST_HELD_OUT = 16


def train(takes: list[Take], run_dir: Path, settings: RunSettings, start: Start | None = None) -> dict[str, float]:
    """Train, or go on with, a run.

    Parameters
    ----------
    takes : list of Take
    run_dir : Path
        See `trainer.run_folder`.
    settings : RunSettings
    start : Start, optional
        Whose weights a new run begins with.

    Returns
    -------
    dict
        Held-out figures of the last epoch: `sound` (mean squared error as a share of the spectra's variance),
        `kl` in nats, `n_active` latents.

    Raises
    ------
    TrainingError
        The takes hold too little, or what the folder holds is damaged, or the loss is not a number.
    UsageError
        The folder holds another run.
    """
    training, held_out = split(takes, settings.example.segment_s, HOP_S, settings.held_out, settings.held_out_takes)
    _require(training, held_out, settings)
    if start is not None:
        check_fit(start, takes, settings)
    check_folder(run_dir, takes, settings, start)
    from trainer.backend import tf
    from trainer.dataset import Examples
    from trainer.levels import equalise
    from trainer.loop import Loop

    tf.config.experimental.enable_op_determinism()
    examples = Examples(takes, settings.example)
    loop = Loop(examples, examples.rows(training), settings)
    if start is not None:
        start.load_into(loop.model)
    keep_settings(run_dir, takes, settings, start)
    checkpoint = tf.train.Checkpoint(model=loop.model, optimizer=loop.optimizer, epoch=tf.Variable(0, dtype=tf.int64))
    manager = tf.train.CheckpointManager(checkpoint, str(run_dir / CHECKPOINTS), max_to_keep=2)
    restore(checkpoint, manager)
    log = tf.summary.create_file_writer(str(run_dir / "tensorboard"))
    seen = _held_out_batch(examples, examples.rows(held_out))
    with _progress(loop.steps_per_epoch, settings.preset.n_epochs, int(checkpoint.epoch)) as bar:
        for epoch in range(int(checkpoint.epoch), settings.preset.n_epochs):
            terms = loop.epoch(epoch, bar)
            figures = loop.look(seen)
            bar.set_postfix({name: f"{value:.3g}" for name, value in figures.items()})
            with log.as_default(step=(epoch + 1) * loop.steps_per_epoch):
                for name, value in [*terms.items(), *((f"held_out/{k}", v) for k, v in figures.items())]:
                    tf.summary.scalar(name, value)
            checkpoint.epoch.assign(epoch + 1)
            manager.save()
    equalise(loop.model, examples, takes, training)
    figures = loop.look(seen)
    save_weights(run_dir, loop.model)
    return figures


def _held_out_batch(examples: Examples, rows: Any) -> Batch:
    some = rows[:: max(1, len(rows) // N_HELD_OUT_SEEN)]
    return examples.batch(some, np.ones(len(some), np.float32))


def _require(training: Segments, held_out: Segments, settings: RunSettings) -> None:
    n = len(training)
    if n < settings.preset.batch_size or len(held_out) < LEAST_HELD_OUT:
        raise TrainingError(
            f"the takes hold {n} segments to train on and {len(held_out)} held out, at least "
            f"{settings.preset.batch_size} and {LEAST_HELD_OUT} are needed: record or import more"
        )


def _progress(steps_per_epoch: int, n_epochs: int, n_done: int) -> Any:
    from tqdm import tqdm

    return tqdm(
        total=steps_per_epoch * n_epochs,
        initial=steps_per_epoch * n_done,
        unit="step",
        desc="train",
        disable=not sys.stderr.isatty(),
        dynamic_ncols=True,
    )


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
    argument("--takes", type=Path, required=True, metavar="DIR", help="folder of takes")
    argument(
        "--run", type=Path, required=True, metavar="DIR", help="folder of the run; an unfinished one is gone on with"
    )
    argument(
        "--from",
        dest="start",
        metavar="RUN",
        help="begin with what a finished run or a bundle has learned, or the factory's; its settings hold",
    )
    argument("--segment-s", type=float, metavar="S", help=f"length of a segment, 0.05 to 2 ({SEGMENT_S})")
    argument("--preset", choices=list(PRESETS), default="quick", help="how long to train (%(default)s)")
    argument("--lead-s", type=float, metavar="S", help=f"sound ahead of motion ({LEAD_S})")
    argument("--latents", type=int, metavar="N", help=f"size of the latent space ({N_LATENT})")
    argument("--held-out", type=float, metavar="PART", help=f"end of each take not learned ({HELD_OUT})")
    argument("--held-out-takes", type=int, nargs="+", metavar="N", help="hold out whole takes instead")
    argument(
        "--loudness",
        choices=["body", "music"],
        help="body: made to follow the dance where it does not by itself; music: as recorded (body)",
    )
    argument("--seed", type=int, default=0, metavar="N", help="of everything random (%(default)s)")


def chosen_settings(args: argparse.Namespace, takes: list[Take], start: Start | None) -> RunSettings:
    """Settings of a run: what the user gave, else what it begins with has, else the defaults."""
    preset = PRESETS[args.preset]
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


def main(args: argparse.Namespace) -> int:
    """Run `trainer train`."""
    start = None if args.start is None else open_start(args.start)
    takes = load_takes(args.takes)
    settings = chosen_settings(args, takes, start)
    started_s = time.monotonic()
    figures = train(takes, args.run, settings, start)
    print(
        f"trained on {len(takes)} takes in {time.monotonic() - started_s:.0f} s: held-out error {figures['sound']:.3f} "
        f"of the variance, {figures['n_active']} of {settings.model.n_latent} latents active, {figures['kl']:.1f} nats"
    )
    print(f"next: python -m trainer export --run {args.run} --bundle DIR")
    return 0
