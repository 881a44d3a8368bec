"""What a bundle costs to play: size, work, and the time that it takes on this machine."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from device.core.synth import Synth
from device.edges.model import SpectrumModel
from device.engine.engine import Player, play_virtual
from trainer.evaluating.playing import Playing, Span
from trainer.exporting.macs import count

Float32 = npt.NDArray[np.float32]

N_RUNS, N_WARM_UP = 400, 20
LONGEST_CHAIN_S = 10.0
"""Dance that is played to time the whole chain."""
BUDGET_FPS = 60.0
"""Frames a second for which costs are given."""


@dataclass(frozen=True)
class VariantCost:
    """Of one file of the bundle.

    Attributes
    ----------
    variant, runtime : str
    n_bytes : int
        Of the file.
    n_macs : int
        Multiply-accumulates for one spectrum.
    p50_ms, p99_ms : float
        Processor time that the model takes for one spectrum here, median and 99th percentile, on one thread.
    core_share : float
        Of one core here, for window, model and synth at the takes' own frame rate.
    """

    variant: str
    runtime: str
    n_bytes: int
    n_macs: int
    p50_ms: float
    p99_ms: float
    core_share: float


def measure_variant(playing: Playing, model: SpectrumModel, data: bytes, windows: Float32, span: Span) -> VariantCost:
    """Time one variant on real windows, shape (n, n_columns, n_features), and on a span played whole."""
    noise = np.zeros(model.n_latent, np.float32)
    times_ms = []
    for number in range(N_WARM_UP + N_RUNS):
        window = windows[number % len(windows)]
        started_s = time.thread_time()  # what other programs take meanwhile is not the model's
        model.run(window, noise, 1.0)
        times_ms.append(1000.0 * (time.thread_time() - started_s))
    p50_ms, p99_ms = np.percentile(times_ms[N_WARM_UP:], [50, 99])
    n_macs = count(data).n_all_macs
    share = _core_share(playing, model, span)
    return VariantCost(model.variant, model.runtime, len(data), n_macs, float(p50_ms), float(p99_ms), share)


def _core_share(playing: Playing, model: SpectrumModel, span: Span) -> float:
    n = max(2, int(np.searchsorted(span.times_s, span.times_s[0] + LONGEST_CHAIN_S)))
    some = Span(span.take, span.start, min(span.start + n, span.stop))
    started_s = time.process_time()
    play_virtual(Player(playing, model), Synth(playing.synth), some.events())
    return (time.process_time() - started_s) / float(some.times_s[-1] - some.times_s[0])


def machine() -> str:
    """Say in words what this machine is; never its name."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    n_cores = f"{cores} core{'s' if cores > 1 else ''}"
    return f"{_processor()}, {n_cores}, {platform.system()}, Python {platform.python_version()}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        lines = []
    named = [
        line.split(":", 1)[1].strip() for line in lines if line.startswith(("model name", "Model")) and ":" in line
    ]
    return f"{named[0] if named else platform.processor() or 'processor'} ({platform.machine()})"
