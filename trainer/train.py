"""`trainer train`: from takes to a trained model, in a run folder that can be gone on with."""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from device.core.errors import TrainingError, UsageError
from device.core.synth import SynthSettings
from device.store import Take
from trainer.prepare import Segments, load_takes, split
from trainer.settings import (
    PRESETS,
    ExampleSettings,
    LossSettings,
    ModelSettings,
    Preset,
    RunSettings,
)

if TYPE_CHECKING:
    from trainer.dataset import Batch, Examples
    from trainer.model import DanceVAE

RUN_FORMAT = 1
N_HELD_OUT_SEEN = 2048
GRID_RATE_HZ = 50.0
"""Columns per second in a window."""
HOP_S = 0.02
"""From one example to the next; slower cameras give one a frame."""


def train(takes: list[Take], run_dir: Path, settings: RunSettings, quiet: bool = False) -> dict[str, float]:
    """Train, or go on with, a run.

    Parameters
    ----------
    takes : list of Take
    run_dir : Path
        Holds `run.json`, `checkpoints/`, `tensorboard/` and, when done, `model.weights.h5`.
    settings : RunSettings
    quiet : bool
        No progress bar.

    Returns
    -------
    dict
        Held-out figures of the last epoch: `sound` (mean squared error as a share of the spectra's variance),
        `kl` in nats, `n_active` latents.

    Raises
    ------
    TrainingError
        The takes hold too little, or the loss is not a number.
    """
    from trainer.backend import tf
    from trainer.dataset import Examples
    from trainer.loop import Loop

    training, held_out = split(takes, settings.example.segment_s, HOP_S, settings.held_out, settings.held_out_takes)
    _require(training, held_out, settings)
    _write_run(run_dir, takes, settings)
    tf.config.experimental.enable_op_determinism()
    examples = Examples(takes, settings.example)
    loop = Loop(examples, examples.rows(training), settings)
    checkpoint = tf.train.Checkpoint(model=loop.model, optimizer=loop.optimizer, epoch=tf.Variable(0, dtype=tf.int64))
    manager = tf.train.CheckpointManager(checkpoint, str(run_dir / "checkpoints"), max_to_keep=2)
    checkpoint.restore(manager.latest_checkpoint)
    log = tf.summary.create_file_writer(str(run_dir / "tensorboard"))
    seen = _held_out_batch(examples, examples.rows(held_out))
    with _progress(settings, int(checkpoint.epoch), quiet) as bar:
        for epoch in range(int(checkpoint.epoch), settings.preset.n_epochs):
            terms = loop.epoch(epoch, bar)
            figures = loop.look(seen)
            bar.set_postfix({name: f"{value:.3g}" for name, value in figures.items()})
            with log.as_default(step=(epoch + 1) * loop.steps_per_epoch):
                for name, value in [*terms.items(), *((f"held_out/{k}", v) for k, v in figures.items())]:
                    tf.summary.scalar(name, value)
            checkpoint.epoch.assign(epoch + 1)
            manager.save()
    figures = loop.look(seen)
    loop.model.save_weights(run_dir / "model.weights.h5")
    return figures


