"""A model is loaded and played for the first time in a process of its own, which may neither hang nor eat the memory.

`python -m device.models.model_tryout FOLDER MEMORY_BYTES TIME_S` is that process: it plays the golden examples with
each variant, times them and the synth, and prints what it found as one JSON object. A model that takes the runtime
down with it, takes too long or wants too much takes down this process only.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from device.core.bundle import MODEL_FILES
from device.core.errors import BundleError, DanceSamplerError, ModelError
from device.core.synth import Synth, SynthSettings
from device.edges.model import SpectrumModel
from device.models.bundles import choose_runtime, read_bundle, run_bundle

MUCH_FASTER = 0.7
"""int8 is chosen where it needs so much less of the time: what it plays is a little coarser."""
N_WARM_UPS, N_RUNS = 5, 60
_PR_SET_PDEATHSIG = 1  # <sys/prctl.h>
_ROOT = Path(__file__).parents[2]
_LONGEST_ANSWER = 1 << 16


@dataclass(frozen=True)
class Limits:
    """What a model may take.

    Attributes
    ----------
    time_s : float
        To be loaded, checked and timed, with the start of the process: as long as the slowest box needs, and more.
    memory_bytes : int
        Beside the program itself.
    run_ms : float
        For one spectrum: half of the time that a frame has, at 60 a second.
    hop_ms : float
        For one hop of the synth, which is made within a block: three quarters of what 128 samples last.
    synth_share : float
        Of the time that its sound lasts: while one model gives way to another, two synths play.
    """

    time_s: float = 60.0
    memory_bytes: int = 512 << 20
    run_ms: float = 8.0
    hop_ms: float = 2.0
    synth_share: float = 0.5


@dataclass(frozen=True)
class TryOut:
    """What was found.

    Attributes
    ----------
    variant : str
        Which is to be played on this chip.
    p50_ms : dict of str to float
        Variant -> median time for one spectrum.
    hop_ms : float
        Median time for one hop of the synth, when every hop has another spectrum.
    synth_share : float
        The same, of the time that a hop lasts.
    """

    variant: str
    p50_ms: dict[str, float]
    hop_ms: float = 0.0
    synth_share: float = 0.0


def try_out(path: Path, limits: Limits) -> TryOut:
    """Try a bundle whose signature and hashes were checked; all of its variants must repeat their golden examples.

    Raises
    ------
    BundleError, ModelError
        It does not play, is too slow, takes too long, or wants too much memory.
    """
    command = [
        sys.executable,
        "-m",
        "device.models.model_tryout",
        str(path),
        str(limits.memory_bytes),
        str(limits.time_s),
    ]
    environment = {**os.environ, "PYTHONPATH": str(_ROOT), "OPENBLAS_NUM_THREADS": "1"}
    try:
        process = subprocess.Popen(
            command, env=environment, cwd=_ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise ModelError(
            f"{sys.executable} cannot be started to try the model ({error.strerror}): let this user start it"
        ) from error
    try:
        said, _ = process.communicate(timeout=limits.time_s)
    except subprocess.TimeoutExpired as error:
        raise ModelError(f"the model took more than {limits.time_s:g} s to load and play: export another") from error
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # and all that it may have started
        process.communicate()
    return _judge(_parse(said, process.returncode, limits), limits)


def _parse(said: bytes, code: int, limits: Limits) -> TryOut:
    try:
        answer = json.loads(said[:_LONGEST_ANSWER])
        if "error" in answer:
            kind = ModelError if answer.get("kind") == ModelError.__name__ else BundleError
            raise kind(str(answer["error"]))
        p50_ms = {variant: float(answer["p50_ms"][variant]) for variant in MODEL_FILES}
        variant = "int8" if p50_ms["int8"] < MUCH_FASTER * p50_ms["f16"] else "f16"
        return TryOut(variant, p50_ms, float(answer["hop_ms"]), float(answer["synth_share"]))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        if isinstance(error, BundleError):
            raise
        ended = f"signal {-code}" if code < 0 else f"exit status {code}"
        if -code in (signal.SIGXCPU, signal.SIGKILL):
            ended = f"stopped: more than {limits.time_s:g} s of work, or no memory was left"
        raise ModelError(f"the model brings the runtime down ({ended}): export another") from error


def _judge(found: TryOut, limits: Limits) -> TryOut:
    run_ms = found.p50_ms[found.variant]
    if not run_ms <= limits.run_ms:
        raise ModelError(
            f"the model is too slow for this box: {run_ms:.1f} ms for a spectrum, {limits.run_ms:.1f} ms are "
            "allowed: train a smaller one"
        )
    if not (found.hop_ms <= limits.hop_ms and found.synth_share <= limits.synth_share):
        raise ModelError(
            f"the bundle's synth is too slow for this box: {found.hop_ms:.2f} ms for a hop, which is "
            f"{found.synth_share:.0%} of its time; {limits.hop_ms:.1f} ms and {limits.synth_share:.0%} are allowed: "
            "use the synth's settings that the trainer chooses"
        )
    return found


def _main(folder: str, memory_bytes: str, time_s: str) -> int:
    """Try a bundle, in the process that was made for it."""
    _limit(int(memory_bytes), float(time_s))
    path = Path(folder)
    try:
        files, runtime, p50_ms = read_bundle(path), choose_runtime(), {}
        for variant in MODEL_FILES:
            p50_ms[variant] = _p50_ms(run_bundle(path, files, variant, runtime).model)
        hop_ms, share = _time_synth(files.manifest.synth)
        answer: dict[str, Any] = {"p50_ms": p50_ms, "hop_ms": hop_ms, "synth_share": share}
    except DanceSamplerError as error:
        answer = {"error": str(error), "kind": type(error).__name__}
    except MemoryError:
        answer = {"error": f"the model needs more than {int(memory_bytes) >> 20} MB of memory: export a smaller one"}
    print(json.dumps(answer))
    return 0


def _p50_ms(model: SpectrumModel) -> float:
    """Median time of one spectrum."""
    rng = np.random.default_rng(0)
    motion, noise = rng.random((model.n_columns, model.n_features), np.float32), np.zeros(model.n_latent, np.float32)
    for _ in range(N_WARM_UPS):
        model.run(motion, noise, 1.0)
    return _median_ms(lambda: model.run(motion, noise, 1.0))


def _time_synth(settings: SynthSettings) -> tuple[float, float]:
    """Median time of a hop in ms, and its share of the time that a hop lasts, when every hop has another spectrum."""
    rng = np.random.default_rng(0)
    synth, block = Synth(settings), np.zeros(settings.hop, np.float32)
    spectra = rng.random((2, settings.n_bins), np.float32)

    def hop() -> None:
        synth.set_spectrum(spectra[0])
        synth.fill(block)
        spectra[:] = spectra[::-1]

    hop_ms = _median_ms(hop)
    return hop_ms, hop_ms / (1000.0 * settings.hop / settings.rate_hz)


def _median_ms(do: Callable[[], object]) -> float:
    """Median time of what is done; of what is slow only a few are waited for."""
    times_ms: list[float] = []
    until_s = time.perf_counter() + 2.0
    while len(times_ms) < N_RUNS and (time.perf_counter() < until_s or not times_ms):
        begin_s = time.perf_counter()
        do()
        times_ms.append(1000.0 * (time.perf_counter() - begin_s))
    return float(np.median(times_ms))


def _limit(memory_bytes: int, time_s: float) -> None:
    """End with the parent, leave no dump, and take no more than allowed from here on."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.nice(5)  # the sound of the model that plays comes first
    has_kb = re.search(r"VmSize:\s*(\d+)", Path("/proc/self/status").read_text())
    most = (int(has_kb[1]) << 10 if has_kb else 0) + memory_bytes
    cpu_s = max(1, round(time_s))
    for what, limit in (
        (resource.RLIMIT_AS, most), (resource.RLIMIT_CPU, cpu_s), (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 1 << 20),
    ):  # fmt: skip
        resource.setrlimit(what, (limit, limit))


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
