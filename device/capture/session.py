"""One take without the rest of the box: a camera, an input and a recorder, from the first frame to the end."""

from __future__ import annotations

import time
from dataclasses import dataclass

from device.capture.microphone import Microphone, OpenInput
from device.capture.recorder import News, Recorder
from device.capture.recording import TakeSettings
from device.core.errors import AudioError, CameraError, DanceSamplerError, TakeError
from device.engine.camera_process import CameraSetup, OpenCamera, camera_main
from device.engine.frame_bus import FrameBus
from device.engine.performance import Meter, meter_layout
from device.engine.process import Child, wait_for_any
from device.engine.realtime import Urgency
from device.engine.shared import Bell, SharedArrays
from device.engine.sound_ring import SoundRing
from device.engine.station import Station

POLL_S = 0.05
READY_S = 30.0
"""A camera or an input that has given nothing by then is given up."""
AHEAD_S = 0.5
"""An end that is known is told so long before."""
SAVE_S = 60.0
"""A disk that has not taken the end of a take by then is given up."""


@dataclass(frozen=True)
class SessionSettings:
    """How a take is recorded.

    Attributes
    ----------
    take : TakeSettings
    rate_hz, period : int
        Of the sound.
    urgency : Urgency
        Of the input; the camera comes after it.
    is_clip : bool
        The camera is a video, shown in time.
    is_file : bool
        The sound is a file's, heard in time from the first frame on.
    seconds : float or None
        Length at which the take ends.
    """

    take: TakeSettings
    rate_hz: int
    period: int
    urgency: Urgency
    is_clip: bool
    is_file: bool
    seconds: float | None = None


class Session:
    """Records one take.

    Parameters
    ----------
    open_camera : OpenCamera
    open_input : OpenInput
    settings : SessionSettings

    Notes
    -----
    One thread, which calls `start`, then `watch` until `saved` is there.
    """

    def __init__(self, open_camera: OpenCamera, open_input: OpenInput, settings: SessionSettings) -> None:
        self.saved: News | None = None
        self.begin_s: float | None = None
        self._settings = settings
        self._open_camera = open_camera
        motion, urgency = settings.take.motion, settings.urgency
        self._frames = FrameBus(motion.height, motion.width, ())
        self._meter_memory = SharedArrays(meter_layout())
        self._meter = Meter(settings.rate_hz, self._meter_memory)
        self._camera = Station("camera", self._start_camera)
        ring = SoundRing(settings.rate_hz, settings.period)
        first_frame = self._frames if settings.is_file else None
        self.microphone = Microphone(open_input, ring, urgency, frames=first_frame, is_patient=False)
        self._recorder = Recorder(self._frames, self.microphone, settings.take, self._counts)
        self._deadline_s = 0.0
        self._trouble: DanceSamplerError | None = None
        self._is_ending = False

    def start(self) -> None:
        """Start all processes; the take begins with the first frame, as soon as there is sound."""
        self._deadline_s = time.monotonic() + READY_S
        self._recorder.open()
        self.microphone.start()
        self._camera.start()

    @property
    def recorded_s(self) -> float:
        """Length so far, in seconds."""
        return 0.0 if self.begin_s is None else max(0.0, time.monotonic() - self.begin_s)

    def watch(self) -> None:
        """Wait a moment, and do what is due.

        Raises
        ------
        DanceSamplerError
            What went wrong, once what was recorded by then is saved.
        """
        children = [*self.microphone.children, *self._recorder.children]
        wait_for_any([*children, *([self._camera.child] if self._camera.child else [])], POLL_S)
        try:
            self._watch_camera()
            self.microphone.watch()
        except DanceSamplerError as error:
            self._end_for(error)
        for news in self._recorder.watch():
            self._on_news(news)
        if self.begin_s is None:
            self._begin_if_ready()
        elif not self._is_ending:
            self._end_if_due()
        elif time.monotonic() > self._deadline_s:
            raise TakeError("the disk does not take the take's end: look at the log, then at the card")

    def stop(self, end_s: float | None = None) -> None:
        """End the take now, or at a time."""
        if self.begin_s is None:
            raise self._trouble or TakeError("nothing was recorded: it was stopped before there were frames and sound")
        if not self._is_ending:
            self._is_ending = True
            self._deadline_s = max(time.monotonic(), end_s or 0.0) + SAVE_S
            self._recorder.stop(end_s)

    def close(self) -> None:
        """End all processes."""
        for each in (self._recorder, self.microphone):
            each.close()
        self._camera.end()

    def _start_camera(self) -> Child:
        setup = CameraSetup(
            self._open_camera, self._settings.is_clip, self._frames, None, Bell(), self._meter_memory,
            self._settings.urgency.below(10),
        )  # fmt: skip
        return Child("camera", camera_main, setup)

    def _counts(self) -> dict[str, int]:
        return {name: self._meter.count(name) for name in ("n_dropped_frames", "n_bad_frames")}

    def _watch_camera(self) -> None:
        for word, content in self._camera.heard():
            if word == "failed":
                raise content
            if word == "ready":
                self._camera.is_ready = True
                self._camera.tell("go")
            elif word == "ended":
                self._on_last_frame(float(str(content)))
        last_s = self._meter.time_s("last_frame_s")
        if self.begin_s is not None and not self._camera.is_done and self._camera.is_stuck(last_s, could_move=True):
            raise CameraError("the camera gives no frames: check its cable")

    def _on_last_frame(self, duration_s: float) -> None:
        self._camera.is_done = True
        if not self._settings.is_clip:
            raise CameraError("the camera gives no more frames: check its cable")
        if duration_s == 0.0:
            raise CameraError("the camera gave no frame: check the clip or the camera")
        first = self._frames.read(0)
        if self.begin_s is None and first is None:
            raise AudioError("the clip was over before there was sound: check the sound card's input")
        self.stop(None if self.begin_s is None else self.begin_s + duration_s)

    def _begin_if_ready(self) -> None:
        first = self._frames.read(0) if self._frames.n_put else None
        if self._frames.n_put and self.microphone.is_live:
            self.begin_s = time.monotonic() if first is None or not self._is_timed_by_file() else first.frame.time_s
            self._recorder.start(self.begin_s)
        elif time.monotonic() > self._deadline_s:
            missing = "frames" if not self._frames.n_put else "sound"
            raise TakeError(f"there are no {missing} after {READY_S:g} s: check the camera and the sound card's input")

    def _is_timed_by_file(self) -> bool:
        return self._settings.is_clip or self._settings.is_file

    def _end_if_due(self) -> None:
        assert self.begin_s is not None  # noqa: S101 - it has begun
        # Ahead of the time, so that nothing has been written that lies behind it.
        if self._settings.seconds is not None and self.recorded_s >= self._settings.seconds - AHEAD_S:
            self.stop(self.begin_s + self._settings.seconds)
        elif self.microphone.is_over:
            ring = self.microphone.ring
            self.stop(ring.time_s(ring.n_blocks - 1) + ring.block / ring.rate_hz)

    def _end_for(self, error: DanceSamplerError) -> None:
        """Save what there is before saying what went wrong."""
        if self.begin_s is None:
            raise error
        self._trouble = self._trouble or error
        self.stop()

    def _on_news(self, news: News) -> None:
        if news.word == "failed":
            raise self._trouble or TakeError(news.reason)
        if news.word == "must_stop":
            self.stop()
        if news.word == "saved":
            self.saved = news
            if self._trouble is not None:
                raise self._trouble
