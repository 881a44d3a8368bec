"""The engine in real time: three processes, started, watched, started again, and the change from one model to another.

    camera process ─frames─▶ model process ─scores─▶ sound process ─blocks─▶ sound card

Each waits for nothing but its own device; what lies between them is shared memory. The parent, here, touches neither
frames nor sound.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from device.core.bundle import Manifest
from device.core.errors import AudioError, CameraError, ModelError
from device.core.limiter import PEAK_DB, amplitude
from device.core.room_profile import RoomProfile, RoomSettings
from device.engine.camera_process import CameraSetup, OpenCamera, camera_main
from device.engine.engine import n_at_end
from device.engine.frame_bus import FrameBus
from device.engine.model_process import ModelFacts, ModelSetup, Playing, check_frames, model_main
from device.engine.performance import Meter, Performance, meter_layout
from device.engine.player import n_steps_of
from device.engine.process import Child, PartEndedError, wait_for_any
from device.engine.realtime import Urgency
from device.engine.scores import score_layout
from device.engine.shared import Bell, SharedArrays
from device.engine.sound_process import (
    ABANDON,
    CONTROL,
    STOP_SOFTLY,
    ListeningPlan,
    OpenOutput,
    SoundSetup,
    VoicePlan,
    sound_main,
)
from device.engine.station import Station
from device.engine.tape import Tape, tape_layout
from device.models.bundles import read_manifest

_log = logging.getLogger(__name__)

READY_S = 60.0
"""A model that is not ready by then is given up: loading takes seconds on the slowest box."""
POLL_S = 0.1
STOP_S = 2.0


def _do_nothing() -> None:
    """Let whoever waits wait."""


@dataclass(frozen=True)
class LiveSettings:
    """How it is played live.

    Attributes
    ----------
    playing : Playing
    rate_hz : int
        Samples per second of the output.
    height, width : int
        Of the frames.
    crossfade_s : float
        From one model to the next.
    urgency : Urgency
        Of the sound; model and camera come after it.
    is_patient : bool
        Start again what has failed, for ever, rather than end.
    is_clip : bool
        The camera is a video: the sound begins with its first frame and ends after its last.
    seconds : float or None
        Frames from this time on after the first are left out.
    peak : float
        Amplitude that nothing passes.
    room : RoomSettings
        How the room is learned.
    """

    playing: Playing
    rate_hz: int
    height: int
    width: int
    crossfade_s: float
    urgency: Urgency
    is_patient: bool = True
    is_clip: bool = False
    seconds: float | None = None
    peak: float = amplitude(PEAK_DB)
    room: RoomSettings = field(default_factory=RoomSettings)


@dataclass(eq=False)
class _Deck:
    """A model that plays, or is to."""

    number: int
    bundle: Path
    manifest: Manifest
    scores: SharedArrays
    station: Station
    facts: ModelFacts | None = None


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
        self._listening = listening
        self.room = room
        self.notes: list[str] = []
        self.is_over = False
        self._open_camera, self._open_output = open_camera, open_output
        self._bells = (Bell(), Bell())
        self._frames = FrameBus(settings.height, settings.width, self._bells)
        self._started = Bell()
        self._control = SharedArrays(CONTROL)
        self._meter_memory = SharedArrays(meter_layout())
        self.meter = Meter(settings.rate_hz, self._meter_memory)
        layout = tape_layout(settings.height + settings.width, settings.rate_hz)
        self._tape_memory = SharedArrays(layout) if keeps_tape else None
        self.tape = None if self._tape_memory is None else Tape(self._tape_memory, settings.rate_hz)
        self._camera = Station("camera", self._start_camera)
        self._sound = Station("sound", self._start_sound)
        self._deck = self._new_deck(bundle, 0)
        self._voiced: _Deck | None = None
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
        old, new = self._deck, self._new_deck(bundle, self._deck.number + 1)
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
        return self._frames

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

    def _new_deck(self, bundle: Path, number: int) -> _Deck:
        manifest, playing = read_manifest(bundle), self.settings.playing
        check_frames(bundle, self._frames, (manifest.motion.height, manifest.motion.width))
        scores = SharedArrays(score_layout(manifest.n_bins, n_steps_of(manifest, playing.mode)))
        bell = self._bells[number % len(self._bells)]

        def launch() -> Child:
            setup = ModelSetup(
                bundle, playing, self._frames, bell, scores, self.settings.room, self.room, self._meter_memory,
                self._tape_memory, self.settings.urgency.below(10),
            )  # fmt: skip
            return Child("model", model_main, setup)

        return _Deck(number, bundle, manifest, scores, Station("model", launch))

    def _start_sound(self) -> Child:
        started = self._started if self.settings.is_clip else None
        setup = SoundSetup(
            self._open_output, started, self._control, self._meter_memory, self._tape_memory,
            self.settings.peak, self.settings.urgency, self._listening,
        )  # fmt: skip
        self._voiced = None
        return Child("sound", sound_main, setup)

    def _start_camera(self) -> Child:
        setup = CameraSetup(
            self._open_camera, self.settings.is_clip, self._frames, self.settings.seconds, self._started,
            self._meter_memory, self.settings.urgency.below(20),
        )  # fmt: skip
        return Child("camera", camera_main, setup)

    def _until_ready(self, deck: _Deck, meanwhile: Callable[[], None]) -> None:
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
        deck, playing = self._deck, self.settings.playing
        if deck.facts is None or not self._sound.is_ready:
            return
        if self._voiced is deck:  # A model's process that was started again goes on in its old place.
            deck.station.tell("go")
            return
        crossfade_s = self.settings.crossfade_s if self._voiced is not None else 0.0
        plan = VoicePlan(
            deck.number,
            deck.scores,
            deck.manifest.grid_rate_hz,
            deck.manifest.synth,
            playing.seed,
            playing.fade_s,
            crossfade_s,
        )
        self._sound.tell("play", plan)

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
