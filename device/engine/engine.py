"""The engine: a player and a mixer, run here by a virtual clock.

The virtual clock and the real one do the same for a frame (`Player.see`, `Player.on_column`) and for a block
(`Mixer.fill`); they differ in who waits. Under the virtual clock nobody does: blocks are made in the order in which a
card with this buffer would have asked for them, so that the sound hangs on nothing but its input. The real clock, with
its processes, is in `device.engine.live`.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from device.core.errors import CameraError, ConfigError
from device.core.frame import Frame
from device.core.limiter import PEAK_DB, amplitude
from device.core.synth import Synth
from device.core.timeline import Timeline
from device.edges.audio import AudioOutput
from device.edges.camera import Camera
from device.edges.model import Float32
from device.engine.mixer import Mixer
from device.engine.performance import Meter, Performance
from device.engine.player import Player, PlayerSettings
from device.engine.tape import Tape
from device.engine.voice import Voice

__all__ = [
    "Performance",
    "Player",
    "PlayerSettings",
    "Tape",
    "Voice",
    "camera_frames",
    "n_at_end",
    "play_virtual",
    "run_virtual",
]

Event = Frame | tuple[Float32, float]
"""A frame, or a column with its time."""
Progress = Callable[[float], None]
"""Told now and then how many seconds have been played."""

TAIL_S = 1.0
"""The sound goes on this long after the last frame's end."""


def n_at_end(duration_s: float, seconds: float | None, rate_hz: int) -> int:
    """Count the samples of a whole performance: as long as its frames, cut at `seconds`, and `TAIL_S` more."""
    return round(((duration_s if seconds is None else min(duration_s, seconds)) + TAIL_S) * rate_hz)


def camera_frames(camera: Camera) -> Iterator[Frame]:
    """Give all frames of a camera, to the last."""
    while (frame := camera.read()) is not None:
        yield frame


def run_virtual(
    events: Iterable[Event],
    player: Player,
    voice: Voice,
    output: AudioOutput,
    *,
    seconds: float | None = None,
    tape: Tape | None = None,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
    peak: float = amplitude(PEAK_DB),
) -> Performance:
    """Play events as fast as possible.

    Block k, samples k * period and on, is made of exactly the frames up to k * period - buffer samples after the
    first: sample 0 is the time of the first frame, and each frame is heard the buffer and at most one period later.

    Parameters
    ----------
    events : iterable of Frame or of (column, time_s)
        Columns are shape (height + width,), float32.
    player : Player
    voice : Voice
        Of the player's scores.
    output : AudioOutput
        Where the sound goes; its `period` and `buffer` count. A card that waits sets the pace, nothing else.
    seconds : float, optional
        Frames from this time on after the first are left out.
    tape : Tape, optional
        Keeps columns and sound for a report.
    progress : callable, optional
        Told the seconds played, for each frame.
    stop : threading.Event, optional
        Ends the performance early, with a short fade.
    peak : float
        See `Mixer`.

    Returns
    -------
    Performance
        `frame_to_sound` is exact here; `engine` is the wall-clock time that the work took.

    Raises
    ------
    ConfigError
        The buffer is longer than what is heard after the last frame.
    CameraError
        There was no frame.
    """
    rate_hz, buffer = output.rate_hz, output.buffer
    if buffer >= TAIL_S * rate_hz:
        raise ConfigError(
            f"an audio buffer of {buffer / rate_hz:g} s is as long as the sound after the last frame: "
            "set audio.period or audio.n_periods lower"
        )
    stop = stop or threading.Event()
    desk, timeline = _Desk(voice, output, tape, peak), Timeline()
    timed = _timed(events, timeline, seconds)
    following = next(timed, None)
    if following is None:
        raise CameraError("the camera gave no frame: check the clip or the camera")
    first_s = following[1]
    while following is not None and not stop.is_set():
        event, time_s = following
        # A thousandth of a sample early: rounding must not cost a block.
        desk.play_until(first_s, math.ceil((time_s - first_s) * rate_hz - 1e-3) + buffer, stop)
        # Before this frame is taken, for the time that the camera needs is none of the engine's.
        following = next(timed, None)
        _take(event, time_s, player, desk.meter, tape)
        if progress is not None:
            progress(desk.n_samples / rate_hz)
    desk.play_until(first_s, n_at_end(timeline.duration_s, seconds, rate_hz), stop, exactly=True)
    if stop.is_set():
        desk.play_until(first_s, desk.n_samples + desk.mixer.release(), threading.Event(), exactly=True)
    desk.meter.set("n_dropped_frames", timeline.n_dropped)
    desk.meter.set("n_bad_spectra", player.n_bad_spectra)
    desk.meter.set("n_xruns", output.n_xruns)
    return desk.meter.performance()


