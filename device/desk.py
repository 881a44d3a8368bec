"""What the virtual and the real clock share: how one frame is taken, how one block is made, what is counted of them."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from device.core.frame import Frame
from device.core.timeline import Timeline
from device.edges.audio import AudioOutput
from device.edges.model import Float32
from device.performance import Meter, Performance, Tape
from device.player import News
from device.voice import Voice

Event = Frame | tuple[Float32, float]
"""A frame, or a column with its time."""
Progress = Callable[[float], None]
"""Told now and then how many seconds have been played."""

TAIL_S = 1.0
"""The sound goes on this long after the last frame's end."""


class Desk:
    """A player, a voice and an output, with their counts.

    Parameters
    ----------
    voice : Voice
        With its player.
    output : AudioOutput
    tape : Tape or None

    Attributes
    ----------
    n_samples : int
        Handed over so far.

    Notes
    -----
    `take_event` belongs to the model thread, all else to the audio thread; both may be one.
    """

    def __init__(self, voice: Voice, output: AudioOutput, tape: Tape | None) -> None:
        self.output = output
        self.n_samples = 0
        self._voice = voice
        self._meter = Meter(output.rate_hz)
        self._tape = tape
        self._block = np.zeros(output.period, np.float32)

    def take_event(self, event: Event, time_s: float, arrival_s: float) -> None:
        """Go from a frame to the news.

        Parameters
        ----------
        event : Frame or (column, time_s)
        time_s : float
            Its time as the timeline has it.
        arrival_s : float
            When it arrived.
        """
        started_s = time.thread_time()
        player = self._voice.player
        if isinstance(event, Frame):
            column = player.on_frame(Frame(event.grey, time_s), arrival_s).column
        else:
            column = event[0]
            player.on_column(column, time_s, arrival_s)
        self._meter.count_frame(time.thread_time() - started_s)
        if self._tape is not None:
            self._tape.add_column(column, time_s)

    def make_block(self, n: int) -> tuple[Float32, News | None]:
        """Make the next n samples, at most a period; give them and the news whose score is first heard in them."""
        started_s = time.thread_time()
        block = self._block[:n]
        news = self._voice.fill(block)
        self._meter.count_block(n, time.thread_time() - started_s)
        if self._tape is not None:
            self._tape.add_sound(block)
        return block, news

    def hand_over(self, block: Float32) -> None:
        """Write a block to the output."""
        self.output.write(block)
        self.n_samples += len(block)

    def count_latency(self, engine_s: float, frame_to_sound_s: float) -> None:
        """Count how late the news of a block was."""
        self._meter.count_latency(engine_s, frame_to_sound_s)

    def n_at_end(self, timeline: Timeline, seconds: float | None) -> int:
        """Count the samples of a whole performance: as long as its frames, and `TAIL_S` more."""
        duration_s = timeline.duration_s if seconds is None else min(timeline.duration_s, seconds)
        return round((duration_s + TAIL_S) * self.output.rate_hz)

    def release(self) -> int:
        """Begin a short fade; give the count of samples when it has ended."""
        self._voice.release()
        return self.n_samples + self._voice.n_until_silent

    def performance(self, timeline: Timeline) -> Performance:
        """Sum up; only after the threads have ended."""
        return self._meter.performance(timeline.n_dropped, self._voice.player.n_bad_spectra, self.output.n_xruns)
