"""A take that is being recorded: frames and sound of one span of time, on their way from the rings to the disk."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from device.core.motiongram import LONGEST_GAP_S, Motiongram, MotionSettings
from device.core.take_quality import TakeQuality
from device.engine.frame_bus import Arrival, FrameBus
from device.engine.sound_ring import Heard, SoundRing
from device.store.store import Take, TakeWriter

GRACE_S = 0.5
"""What belongs to a take has come so long after its end: a frame is a tenth of a second on its way, a period less."""
BLOCKS_AT_ONCE = 64
"""Of sound that is written in one piece, with one time: 0.2 s, in which no clock drifts."""


@dataclass(frozen=True)
class TakeSettings:
    """What every take of a box has in common.

    Attributes
    ----------
    takes_dir : Path
    motion : MotionSettings
        What columns are made with; height and width are the frames'.
    longest_s : float
        A take should end by then.
    reserve_bytes : int
        What a take leaves free on the disk.
    source : dict
        Where it is from, for people to read: text and numbers.
    """

    takes_dir: Path
    motion: MotionSettings
    longest_s: float = math.inf
    reserve_bytes: int = 0
    source: dict[str, object] = field(default_factory=dict)


class Recording:
    """Takes what has come, again and again, and writes what belongs to the take.

    Parameters
    ----------
    frames : FrameBus
    ring : SoundRing
    settings : TakeSettings
    begin_s : float
        Time of the first frame and of the first sample, or the next after it: CLOCK_MONOTONIC, now, ahead, or as long
        ago as the rings hold.

    Attributes
    ----------
    end_s : float
        What has this time or a later one is left out; infinity while it is not known.

    Raises
    ------
    TakeError
        No take can be written.

    Notes
    -----
    One thread. A disk that keeps it waiting costs nothing as long as the rings hold what comes meanwhile; what they do
    not is counted, and its place is filled: sound by silence, frames by nothing, for each has its time.
    """

    def __init__(self, frames: FrameBus, ring: SoundRing, settings: TakeSettings, begin_s: float) -> None:
        self.begin_s = begin_s
        self.end_s = math.inf
        self._settings = settings
        self._frames = frames
        self._ring = ring
        self._motiongram = Motiongram(settings.motion)
        self._quality = TakeQuality(ring.rate_hz)
        self._next_frame: int | None = None
        self._last_s = -math.inf
        self._newest_s = -math.inf
        self._next_sample: int | None = None
        self._sound_end_s = -math.inf
        self._writer = TakeWriter(settings.takes_dir, settings.motion, ring.rate_hz, settings.source)

    @property
    def path(self) -> Path:
        """Folder of the take."""
        return self._writer.path

    def is_too_long(self, now_s: float) -> bool:
        """Whether it should end now."""
        return now_s - self.begin_s >= self._settings.longest_s

    def is_complete(self, now_s: float) -> bool:
        """Whether all that belongs to it was taken, or will not come any more; ask after `step`."""
        has_all = self._newest_s >= self.end_s and self._sound_end_s >= self.end_s
        return has_all or now_s > self.end_s + GRACE_S

    def step(self) -> None:
        """Write what has come since the last step.

        Raises
        ------
        TakeError
            The disk refuses.
        """
        self._take_frames()
        self._take_sound()

    def finish(self, *, cancelled: bool, n_filled_samples: int = 0, **notes: object) -> Take:
        """Make the take whole; what was noticed of it joins `notes`.

        Parameters
        ----------
        cancelled : bool
            Mark it so.
        n_filled_samples : int
            Silence that stands for sound that never came.
        **notes
            Text and numbers.

        Raises
        ------
        TakeError
            There is no motion or no sound in it, or the disk refuses.
        """
        self._quality.lose(n_samples=n_filled_samples)
        return self._writer.finish(cancelled=cancelled, **{**notes, **self._quality.notes()})

    def abandon(self) -> None:
        """Leave nothing behind."""
        self._writer.abandon()

    def close(self) -> None:
        """Let the files go as they are, to be salvaged."""
        self._writer.close()

    def _take_frames(self) -> None:
        if self._next_frame is None:
            self._next_frame = max(0, self._frames.n_put - self._n_before())
        arrivals = self._frames.read_from(self._next_frame)
        columns, times_s = [], []
        for arrival in arrivals:
            if self._is_new(arrival):
                motion = self._motiongram.push(arrival.frame)
                if self.begin_s <= arrival.frame.time_s < self.end_s:
                    columns.append(motion.column)
                    times_s.append(arrival.frame.time_s)
                    self._quality.see(arrival.frame.grey, motion.quantity, arrival.frame.time_s)
        if columns:
            self._writer.add_columns(np.stack(columns), np.array(times_s))

    def _n_before(self) -> int:
        """Count the frames of late that the take may begin with, or that its first frames are compared with."""
        n = 0
        for serial in range(self._frames.n_put - 1, -1, -1):
            arrival = self._frames.read(serial)
            if arrival is None or arrival.frame.time_s < self.begin_s - LONGEST_GAP_S:
                break
            n += 1
        return n

    def _is_new(self, arrival: Arrival) -> bool:
        """Count a frame; whether its time goes on from the one before."""
        assert self._next_frame is not None  # noqa: S101 - it was found before the frames were read
        if arrival.frame.time_s >= self.begin_s:
            self._quality.lose(n_frames=arrival.serial - self._next_frame)
        self._next_frame = arrival.serial + 1
        self._newest_s = max(self._newest_s, arrival.frame.time_s)
        if arrival.frame.time_s <= self._last_s:
            self._quality.lose(n_frames=1)
            return False
        self._last_s = arrival.frame.time_s
        return True

    def _take_sound(self) -> None:
        if self._next_sample is None:
            self._next_sample = self._first_sample()
        while self._next_sample is not None and self._sound_end_s < self.end_s:
            block = self._ring.block
            heard = self._ring.read_from(self._next_sample // block, BLOCKS_AT_ONCE)
            if heard is None:
                return
            self._fill(heard.serial * block - self._next_sample, float(heard.times_s[0]))
            self._write(heard, max(0, self._next_sample - heard.serial * block))

    def _first_sample(self) -> int | None:
        """Find the sample at the beginning, among all that ever were; None while it has not come."""
        ring, newest = self._ring, self._ring.n_blocks - 1
        if newest < 0 or ring.time_s(newest) + ring.block / ring.rate_hz <= self.begin_s:
            return None
        serial = newest
        while serial > ring.oldest and ring.time_s(serial) > self.begin_s:
            serial -= 1
        n_skipped = round((self.begin_s - ring.time_s(serial)) * ring.rate_hz)
        return serial * ring.block + min(max(0, n_skipped), ring.block)

    def _fill(self, n_gone: int, until_s: float) -> None:
        """Put silence where the ring has come round before it was read."""
        rate_hz = self._ring.rate_hz
        self._quality.lose(n_samples=max(0, n_gone))
        while n_gone > 0:
            n = min(n_gone, rate_hz)
            self._writer.add_sound(np.zeros(n, np.int16), until_s - n_gone / rate_hz)
            assert self._next_sample is not None  # noqa: S101 - there was one before the gap
            self._next_sample += n
            n_gone -= n

    def _write(self, heard: Heard, n_skipped: int) -> None:
        assert self._next_sample is not None  # noqa: S101 - it was found before
        rate_hz, block = self._ring.rate_hz, self._ring.block
        end_s = float(heard.times_s[-1]) + block / rate_hz
        n_over = max(0, math.floor((end_s - self.end_s) * rate_hz)) if end_s > self.end_s else 0
        samples = heard.samples[n_skipped : max(n_skipped, len(heard.samples) - n_over)]
        if len(samples):
            self._writer.add_sound(samples, float(heard.times_s[0]) + n_skipped / rate_hz)
            self._quality.hear(samples, int(heard.n_clipped.sum()))
        self._next_sample = heard.serial * block + len(heard.samples)
        self._sound_end_s = end_s