def _held_out_batch(examples: Examples, rows: Any) -> Batch:
    some = rows[:: max(1, len(rows) // N_HELD_OUT_SEEN)]
    return examples.batch(some, np.ones(len(some), np.float32))


def _require(training: Segments, held_out: Segments, settings: RunSettings) -> None:
    n = len(training.take_index)
    if n < settings.preset.batch_size or len(held_out.take_index) == 0:
        raise TrainingError(
            f"the takes hold {n} segments to train on and {len(held_out.take_index)} held out, at least "
            f"{settings.preset.batch_size} and 1 are needed: record or import more"
        )


def _progress(settings: RunSettings, n_epochs_done: int, quiet: bool) -> Any:
    from tqdm import tqdm

    steps_per_epoch = settings.preset.n_steps // settings.preset.n_epochs
    return tqdm(total=steps_per_epoch * settings.preset.n_epochs, initial=steps_per_epoch * n_epochs_done,
                unit="step", desc="train", disable=quiet or not sys.stderr.isatty(), dynamic_ncols=True)  # fmt: skip


def _write_run(run_dir: Path, takes: list[Take], settings: RunSettings) -> None:
    """Keep what the run depends on; refuse to go on with a run of other settings."""
    path = run_dir / "run.json"
    facts = {"format": RUN_FORMAT, "settings": asdict(settings), "takes": [str(take.path.resolve()) for take in takes],
             "motion": asdict(takes[0].settings)}  # fmt: skip
    if path.exists():
        before = json.loads(path.read_text())
        if {**before, "created_s": 0} != json.loads(json.dumps({**facts, "created_s": 0})):
            raise UsageError(f"{run_dir} holds a run with other settings or takes: give another --run, or remove it")
        return
    run_dir.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps({**facts, "created_s": int(time.time())}, indent=1))
    temporary.replace(path)


def load_run(run_dir: Path) -> tuple[RunSettings, dict[str, Any], DanceVAE]:
    """Read a finished run.

    Returns
    -------
    settings : RunSettings
    facts : dict
        `run.json`: with `takes`, `motion` and `created_s`.
    model : DanceVAE
        With the trained weights.

    Raises
    ------
    TrainingError
        There is no finished run.
    """
    from trainer.backend import keras
    from trainer.model import DanceVAE

    path, weights = run_dir / "run.json", run_dir / "model.weights.h5"
    if not path.exists():
        raise TrainingError(f"{run_dir} holds no run: start with trainer train")
    if not weights.exists():
        raise TrainingError(f"the run in {run_dir} is not finished: go on with it by the same trainer train command")
    facts = json.loads(path.read_text())
    kept = facts["settings"]
    example = ExampleSettings(**{**kept["example"], "synth": SynthSettings(**kept["example"]["synth"])})
    settings = RunSettings(
        preset=Preset(**kept["preset"]),
        example=example,
        model=ModelSettings(**kept["model"]),
        loss=LossSettings(**kept["loss"]),
        held_out=kept["held_out"],
        held_out_takes=kept["held_out_takes"],
        seed=kept["seed"],
    )
    keras.utils.set_random_seed(settings.seed)
    model = DanceVAE(settings.model)
    model.load_weights(weights)
    return settings, facts, model


def run_settings(
    takes: list[Take],
    preset: Preset,
    segment_s: float = 0.5,
    *,
    lead_s: float = 0.0,
    n_latent: int = 32,
    held_out: float = 0.2,
    held_out_takes: list[int] | None = None,
    seed: int = 0,
) -> RunSettings:
    """Settings of a run on given takes; sizes follow from them."""
    if not 0.05 <= segment_s <= 2.0:
        raise UsageError(f"a segment of {segment_s} s cannot be learned: give --segment-s from 0.05 to 2")
    synth = SynthSettings(rate_hz=takes[0].rate_hz)
    model = ModelSettings(
        n_columns=0,
        n_features=takes[0].settings.n_features,
        n_bins=synth.n_bins,
        n_latent=n_latent,
        n_hidden=preset.n_hidden,
        n_filters=preset.n_filters,
    )
    example = ExampleSettings(segment_s, GRID_RATE_HZ, lead_s, model.n_sound_frames, model.n_bands, synth)
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
    argument("--lead-s", type=float, default=0.0, metavar="S", help="learn sound so far ahead of motion (%(default)s)")
    argument("--latents", type=int, default=32, metavar="N", help="size of the latent space (%(default)s)")
    argument("--held-out", type=float, default=0.2, metavar="PART", help="end of each take not learned (%(default)s)")
    argument("--held-out-takes", type=int, nargs="+", default=[], metavar="N", help="hold out whole takes instead")
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
