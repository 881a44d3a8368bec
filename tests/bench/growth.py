"""How the cost grows: with the size of frames, their rate, the length of the window and the number of latents."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt

from device.core.motiongram import Motiongram, MotionSettings
from device.edges.camera_file import CameraFile
from device.edges.model_tflite import TfliteModel, installed_runtimes
from device.engine.engine import camera_frames
from tests.bench.bench import Bench
from tests.bench.figures import CHAIN_RTF, MODEL_P99_MS, Section
from tests.bench.parts import N_WARM_UP, measure_model
from tests.bench.results import digits, grid
from tests.bench.untrained import ModelSize, make_models
from tests.bench.whole import BUDGET_FPS, perform_at

Values = npt.NDArray[np.float64]
Times = dict[tuple[str, str], Mapping[str, float]]
"""Variant and runtime -> 'p50' and 'p99' in ms."""

PROPORTIONS = (
    (0.15, "hardly more"),
    (0.85, "less than in proportion"),
    (1.15, "in proportion"),
    (math.inf, "more than in proportion"),
)
"""Of costs to sizes: exponent up to which, and what that is called."""

HOW = """\
- **growth**: frames of other sizes are the same clip, scaled when decoded (to more pixels than it has, too); the
  motiongram alone is timed, wall clock, p50. Other rates are the same pictures, shown faster or slower, played by the
  virtual clock: processor time, median of the runs. Other models are untrained, made by the trainer's own network and
  converter: weights do not matter for speed; each is run on windows drawn at random, as in **model** above.
"""


def measure_growth(bench: Bench) -> Section:
    """One table for each thing that can grow, and a sentence on each."""
    sizes, frame_s = _motiongram(bench)
    rates, rtf_60 = _chain(bench)
    parts = [sizes, _if_larger(bench, frame_s, rtf_60), rates, *_models(bench)]
    return Section("How the cost grows", text="\n\n".join(parts), how=HOW)


def _motiongram(bench: Bench) -> tuple[str, Values]:
    """A table and a sentence; seconds for a frame of each size."""
    sizes = bench.effort.sizes
    frame_s = []
    for width, height in sizes:
        bench.say(f"growth: motiongram of {width} x {height}")
        frame_s.append(_motiongram_s(bench, replace(bench.bundle.manifest.motion, width=width, height=height)))
    took_s = np.array(frame_s)
    pixels = np.array([width * height for width, height in sizes], float)
    rows = [
        (f"{width} x {height}", digits(each * 1e6), digits(each / n_pixels * 1e9), digits(each * BUDGET_FPS))
        for (width, height), each, n_pixels in zip(sizes, took_s, pixels, strict=True)
    ]
    header = ("frame", "motiongram, µs", "per pixel, ns", f"share of a core at {BUDGET_FPS:.0f} fps")
    return f"{grid(header, rows)}\n\nMotiongram: {proportion('pixels', pixels, took_s)}.", took_s


def _motiongram_s(bench: Bench, settings: MotionSettings) -> float:
    with closing(CameraFile(bench.show.clip, settings.height, settings.width)) as camera:
        motiongram, durations_s = Motiongram(settings), []
        for frame in islice(camera_frames(camera), bench.effort.n_growth_frames):
            started_s = time.perf_counter()
            motiongram.push(frame)
            durations_s.append(time.perf_counter() - started_s)
    return float(np.median(durations_s[min(N_WARM_UP, len(durations_s) // 2) :]))


def _if_larger(bench: Bench, frame_s: Values, rtf_60: float) -> str:
    """Where the chain's budget would break if only the motiongram grew."""
    expected = rtf_60 + BUDGET_FPS * (frame_s - frame_s[0])
    heights = np.array([height for _, height in bench.effort.sizes], float)
    return (
        f"In the whole chain at {BUDGET_FPS:.0f} fps, with all else as it is, frames that large would make real-time "
        f"factors of {digits(expected[0])} to {digits(expected[-1])}: "
        f"{where_it_breaks(heights, expected, CHAIN_RTF, 'rows')}."
    )


def _chain(bench: Bench) -> tuple[str, float]:
    """A table and a sentence; the real-time factor at the budget's rate."""
    rates = np.array(bench.effort.rates_fps)
    measured = []
    for fps in rates:
        bench.say(f"growth: whole chain at {fps:g} fps")
        runs = perform_at(bench.show, float(fps), bench.effort.n_chain_runs)
        measured.append(float(np.median([run["rtf"] for run in runs])))
    rtf = np.array(measured)
    header = ("fps", "whole chain, real-time factor")
    table = grid(header, [(f"{a:g}", digits(b)) for a, b in zip(rates, rtf, strict=True)])
    said = f"{proportion('frames', rates, rtf)}; {where_it_breaks(rates, rtf, CHAIN_RTF, 'fps')}"
    return f"{table}\n\nWhole chain: {said}.", float(np.interp(BUDGET_FPS, rates, rtf))


