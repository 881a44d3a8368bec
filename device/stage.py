"""The real clock: a model thread that waits for the camera, an audio thread that waits for the card."""

from __future__ import annotations

import gc
import math
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from device.core.errors import AudioError, CameraError
from device.core.timeline import Timeline
from device.desk import TAIL_S, Desk, Progress
from device.edges.audio import AudioOutput
from device.edges.camera import Camera
from device.paced import Clock, MonotonicClock, PacedOutput
from device.performance import Performance, Tape
from device.voice import Voice

SWITCH_INTERVAL_S = 0.0005
"""CPython hands its lock over every 5 ms: two blocks. The audio thread must not wait that long for the model thread."""
HUNG_S = 2.0
"""A card that takes no block for so long is given up."""
LARGEST_LEAD_S = 0.5
"""A device that waits for nothing (ALSA's null) is held back when it has taken so much more than was played."""


def run_real(
    camera: Camera,
    voice: Voice,
    output: AudioOutput,
    *,
    seconds: float | None = None,
    tape: Tape | None = None,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
    clock: Clock | None = None,
) -> Performance:
    """Play a camera in time; the sound begins with the first frame.

    Parameters
    ----------
    camera : Camera
        Its frames carry the times of `clock` (a video does in a `PacedCamera`).
    voice : Voice
        With its player.
    output : AudioOutput
        Waits as a card does (a file does in a `PacedOutput`).
    seconds : float, optional
        Frames from this time on after the first are left out.
    tape : Tape, optional
        Keeps columns and sound for a report.
    progress : callable, optional
        Told the seconds played, ten times a second.
    stop : threading.Event, optional
        Ends the performance early, with a short fade.
    clock : Clock, optional
        CLOCK_MONOTONIC.

    Returns
    -------
    Performance

    Raises
    ------
    CameraError, ModelError, AudioError
        What ended the performance; a card that takes no block for 2 s is an AudioError too.
    """
    stop = stop or threading.Event()
    stage = _Stage(camera, Desk(voice, output, tape), seconds, stop, clock or MonotonicClock())
    with _undisturbed():
        stage.play(progress)
    return stage.performance()


class _Stage:
    """The threads and what they share. `_n_total` is written by the model thread, `_desk.n_samples` by the other."""

    def __init__(self, camera: Camera, desk: Desk, seconds: float | None, stop: threading.Event, clock: Clock) -> None:
        self._camera = camera
        self._desk = desk
        self._seconds = seconds
        self._stop = stop
        self._clock = clock
        self._timeline = Timeline()
        self._started = threading.Event()
        self._n_total = math.inf if seconds is None else round((seconds + TAIL_S) * desk.output.rate_hz)
        self._errors: list[BaseException] = []

    def play(self, progress: Progress | None) -> None:
        """Start the threads, wait for them, raise what went wrong in them. Main thread."""
        audio = threading.Thread(target=self._guarded, args=(self._play_sound,), name="audio", daemon=True)
        model = threading.Thread(target=self._guarded, args=(self._play_frames,), name="model", daemon=True)
        audio.start()
        model.start()
        try:
            self._watch(audio, progress)
        finally:
            self._stop.set()
            # A camera that hangs is left behind: the thread is a daemon.
            model.join(HUNG_S)
        if self._errors:
            raise self._errors[0]

    def performance(self) -> Performance:
        """Sum up; only after `play`."""
        return self._desk.performance(self._timeline)

    def _watch(self, audio: threading.Thread, progress: Progress | None) -> None:
        n_before, since_s = -1, 0.0
        while audio.is_alive():
            audio.join(0.1)
            n, now_s = self._desk.n_samples, self._clock.now_s()
            if n != n_before or not self._started.is_set():
                n_before, since_s = n, now_s
            elif now_s - since_s > HUNG_S and audio.is_alive():
                raise AudioError(f"the sound card takes no more blocks (none for {HUNG_S:g} s): plug it in again")
            if progress is not None:
                progress(n / self._desk.output.rate_hz)

    def _guarded(self, body: Callable[[], None]) -> None:
        try:
            body()
        except BaseException as error:  # noqa: BLE001 - raised again in the main thread
            self._errors.append(error)
            self._stop.set()
        finally:
            self._started.set()

    def _play_frames(self) -> None:
        """From the camera to the news; after the last frame, set where the sound ends. Model thread."""
        first_s = None
        while not self._stop.is_set() and (frame := self._camera.read()) is not None:
            arrival_s = self._clock.now_s()
            time_s = self._timeline.steady(frame.time_s)
            if time_s is None:
                continue
            first_s = time_s if first_s is None else first_s
            if self._seconds is not None and time_s - first_s >= self._seconds - 1e-9:
                break
            self._started.set()
            self._desk.take_event(frame, time_s, arrival_s)
        if first_s is None and not self._stop.is_set():
            raise CameraError("the camera gave no frame: check the clip or the camera")
        self._n_total = self._desk.n_at_end(self._timeline, self._seconds)

    def _play_sound(self) -> None:
        """From the news to the card, until the end, or until the end of a short fade after a stop. Audio thread."""
        desk, output = self._desk, self._desk.output
        self._started.wait()
        begin_s = self._clock.now_s()
        n_faded = math.inf
        while True:
            if n_faded == math.inf and self._stop.is_set():
                n_faded = desk.release()
            n_lost = 0
            if isinstance(output, PacedOutput):
                # Time that was lost has passed all the same, and may be lost at the very end.
                n_lost, output.n_most = output.n_lost, self._n_total
            n = int(min(output.period, self._n_total - n_lost - desk.n_samples, n_faded - desk.n_samples))
            if n <= 0:
                return
            block, news = desk.make_block(n)
            desk.hand_over(block)
            now_s = self._clock.now_s()
            if news is not None:
                # The card's buffer is full now, and this block is the last in it.
                queued_s = max(0, output.buffer - n) / output.rate_hz
                desk.count_latency(now_s - news.arrival_s, now_s + queued_s - news.score.begins_s)
            ahead_s = (desk.n_samples - output.buffer) / output.rate_hz - (now_s - begin_s)
            self._clock.wait(ahead_s - LARGEST_LEAD_S)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """No garbage collection, and quick hand-overs between threads."""
    interval_s, was_enabled = sys.getswitchinterval(), gc.isenabled()
    gc.collect()
    gc.freeze()
    gc.disable()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    try:
        yield
    finally:
        sys.setswitchinterval(interval_s)
        gc.unfreeze()
        if was_enabled:
            gc.enable()
