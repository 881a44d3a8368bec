"""The engine in real time: three processes, started, watched, started again, and the change from one model to another.

    camera process ─frames─▶ model process ─scores─▶ sound process ─blocks─▶ sound card

Each waits for nothing but its own device; what lies between them is shared memory. The parent, here, touches neither
frames nor sound.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

from device.core.errors import AudioError, CameraError, ModelError
from device.core.room_profile import RoomProfile
from device.engine.camera_process import OpenCamera
from device.engine.crew import Crew, Deck, LiveSettings
from device.engine.engine import n_at_end
from device.engine.frame_bus import FrameBus
from device.engine.model_process import ModelFacts
from device.engine.performance import Performance
from device.engine.process import Child, PartEndedError, wait_for_any
from device.engine.sound_process import ABANDON, STOP_SOFTLY, ListeningPlan, OpenOutput
from device.engine.station import Station

_log = logging.getLogger(__name__)

READY_S = 60.0
"""A model that is not ready by then is given up: loading takes seconds on the slowest box."""
POLL_S = 0.1
STOP_S = 2.0


def _do_nothing() -> None:
    """Let whoever waits wait."""


class Live:
    """The engine.

    Parameters
    ----------
    open_camera : OpenCamera
        Called in the camera's process.
    open_output : OpenOutput
        Called in the sound's process.
    bundle : Path
        What plays first.
    settings : LiveSettings
    room : RoomProfile, optional
        What is known of the room.
    keeps_tape : bool
        Whether columns and sound are kept, for a report.
    listening : ListeningPlan, optional
        What comes in, and what is heard when it is listened to.

    Attributes
    ----------
    meter : Meter
        All counts, at any time.
    room : RoomProfile or None
        What has been learned of the room; the next model starts with it.
    tape : Tape or None
    notes : list of str
        What this machine does not allow.
    is_over : bool
        Whether the sound has ended.

    Notes
    -----
    One thread, the parent's, calls the methods, and `watch` again and again: that is when what has failed is seen.
    """

    def __init__(
        self,
        open_camera: OpenCamera,
        open_output: OpenOutput,
        bundle: Path,
        settings: LiveSettings,
        *,
        room: RoomProfile | None = None,
        keeps_tape: bool = False,
        listening: ListeningPlan | None = None,
    ) -> None:
        self.settings = settings
        self.room = room
        self.notes: list[str] = []
        self.is_over = False
        self._crew = Crew(open_camera, open_output, settings, keeps_tape=keeps_tape, listening=listening)
        self.meter, self.tape, self._control = self._crew.meter, self._crew.tape, self._crew.control
        self._camera = Station("camera", self._crew.start_camera)
        self._sound = Station("sound", self._start_sound)
        self._deck = self._crew.deck(bundle, 0, lambda: self.room)
        self._voiced: Deck | None = None
        self._has_played = False

    def start(self, meanwhile: Callable[[], None] = _do_nothing) -> None:
        """Start all processes; the sound runs when this returns, and all are ready unless the settings are patient.

        Parameters
        ----------
        meanwhile : callable
            Called again and again until then.

        Raises
        ------
        DanceSamplerError
            What keeps one of them from being ready; a model that does not play is not tried again here.
        """
        try:
            for station in self._stations():
                station.start()
            deadline_s = time.monotonic() + READY_S
            while self._voiced is None or not (self._camera.is_ready or self.settings.is_patient):
                meanwhile()
                self.watch()
                if time.monotonic() > deadline_s:
                    waited_for = ", ".join(station.name for station in self._stations() if not station.is_ready)
                    raise PartEndedError(f"not ready within {READY_S:g} s: {waited_for}; look at the log")
        except BaseException:
            self.close()
            raise

    @property
    def facts(self) -> ModelFacts | None:
        """What is known of the model that plays."""
        return self._deck.facts

    @property
    def last_errors(self) -> dict[str, str]:
        """Why 'camera', 'sound' and 'model' were given up last, in one line each; empty for one that never was."""
        return {station.name: station.last_error for station in self._stations()}

    @property
    def children(self) -> list[Child]:
        """What runs, to be waited for."""
        return [station.child for station in self._stations() if station.child is not None]

    @property
    def n_restarts(self) -> dict[str, int]:
        """How often 'camera', 'sound' and 'model' were started again."""
        return {station.name: station.n_restarts for station in self._stations()}

    @property
    def pids(self) -> dict[str, int]:
        """Numbers of the processes that run."""
        return {each.name: each.child.pid for each in self._stations() if each.child is not None}

    def change_model(self, bundle: Path, meanwhile: Callable[[], None] = _do_nothing) -> ModelFacts:
        """Load, check and warm another bundle beside the one that plays, then let it take over without a gap.

        Parameters
        ----------
        bundle : Path
        meanwhile : callable
            Called again and again until it plays.

        Returns
        -------
        ModelFacts
            Of the model that plays now.

        Raises
        ------
        BundleError, ModelError
            It does not play, and was never heard: the old one goes on.
        """
        old, new = self._deck, self._crew.deck(bundle, self._deck.number + 1, lambda: self.room)
        try:
            new.station.start()
            self._until_ready(new, meanwhile)
        except BaseException:
            new.station.end()
            raise
        self._deck = new
        self._let_play()
        deadline_s = time.monotonic() + READY_S
        while self._voiced is not new and time.monotonic() < deadline_s:
            meanwhile()
            self.watch()
        old.station.end()
        assert new.facts is not None  # noqa: S101 - it is ready
        return new.facts

    def watch(self, timeout_s: float = POLL_S) -> None:
        """See that all goes on: start again what has ended or hangs, or raise what went wrong.

        Parameters
        ----------
        timeout_s : float
            How long to wait for news of the processes.

        Raises
        ------
        DanceSamplerError
            What ended the performance, unless the settings say that it is to be tried again.
        """
        wait_for_any([station.child for station in self._stations() if station.child is not None], timeout_s)
        for station in self._stations():
            for word, content in station.heard():
                self._on_word(station, word, content)
        if not self.is_over:
            self._see_whether_stuck()
            for station in self._stations():
                station.start_if_due()

    @property
    def frames(self) -> FrameBus:
        """What the camera sees, for whoever looks besides; one camera's process after another."""
        return self._crew.frames

    def listen(self, on: bool) -> None:
        """Let the input be heard instead of the model, or as the listening plan says; or the model again.

        It fades within 50 ms, and holds for a sound's process that has to be started again.
        """
        self._control["listens"][0] = int(on)

    def set_level(self, level: float, fade_s: float) -> None:
        """Let all that is heard become louder or softer, without a click.

        Parameters
        ----------
        level : float
            Amplitude, 0 to 1.
        fade_s : float
            How long from silence to full level would take, or back.
        """
        self._control["dim_s"][0] = fade_s
        self._control["dimmed"][0] = 1.0 - level

    def stop(self) -> None:
        """Let the sound fall to silence and end."""
        self._control["stop"][0] = STOP_SOFTLY
        deadline_s = time.monotonic() + STOP_S
        while not self.is_over and time.monotonic() < deadline_s:
            self.watch(0.02)

    def close(self) -> None:
        """End all processes; a sound that has not come to its end is abandoned. May be called twice."""
        self._control["stop"][0] = ABANDON
        self._sound.end(STOP_S)
        for station in self._stations():
            station.end()

    def performance(self) -> Performance:
        """Sum up what was counted so far."""
        return self.meter.performance(tuple(self.notes))

    def _stations(self) -> tuple[Station, ...]:
        # The model takes longest, so it is started first.
        return (self._deck.station, self._sound, self._camera)

    def _start_sound(self) -> Child:
        self._voiced = None
        return self._crew.start_sound()

    def _until_ready(self, deck: Deck, meanwhile: Callable[[], None]) -> None:
        """Wait until a model beside the one that plays is ready, while all else is watched."""
        deadline_s = time.monotonic() + READY_S
        while deck.facts is None:
            meanwhile()
            self.watch(POLL_S / 10)
            for word, content in deck.station.heard():
                if word == "failed":
                    raise content
                if word == "ready":
                    deck.facts = content
            if time.monotonic() > deadline_s:
                raise ModelError(f"bundle {deck.bundle} was not ready within {READY_S:g} s: choose another")

    def _on_word(self, station: Station, word: str, content: object) -> None:
        """Do what a part's word calls for."""
        if word == "failed":
            assert isinstance(content, Exception)  # noqa: S101 - that is what a part sends
            self._on_failure(station, content)
        elif word == "ready":
            self._on_ready(station, content)
        elif word == "playing":
            if content == self._deck.number:  # not one that was asked for before
                self._voiced = self._deck
                self._has_played = True
                self._deck.station.tell("go")
                self._let_dance()
        elif word == "room":
            assert isinstance(content, RoomProfile)  # noqa: S101 - that is what a model's process sends
            self.room = content
        elif word == "ended" and station is self._sound:
            self.is_over = station.is_done = True
        elif word == "ended":
            self._on_last_frame(float(str(content)))

    def _on_ready(self, station: Station, content: object) -> None:
        station.is_ready = True
        if isinstance(content, ModelFacts):
            self._deck.facts = content
        notes = content.notes if isinstance(content, ModelFacts) else content
        assert isinstance(notes, list)  # noqa: S101 - that is what a part sends
        self.notes += [note for note in notes if note not in self.notes]
        if station is not self._camera:
            self._let_play()
        self._let_dance()

    def _let_play(self) -> None:
        """Let the model be heard, once it is ready and so is the sound."""
        deck = self._deck
        if deck.facts is None or not self._sound.is_ready:
            return
        if self._voiced is deck:  # A model's process that was started again goes on in its old place.
            deck.station.tell("go")
            return
        crossfade_s = self.settings.crossfade_s if self._voiced is not None else 0.0
        self._sound.tell("play", self._crew.plan(deck, crossfade_s))

    def _let_dance(self) -> None:
        """Let frames come, once they can be heard."""
        if self._camera.is_ready and self._voiced is not None:
            self._camera.tell("go")

    def _on_last_frame(self, duration_s: float) -> None:
        if duration_s == 0.0:
            self._on_failure(self._camera, CameraError("the camera gave no frame: check the clip or the camera"))
        elif self.settings.is_clip:
            self._control["n_total"][0] = n_at_end(duration_s, self.settings.seconds, self.settings.rate_hz)
            self._camera.is_done = True
        else:
            self._on_failure(self._camera, CameraError("the camera gives no more frames: check its cable"))

    def _on_failure(self, station: Station, error: Exception) -> None:
        is_first_model = station is self._deck.station and not self._has_played
        if is_first_model or not self.settings.is_patient:
            raise error
        if str(error) != station.last_error:
            _log.warning("%s; it is tried again", error)
        station.try_again_later(str(error))

    def _see_whether_stuck(self) -> None:
        """Find the part that stands still although it could move."""
        meter = self.meter
        last_frame_s, last_model_s = meter.time_s("last_frame_s"), meter.time_s("last_model_s")
        is_under_way = self._voiced is not None and (last_frame_s > 0.0 or not self.settings.is_clip)
        if self._sound.is_stuck(meter.time_s("last_block_s"), is_under_way):
            self._on_failure(self._sound, AudioError("the sound card takes no more blocks: plug it in again"))
        # It waits to be told to begin until the sound is there, which may take a card its time.
        if self._camera.is_stuck(last_frame_s, not self.settings.is_clip and self._voiced is not None):
            self._on_failure(self._camera, CameraError("the camera gives no frames: check its cable"))
        if self._deck.station.is_stuck(last_model_s, last_frame_s > last_model_s and is_under_way):
            self._on_failure(self._deck.station, ModelError("the model hangs: choose another bundle"))
