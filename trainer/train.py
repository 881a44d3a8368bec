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

if TYPE_CHECKING:
    from trainer.augment import Batch
    from trainer.dataset import Examples

N_HELD_OUT_SEEN = 2048
LEAST_HELD_OUT = 16


def train(takes: list[Take], run_dir: Path, settings: RunSettings) -> dict[str, float]:
    """Train, or go on with, a run.

    Parameters
    ----------
    takes : list of Take
    run_dir : Path
        See `trainer.run_folder`.
    settings : RunSettings

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
    check_folder(run_dir, takes, settings)
    from trainer.backend import tf
    from trainer.dataset import Examples
    from trainer.levels import equalise
    from trainer.loop import Loop

    tf.config.experimental.enable_op_determinism()
    examples = Examples(takes, settings.example)
    loop = Loop(examples, examples.rows(training), settings)
    keep_settings(run_dir, takes, settings)
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
    segment_s: float = 0.5,
    *,
    lead_s: float = LEAD_S,
    n_latent: int = 32,
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
    argument("--segment-s", type=float, default=0.5, metavar="S", help="length of a segment, 0.05 to 2 (%(default)s)")
    argument("--preset", choices=list(PRESETS), default="quick", help="how long to train (%(default)s)")
    argument("--lead-s", type=float, default=LEAD_S, metavar="S", help="sound ahead of motion (%(default)s)")
    argument("--latents", type=int, default=32, metavar="N", help="size of the latent space (%(default)s)")
    argument(
        "--held-out", type=float, default=HELD_OUT, metavar="PART", help="end of each take not learned (%(default)s)"
    )
    argument("--held-out-takes", type=int, nargs="+", default=[], metavar="N", help="hold out whole takes instead")
    argument(
        "--loudness",
        choices=["body", "music"],
        default="body",
        help="body: made to follow the dance where it does not by itself; music: as recorded (%(default)s)",
    )
    argument("--seed", type=int, default=0, metavar="N", help="of everything random (%(default)s)")


def main(args: argparse.Namespace) -> int:
    """Run `trainer train`."""
    takes = load_takes(args.takes)
    settings = run_settings(
        takes,
        PRESETS[args.preset],
        args.segment_s,
        lead_s=args.lead_s,
        n_latent=args.latents,
        held_out=args.held_out,
        held_out_takes=args.held_out_takes,
        body_leads=args.loudness == "body",
        seed=args.seed,
    )
    started_s = time.monotonic()
    figures = train(takes, args.run, settings)
    print(
        f"trained on {len(takes)} takes in {time.monotonic() - started_s:.0f} s: held-out error {figures['sound']:.3f} "
        f"of the variance, {figures['n_active']} of {args.latents} latents active, {figures['kl']:.1f} nats"
    )
    print(f"next: python -m trainer export --run {args.run} --bundle DIR")
    return 0
