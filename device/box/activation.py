"""A model's trial on the running box: it plays, is watched, and stays; or the last good one is back.

The supervisor owns it, so that it ends well whatever becomes of who asked for it.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from device.box.stage import SILENT_CAMERA_S, Stage
from device.core.errors import BundleError, DanceSamplerError
from device.core.health import Reading, Span, find_problems, sum_up
from device.core.latency import BIN_MS
from device.engine.performance import Meter
from device.models import model_trial
from device.models.bundles import FACTORY
from device.models.model_store import switch_current
from device.models.model_trial import COMMITTED, ROLLED_BACK, TRIAL, WAITING
from device.store.state import models_folder

_log = logging.getLogger(__name__)

LOOK_S = 1.0
REMEMBERED_S = 60
"""Of the model before: what it is compared with."""
SURE_S = 10.0
"""A trial that goes badly is not ended before this, and then only when it has gone so for `IN_A_ROW` looks."""
IN_A_ROW = 3


class Activation:
    """Watches what plays; tries what was installed.

    Parameters
    ----------
    state : Path
        The folder of the box's state.
    health_s : float
        So long a model must play well.
    is_fixed : bool
        The configuration names the bundle that plays: nothing is tried.
    """

    def __init__(self, state: Path, health_s: float, *, is_fixed: bool) -> None:
        self._state, self._health_s, self._is_fixed = state, health_s, is_fixed
        self._phase, self._reason = "", ""
        self._path: Path | None = None
        self._readings: deque[Reading] = deque(maxlen=REMEMBERED_S)
        self._before: Span | None = None
        self._began_s = self._looked_s = 0.0
        self._n_bad_looks = 0
        self._counts: npt.NDArray[np.int64] | None = None
        self._meter: Meter | None = None

    @property
    def is_on_trial(self) -> bool:
        """Whether a model is being tried now."""
        return self._phase == TRIAL

    def bundle_at_start(self) -> Path | None:
        """Give the model that the engine starts with; None: the one that the configuration names."""
        self._readings.clear()
        if self._is_fixed:
            return None
        refused = model_trial.problem_at_start(self._state)
        path, is_trial = model_trial.bundle_at_start(self._state)
        trial = model_trial.trial_of(self._state)
        if refused is None and trial is not None and not is_trial:
            refused = models_folder(self._state) / trial.folder, model_trial.UNWRITABLE
        if refused is not None:
            self._path = refused[0]
            self._end(ROLLED_BACK, refused[1])
        elif is_trial:
            self._begin(path, None, time.monotonic())
        elif self.is_on_trial:
            self._end(ROLLED_BACK, "the box was set up anew")
        return path

    def ask(self, path: Path) -> None:
        """Have an installed model tried as soon as what the box is doing allows it.

        Raises
        ------
        BundleError
            The configuration names another, or the model is not the one that was installed last.
        """
        if self._is_fixed:
            raise BundleError("model.bundle in the configuration names what plays: clear it, then push again")
        trial = model_trial.trial_of(self._state)
        if self.is_on_trial and path == self._path:
            return
        if trial is None and path == model_trial.last_good(self._state):
            self._path, self._phase, self._reason = path, COMMITTED, ""
        elif trial is None or trial.folder != path.name:
            raise BundleError(f"{path.name} is not the model that was installed last: install it again")
        else:
            if not self.is_on_trial:  # else what played before that one is compared with
                self._before = None
            self._path, self._phase, self._reason = path, WAITING, ""

    def abandon(self, why: str) -> None:
        """Another model was chosen meanwhile: this one stays installed, and has shown nothing."""
        if self.is_on_trial:
            self._end(ROLLED_BACK, why)
            try:
                model_trial.postpone(self._state)
            except BundleError as error:
                _log.warning("%s", error)

    def stop(self) -> None:
        """Have a trial that is not over begun anew at the next start: the box was stopped in order."""
        self.abandon("the box was stopped; it is tried when it starts again")

    def look(self, stage: Stage, now_s: float, *, may_change: bool) -> None:
        """Once a second: take a reading; begin, judge or end a trial.

        Parameters
        ----------
        stage : Stage
        now_s : float
        may_change : bool
            Whether the model may be changed now: no take is being recorded, and it is not safe mode.
        """
        if now_s < self._looked_s + LOOK_S or not stage.is_started:
            return
        self._looked_s = now_s
        if stage.live.meter is not self._meter:  # another engine, which counts from zero
            self._meter, self._counts = stage.live.meter, None
            self._readings.clear()
        if self._phase == WAITING and may_change:
            self._try(stage)
            return
        self._readings.append(self._read(stage, now_s))
        if self.is_on_trial and may_change:
            self._judge(stage, now_s)

    def roll_back(self, stage: Stage, why: str) -> Path:
        """Let the last good model play again, or the factory's if it does not.

        Raises
        ------
        DanceSamplerError
            There is none, or the card cannot be written; the model that plays goes on.
        """
        path = model_trial.roll_back(self._state)
        if self._path is not None:
            self._end(ROLLED_BACK, why)
        try:
            if path != stage.bundle:
                stage.change_model(path)
        except DanceSamplerError as error:
            _log.error("%s; the factory's model plays", error)
            switch_current(self._state, FACTORY)
            stage.change_model(FACTORY)
        return stage.bundle

    def said(self, now_s: float) -> dict[str, Any] | None:
        """Give what `device status` says of the newest trial; None if there was none."""
        if not self._phase:
            return None
        said: dict[str, Any] = {"path": str(self._path), "phase": self._phase, "of_s": self._health_s}
        said["seconds"] = round(now_s - self._began_s, 1) if self.is_on_trial else None
        return {**said, "reason": self._reason}

    def _try(self, stage: Stage) -> None:
        """Count the attempt, then let the model play."""
        path = self._path
        assert path is not None  # noqa: S101 - something was asked for
        try:
            model_trial.begin(self._state)
        except BundleError as error:
            _log.warning("%s; the trial waits", error)
            return
        before = self._before or sum_up(self._readings)
        self._phase = TRIAL
        try:
            stage.change_model(path)
        except DanceSamplerError as error:
            self._fail(stage, str(error))
            return
        self._begin(path, before, time.monotonic())

    def _begin(self, path: Path, before: Span | None, now_s: float) -> None:
        _log.info("model %s is on trial for %g s", path, self._health_s)
        self._path, self._before, self._began_s = path, before, now_s
        self._phase, self._reason, self._n_bad_looks = TRIAL, "", 0
        self._readings.clear()
        self._looked_s = now_s  # the change itself, which overlaps the model before, is not judged

    def _judge(self, stage: Stage, now_s: float) -> None:
        if stage.bundle != self._path:
            self._fail(stage, f"it does not play: {stage.missing().get('model', '')}")
            return
        played_s = now_s - self._began_s
        problems = find_problems(self._before, sum_up(self._readings))
        self._n_bad_looks = self._n_bad_looks + 1 if problems else 0
        is_over = played_s >= self._health_s
        if problems and (is_over or (played_s >= SURE_S and self._n_bad_looks >= IN_A_ROW)):
            self._fail(stage, "; ".join(problems))
        elif is_over:
            self._commit()

    def _commit(self) -> None:
        assert self._path is not None  # noqa: S101 - it is on trial
        try:
            model_trial.commit(self._state, self._path)
        except BundleError as error:
            _log.warning("%s; the trial goes on", error)
            return
        self._end(COMMITTED, "")

    def _fail(self, stage: Stage, why: str) -> None:
        """Go back; while that cannot be written down, try again at the next look."""
        try:
            self.roll_back(stage, why)
        except DanceSamplerError as error:
            _log.error("%s; going back is tried again", error)

    def _end(self, phase: str, why: str) -> None:
        _log.log(logging.WARNING if why else logging.INFO, "model %s: %s %s", self._path, phase, why)
        self._phase, self._reason = phase, why
        if phase != COMMITTED:  # what was seen of a model that stays is what the next one is compared with
            self._readings.clear()

    def _read(self, stage: Stage, now_s: float) -> Reading:
        live = stage.live
        meter = live.meter
        return Reading(
            time_s=now_s,
            n_frames=meter.count("n_frames"),
            n_skipped_frames=meter.count("n_skipped_frames"),
            n_bad_spectra=meter.count("n_bad_spectra"),
            n_blocks=meter.count("n_blocks"),
            n_xruns=meter.count("n_xruns"),
            latency_ms=self._latency_ms(meter.memory["engine_counts"]),
            peak=meter.time_s("output_peak"),
            motion=meter.time_s("motion"),
            has_camera=now_s - meter.time_s("last_frame_s") < SILENT_CAMERA_S,
            has_card=meter.count("is_card_live") > 0,
            n_restarts=live.n_restarts["model"] + live.n_restarts["sound"],
        )

    def _latency_ms(self, counts: npt.NDArray[np.int64]) -> float | None:
        """Median of what was counted since the last look."""
        counts = counts.copy()
        newer = counts - (self._counts if self._counts is not None and self._counts.sum() <= counts.sum() else 0)
        self._counts = counts
        n = int(newer.sum())
        return BIN_MS * float(np.searchsorted(np.cumsum(newer), (n + 1) // 2) + 1) if n else None
