"""One of the processes that train a model together: its part of the takes, its share of every batch.

Only the first writes: settings, curves, checkpoints. All read the newest checkpoint when they begin: all must see the
run's folder.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from device.core.errors import DanceSamplerError, TrainingError
from device.store.store import Take
from trainer.data.prepare import Segments, split
from trainer.data.spectra_cache import SpectraCache
from trainer.learning.compute import Compute
from trainer.learning.warm_start import Start
from trainer.settings import HOP_S, RunSettings

if TYPE_CHECKING:
    from trainer.data.dataset import Examples
    from trainer.learning.loop import Loop
    from trainer.learning.team import Team

N_HELD_OUT_SEEN = 2048


@dataclass(frozen=True)
class Job:
    """What all workers of a run are told.

    Attributes
    ----------
    takes : tuple of Path
    run_dir : Path
    settings : RunSettings
    start : Start or None
        Whose weights a new run begins with.
    cache : SpectraCache
    compute : Compute or None
        How one worker alone computes.
    """

    takes: tuple[Path, ...]
    run_dir: Path
    settings: RunSettings
    start: Start | None
    cache: SpectraCache
    compute: Compute | None = None

    def how_to_go_on(self) -> str:
        """What is saved, and the command that goes on from there."""
        from trainer.runs.folder import CHECKPOINTS

        state = self.run_dir / CHECKPOINTS / "checkpoint"
        text = state.read_text() if state.exists() else ""
        found = re.search(r'^model_checkpoint_path: ".*-(\d+)"', text, re.MULTILINE)
        saved = f"epoch {found[1]} of {self.settings.preset.n_epochs} is saved" if found else "no epoch is saved yet"
        return (
            f"{saved}, go on with python -m trainer train --resume --run {self.run_dir}, with any number of --workers"
        )


def work(job: Job, tf_config: str, parent: Connection) -> None:
    """Train in this process, and tell the parent what went wrong, or nothing."""
    from tqdm import tqdm

    os.environ["TF_CONFIG"] = tf_config
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    _be_quiet()
    tqdm.set_lock(threading.RLock())  # its own is shared between processes, and would have to be given back
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    said = ""
    try:
        _train(job, json.loads(tf_config)["task"]["index"])
    except DanceSamplerError as error:
        said = str(error)
    except Exception as error:
        from trainer.backend import tf

        if not isinstance(error, tf.errors.OpError):
            raise
        said = f"another worker of this run has ended or cannot be reached: {job.how_to_go_on()}"
    parent.send(said)
    os._exit(1 if said else 0)  # TensorFlow would wait for workers that are gone


def part_of(segments: Segments, index: int, n_parts: int) -> Segments:
    """One of the equal parts of a list of segments: few takes in each."""
    at = slice(len(segments) * index // n_parts, len(segments) * (index + 1) // n_parts)
    return Segments(segments.take_index[at], segments.column_index[at])


def share_of(
    takes: Sequence[Take], settings: RunSettings, index: int, n_workers: int
) -> tuple[list[Take], Segments, Segments]:
    """What one worker reads: takes, and the training and the held-out segments of them that are its own."""
    both = split(takes, settings.example.segment_s, HOP_S, settings.held_out, settings.held_out_takes)
    parts = [part_of(segments, index, n_workers) for segments in both]
    used = np.unique(np.concatenate([part.take_index for part in parts]))
    training, held_out = (Segments(np.searchsorted(used, p.take_index).astype(np.int32), p.column_index) for p in parts)
    return [takes[at] for at in used], training, held_out


def _train(job: Job, index: int) -> None:
    team = _open_team(index)
    from trainer.data.dataset import Examples
    from trainer.learning.loop import Loop

    settings = job.settings
    takes = [Take.open(path, check=False) for path in job.takes]
    used, training, held_out = share_of(takes, settings, index, team.n_workers)
    examples = Examples(used, settings.example, job.cache)
    loop = Loop(examples, examples.rows(training), settings, team)
    if job.start is not None:
        job.start.load_into(loop.model)
    _go_through(job, team, loop, _seen(examples, held_out), takes)


def _open_team(index: int) -> Team:
    """Meet the other workers; one alone has a copy of the model on each of its GPUs."""
    from trainer.backend import tf
    from trainer.learning.team import Team

    n_workers = len(json.loads(os.environ["TF_CONFIG"])["cluster"]["worker"])
    tf.config.experimental.enable_op_determinism()
    if n_workers == 1:
        return Team(tf.distribute.MirroredStrategy())
    return Team(tf.distribute.MultiWorkerMirroredStrategy(), index, n_workers)


def _seen(examples: Examples, held_out: Segments) -> Any:
    rows = examples.rows(held_out)
    some = rows[:: max(1, len(rows) // N_HELD_OUT_SEEN)]
    return examples.batch(some, np.ones(len(some), np.float32))


def _go_through(job: Job, team: Team, loop: Loop, seen: Any, takes: list[Take]) -> None:
    """Train the epochs that are left; the first worker writes what there is to write."""
    from tqdm import tqdm

    from trainer.backend import tf
    from trainer.learning.course import Limits
    from trainer.runs.folder import CHECKPOINTS, keep_settings, restore
    from trainer.runs.logbook import Logbook
    from trainer.runs.origin import made_with
    from trainer.runs.story import write_readme

    is_chief, n_epochs = team.index == 0, job.settings.preset.n_epochs
    checkpoint = tf.train.Checkpoint(model=loop.model, optimizer=loop.optimizer, epoch=tf.Variable(0, dtype=tf.int64))
    manager = tf.train.CheckpointManager(checkpoint, str(job.run_dir / CHECKPOINTS), max_to_keep=2)
    restore(checkpoint, manager)
    first = int(checkpoint.epoch)
    if team.agree(float(first)) != first:
        raise TrainingError(f"not all workers see the same checkpoints in {job.run_dir}: give a folder that all share")
    if is_chief:
        keep_settings(job.run_dir, takes, job.settings, job.start, asdict(Limits()), made_with())
        write_readme(job.run_dir)
        logbook = Logbook(job.run_dir, first)
        began_s = time.monotonic() - logbook.seconds
    steps = loop.steps_per_epoch
    shown = is_chief and sys.stderr.isatty()
    with tqdm(total=steps * n_epochs, initial=steps * first, unit="step", desc="train", disable=not shown) as bar:
        for epoch in range(first, n_epochs):
            terms = loop.epoch(epoch, bar)
            figures = {name: team.agree(value) for name, value in loop.look(seen).items()}
            checkpoint.epoch.assign(epoch + 1)
            if is_chief:
                values = {**terms, **{f"held_out/{name}": value for name, value in figures.items()}}
                logbook.write(epoch + 1, (epoch + 1) * steps, time.monotonic() - began_s, values)
                manager.save()
    team.agree(0.0)  # nobody leaves before the last checkpoint is there


def _be_quiet() -> None:
    """Keep standard error for what we say: TensorFlow's C++ parts say there, in many lines, that a worker is gone."""
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    sys.stderr = os.fdopen(kept, "w", buffering=1)


def _end_with(parent: Connection) -> None:
    """End when the parent does, however it ended."""
    try:
        parent.poll(None)
    finally:
        os._exit(1)
