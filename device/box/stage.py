"""The engine as the box runs it: by one configuration, with the model that is installed; what it lacks, by name."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

from device.box.box_engine import open_live, open_microphone, open_recorder
from device.config import Config
from device.core.errors import DanceSamplerError
from device.core.panel_events import CAMERA, CARD, MICROPHONE
from device.core.room_profile import RoomProfile
from device.engine.process import Child
from device.models.bundles import FACTORY, read_manifest
from device.models.model_store import chosen_bundle, current_problem
from device.store.rooms import load_room, room_path

_log = logging.getLogger(__name__)

MODEL = "model"
"""Name of the fault that another model plays than the one that was chosen."""
SILENT_CAMERA_S = 1.0
"""A camera that gave no frame for so long is missing."""
GRACE_S = 3.0
"""A part that has not been there yet is missing after this: a start takes its time."""


class Stage:
    """What plays, what listens and what records: all the processes of the box.

    Parameters
    ----------
    config : Config
    is_safe : bool
        The factory's model, whatever is installed.
    bundle : Path, optional
        The model to start with; otherwise the one that the configuration gives.

    Attributes
    ----------
    live : Live
    microphone : Microphone or None
        None where no input is configured.
    recorder : Recorder or None
    bundle : Path
        The model that plays.
    is_started : bool
        Whether there are processes to be ended.
    """

    def __init__(self, config: Config, *, is_safe: bool = False, bundle: Path | None = None) -> None:
        self.config = config
        self.is_safe = is_safe
        self.bundle = FACTORY if is_safe else bundle or chosen_bundle(config)
        self.is_started = False
        is_asked_for = is_safe or bool(config.model.bundle) or self.bundle != FACTORY
        self._problem = "" if is_asked_for else _why_not_current(Path(config.state.folder))
        self._is_listening, self._level = False, 1.0
        self._stay_alive: Callable[[], None] = _do_nothing
        self.microphone = open_microphone(config)
        self._open(self._known_room())

    def start(self, stay_alive: Callable[[], None]) -> None:
        """Start all processes; blocks go to the card, or to none, when this returns.

        A model that does not play gives way to the factory's.

        Parameters
        ----------
        stay_alive : callable
            Called again and again while something is waited for, now and later.

        Raises
        ------
        DanceSamplerError
            Not even that one plays.
        """
        self._stay_alive = stay_alive
        self.is_started = True
        if self.microphone is not None:
            self.microphone.start()
        self._start()

    def change_model(self, bundle: Path) -> None:
        """Let another model take over: without a gap, unless it sees pictures of another size.

        Raises
        ------
        BundleError, ModelError
            It does not play; the old one goes on.
        """
        motion = read_manifest(bundle).motion
        if (motion.height, motion.width) == (self.live.settings.height, self.live.settings.width):
            self.live.change_model(bundle, self._stay_alive)
            self.bundle = bundle
        else:
            self._reopen(bundle)
        self._problem = ""

    def watch(self) -> None:
        """See that all goes on. It waits for nothing."""
        self.live.watch(0.0)
        if self.microphone is not None:
            self.microphone.watch()

    def listen(self, on: bool) -> None:
        """Let the input be heard instead of the model, as configured; or the model again."""
        self._is_listening = on
        self.live.listen(on)

    def set_level(self, is_open: bool, fade_s: float) -> None:
        """Let the sound come, or go; within `fade_s` seconds, at once for 0."""
        self._level = float(is_open)
        self.live.set_level(self._level, fade_s)

    @property
    def is_settled(self) -> bool:
        """Whether camera and card are there, or have had their time to be."""
        live = self.live
        is_there = live.meter.time_s("last_frame_s") > 0.0 and live.meter.count("is_card_live") > 0
        return is_there or time.monotonic() - self._started_s >= GRACE_S

    def missing(self) -> dict[str, str]:
        """What is missing now: the name of each fault, with what to do about it."""
        live, found = self.live, {}
        now_s, last_frame_s = time.monotonic(), live.meter.time_s("last_frame_s")
        is_young = now_s - self._started_s < GRACE_S
        if now_s - last_frame_s > SILENT_CAMERA_S and (last_frame_s or not is_young):
            found[CAMERA] = live.last_errors["camera"] or "the camera gives no frames: check its cable"
        if not live.meter.count("is_card_live") and (live.meter.count("n_card_losses") or not is_young):
            found[CARD] = live.last_errors["sound"] or (
                f"the sound card {self.config.audio.device} is missing or refuses: check its cable, and audio.device"
            )
        if self.microphone is None:
            found[MICROPHONE] = "no sound input is configured: set capture.audio_in"
        elif not self.microphone.is_live and not is_young:
            found[MICROPHONE] = (
                f"no sound comes in from {self.config.capture.audio_in}: check its cable, and capture.audio_in"
            )
        if self._problem:
            found[MODEL] = self._problem
        return found

    @property
    def children(self) -> list[Child]:
        """What runs, to be waited for."""
        others = [part for part in (self.microphone, self.recorder) if part is not None]
        return [*self.live.children, *(child for part in others for child in part.children)]

    @property
    def pids(self) -> dict[str, int]:
        """Numbers of the processes that run, by their names."""
        return {child.name: child.pid for child in self.children}

    def stop(self) -> None:
        """Let the sound fall to silence and end all processes; an open take is left to be salvaged."""
        self.is_started = False
        self._close_live()
        if self.microphone is not None:
            self.microphone.close()

    def _open(self, room: RoomProfile | None) -> None:
        try:
            self.live = open_live(self.config, self.bundle, self.microphone, room)
        except DanceSamplerError as error:
            self._fall_back(error)
            self.live = open_live(self.config, self.bundle, self.microphone, room)
        self.live.set_level(self._level, 0.0)
        self.live.listen(self._is_listening)
        self.recorder = open_recorder(self.config, self.live, self.microphone)

    def _start(self) -> None:
        self._started_s = time.monotonic()
        try:
            self.live.start(self._stay_alive)
        except DanceSamplerError as error:
            self._fall_back(error)
            self._open(self.live.room)
            self.live.start(self._stay_alive)
        if self.recorder is not None:
            self.recorder.open()

    def _fall_back(self, error: DanceSamplerError) -> None:
        if self.bundle == FACTORY:
            raise error
        _log.error("the factory's model plays instead of %s: %s", self.bundle, error)
        self._problem = f"the factory's model plays instead of {self.bundle.name}: {error}"
        self.bundle = FACTORY

    def _reopen(self, bundle: Path) -> None:
        """Start anew with another model, or with the old one if it does not play; silence lies between."""
        room, old = self.live.room, self.bundle
        self._close_live()
        self.bundle = bundle
        self._open(room)
        self._start()
        if self.bundle != bundle:
            problem, self._problem = self._problem, ""
            if old != self.bundle:
                self._close_live()
                self.bundle = old
                self._open(room)
                self._start()
            raise DanceSamplerError(problem)

    def _close_live(self) -> None:
        self.live.stop()
        self.live.close()
        if self.recorder is not None:
            self.recorder.close()

    def _known_room(self) -> RoomProfile | None:
        path = room_path(self.config.room, Path(self.config.state.folder))
        try:
            return None if path is None or self.is_safe else load_room(path)
        except DanceSamplerError as error:
            _log.warning("%s; the room is learned anew", error)
            return None


def _why_not_current(state: Path) -> str:
    """Say why the factory's model plays instead of the installed one; empty if that is whole, or there is none."""
    problem = current_problem(state)
    return f"the factory's model plays instead of the installed one: {problem}" if problem else ""


def _do_nothing() -> None:
    pass
