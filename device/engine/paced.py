"""Real time for what has none of its own: a video's frames at their times, a file's blocks as by a card."""

from __future__ import annotations

import dataclasses
import math
import threading
import time
from collections.abc import Callable
from typing import Protocol

import numpy as np

from device.core.errors import UsageError
from device.core.frame import Frame
from device.core.timeline import Timeline
from device.edges.audio import AudioOutput
from device.edges.audio_in import AudioInput, Piece
from device.edges.camera import Camera
from device.edges.model import Float32

# Who waits for room looks this often whether it should stop.
LONGEST_WAIT_S = 0.1


class Clock(Protocol):
    """A clock that can be waited on."""

    def now_s(self) -> float:
        """Seconds; never goes back."""

    def wait(self, duration_s: float) -> None:
        """Wait; returns at once for zero and less."""


class MonotonicClock:
    """CLOCK_MONOTONIC.

    Parameters
    ----------
    stop : threading.Event, optional
        A wait ends early when it is set.
    """

    def __init__(self, stop: threading.Event | None = None) -> None:
        self._stop = stop or threading.Event()

    def now_s(self) -> float:
        """Seconds of CLOCK_MONOTONIC."""
        return time.monotonic()

    def wait(self, duration_s: float) -> None:
        """Wait, or until stopped."""
        if duration_s > 0.0:
            self._stop.wait(duration_s)


class PacedCamera:
    """Lets each frame of a video go at its own time; the first at once.

    Parameters
    ----------
    camera : Camera
        A video, which gives frames as fast as it is asked.
    clock : Clock
        On which the frames it gives are timed.
    """

    def __init__(self, camera: Camera, clock: Clock) -> None:
        self._camera = camera
        self._clock = clock
        self._timeline = Timeline()
        self._offset_s: float | None = None

    def read(self) -> Frame | None:
        """Wait for the next frame; None after the last.

        Raises
        ------
        CameraError
            As the video's own `read` does.
        """
        while (frame := self._camera.read()) is not None:
            time_s = self._timeline.steady(frame.time_s)
            if time_s is None:
                continue
            if self._offset_s is None:
                self._offset_s = self._clock.now_s() - time_s
            due_s = time_s + self._offset_s
            self._clock.wait(due_s - self._clock.now_s())
            return dataclasses.replace(frame, time_s=due_s)
        return None

    def close(self) -> None:
        """Close the video."""
        self._camera.close()


class EndlessClip:
    """A video over and over, its times going on: for a box that has no camera.

    Parameters
    ----------
    open_clip : callable
        Opens the video, which gives frames as fast as it is asked.
    """

    def __init__(self, open_clip: Callable[[], Camera]) -> None:
        self._open_clip = open_clip
        self._camera = open_clip()
        self._offset_s = self._last_s = self._step_s = 0.0

    def read(self) -> Frame | None:
        """Give the next frame; None if there is none at all."""
        frame = self._camera.read()
        if frame is None:
            self._camera.close()
            self._camera = self._open_clip()
            if (frame := self._camera.read()) is None:
                return None
            self._offset_s = self._last_s + self._step_s - frame.time_s
        time_s = frame.time_s + self._offset_s
        self._step_s, self._last_s = time_s - self._last_s, time_s
        return dataclasses.replace(frame, time_s=time_s)

    def close(self) -> None:
        """Close the video."""
        self._camera.close()


class PacedInput:
    """Lets each piece of a sound file go when its last sample would have been heard.

    Parameters
    ----------
    source : AudioInput
        A file, which gives pieces as fast as it is asked, with their times on the clock.
    clock : Clock
    """

    def __init__(self, source: AudioInput, clock: Clock) -> None:
        self.rate_hz = source.rate_hz
        self.n_overruns = 0
        self._source = source
        self._clock = clock

    def read(self) -> Piece | None:
        """Wait for the next piece; None after the last.

        Raises
        ------
        AudioError
            As the file's own `read` does.
        """
        piece = self._source.read()
        if piece is not None:
            self._clock.wait(piece.time_s + len(piece.samples) / self.rate_hz - self._clock.now_s())
        return piece

    def close(self) -> None:
        """Close the file."""
        self._source.close()


class PacedOutput:
    """Takes blocks no faster than a sound card would, and loses time like one when they come too late.

    Playing starts with the first block. From then on the samples that are handed over are used up as time goes by;
    `write` waits until there is room in a buffer of `output.buffer`. When the buffer has run empty, that is counted,
    and the time that was lost is silence in the file: what comes after it stays where it was heard.

    Parameters
    ----------
    output : AudioOutput
        Takes blocks at once, as a file does.
    clock : Clock

    Attributes
    ----------
    n_lost : int
        Samples of silence put in where the buffer had run empty.
    n_most : float
        Samples that the file may hold; what is over is dropped. Infinity, unless set.

    Raises
    ------
    UsageError
        A buffer of less than two periods cannot be kept filled.
    """

    def __init__(self, output: AudioOutput, clock: Clock) -> None:
        if output.buffer < 2 * output.period:
            raise UsageError(
                f"a buffer of {output.buffer} samples holds less than two periods of {output.period}: "
                "set audio.n_periods to 2 or more"
            )
        self.rate_hz = output.rate_hz
        self.period = output.period
        self.buffer = output.buffer
        self.n_xruns = 0
        self.n_lost = 0
        self.n_most = math.inf
        self._output = output
        self._clock = clock
        self._start_s: float | None = None
        self._n_written = 0
        self._silence = np.zeros(output.period, np.float32)

    def wait(self) -> None:
        """Wait until there is room for one period, for 0.1 s at most; at once before the first block.

        Raises
        ------
        AudioError
            As the file's own `wait` does.
        """
        self._output.wait()
        if self._start_s is not None:
            n_queued = self._n_written - self._n_used()
            self._clock.wait(min((n_queued + self.period - self.buffer) / self.rate_hz, LONGEST_WAIT_S))

    def write(self, block: Float32) -> None:
        """Hand over one block, waiting until there is room for it.

        Parameters
        ----------
        block : np.ndarray, shape (n_samples,), float32
            At most `buffer` samples.

        Raises
        ------
        AudioError
            As the file's own `write` does.
        """
        n_queued = self._n_written - self._n_used()
        if n_queued < 0:
            self.n_xruns += 1
            self._lose(-n_queued)
            n_queued = 0
        self._clock.wait((n_queued + len(block) - self.buffer) / self.rate_hz)
        self._append(block)

    def close(self) -> None:
        """Close the file. May be called twice."""
        self._output.close()

    def _n_used(self) -> int:
        """Count the samples that the card would have played by now."""
        now_s = self._clock.now_s()
        if self._start_s is None:
            self._start_s = now_s
        return round((now_s - self._start_s) * self.rate_hz)

    def _lose(self, n: int) -> None:
        self.n_lost += n
        while n > 0:
            self._append(self._silence[: min(n, self.period)])
            n -= self.period

    def _append(self, block: Float32) -> None:
        n_room = max(0.0, self.n_most - self._n_written)
        if n_room > 0.0:
            self._output.write(block if len(block) <= n_room else block[: int(n_room)])
        self._n_written += len(block)