def play_virtual(
    player: Player, synth: Synth, events: Iterable[Event], period: int = 128, buffer: int = 384, fade_s: float = 0.18
) -> tuple[Float32, Performance]:
    """Play events into memory: what `run_virtual` would have written to a file.

    Parameters
    ----------
    player : Player
    synth : Synth
    events : iterable of Frame or of (column, time_s)
        Columns are shape (height + width,), float32.
    period, buffer : int
        Samples; the sound is `buffer` late.
    fade_s : float
        See `Voice`.

    Returns
    -------
    sound : np.ndarray, shape (n_samples,), float32
        Sample 0 is the time of the first event.
    performance : Performance
    """
    output = _Memory(synth.settings.rate_hz, period, buffer)
    performance = run_virtual(events, player, Voice(player.scores, synth, fade_s), output)
    return np.concatenate(output.blocks), performance


def _timed(events: Iterable[Event], timeline: Timeline, seconds: float | None) -> Iterator[tuple[Event, float]]:
    """Give the events that can be played, with the times to go by."""
    first_s = None
    for event in events:
        time_s = timeline.steady(event.time_s if isinstance(event, Frame) else event[1])
        if time_s is None:
            continue
        first_s = time_s if first_s is None else first_s
        if seconds is not None and time_s - first_s >= seconds - 1e-9:
            return
        yield event, time_s


def _take(event: Event, time_s: float, player: Player, meter: Meter, tape: Tape | None) -> None:
    """Go from a frame, or its column, to the news."""
    arrival_s, started_s = time.perf_counter(), time.thread_time()
    column = player.see(Frame(event.grey, time_s)).column if isinstance(event, Frame) else event[0]
    player.on_column(column, time_s, arrival_s)
    meter.count_frame(time.thread_time() - started_s)
    if tape is not None:
        tape.add_column(column, time_s)


class _Desk:
    """A mixer and an output, with their counts."""

    def __init__(self, voice: Voice, output: AudioOutput, tape: Tape | None, peak: float) -> None:
        self.meter = Meter(output.rate_hz)
        self.mixer = Mixer(output.rate_hz, peak)
        self.mixer.take_over(voice)
        self.n_samples = 0
        self._output = output
        self._tape = tape
        self._block = np.zeros(output.period, np.float32)

    def play_until(self, first_s: float, n_end: int, stop: threading.Event, exactly: bool = False) -> None:
        """Play whole blocks, up to and over a count of samples, or up to it exactly."""
        while self.n_samples < n_end and not stop.is_set():
            self._play(min(len(self._block), n_end - self.n_samples) if exactly else len(self._block), first_s)

    def _play(self, n: int, first_s: float) -> None:
        block, started_s = self._block[:n], time.thread_time()
        news = self.mixer.fill(block)
        self.meter.count_block(n, time.thread_time() - started_s)
        if news is not None:
            heard_s = first_s + self.n_samples / self.mixer.rate_hz
            self.meter.count_latency(time.perf_counter() - news.arrival_s, heard_s - news.score.begins_s)
        if self._tape is not None:
            self._tape.add_sound(block)
        self._output.write(block)
        self.n_samples += n


class _Memory:
    """An output that keeps what it is given."""

    def __init__(self, rate_hz: int, period: int, buffer: int) -> None:
        self.rate_hz = rate_hz
        self.period = period
        self.buffer = buffer
        self.n_xruns = 0
        self.blocks: list[Float32] = []

    def wait(self) -> None:
        """Return at once."""

    def write(self, block: Float32) -> None:
        """Keep a copy."""
        self.blocks.append(block.copy())

    def close(self) -> None:
        """Do nothing."""