def _models(bench: Bench) -> list[str]:
    """Two tables, each with a sentence: window and latents."""
    effort, manifest = bench.effort, bench.bundle.manifest
    windows = [ModelSize(segment_s, manifest.n_latent) for segment_s in effort.segments_s]
    latents = [ModelSize(manifest.segment_s, n_latent) for n_latent in effort.latents]
    bench.say(f"growth: making {len({*windows, *latents})} untrained models")
    with TemporaryDirectory() as folder:
        files = make_models(Path(folder), list({*windows, *latents}), manifest.n_features, manifest.n_bins)
        bench.say("growth: models of other sizes")
        times = {stem: _model_ms(paths, effort.n_growth_runs) for stem, paths in files.items()}
    played = bench.bundle.model.variant, bench.bundle.model.runtime
    return [
        _model_table("window, s", "window", "s", {each.segment_s: times[each.stem] for each in windows}, played),
        _model_table("latents", "latents", "latents", {each.n_latent: times[each.stem] for each in latents}, played),
    ]


def _model_ms(paths: Mapping[str, Path], n_runs: int) -> Times:
    """p50 and p99 of one model in every variant on every runtime."""
    found = {}
    for variant, path in paths.items():
        for runtime in installed_runtimes():
            model = TfliteModel(path.read_bytes(), runtime, variant)
            windows = np.random.default_rng(0).gamma(0.3, 8.0, (16, model.n_columns, model.n_features))
            found[variant, runtime] = measure_model(model, list(windows.astype(np.float32)), n_runs).values
    return found


def _model_table(header: str, what: str, unit: str, found: Mapping[float, Times], played: tuple[str, str]) -> str:
    """A table, and a sentence on the model that plays and one on the others."""
    sizes, times = np.array(list(found), float), list(found.values())
    kinds = sorted(times[0], key=lambda kind: kind != played)
    rows = [
        [f"{size:g}", *(f"{digits(each[kind]['p50'])} / {digits(each[kind]['p99'])}" for kind in kinds)]
        for size, each in zip(sizes, times, strict=True)
    ]
    table = grid([header, *(f"{' on '.join(kind)}, ms p50 / p99" for kind in kinds)], rows)
    p50, p99 = ({kind: np.array([each[kind][name] for each in times]) for kind in kinds} for name in ("p50", "p99"))
    first, *others = kinds
    said = f"{proportion(what, sizes, p50[first])}; {where_it_breaks(sizes, p99[first], MODEL_P99_MS, unit)}"
    rest = ", ".join(f"{' on '.join(kind)} {digits(p50[kind][-1] / p50[kind][0])}" for kind in others)
    return f"{table}\n\nModel, {' on '.join(first)}: {said}. The others, times as much: {rest}."


def proportion(what: str, sizes: Values, costs: Values) -> str:
    """Say how a cost grows with a size, from the smallest to the largest measured."""
    times_larger, times_dearer = float(sizes[-1] / sizes[0]), float(costs[-1] / costs[0])
    exponent = math.log(times_dearer) / math.log(times_larger)
    how = next(how for most, how in PROPORTIONS if exponent <= most)
    return f"{digits(times_larger)} times the {what} cost {digits(times_dearer)} times as much, {how}"


def where_it_breaks(sizes: Values, costs: Values, limit: float, unit: str) -> str:
    """Say from where on a limit is not kept, on straight lines between what was measured."""
    kept = np.flatnonzero(costs <= limit)
    if len(kept) == len(sizes):
        return f"the limit of {limit:g} holds up to the largest, {digits(costs[-1])} at {sizes[-1]:g} {unit}"
    if not len(kept):
        return f"the limit of {limit:g} is broken already at {sizes[0]:g} {unit}"
    last = int(kept[-1])  # one that is over below it was disturbed, for larger ones hold
    if last + 1 == len(sizes):
        return f"the limit of {limit:g} holds at the largest, {digits(costs[-1])} at {sizes[-1]:g} {unit}"
    at = np.interp(limit, costs[last : last + 2], sizes[last : last + 2])
    return f"the limit of {limit:g} breaks at about {digits(float(at))} {unit}"
