"""Who plays: the engine's processes, the memory and the doorbells that they share, and how each of them is started."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from device.core.bundle import Manifest
from device.core.limiter import PEAK_DB, amplitude
from device.core.room_profile import RoomProfile, RoomSettings
from device.engine.camera_process import CameraSetup, OpenCamera, camera_main
from device.engine.frame_bus import FrameBus
from device.engine.model_process import ModelFacts, ModelSetup, Playing, check_frames, model_main
from device.engine.performance import Meter, meter_layout
from device.engine.player import n_steps_of
from device.engine.process import Child
from device.engine.realtime import Urgency
from device.engine.scores import score_layout
from device.engine.shared import Bell, SharedArrays
from device.engine.sound_process import CONTROL, ListeningPlan, OpenOutput, SoundSetup, VoicePlan, sound_main
from device.engine.station import Station
from device.engine.tape import Tape, tape_layout
from device.models.bundles import read_manifest


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
class Deck:
    """A model that plays, or is to."""

    number: int
    bundle: Path
    manifest: Manifest
    scores: SharedArrays
    station: Station
    facts: ModelFacts | None = None


class Crew:
    """The processes of the engine and what lies between them.

    Parameters
    ----------
    open_camera : OpenCamera
        Called in the camera's process.
    open_output : OpenOutput
        Called in the sound's process.
    settings : LiveSettings
    keeps_tape : bool
        Whether columns and sound are kept, for a report.
    listening : ListeningPlan, optional
        What comes in, and what is heard when it is listened to.

    Attributes
    ----------
    frames : FrameBus
        What the camera sees; one camera's process after another.
    control : SharedArrays
        What the sound's process is told while it plays.
    meter : Meter
        All counts, at any time.
    tape : Tape or None
    """

    def __init__(
        self,
        open_camera: OpenCamera,
        open_output: OpenOutput,
        settings: LiveSettings,
        *,
        keeps_tape: bool,
        listening: ListeningPlan | None,
    ) -> None:
        self._settings, self._listening = settings, listening
        self._open_camera, self._open_output = open_camera, open_output
        self._bells = (Bell(), Bell())
        self._started = Bell()
        self.frames = FrameBus(settings.height, settings.width, self._bells)
        self.control = SharedArrays(CONTROL)
        self._meter_memory = SharedArrays(meter_layout())
        self.meter = Meter(settings.rate_hz, self._meter_memory)
        layout = tape_layout(settings.height + settings.width, settings.rate_hz)
        self._tape_memory = SharedArrays(layout) if keeps_tape else None
        self.tape = None if self._tape_memory is None else Tape(self._tape_memory, settings.rate_hz)

    def deck(self, bundle: Path, number: int, room: Callable[[], RoomProfile | None]) -> Deck:
        """Make what plays a bundle; its process starts with what is known of the room by then.

        Raises
        ------
        BundleError
            Its manifest cannot be read, or it was made for frames of another size.
        """
        manifest, playing = read_manifest(bundle), self._settings.playing
        check_frames(bundle, self.frames, (manifest.motion.height, manifest.motion.width))
        scores = SharedArrays(score_layout(manifest.n_bins, n_steps_of(manifest, playing.mode)))
        bell = self._bells[number % len(self._bells)]

        def launch() -> Child:
            setup = ModelSetup(
                bundle, playing, self.frames, bell, scores, self._settings.room, room(), self._meter_memory,
                self._tape_memory, self._settings.urgency.below(10),
            )  # fmt: skip
            return Child("model", model_main, setup)

        return Deck(number, bundle, manifest, scores, Station("model", launch))

    def start_sound(self) -> Child:
        """Start the sound's process."""
        started = self._started if self._settings.is_clip else None
        setup = SoundSetup(
            self._open_output, started, self.control, self._meter_memory, self._tape_memory,
            self._settings.peak, self._settings.urgency, self._listening,
        )  # fmt: skip
        return Child("sound", sound_main, setup)

    def start_camera(self) -> Child:
        """Start the camera's process."""
        setup = CameraSetup(
            self._open_camera, self._settings.is_clip, self.frames, self._settings.seconds, self._started,
            self._meter_memory, self._settings.urgency.below(20),
        )  # fmt: skip
        return Child("camera", camera_main, setup)

    def plan(self, deck: Deck, crossfade_s: float) -> VoicePlan:
        """Say to the sound's process how this deck is heard."""
        playing, manifest = self._settings.playing, deck.manifest
        return VoicePlan(
            deck.number, deck.scores, manifest.grid_rate_hz, manifest.synth, playing.seed, playing.fade_s, crossfade_s
        )
