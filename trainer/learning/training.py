"""Training: from takes to trained weights in a run's folder, which can be left and gone on with."""

from __future__ import annotations

import sys
import threading
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from device.console import until_stopped
from device.core.errors import TrainingError
from device.store.store import Take
from trainer.checking.take_checks import TakeCheck, check_take, warn
from trainer.data.prepare import Segments, split
from trainer.data.spectra_cache import SpectraCache, default_cache
from trainer.learning.compute import Compute, choose, try_once
from trainer.learning.course import Course, Limits, Over, Watch
from trainer.learning.crew import Crew
from trainer.learning.warm_start import Start, check_fit
from trainer.learning.worker import Job
from trainer.runs.folder import (
    CHECKPOINTS,
    SETTINGS,
    WEIGHTS,
    alone,
    check_folder,
    keep_settings,
    load_weights,
    read_run,
    restore,
    save_weights,
)
from trainer.runs.logbook import Logbook
from trainer.runs.origin import made_with
from trainer.runs.story import judge, keep_result, write_readme
from trainer.settings import HOP_S, RunSettings

if TYPE_CHECKING:
    from trainer.data.augment import Batch
    from trainer.data.dataset import Examples

N_HELD_OUT_SEEN = 2048
LEAST_HELD_OUT = 16
PICTURE = "takes.png"
"""Of takes that seem bad, where there are any."""
BEST = "best.weights.h5"
"""Of the epoch with the least held-out error, where patience is limited."""


class InterruptedTrainingError(TrainingError):
    """The user ended a run that can be gone on with."""

    exit_code = 130


def train(
    takes: list[Take],
    run_dir: Path,
    settings: RunSettings,
    start: Start | None = None,
    limits: Limits = Limits(),  # noqa: B008 - it is frozen
    cache: SpectraCache | None = None,
    *,
    crew: Crew | None = None,
    compute: Compute | None = None,
    is_checked: bool = False,
) -> dict[str, float]:
    """Train, or go on with, a run.

    Parameters
    ----------
    takes : list of Take
    run_dir : Path
        See `trainer.runs.folder`.
    settings : RunSettings
    start : Start, optional
        Whose weights a new run begins with.
    limits : Limits
        What may end it early.
    cache : SpectraCache, optional
        Where the spectra of the takes are kept; the user's unless given.
    crew : Crew, optional
        Who trains; this process alone unless given.
    compute : Compute, optional
        How steps are computed; that of the run that is gone on with, or what is fastest here, unless given.
    is_checked : bool
        Bad takes were named before.

    Returns
    -------
    dict
        Held-out figures of what was trained: `sound` (mean squared error as a share of the spectra's variance),
        `kl` in nats, `n_active` latents. Nothing where another worker finishes the run.

    Raises
    ------
    TrainingError
        The takes hold too little, or what the folder holds is damaged, or the loss is not a number; or the user ended
        the run.
    UsageError
        The folder holds another run, another training works in it, or the start does not fit.
    """
    training, held_out = split(takes, settings.example.segment_s, HOP_S, settings.held_out, settings.held_out_takes)
    _require(training, held_out, settings)
    if start is not None:
        check_fit(start, takes, settings)
    check_folder(run_dir, takes, settings, start)
    checks = [] if is_checked or (run_dir / SETTINGS).exists() else _warn(takes)
    job = Job(tuple(take.path for take in takes), run_dir, settings, start, cache or default_cache(), compute)
    if crew is not None and not crew.has_chief:
        crew.train(job)
        return {}
    with alone(run_dir):
        if crew is not None:
            crew.train(job)
        return _train(takes, job, limits, checks, training, held_out)


def _train(
    takes: list[Take], job: Job, limits: Limits, checks: list[TakeCheck], training: Segments, held_out: Segments
) -> dict[str, float]:
    """Go through the epochs that are left in this process, then finish the run."""
    from trainer.backend import tf
    from trainer.data.dataset import Examples
    from trainer.learning.levels import equalise
    from trainer.learning.loop import Loop

    tf.config.experimental.enable_op_determinism()
    run_dir, settings = job.run_dir, job.settings
    examples = Examples(takes, settings.example, job.cache)
    compute = job.compute or _compute_of(job, limits)
    loop = Loop(examples, examples.rows(training), settings, compute=compute)
    if job.start is not None:
        job.start.load_into(loop.model)
    keep_settings(run_dir, takes, settings, job.start, asdict(limits), {**made_with(), "compute": asdict(compute)})
    _keep_picture(run_dir, checks)
    write_readme(run_dir)
    run = _Run(run_dir, loop, settings, limits)
    seen = _held_out_batch(examples, examples.rows(held_out))
    with until_stopped() as stop:
        run.train(seen, stop)
    loop = loop.in_float32()
    equalise(loop.model, examples, takes, training)
    figures: dict[str, float] = loop.look(seen)
    played = judge(run_dir, loop.model, examples, takes, held_out)
    keep_result(run_dir, {**run.ended(), "held_out": figures, "played": played})
    save_weights(run_dir / WEIGHTS, loop.model)
    write_readme(run_dir)
    return figures


