"""One trial: the engine, as a user starts it, between a camera whose scene changes and a card that keeps its sound."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from device.config import Config
from device.core.errors import DanceSamplerError
from device.engine.camera_process import OpenCamera
from device.engine.crew import LiveSettings
from device.engine.live import Live
from device.engine.model_process import Playing
from device.engine.performance import Performance
from device.engine.realtime import Urgency
from device.engine.shared import SharedArrays
from device.models.bundles import read_manifest
from device.store.rooms import room_settings
from tests.bench.latency_card import Heard, card_layout, heard, open_paced_card
from tests.bench.latency_stimulus import ZOOM, StimulusPlan, open_stimulus, stimulus_layout

START_S = 30.0
"""The engines must have begun by then."""
SPARE_S = 0.2
"""The last scene is heard within this time, if at all."""


@dataclass(frozen=True)
class Trial:
    """What is tried.

    Attributes
    ----------
    bundle : Path
    plan : StimulusPlan
    mode : str
        'stream' or 'segment'.
    """

    bundle: Path
    plan: StimulusPlan
    mode: str = "stream"


@dataclass(frozen=True)
class Outcome:
    """What came of a trial.

    Attributes
    ----------
    heard : Heard
    changes_s : np.ndarray, shape (n_changes,), float64
        When the scene changed, CLOCK_MONOTONIC.
    performance : Performance
        What the engine counted.
    queued_s : float
        Of sound in the card just before a block is handed over.
    """

    heard: Heard
    changes_s: npt.NDArray[np.float64]
    performance: Performance
    queued_s: float


def settings_of(trial: Trial, config: Config) -> LiveSettings:
    """Play as the configuration says."""
    motion = read_manifest(trial.bundle).motion
    playing = Playing(
        config.model.variant, config.model.runtime, trial.mode, None, 0, config.model.noise_time_s,
        config.engine.hold_s, config.engine.fade_s,
    )  # fmt: skip
    return LiveSettings(
        playing=playing,
        rate_hz=config.audio.rate_hz,
        height=motion.height,
        width=motion.width,
        crossfade_s=config.engine.crossfade_s,
        urgency=Urgency(config.engine.realtime_priority, config.engine.lock_memory),
        room=replace(room_settings(config.room), zoom=ZOOM),
        is_patient=False,
    )


def run_trials(trials: Sequence[Trial], config: Config) -> list[Outcome]:
    """Try them on paced cards of the configuration's period and buffer, all at once.

    Raises
    ------
    DanceSamplerError
        An engine failed, or did not begin.
    """
    stages = [_Stage(trial, config) for trial in trials]
    with ExitStack() as stack:
        for stage in stages:
            stack.enter_context(closing(stage.live))
            stage.live.start()
        while not all(stage.is_over for stage in stages):
            for stage in stages:
                stage.live.watch(0.05 / len(stages))
        return [stage.outcome() for stage in stages]


class _Stage:
    """The engine between camera and card."""

    def __init__(self, trial: Trial, config: Config) -> None:
        audio = config.audio
        self._rate_hz = audio.rate_hz
        self._queued_s = audio.period * (audio.n_periods - 1) / audio.rate_hz
        self._card = SharedArrays(card_layout(trial.plan.duration_s + START_S, audio.rate_hz))
        open_output = partial(open_paced_card, self._card, audio.rate_hz, audio.period, audio.n_periods)
        self._show = Show(trial.plan)
        self.live = Live(self._show.open_camera, open_output, trial.bundle, settings_of(trial, config))

    @property
    def is_over(self) -> bool:
        """Whether the last scene has been heard."""
        return self._show.is_over

    def outcome(self) -> Outcome:
        """Sum up."""
        return Outcome(heard(self._card, self._rate_hz), self._show.changes_s, self.live.performance(), self._queued_s)


class Show:
    """What a simulated camera shows, and how far it is."""

    def __init__(self, plan: StimulusPlan) -> None:
        self._plan = plan
        self._told = SharedArrays(stimulus_layout())
        self._made_s = time.monotonic()

    @property
    def open_camera(self) -> OpenCamera:
        """For the engine."""
        return partial(open_stimulus, self._plan, self._told)

    @property
    def changes_s(self) -> npt.NDArray[np.float64]:
        """When the scene changed, CLOCK_MONOTONIC."""
        changes_s: npt.NDArray[np.float64] = self._told["start_s"][0] + self._plan.changes_s()
        return changes_s

    @property
    def is_over(self) -> bool:
        """Whether the last scene has been heard.

        Raises
        ------
        DanceSamplerError
            It has not even begun.
        """
        start_s, now_s = float(self._told["start_s"][0]), time.monotonic()
        if start_s == 0.0 and now_s - self._made_s > START_S:
            raise DanceSamplerError(f"no frame was taken within {START_S:g} s: look at the log")
        return start_s > 0.0 and now_s > start_s + self._plan.duration_s + SPARE_S
