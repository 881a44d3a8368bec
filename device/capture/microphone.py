"""The microphone's process: an input's sound into the ring. The card may go and come back; the ring goes on."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

from device.capture.intake import MICROPHONE, Intake
from device.core.errors import AudioError
from device.core.level import to_dbfs
from device.edges.audio_in import AudioInput
from device.engine.frame_bus import FrameBus
from device.engine.paced import Clock, MonotonicClock
from device.engine.process import Child, Part, PartEndedError, run_part
from device.engine.realtime import Urgency, be_urgent
from device.engine.shared import SharedArrays
from device.engine.sound_ring import SoundRing
from device.engine.station import Station

_log = logging.getLogger(__name__)

OpenInput = Callable[[float], AudioInput]
"""Opens the input, in its own process; a file's first sample is at the time that is given. Must be picklable."""

RETRY_S = 0.5
"""A card that is missing is looked for so often."""
LIVE_S = 1.0
"""An input that gave nothing for so long is not heard now."""
FIRST_FRAME_POLL_S = 0.002
LARGEST_LEAD_S = 0.5
"""A device that waits for nothing (ALSA's null) is held back when it has given so much more than time has passed."""


@dataclass(frozen=True)
class MicrophoneSetup:
    """What the microphone's process is given.

    Attributes
    ----------
    open_input : OpenInput
    ring : SoundRing
    said : SharedArrays
        Of `MICROPHONE`.
    frames : FrameBus or None
        The sound is a file's, and begins with the first frame of these.
    is_patient : bool
        Look for a card that is missing, or was lost, for ever.
    urgency : Urgency
    """

    open_input: OpenInput
    ring: SoundRing
    said: SharedArrays
    frames: FrameBus | None
    is_patient: bool
    urgency: Urgency


def microphone_process(part: Part, setup: MicrophoneSetup) -> None:
    """Open the input, say so, then hear it for ever, or to its end. The body of the process."""
    begin_s = time.monotonic() if setup.frames is None else _first_frame_s(setup.frames)
    part.say("ready", be_urgent(setup.urgency))
    Hearing(setup, MonotonicClock(), begin_s, lambda error: part.say("lost", error)).run()
    part.say("ended")


def _first_frame_s(frames: FrameBus) -> float:
    while (first := frames.read(0)) is None:
        time.sleep(FIRST_FRAME_POLL_S)
    return first.frame.time_s