def _compute_of(job: Job, limits: Limits) -> Compute:
    """That of a run that is gone on with, else what is fastest here."""
    if not (job.run_dir / SETTINGS).exists():
        return choose(job.settings, job.cache.folder, partial(try_once, job), limits.minutes)
    kept = (read_run(job.run_dir)[1]["made_with"] or {}).get("compute")
    return Compute(**kept) if kept else Compute()


class _Run:
    """The epochs of a run, each with a checkpoint."""

    def __init__(self, run_dir: Path, loop: Any, settings: RunSettings, limits: Limits) -> None:
        from trainer.backend import tf

        self._run_dir, self._loop, self._preset, self._limits = run_dir, loop, settings.preset, limits
        self._checkpoint = tf.train.Checkpoint(
            model=loop.model, optimizer=loop.optimizer, epoch=tf.Variable(0, dtype=tf.int64)
        )
        self._manager = tf.train.CheckpointManager(self._checkpoint, str(run_dir / CHECKPOINTS), max_to_keep=2)
        restore(self._checkpoint, self._manager)
        self._logbook = Logbook(run_dir, self.n_epochs)
        self._course = Course(limits, settings.preset, self._logbook.seconds, self._logbook.errors)

    @property
    def n_epochs(self) -> int:
        """Epochs that are done."""
        return int(self._checkpoint.epoch)

    def train(self, seen: Batch, stop: threading.Event) -> None:
        """Go through the epochs that are left."""
        with _progress(self._loop.steps_per_epoch, self._preset.n_epochs, self.n_epochs) as bar:
            n_steps = self.n_epochs * self._loop.steps_per_epoch
            watch = Watch(self._course, bar, n_steps, self._loop.pace.hasten, stop)
            while self.n_epochs < self._preset.n_epochs and not self._course.is_over:
                self._epoch(watch, bar, seen)
                if stop.is_set() and self.n_epochs < self._preset.n_epochs and not self._course.is_over:
                    raise InterruptedTrainingError(
                        f"interrupted after epoch {self.n_epochs} of {self._preset.n_epochs}, which is saved: go on "
                        f"with python -m trainer train --resume --run {self._run_dir}"
                    )
        if self._limits.patience is not None:
            load_weights(self._run_dir / BEST, self._loop.model)

    def _epoch(self, watch: Watch, bar: Any, seen: Batch) -> None:
        terms: dict[str, float] = {}
        with suppress(Over):
            terms = self._loop.epoch(self.n_epochs, watch)
        figures = self._loop.look(seen)
        bar.set_postfix({name: f"{value:.3g}" for name, value in figures.items()})
        self._course.errors.append(figures["sound"])
        if self._limits.patience is not None and self._course.is_best:
            save_weights(self._run_dir / BEST, self._loop.model)
        values = {**terms, **{f"held_out/{name}": value for name, value in figures.items()}}
        self._logbook.write(self.n_epochs + 1, watch.n_steps, self._course.spent_s, values)
        self._checkpoint.epoch.assign_add(1)
        self._manager.save()

    def ended(self) -> dict[str, object]:
        """How the run ended, for `result.json`."""
        return {
            "n_epochs": self.n_epochs,
            "n_steps": self._logbook.n_steps,
            "seconds": self._logbook.seconds,
            "why_ended": self._course.why_ended,
        }


def _warn(takes: list[Take]) -> list[TakeCheck]:
    """Name takes that seem bad before anything is learned from them; those are given."""
    bad = [check for take in takes if (check := check_take(take)).marks]
    warn(bad)
    return bad


def _keep_picture(run_dir: Path, bad: list[TakeCheck]) -> None:
    if bad:
        from trainer.checking.take_pictures import draw

        (run_dir / PICTURE).write_bytes(draw(bad))
        print(f"trainer: look at {run_dir / PICTURE}", file=sys.stderr)


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
