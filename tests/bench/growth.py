"""How the cost grows: with the size of frames, their rate, the length of the window and the number of latents."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt

from device.core.bundle import MODEL_FILES
from device.core.motiongram import Motiongram, MotionSettings
from device.edges.camera_file import CameraFile
from device.edges.model_tflite import TfliteModel, installed_runtimes
from device.engine import camera_frames
from tests.bench.bench import Bench
from tests.bench.figures import CHAIN_RTF, MODEL_P99_MS, Section
from tests.bench.parts import N_WARM_UP, measure_model
from tests.bench.results import digits, grid
from tests.bench.untrained import ModelSize, make_models
from tests.bench.whole import BUDGET_FPS, perform_at

Values = npt.NDArray[np.float64]

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
    text = f"{grid(header, rows)}\n\nThe motiongram's time grows {growth(pixels, took_s)} the pixels."
    return text, took_s


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
    names = [f"{width} x {height}" for width, height in bench.effort.sizes]
    over = [name for name, rtf in zip(names, expected, strict=True) if rtf > CHAIN_RTF]
    end = f"the budget of {CHAIN_RTF:g} breaks at {over[0]}" if over else f"within the budget of {CHAIN_RTF:g}"
    return (
        f"Put into the whole chain at {BUDGET_FPS:.0f} fps, that makes a real-time factor of {digits(expected[-1])} "
        f"with {names[-1]}: {end}. (A model for larger frames would grow with height + width, too.)"
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
    per_frame, rest = np.polyfit(rates, rtf, 1)
    table = grid(
        ("fps", "whole chain, real-time factor"), [(f"{a:g}", digits(b)) for a, b in zip(rates, rtf, strict=True)]
    )
    text = (
        f"{table}\n\nThe chain costs {digits(rest)} without any frame, for sound, and {digits(per_frame * 1e3)} ms for "
        f"each frame: {_where(rates, rtf, per_frame, rest, CHAIN_RTF, 'fps')}."
    )
    return text, float(np.interp(BUDGET_FPS, rates, rtf))


def _models(bench: Bench) -> list[str]:
    """Two tables, each with a sentence: window and latents."""
    effort, manifest = bench.effort, bench.bundle.manifest
    windows = [ModelSize(segment_s, manifest.n_latent) for segment_s in effort.segments_s]
    latents = [ModelSize(manifest.segment_s, n_latent) for n_latent in effort.latents]
    bench.say(f"growth: making {len({*windows, *latents})} untrained models")
    with TemporaryDirectory() as folder:
        files = make_models(Path(folder), list({*windows, *latents}), manifest.n_features, manifest.n_bins)
        bench.say("growth: models of other sizes")
        times = {stem: _model_ms(path, effort.n_growth_runs) for stem, path in files.items()}
    return [
        _model_table("window, s", np.array(effort.segments_s), windows, times, "the window", "s"),
        _model_table("latents", np.array(effort.latents, float), latents, times, "the latents", "latents"),
    ]


def _model_ms(path: Path, n_runs: int) -> dict[str, dict[str, float]]:
    """Runtime -> p50 and p99 of one file."""
    variant, rng, found = path.stem.rpartition(".")[2], np.random.default_rng(0), {}
    for runtime in installed_runtimes():
        model = TfliteModel(path.read_bytes(), runtime, variant)
        shape = (16, model.n_columns, model.n_features)
        found[runtime] = dict(measure_model(model, list(rng.gamma(0.3, 8.0, shape).astype(np.float32)), n_runs).values)
    return found


def _model_table(
    first: str, sizes: Values, models: Sequence[ModelSize], times: dict[str, dict[str, dict[str, float]]],
    what: str, unit: str,
) -> str:  # fmt: skip
    kinds = [(variant, runtime) for variant in MODEL_FILES for runtime in installed_runtimes()]
    found = {kind: [times[f"{size.stem}.{kind[0]}"][kind[1]] for size in models] for kind in kinds}
    rows = [
        [f"{size:g}", *(f"{digits(found[kind][i]['p50'])} / {digits(found[kind][i]['p99'])}" for kind in kinds)]
        for i, size in enumerate(sizes)
    ]
    table = grid([first, *(f"{variant} on {runtime}, ms p50 / p99" for variant, runtime in kinds)], rows)
    sentences = []
    for kind in kinds:
        p50, p99 = (np.array([each[name] for each in found[kind]]) for name in ("p50", "p99"))
        slope, rest = np.polyfit(sizes, p99, 1)
        breaks = _where(sizes, p99, slope, rest, MODEL_P99_MS, unit)
        sentences.append(f"{kind[0]} on {kind[1]} {growth(sizes, p50)} {what}; {breaks}")
    return f"{table}\n\nThe model's time grows: {'. '.join(sentences)}."


def growth(sizes: Values, costs: Values) -> str:
    """Say how a cost grows with a size, from the smallest to the largest measured."""
    times_larger, times_dearer = float(sizes[-1] / sizes[0]), float(costs[-1] / costs[0])
    exponent = math.log(times_dearer) / math.log(times_larger)
    how = "hardly with" if exponent < 0.2 else "less than" if exponent < 0.85 else "like"
    how = how if exponent <= 1.15 else "more than"
    return f"{digits(times_dearer)} times over {digits(times_larger)} times the size, {how}"


def _where(sizes: Values, costs: Values, slope: float, rest: float, limit: float, unit: str) -> str:
    """Say where a limit breaks: between two that were measured, or on the straight line through them."""
    over = np.flatnonzero(~(costs <= limit))
    if len(over):
        return f"the limit of {limit:g} breaks at {sizes[over[0]]:g} {unit}"
    if slope <= 0.0 or (at := (limit - rest) / slope) > 1000 * sizes[-1]:
        return f"the limit of {limit:g} is far away"
    return f"the limit of {limit:g} would break at about {digits(at)} {unit}"