class Hearing:
    """Reads an input as long as there is one, and lets the time pass in silence while there is none.

    Parameters
    ----------
    setup : MicrophoneSetup
    clock : Clock
    begin_s : float
        Time of a file's first sample.
    tell : callable
        Told, once for each, what keeps it from hearing, in one line.
    """

    def __init__(self, setup: MicrophoneSetup, clock: Clock, begin_s: float, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._setup = setup
        self._said = setup.said
        self._clock = clock
        self._begin_s = begin_s
        self._intake = Intake(setup.ring, setup.said)
        self._last_error = ""

    def run(self) -> None:
        """Hear until the end of a file.

        Raises
        ------
        AudioError
            The card is missing, and nobody is patient.
        """
        while True:
            self._said["last_turn_s"][0] = self._clock.now_s()
            try:
                with closing(self._setup.open_input(self._begin_s)) as source:
                    self._said["last_turn_s"][0] = self._clock.now_s()
                    self._hear(source)
                return
            except AudioError as error:
                self._lose(error)
            self._intake.pass_silently(self._clock.now_s())
            self._clock.wait(RETRY_S)

    def _hear(self, source: AudioInput) -> None:
        since_s, heard_s, n_overruns = self._clock.now_s(), 0.0, int(self._said["n_overruns"][0])
        while (piece := source.read()) is not None:
            now_s = self._clock.now_s()
            self._intake.take(piece, source.rate_hz, now_s)
            self._said["last_turn_s"][0] = now_s
            self._said["n_overruns"][0] = n_overruns + source.n_overruns
            if not self._said["is_live"][0]:
                self._said["is_live"][0] = 1
                if self._last_error:
                    _log.info("the sound card's input is there")
                self._last_error = ""
            heard_s += len(piece.samples) / source.rate_hz
            # A thousandth is a clock that is a little fast, however long it is heard.
            self._clock.wait(heard_s - (now_s - since_s) * 1.001 - LARGEST_LEAD_S)

    def _lose(self, error: AudioError) -> None:
        self._said["n_losses"][0] += self._said["is_live"][0]
        self._said["is_live"][0] = 0
        if not self._setup.is_patient:
            raise error
        if str(error) != self._last_error:
            _log.warning("%s; until then silence is recorded", error)
            self._tell(str(error))
        self._last_error = str(error)


def microphone_main(part: Part, setup: MicrophoneSetup) -> None:
    """Run the microphone's process."""
    run_part("microphone", part, lambda: microphone_process(part, setup))


class Microphone:
    """The parent's end of the microphone's process.

    Parameters
    ----------
    open_input : OpenInput
        Called in the microphone's process.
    ring : SoundRing
        What it fills.
    urgency : Urgency
    frames : FrameBus, optional
        Of a clip: a file's sound begins with its first frame.
    is_patient : bool
        Look for a card that is missing for ever, and start again what has failed.

    Attributes
    ----------
    ring : SoundRing
    is_over : bool
        Whether a file has come to its end.
    last_error : str
        Why the card was lost or its process given up last, in one line; empty when there was no trouble yet.
    """

    def __init__(
        self,
        open_input: OpenInput,
        ring: SoundRing,
        urgency: Urgency,
        *,
        frames: FrameBus | None = None,
        is_patient: bool = True,
    ) -> None:
        self.ring = ring
        self.is_over = False
        self.last_error = ""
        self._said = SharedArrays(MICROPHONE)
        self._is_patient = is_patient
        setup = MicrophoneSetup(open_input, ring, self._said, frames, is_patient, urgency)
        self._station = Station("microphone", lambda: Child("microphone", microphone_main, setup))

    def start(self) -> None:
        """Start the process; it hears as soon as there is a card."""
        self._station.start()

    def watch(self) -> None:
        """See that it goes on: start again what has ended or hangs.

        Raises
        ------
        DanceSamplerError
            What went wrong, unless it is patient.
        """
        for word, content in self._station.heard():
            if word == "ready":
                self._station.is_ready = True
            elif word == "ended":
                self.is_over = self._station.is_done = True
                self._said["is_live"][0] = 0
            elif word == "lost":
                self.last_error = str(content)
            elif word == "failed":
                self._give_up(content)
        if self._station.is_stuck(self._figure("last_turn_s"), not self.is_over):
            self._give_up(PartEndedError("the sound card's input hangs: unplug it and plug it in again"))
        self._station.start_if_due()

    def close(self) -> None:
        """End the process. May be called twice."""
        self._station.end()

    @property
    def children(self) -> list[Child]:
        """What runs, to be waited for."""
        return [] if self._station.child is None else [self._station.child]

    @property
    def pids(self) -> dict[str, int]:
        """Number of the process, while it runs."""
        return {child.name: child.pid for child in self.children}

    @property
    def n_restarts(self) -> int:
        """How often the process was started again."""
        return self._station.n_restarts

    @property
    def is_live(self) -> bool:
        """Whether a card or a file is heard now."""
        is_late = time.monotonic() - self._figure("last_block_s") > LIVE_S
        return bool(self._said["is_live"][0]) and not is_late

    @property
    def level_dbfs(self) -> float:
        """Peak of late; -120 in silence."""
        return to_dbfs(self._figure("peak"))

    @property
    def last_clipped_s(self) -> float:
        """When sound was last at full scale, CLOCK_MONOTONIC; 0: never."""
        return self._figure("last_clipped_s")

    @property
    def counts(self) -> dict[str, int]:
        """What was lost: 'n_overruns', 'n_input_losses', 'n_filled_samples' of silence in place of sound."""
        names = {"n_overruns": "n_overruns", "n_losses": "n_input_losses", "n_filled": "n_filled_samples"}
        return {name: int(self._said[each][0]) for each, name in names.items()}

    def _figure(self, name: str) -> float:
        return float(self._said[name][0])

    def _give_up(self, error: object) -> None:
        assert isinstance(error, Exception)  # noqa: S101 - that is what a part sends
        self._said["is_live"][0] = 0
        if not self._is_patient:
            raise error
        if str(error) != self.last_error:
            _log.warning("%s; it is tried again", error)
        self.last_error = str(error)
        self._station.try_again_later(str(error))
