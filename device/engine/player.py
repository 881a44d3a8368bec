"""The player: frames in, the newest score of spectra out. The model thread's half of the engine; no clock, no files."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from device.core.errors import ModelError, UsageError
from device.core.frame import Frame
from device.core.motiongram import LONGEST_GAP_S, Motion, Motiongram, MotionSettings
from device.core.noise import SlowNoise
from device.core.window import Window
from device.edges.model import Float32, SpectrumModel
from device.engine.scores import LocalScores, Score, Scores

MODES = ("stream", "segment")
HOLD_PERIODS = 2.5
LARGEST_SPECTRUM = 1000.0
"""A value above this is no magnitude of sound (full scale is 1) but a model gone wrong."""

logger = logging.getLogger(__name__)


class Playable(Protocol):
    """What the player needs to know of a bundle; a manifest has it, and `PlayerSettings`."""

    @property
    def motion(self) -> MotionSettings:
        """How columns are made from frames."""

    @property
    def grid_rate_hz(self) -> float:
        """Columns per second in the window."""

    @property
    def segment_s(self) -> float:
        """Length of a segment."""


class MotionSource(Protocol):
    """What makes columns of frames: `device.core.motiongram.Motiongram` and what stands in for it."""

    def push(self, frame: Frame) -> Motion:
        """Take the next frame and give its motion."""


@dataclass(frozen=True)
class PlayerSettings:
    """A `Playable` without a bundle.

    Attributes
    ----------
    motion : MotionSettings
    grid_rate_hz : float
    segment_s : float
    """

    motion: MotionSettings
    grid_rate_hz: float
    segment_s: float


class Player:
    """Turns each frame into the score that is to be heard from now on.

    Parameters
    ----------
    settings : Playable
        The bundle's manifest, or `PlayerSettings`.
    model : SpectrumModel
    mode : str
        'stream': each frame is played at once; 'segment': a segment is gathered, then played from position 0 to 1
        while the next is gathered.
    temperature : float
        Standard deviation of the noise from which z is drawn; 0 plays the mean.
    seed : int
        The same seed and frames give the same scores to the bit.
    noise_time_s : float
        Time constant of the noise.
    hold_s : float
        How long a frame is held at least when no more come.
    scores : Scores, optional
        Where the scores go; within this process unless given.
    motiongram : MotionSource, optional
        Makes the columns; a `Motiongram` of the bundle's settings unless given.

    Attributes
    ----------
    scores : Scores
        For the voice. The model thread, which calls all methods here, writes; the audio thread reads.
    n_bad_spectra : int
        Spectra that could not be played (not a number, out of range, wrong shape): the last good one went on.

    Raises
    ------
    UsageError
        There is no such mode, or the temperature is negative.
    ModelError
        The model is for columns of another size.
    """

    def __init__(
        self,
        settings: Playable,
        model: SpectrumModel,
        mode: str = "stream",
        temperature: float = 0.0,
        seed: int = 0,
        *,
        noise_time_s: float = 0.5,
        hold_s: float = 0.1,
        scores: Scores | None = None,
        motiongram: MotionSource | None = None,
    ) -> None:
        if mode not in MODES:
            raise UsageError(f"there is no mode '{mode}': choose {' or '.join(MODES)}")
        if not (math.isfinite(temperature) and temperature >= 0.0):
            raise UsageError(f"a temperature of {temperature} cannot be played: choose 0 or more")
        if model.n_features != settings.motion.n_features:
            raise ModelError(
                f"the model takes columns of {model.n_features} values, the frames give {settings.motion.n_features}: "
                "use the model's own manifest"
            )
        self.mode = mode
        self.temperature = temperature
        self.n_bad_spectra = 0
        self._settings = settings
        self._model = model
        self._hold_s = hold_s
        self._noise = SlowNoise(model.n_latent, temperature, noise_time_s, seed)
        self._motiongram = motiongram or Motiongram(settings.motion)
        self._window = Window(model.n_columns, model.n_features, settings.grid_rate_hz)
        self._last_s: float | None = None
        self._period_s = 0.0
        self._segment_end_s = 0.0
        self._last_good = np.zeros(model.n_bins, np.float32)
        self.scores = scores or LocalScores(model.n_bins, settings.grid_rate_hz)
        self._score = self.scores.rest

    @property
    def model(self) -> SpectrumModel:
        """What plays."""
        return self._model

    def see(self, frame: Frame) -> Motion:
        """Make the next frame's column; `on_column` plays it.

        Parameters
        ----------
        frame : Frame
            Times must increase (`device.core.timeline`).
        """
        return self._motiongram.push(frame)

    def on_column(self, column: Float32, time_s: float, arrival_s: float = 0.0, *, is_heard: bool = True) -> None:
        """Take the next column and publish what is to be heard.

        Parameters
        ----------
        column : np.ndarray, shape (n_features,), float32
        time_s : float
            Times must increase.
        arrival_s : float
            When its frame arrived, for the statistics.
        is_heard : bool
            False for a column that is past already: it is only remembered.
        """
        elapsed_s = 0.0 if self._last_s is None else time_s - self._last_s
        if self._last_s is None or not 0.0 < elapsed_s <= LONGEST_GAP_S:
            # What lies before a gap has nothing to do with what comes after it.
            self._window.reset()
            self._segment_end_s = time_s + self._settings.segment_s
            elapsed_s = max(elapsed_s, 0.0)
        self._last_s = time_s
        self._window.push(column, time_s)
        hold_s = self._hold_for(elapsed_s)
        noise = self._noise.step(elapsed_s)
        if not is_heard:
            return
        if self.mode == "stream":
            self._play_newest(noise, time_s, arrival_s, hold_s)
        elif time_s < self._segment_end_s - 1e-6:
            self._publish(self._score, arrival_s, hold_s)
        else:
            self._play_segment(noise, time_s, arrival_s, hold_s)

    def _hold_for(self, elapsed_s: float) -> float:
        """Long enough for the rate at which frames come, and for one of them to be missing."""
        step_s = min(elapsed_s, 0.2)
        if step_s > 0.0:
            self._period_s += (0.2 if self._period_s else 1.0) * (step_s - self._period_s)
        return max(self._hold_s, HOLD_PERIODS * self._period_s)

    def _play_newest(self, noise: Float32, time_s: float, arrival_s: float, hold_s: float) -> None:
        score = self.scores.begin(1, time_s)
        score.append(self._run(self._window.read(), noise, 1.0))
        self._publish(score, arrival_s, hold_s)

    def _play_segment(self, noise: Float32, time_s: float, arrival_s: float, hold_s: float) -> None:
        """Play the window that ends now; it is heard from the first step on while the others are computed."""
        n_steps = n_steps_of(self._settings, self.mode)
        n_segments = math.floor((time_s + 1e-6 - self._segment_end_s) / self._settings.segment_s) + 1
        self._segment_end_s += n_segments * self._settings.segment_s
        motion = self._window.read()
        begins_s = time_s - (self._model.n_columns - 1) / self._settings.grid_rate_hz
        score = self.scores.begin(n_steps, begins_s)
        for step in range(n_steps):
            score.append(self._run(motion, noise, step / (n_steps - 1)))
            if step == 0:
                self._publish(score, arrival_s, hold_s)

    def _run(self, motion: Float32, noise: Float32, position: float) -> Float32:
        """Give the model's spectrum, or the last good one when it gave something that is not a spectrum."""
        spectrum = self._model.run(motion, noise, position)
        if spectrum.shape == self._last_good.shape and float(np.abs(spectrum).max()) <= LARGEST_SPECTRUM:
            # NaN compares false. Below zero there is no magnitude.
            np.maximum(spectrum, 0.0, out=self._last_good)
        else:
            self.n_bad_spectra += 1
            if self.n_bad_spectra == 1:
                logger.warning("the model gave something that is not a spectrum: the last good one is held")
        return self._last_good

    def _publish(self, score: Score, arrival_s: float, hold_s: float) -> None:
        self._score = score
        self.scores.publish(score, arrival_s, hold_s)


def n_steps_of(settings: Playable, mode: str) -> int:
    """Count the steps of one score: 1 in stream mode, those of a whole segment in segment mode."""
    return 1 if mode == "stream" else max(2, round(settings.segment_s * settings.grid_rate_hz))
