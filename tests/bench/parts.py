"""The parts alone, each on the frames, windows and spectra of one dance: motiongram, model, synth."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import cycle, islice, pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from device.core.frame import Frame
from device.core.motiongram import Motiongram, MotionSettings
from device.core.synth import Synth, SynthSettings
from device.core.window import Window
from device.edges.camera_file import CameraFile
from device.edges.model import Float32, SpectrumModel
from device.engine.engine import camera_frames
from device.models.bundles import Bundle
from tests.bench.figures import MODEL_P99_MS, Figure, percentiles

Grey = npt.NDArray[np.uint8]

SPECTRA_PER_S = 60
N_WARM_UP = 20
ITS_MEDIAN = 5  # the kernel that musicalgestures takes unless told otherwise


@dataclass(frozen=True)
class Dance:
    """What each part is fed.

    Attributes
    ----------
    frames : list of Frame
    windows : list of np.ndarray, shape (n_columns, n_features), float32
        One a frame.
    spectra : list of np.ndarray, shape (n_bins,), float32
        One a frame, without those that are silent: silence costs the synth nothing.
    """

    frames: list[Frame]
    windows: list[Float32]
    spectra: list[Float32]


def load_dance(clip: Path, bundle: Bundle, n_frames: int) -> Dance:
    """Decode a clip and go through motiongram, window and model once."""
    settings, model = bundle.manifest.motion, bundle.model
    with closing(CameraFile(clip, settings.height, settings.width)) as camera:
        frames = list(islice(camera_frames(camera), n_frames))
    motiongram, window = Motiongram(settings), Window(model.n_columns, model.n_features, bundle.manifest.grid_rate_hz)
    windows = []
    for frame in frames:
        window.push(motiongram.push(frame).column, frame.time_s)
        windows.append(window.read().copy())
    noise = np.zeros(model.n_latent, np.float32)
    spectra = [np.maximum(model.run(motion, noise, 1.0), 0.0) for motion in windows]
    heard = [spectrum for spectrum in spectra if (spectrum ** (1.0 / bundle.manifest.synth.power)).max() > Synth.FLOOR]
    return Dance(frames, windows, heard or spectra)


def measure_motiongram(frames: Sequence[Frame], settings: MotionSettings) -> list[Figure]:
    """Ours and musicalgestures' own functions, in turn on every frame."""
    motiongram = Motiongram(settings)
    contenders: dict[str, Callable[[Frame, Frame], object]] = {
        "motiongram": lambda _, frame: motiongram.push(frame),
        "musicalgestures, no median": lambda earlier, frame: _its(earlier.grey, frame.grey, settings.threshold, 1),
        "musicalgestures, its median": lambda *pair: _its(pair[0].grey, pair[1].grey, settings.threshold, ITS_MEDIAN),
    }
    pairs = list(pairwise(frames))
    durations_s = np.zeros((len(contenders), len(pairs)))
    for n, (earlier, frame) in enumerate(pairs):
        for which, contender in enumerate(contenders.values()):
            started_s = time.perf_counter()
            contender(earlier, frame)
            durations_s[which, n] = time.perf_counter() - started_s
    n_warm_up = min(N_WARM_UP, len(pairs) // 2)
    timed = [percentiles(each[n_warm_up:], 1e6) for each in durations_s]
    ours = timed[0]
    figures = [
        Figure(f"{name}, a frame of {settings.width} x {settings.height}", "µs", values)
        for name, values in zip(contenders, timed, strict=True)
    ]
    ratios = {"no median": timed[1]["p50"] / ours["p50"], "its median": timed[2]["p50"] / ours["p50"]}
    return [*figures, Figure("musicalgestures / ours, p50", "", ratios)]


def _its(earlier: Grey, grey: Grey, threshold: float, kernel: int) -> tuple[object, object]:
    """Filter a difference and take the means of rows and columns, by its functions."""
    moved = _FILTER_FRAME(cv2.absdiff(grey, earlier), "Regular", threshold, kernel)
    y, x = (_MOTIONGRAM_DATA(moved[np.newaxis], axis, frame_diff=False, normalize=False) for axis in "yx")
    return y, x


# It says that it is typed, but its functions are not.
_FILTER_FRAME: Any = importlib.import_module("musicalgestures._filter").filter_frame
_MOTIONGRAM_DATA: Any = importlib.import_module("musicalgestures._motionanalysis").motiongram_data


def measure_model(model: SpectrumModel, windows: Sequence[Float32], n: int) -> Figure:
    """One run after the other on the windows of a dance, inputs and output copied as the engine does."""
    noise = np.zeros(model.n_latent, np.float32)
    durations_s = np.zeros(n + N_WARM_UP)
    for i, motion in enumerate(islice(cycle(windows), len(durations_s))):
        started_s = time.perf_counter()
        model.run(motion, noise, 1.0)
        durations_s[i] = time.perf_counter() - started_s
    what = f"model, {model.variant} on {model.runtime}"
    return Figure(what, "ms", percentiles(durations_s[N_WARM_UP:], 1e3), MODEL_P99_MS)


def measure_synth(settings: SynthSettings, spectra: Sequence[Float32], period: int, duration_s: float) -> list[Figure]:
    """Blocks of sound while the spectrum changes 60 times a second."""
    synth = Synth(settings)
    block = np.zeros(period, np.float32)
    n_blocks = max(1, round(duration_s * settings.rate_hz / period))
    durations_s = np.zeros(n_blocks)
    changes = cycle(spectra)
    n_changes = 0
    processor_s = time.thread_time()
    for i in range(n_blocks):
        started_s = time.perf_counter()
        if i * period * SPECTRA_PER_S >= n_changes * settings.rate_hz:
            synth.set_spectrum(next(changes))
            n_changes += 1
        synth.fill(block)
        durations_s[i] = time.perf_counter() - started_s
    rtf = (time.thread_time() - processor_s) / (n_blocks * period / settings.rate_hz)
    return [
        Figure(f"synth, {SPECTRA_PER_S} spectra a second, real-time factor", "", {"rtf": rtf}),
        Figure(f"synth, a block of {period}", "ms", percentiles(durations_s, 1e3)),
    ]
