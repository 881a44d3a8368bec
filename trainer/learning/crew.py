"""`trainer train --workers`: the processes that train one model together, started here or found in TF_CONFIG.

TF_CONFIG is how TensorFlow is told who takes part, and which of them this is; Slurm, Kubernetes or a loop over SSH
set it and start the same command everywhere. Without it all workers are on this machine; a machine with several GPUs
is one worker, which has a copy of the model on each. In any case the training is done by child processes, so that this
one can say in one line what became of them; then the parent of the first worker finishes the run as one alone would.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from device.core.errors import TrainingError, UsageError
from device.store.store import Take
from trainer.learning.worker import Job, share_of, work

MOST_WORKERS = 64
GPUS = Path("/proc/driver/nvidia/gpus")
END_S = 5.0
"""A worker that was told to end is killed after this."""


@dataclass(frozen=True)
class Crew:
    """Who trains: `n` workers in all, of which this machine's command starts those at `indices`.

    Attributes
    ----------
    addresses : list of str
        host:port of each worker.
    indices : list of int
    """

    addresses: list[str]
    indices: list[int]

    @property
    def has_chief(self) -> bool:
        """Whether this command finishes the run."""
        return 0 in self.indices

    def train(self, job: Job) -> None:
        """Go through the epochs that are left, together; the run's folder has a checkpoint of each.

        Raises
        ------
        TrainingError
            A worker failed or was killed; none of the others goes on.
        """
        self._prepare(job)
        context = get_context("spawn")
        children: dict[int, tuple[BaseProcess, Connection]] = {}
        try:
            for index in self.indices:
                ours, theirs = context.Pipe()
                child = context.Process(target=work, args=(job, self._config(index), theirs))
                child.start()
                theirs.close()
                children[index] = (child, ours)
            self._watch(children, job)
        except KeyboardInterrupt:
            raise TrainingError(f"interrupted: {job.how_to_go_on()}") from None
        finally:
            _end([child for child, _ in children.values()])

    def _prepare(self, job: Job) -> None:
        """Compute the spectra that workers here need: all processors are free for it now."""
        takes = [Take.open(path, check=False) for path in job.takes]
        for index in self.indices:
            used, _, _ = share_of(takes, job.settings, index, len(self.addresses))
            job.cache.open(used, job.settings.example)

    def _watch(self, children: dict[int, tuple[BaseProcess, Connection]], job: Job) -> None:
        """Wait until all have ended well, or one has not."""
        left = dict(children)
        while left:
            ready = wait([connection for _, connection in left.values()])
            for index, (child, connection) in list(left.items()):
                if connection in ready:
                    self._hear(index, child, connection, job)
                    del left[index]

    def _hear(self, index: int, child: BaseProcess, connection: Connection, job: Job) -> None:
        name = f"worker {index + 1} of {len(self.addresses)}"
        try:
            said = connection.recv()
        except EOFError:
            child.join()
            code = child.exitcode or 0
            why = f"was killed ({signal.Signals(-code).name})" if code < 0 else f"ended with exit code {code}"
            raise TrainingError(f"{name} {why}: {job.how_to_go_on()}") from None
        if said:
            raise TrainingError(said)

    def _config(self, index: int) -> str:
        return json.dumps({"cluster": {"worker": self.addresses}, "task": {"type": "worker", "index": index}})


def add_worker_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the option that says how many train together."""
    parser.add_argument(
        "--workers",
        default="auto",
        metavar="N",
        help="processes on this machine that train together; auto: one, with all processors and GPUs, or those that "
        "TF_CONFIG names (%(default)s)",
    )


def crew_of(workers: str, batch_size: int) -> Crew | None:
    """Who trains; None: this process alone.

    Raises
    ------
    UsageError
        The number cannot be used, or TF_CONFIG is damaged or names others.
    """
    if os.environ.get("TF_CONFIG"):
        crew = _named(os.environ["TF_CONFIG"])
        if workers not in ("auto", str(len(crew.addresses))):
            raise UsageError(f"--workers {workers}, but TF_CONFIG names {len(crew.addresses)}: leave one of them out")
    elif workers == "auto" and n_gpus() > 1:
        return _here("1")
    elif workers in ("auto", "1"):
        return None
    else:
        crew = _here(workers)
    if batch_size % len(crew.addresses):
        raise UsageError(f"a batch of {batch_size} cannot be dealt out to {len(crew.addresses)} workers: use 2, 4 or 8")
    return crew if len(crew.addresses) > 1 else None


def n_gpus() -> int:
    """NVIDIA's graphics cards in this machine, found without TensorFlow, which takes seconds to load."""
    return len(list(GPUS.iterdir())) if GPUS.is_dir() else 0


def _here(workers: str) -> Crew:
    """All workers on this machine, at ports that are free."""
    if not workers.isdecimal() or not 1 <= int(workers) <= MOST_WORKERS:
        raise UsageError(f"--workers {workers} cannot be used: give 1 to {MOST_WORKERS}, or auto")
    with ExitStack() as stack:
        addresses = []
        for _ in range(int(workers)):
            asked = stack.enter_context(socket.socket())
            asked.bind(("127.0.0.1", 0))
            addresses.append(f"127.0.0.1:{asked.getsockname()[1]}")
    return Crew(addresses, list(range(int(workers))))


def _named(config: str) -> Crew:
    """The workers that TF_CONFIG names, and which of them this is."""
    try:
        facts: Any = json.loads(config)
        addresses, index = list(facts["cluster"]["worker"]), int(facts["task"]["index"])
        known = (
            set(facts["cluster"]) == {"worker"} and facts["task"]["type"] == "worker" and 0 <= index < len(addresses)
        )
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"TF_CONFIG cannot be read ({error}): give it cluster.worker and task") from error
    if not known:
        raise UsageError("TF_CONFIG names others than workers, or none with this index: give cluster.worker and task")
    return Crew(addresses, [index])


def _end(children: list[BaseProcess]) -> None:
    for child in children:
        child.terminate()
    for child in children:
        child.join(END_S)
        if child.is_alive():
            child.kill()
            child.join()
