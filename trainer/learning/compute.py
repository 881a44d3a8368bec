"""How steps are computed: number format, XLA, threads. What is fastest here is found by trying it, once a machine.

Each choice is tried in a process of its own (`trainer.learning.compute_trial`) with the first steps of the run: batches
are put together beside them, by the same processors. What was found is kept beside the spectra, by machine, versions
and sizes.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from trainer.settings import RunSettings

FILE = "compute.json"
LEAST_STEPS = 5_000
"""Of a run: to try takes most of a minute, and saves more only where a run is long."""
LEAST_MIN = 3.0
"""Of a run whose time is limited."""
WORTH = 1.05
"""So much faster must a choice be to be taken in place of a plainer one."""
LONGEST_TRIAL_S = 300.0
HALF_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}
"""What Linux says of processors that reckon in bfloat16."""


@dataclass(frozen=True)
class Compute:
    """A way to compute the same steps, but for rounding.

    Attributes
    ----------
    precision : str
        'float32', or 'bfloat16': matrices are multiplied in it, weights are kept in float32 (mixed precision).
    xla : bool
        Whether a step is compiled as a whole.
    n_threads : int
        Within one operation; 0: TensorFlow decides.
    """

    precision: str = "float32"
    xla: bool = False
    n_threads: int = 0

    def __str__(self) -> str:
        words = [self.precision, *(["XLA"] if self.xla else [])]
        return ", ".join([*words, *([f"threads: {self.n_threads}"] if self.n_threads else [])])


Rates = dict[Compute, float]
"""Steps per second of what was tried; 0 of what cannot be computed here."""
Kept = dict[str, list[dict[str, Any]]]
Trial = Callable[[Compute], float]


def known(path: Path) -> list[Rates]:
    """Read the rates of all machines and sizes that a file of `choose` holds; none if it cannot be read."""
    return [{Compute(**each["compute"]): float(each["steps_per_s"]) for each in rows} for rows in _load(path).values()]


def choose(settings: RunSettings, folder: Path, trial: Trial, minutes: float | None = None) -> Compute:
    """Choose the fastest way for a run on this machine, and say what was found.

    Parameters
    ----------
    settings : RunSettings
    folder : Path
        Where it is kept.
    trial : callable
        Steps per second of a way on this run; 0 if it cannot be computed so.
    minutes : float, optional
        After which the run ends.

    Returns
    -------
    Compute
        The plain way for runs that are too short, unless it is known already which is faster.
    """
    path, key = folder / FILE, _key(settings)
    kept = _load(path)
    rates = {Compute(**each["compute"]): float(each["steps_per_s"]) for each in kept.get(key, [])}
    if not rates:
        if settings.preset.n_steps < LEAST_STEPS or (minutes is not None and minutes < LEAST_MIN):
            return Compute()
        print("trying what computes a step fastest here", flush=True)
        rates = measure(trial)
        kept[key] = [{"compute": asdict(way), "steps_per_s": rate} for way, rate in rates.items()]
        _keep(path, kept)
    best = fastest(rates)
    found = "; ".join(f"{way}: {rate:.1f}" if rate else f"{way}: not here" for way, rate in rates.items())
    print(f"computing in {best}, by steps per second ({found})", flush=True)
    return best


def measure(trial: Trial) -> Rates:
    """Try one thing after the other, each with the best of those before it."""
    rates: Rates = {}
    for vary in (_plain, _compiled, _halved, _fewer_threads):
        for way in vary(fastest(rates)):
            if way not in rates:
                rates[way] = trial(way)
                if vary is _fewer_threads and fastest(rates) != way:
                    break
    return rates


def fastest(rates: Rates) -> Compute:
    """The plainest, unless another is faster than those before it by a share that is worth it."""
    best = Compute()
    for way, rate in rates.items():
        if rate > WORTH * rates.get(best, 0.0):
            best = way
    return best


def try_once(job: object, way: Compute) -> float:
    """Steps per second of a `trainer.learning.worker.Job` in a process of its own; 0 if it cannot be computed so."""
    line = [sys.executable, "-m", "trainer.learning.compute_trial"]
    given = pickle.dumps((job, way))
    try:
        done = subprocess.run(line, input=given, capture_output=True, timeout=LONGEST_TRIAL_S, check=True, cwd=_PROGRAM)
        return float(done.stdout.splitlines()[-1])
    except (subprocess.SubprocessError, ValueError, IndexError):
        return 0.0


_PROGRAM = Path(__file__).parents[2]


def _plain(best: Compute) -> Iterator[Compute]:
    yield best


def _compiled(best: Compute) -> Iterator[Compute]:
    yield replace(best, xla=True)


def _halved(best: Compute) -> Iterator[Compute]:
    if gpus() or HALF_FLAGS & _flags():
        yield replace(best, precision="bfloat16")


def _fewer_threads(best: Compute) -> Iterator[Compute]:
    """Half as many as there are processors, and half of that again, as long as it gains: a small network needs few."""
    n_threads = n_processors() // 2
    while n_threads >= 1 and not gpus():
        yield replace(best, n_threads=n_threads)
        n_threads //= 2


def gpus() -> list[str]:
    """Names of the GPUs that TensorFlow sees."""
    from trainer.backend import tf

    return [str(gpu.name) for gpu in tf.config.list_physical_devices("GPU")]


def n_processors() -> int:
    """Of those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _flags() -> set[str]:
    return set(_cpu("flags").split()) | set(_cpu("Features").split())


def _cpu(name: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.split(":", 1)[1].strip() for line in lines if line.split(":")[0].strip() == name), "")


def _key(settings: RunSettings) -> str:
    machine = (platform.machine(), _cpu("model name"), n_processors(), gpus())
    libraries = [version(name) for name in ("tensorflow", "keras")]
    found = repr((machine, libraries, asdict(settings.model), settings.preset.batch_size))
    return hashlib.sha256(found.encode()).hexdigest()[:16]


def _load(path: Path) -> Kept:
    """What was found before; nothing where it cannot be read, which costs a minute."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        for each in (each for rows in kept.values() for each in rows):
            Compute(**each["compute"]), float(each["steps_per_s"])
        return dict(kept)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def _keep(path: Path, kept: Kept) -> None:
    from trainer.runs.folder import write_whole

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(kept, indent=1))
    except OSError:
        return  # it is found anew next time
