"""The model's process: frames in, scores out. A new model gets a process of its own beside the old one's."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from device.core.errors import BundleError
from device.core.room import RoomMotiongram
from device.core.room_profile import RoomProfile, RoomSettings
from device.edges.model import SpectrumModel
from device.engine.frame_bus import Arrival, FrameBus
from device.engine.performance import Meter
from device.engine.player import Player, n_steps_of
from device.engine.process import Part, run_part
from device.engine.realtime import Urgency, be_urgent, freeze_garbage
from device.engine.scores import SharedScores
from device.engine.shared import Bell, SharedArrays
from device.engine.tape import Tape
from device.models.bundles import Bundle, load_bundle

N_WARM_UPS = 20
LONGEST_WAIT_S = 0.1
ROOM_PERIOD_S = 60.0
"""What was learned of the room is told so often, for the next model to start with."""


@dataclass(frozen=True)
class Playing:
    """How a bundle is played.

    Attributes
    ----------
    variant, runtime : str
        See `load_bundle`.
    mode : str
        'stream' or 'segment'.
    temperature : float or None
        None: the bundle's own.
    seed : int
    noise_time_s, hold_s : float
        See `Player`.
    fade_s : float
        See `Voice`.
    """

    variant: str
    runtime: str
    mode: str
    temperature: float | None
    seed: int
    noise_time_s: float
    hold_s: float
    fade_s: float


@dataclass(frozen=True)
class ModelSetup:
    """What a model's process is given.

    Attributes
    ----------
    bundle : Path
    playing : Playing
    frames : FrameBus
    bell : Bell
        Rung when there is a frame.
    scores : SharedArrays
        Of `score_layout`, for this bundle.
    room : RoomSettings
        How the room is learned.
    profile : RoomProfile or None
        What is known of it.
    meter : SharedArrays
        Of `meter_layout`.
    tape : SharedArrays or None
        Of `tape_layout`.
    urgency : Urgency
    """

    bundle: Path
    playing: Playing
    frames: FrameBus
    bell: Bell
    scores: SharedArrays
    room: RoomSettings
    profile: RoomProfile | None
    meter: SharedArrays
    tape: SharedArrays | None
    urgency: Urgency


@dataclass(frozen=True)
class ModelFacts:
    """What is known of a model that plays.

    Attributes
    ----------
    name : str
    version : int
    variant, runtime : str
    temperature : float
    golden_error : float
        Largest absolute error on the golden examples.
    notes : list of str
        What the system did not allow.
    """

    name: str
    version: int
    variant: str
    runtime: str
    temperature: float
    golden_error: float
    notes: list[str]


def model_process(part: Part, setup: ModelSetup) -> None:
    """Load, check and warm the model, say 'ready', then play every frame; count from 'go' on. The process's body."""
    bundle = load_bundle(setup.bundle, setup.playing.variant, setup.playing.runtime)
    runner = Runner(bundle, setup)
    warm_up(bundle.model)
    runner.catch_up()
    notes = be_urgent(setup.urgency)
    freeze_garbage()
    part.say("ready", facts_of(bundle, setup.playing.temperature, notes))
    told_s = time.monotonic()
    while True:
        setup.bell.wait(LONGEST_WAIT_S, part.connection)
        if part.connection.poll() and part.hear()[0] == "go":
            runner.is_counted = True
        runner.play_newest()
        if runner.is_counted and time.monotonic() - told_s > ROOM_PERIOD_S:
            part.say("room", runner.room.profile)
            told_s = time.monotonic()


