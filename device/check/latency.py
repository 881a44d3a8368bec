"""The engine on this very box: a simulated camera, the real model, the real card, some seconds in time."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from device.check.verdict import FAILED, GOOD, WARNING, Context, Verdict
from device.core.frame import Frame
from device.core.limiter import amplitude
from device.edges.camera import Camera
from device.engine.crew import LiveSettings
from device.engine.live import Live
from device.engine.model_process import Playing
from device.engine.openers import open_steady_card
from device.engine.paced import Clock, MonotonicClock
from device.engine.performance import Performance
from device.engine.realtime import Urgency
from device.models.bundles import read_manifest
from device.models.model_store import chosen_bundle
from device.store.rooms import room_settings

SOFT_DB = -26.0
"""Nothing is louder: it plays what a random dance gives."""
LIMIT_MS, LIMIT_P99_MS = 30.0, 45.0
"""Of the design, from a frame to its sound."""
N_PICTURES, PATCH_PX = 32, 8


@dataclass
class FlashCamera:
    """Patches that come and go: each frame differs as much from the last. In time, as a camera is.

    Parameters
    ----------
    fps : float
    height, width : int
    clock : Clock
    """

    fps: float
    height: int
    width: int
    clock: Clock

    def __post_init__(self) -> None:
        shape = (N_PICTURES, -(-self.height // PATCH_PX), -(-self.width // PATCH_PX))
        patches = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
        large = patches.repeat(PATCH_PX, axis=1).repeat(PATCH_PX, axis=2)
        self._pictures = np.ascontiguousarray(large[:, : self.height, : self.width])
        self._n, self._begin_s = 0, self.clock.now_s()

    def read(self) -> Frame | None:
        """Wait until the next frame is due."""
        self._n += 1
        due_s = self._begin_s + self._n / self.fps
        self.clock.wait(due_s - self.clock.now_s())
        return Frame(self._pictures[self._n % N_PICTURES], max(due_s, self.clock.now_s()))

    def close(self) -> None:
        """Nothing is held."""


def open_flash(fps: float, height: int, width: int) -> Camera:
    """Open the simulated camera, in the camera's process."""
    return FlashCamera(fps, height, width, MonotonicClock())


def check_latency(context: Context) -> Verdict:
    """Play for a while, as the box does, and count."""
    live = _live(context)
    try:
        live.start()
        end_s = time.monotonic() + context.seconds
        while time.monotonic() < end_s:
            live.watch()
        is_card_live, performance = bool(live.meter.count("is_card_live")), live.performance()
        live.stop()
    finally:
        live.close()
    return judge(performance, context.config.camera.fps, is_card_live=is_card_live)


def judge(performance: Performance, fps: float, *, is_card_live: bool) -> Verdict:
    """Give a verdict of what was counted."""
    heard = performance.frame_to_sound.figures()
    n_missed = performance.n_skipped_frames + performance.n_dropped_frames + performance.n_bad_spectra
    figures: dict[str, Any] = {
        "frame_to_sound_ms": heard,
        "engine_ms": performance.engine.figures(),
        "n_frames": performance.n_frames,
        "n_missed": n_missed,
        "n_xruns": performance.n_xruns,
        "rtf": round(performance.rtf, 4),
        "is_card_live": is_card_live,
    }
    found = (
        f"frame to sound {heard['p50']:.1f} ms p50, {heard['p99']:.1f} p99 at {fps:g} fps; "
        f"{performance.n_xruns} underruns, {n_missed} of {performance.n_frames} frames missed, "
        f"{100 * performance.rtf:.0f}% of a core" + ("" if is_card_live else "; without a card")
    )
    if not performance.n_frames:
        return Verdict("latency", FAILED, "no frame was heard", "look at the other checks first", figures)
    if performance.n_xruns and is_card_live:
        remedy = "raise audio.n_periods or audio.period, allow real-time priority, end other programs"
        return Verdict("latency", WARNING, found, remedy, figures)
    if n_missed > performance.n_frames // 20 or heard["p50"] > LIMIT_MS or heard["p99"] > LIMIT_P99_MS:
        remedy = "allow real-time priority, end other programs, or lower audio.n_periods, audio.period, camera.fps"
        return Verdict("latency", WARNING, found, remedy, figures)
    return Verdict("latency", GOOD, found, figures=figures)


def _live(context: Context) -> Live:
    config = context.config
    path = chosen_bundle(config)
    motion = read_manifest(path).motion
    model, engine, audio = config.model, config.engine, config.audio
    playing = Playing(
        model.variant, model.runtime, "stream", 0.0, 0, model.noise_time_s, engine.hold_s, engine.fade_s
    )  # fmt: skip
    settings = LiveSettings(
        playing=playing,
        rate_hz=audio.rate_hz,
        height=motion.height,
        width=motion.width,
        crossfade_s=engine.crossfade_s,
        urgency=Urgency(engine.realtime_priority, engine.lock_memory),
        peak=amplitude(min(audio.peak_db, SOFT_DB)),
        room=room_settings(config.room),
    )
    return Live(
        partial(open_flash, config.camera.fps, motion.height, motion.width),
        partial(open_steady_card, audio.device, audio.rate_hz, audio),
        path,
        settings,
    )
