"""The model: whether it is whole and repeats its golden examples, and how fast each variant is on this chip."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from device.check.verdict import FAILED, GOOD, WARNING, Context, Verdict
from device.core.bundle import MODEL_FILES
from device.core.errors import BundleError, ModelError
from device.edges.model import SpectrumModel
from device.edges.model_tflite import installed_runtimes
from device.engine.model_process import warm_up
from device.models.bundles import BundleFiles, choose_runtime, choose_variant, read_bundle, run_bundle
from device.models.model_store import chosen_bundle, current_problem
from device.models.model_tryout import MUCH_FASTER

N_RUNS = 200
FRAME_SHARE = 0.5
"""Part of a frame's time that the model may take."""


def check_model(context: Context) -> Verdict:
    """Load, check and time all variants on all runtimes that are installed."""
    config = context.config
    path = chosen_bundle(config)
    files = read_bundle(path)
    timings = measure(path, files)
    chosen = (choose_variant(path, config.model.variant), choose_runtime(config.model.runtime))
    mine = next((each for each in timings if (each["variant"], each["runtime"]) == chosen), None)
    figures: dict[str, Any] = {"bundle": str(path), "variant": chosen[0], "runtime": chosen[1], "timings": timings}
    if mine is None or "error" in mine:
        why = f"{chosen[1]} is not installed" if mine is None else mine["error"]
        return Verdict(
            "model", FAILED, f"{chosen[0]} on {chosen[1]}: {why}", "choose another with model.variant", figures
        )
    fastest = min((each for each in timings if "error" not in each), key=lambda each: each["p50_ms"])
    figures["fastest"] = {"variant": fastest["variant"], "runtime": fastest["runtime"]}
    name = f"{files.manifest.name} {files.manifest.version}"
    found = f"{name}, {_words(mine)} as configured" + ("" if fastest is mine else f"; {_words(fastest)}")
    state, remedy = _judge(context, mine, fastest)
    if (problem := current_problem(Path(config.state.folder))) and not config.model.bundle:
        return Verdict("model", WARNING, f"{found}; the one that was installed does not play", problem, figures)
    return Verdict("model", state, found, remedy, figures)


def measure(path: Path, files: BundleFiles) -> list[dict[str, Any]]:
    """Time each variant on each runtime: 'p50_ms', 'p99_ms', 'golden_error', or 'error' where it does not play."""
    timings: list[dict[str, Any]] = []
    for runtime in installed_runtimes():
        for variant in MODEL_FILES:
            row: dict[str, Any] = {"variant": variant, "runtime": runtime}
            try:
                bundle = run_bundle(path, files, variant, runtime)
                p50_ms, p99_ms = np.percentile(_runs_ms(bundle.model), [50, 99])
                row |= {"p50_ms": round(float(p50_ms), 3), "p99_ms": round(float(p99_ms), 3)}
                row["golden_error"] = bundle.golden_error
            except (BundleError, ModelError) as error:
                row["error"] = str(error)
            timings.append(row)
    return timings


def _runs_ms(model: SpectrumModel) -> list[float]:
    warm_up(model)
    rng = np.random.default_rng(0)
    motion = rng.random((model.n_columns, model.n_features), np.float32)
    noise, times_ms = np.zeros(model.n_latent, np.float32), []
    for _ in range(N_RUNS):
        begin_s = time.perf_counter()
        model.run(motion, noise, 1.0)
        times_ms.append(1000.0 * (time.perf_counter() - begin_s))
    return times_ms


def _judge(context: Context, mine: dict[str, Any], fastest: dict[str, Any]) -> tuple[str, str]:
    frame_ms = 1000.0 / context.config.camera.fps
    if mine["p99_ms"] > FRAME_SHARE * frame_ms:
        return WARNING, f"it needs much of a frame's {frame_ms:.0f} ms: {_change(fastest)}, or install a smaller model"
    if fastest["p50_ms"] < MUCH_FASTER * mine["p50_ms"]:
        return GOOD, f"faster: {_change(fastest)}"
    return GOOD, ""


def _change(timing: dict[str, Any]) -> str:
    return f'set model.variant = "{timing["variant"]}", model.runtime = "{timing["runtime"]}"'


def _words(timing: dict[str, Any]) -> str:
    return f"{timing['variant']} on {timing['runtime']} {timing['p50_ms']:.2f} ms (p99 {timing['p99_ms']:.2f})"