class Runner:
    """Plays the frames of a bus with a bundle: the newest at once, what was missed meanwhile only as its past.

    Parameters
    ----------
    bundle : Bundle
    setup : ModelSetup

    Attributes
    ----------
    is_counted : bool
        Whether this is the model that is heard: two at once must not count.
    room : RoomMotiongram
        Makes the columns.

    Raises
    ------
    BundleError
        The memory for the scores, or the frames, are of other sizes than the bundle's.
    """

    def __init__(self, bundle: Bundle, setup: ModelSetup) -> None:
        manifest, playing = bundle.manifest, setup.playing
        needed = (n_steps_of(manifest, playing.mode), manifest.n_bins)
        check_frames(setup.bundle, setup.frames, (manifest.motion.height, manifest.motion.width))
        if setup.scores["spectra"].shape[1:] != needed:
            raise BundleError(f"bundle {setup.bundle} was changed while it was loaded: load it again")
        self.is_counted = False
        self.room = RoomMotiongram(manifest.motion, setup.profile, setup.room)
        self.player = Player(
            manifest,
            bundle.model,
            playing.mode,
            manifest.temperature if playing.temperature is None else playing.temperature,
            playing.seed,
            noise_time_s=playing.noise_time_s,
            hold_s=playing.hold_s,
            scores=SharedScores(setup.scores, manifest.grid_rate_hz, time.monotonic),
            motiongram=self.room,
        )
        self._frames = setup.frames
        self._meter = Meter(manifest.rate_hz, setup.meter)
        self._tape = None if setup.tape is None else Tape(setup.tape, manifest.rate_hz)
        self._next = 0

    def catch_up(self) -> None:
        """See what lies behind, without a sound: the first frame to come finds a whole window."""
        for arrival in self._frames.read_from(0):
            self._play(arrival, is_heard=False)

    def play_newest(self) -> None:
        """Play the newest frame, if there is one, and remember those before it."""
        arrivals = self._frames.read_from(self._next)
        for arrival in arrivals:
            self._play(arrival, is_heard=arrival is arrivals[-1])

    def _play(self, arrival: Arrival, is_heard: bool) -> None:
        self._next = arrival.serial + 1
        started_s = time.thread_time()
        frame = arrival.frame
        column = self.player.see(frame).column
        seen_s = time.monotonic()
        self.player.on_column(column, frame.time_s, arrival.arrival_s, is_heard=is_heard)
        if not self.is_counted:
            return
        played_s = time.monotonic()
        self._meter.set("last_model_s", played_s)
        self._meter.set("n_bad_spectra", self.player.n_bad_spectra)
        self._meter.add("motion", float(column.mean()))
        self._meter.count_frame(time.thread_time() - started_s)
        if self._tape is not None:
            self._tape.add_column(column, frame.time_s)
        if not is_heard:
            self._meter.add("n_skipped_frames", 1)
            return
        self._meter.add_stage("motion", seen_s - arrival.arrival_s)
        self._meter.add_stage("model", played_s - seen_s)


def check_frames(bundle: Path, frames: FrameBus, shape: tuple[int, int]) -> None:
    """Raise BundleError unless a bundle is for frames of this size."""
    if shape != frames.shape:
        raise BundleError(
            f"bundle {bundle} is for pictures of {shape[1]} x {shape[0]}, the camera gives {frames.shape[1]} x "
            f"{frames.shape[0]}: set camera.width and camera.height to the bundle's"
        )


def warm_up(model: SpectrumModel) -> None:
    """Run a model a few times: its first runs are slow."""
    motion = np.zeros((model.n_columns, model.n_features), np.float32)
    for _ in range(N_WARM_UPS):
        model.run(motion, np.zeros(model.n_latent, np.float32), 1.0)


def facts_of(bundle: Bundle, temperature: float | None, notes: Sequence[str] = ()) -> ModelFacts:
    """Put together what is known of a model; a temperature of None is the bundle's own."""
    manifest = bundle.manifest
    return ModelFacts(
        name=manifest.name,
        version=manifest.version,
        variant=bundle.model.variant,
        runtime=bundle.model.runtime,
        temperature=manifest.temperature if temperature is None else temperature,
        golden_error=bundle.golden_error,
        notes=list(notes),
    )


def model_main(part: Part, setup: ModelSetup) -> None:
    """Run a model's process."""
    run_part("model", part, lambda: model_process(part, setup))
