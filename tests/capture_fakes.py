"""What a recording is given in tests: rings that fill as time goes by, and an input that whistles."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np

from device.capture.microphone import Microphone
from device.capture.recorder import News, Recorder
from device.capture.recording import TakeSettings
from device.core.frame import Frame
from device.core.motiongram import MotionSettings
from device.edges.audio_in import AudioInput, Piece
from device.engine.frame_bus import FrameBus
from device.engine.paced import MonotonicClock, PacedInput
from device.engine.realtime import Urgency
from device.engine.sound_ring import SoundRing

RATE_HZ, BLOCK, FPS = 48_000, 128, 50.0
CALM = Urgency(0, lock_memory=False)
MOTION = MotionSettings(height=8, width=12)
WHISTLE_HZ = 2900.0


class Whistle:
    """A steady tone, as fast as it is asked."""

    def __init__(self, begin_s: float, level: float) -> None:
        self.rate_hz, self.n_overruns = RATE_HZ, 0
        self._begin_s, self._level = begin_s, level
        self._n = 0

    def read(self) -> Piece:
        """Give the next piece."""
        index = self._n + np.arange(BLOCK)
        whistle = self._level * np.sin(2 * np.pi * WHISTLE_HZ * index / RATE_HZ)
        piece = Piece(whistle.astype(np.float32), self._begin_s + self._n / RATE_HZ, 0, self._n > 0)
        self._n += BLOCK
        return piece

    def close(self) -> None:
        """Nothing is held."""


def open_whistle(level: float, begin_s: float) -> AudioInput:
    """Open a whistle that comes in time; a process that is started later begins it later."""
    return PacedInput(Whistle(max(begin_s, time.monotonic()), level), MonotonicClock())


class Feed:
    """Rings that fill in time, as a camera's and a microphone's process would fill them, and a recorder of them.

    Parameters
    ----------
    takes_dir : Path
    longest_s : float
    reserve_bytes : int
    """

    def __init__(self, takes_dir: Path, longest_s: float = 60.0, reserve_bytes: int = 0) -> None:
        self.frames, self.ring = FrameBus(MOTION.height, MOTION.width, ()), SoundRing(RATE_HZ, BLOCK)
        microphone = Microphone(open_whistle, self.ring, CALM)  # type: ignore[arg-type]  # it is not started
        settings = TakeSettings(takes_dir, MOTION, longest_s, reserve_bytes, {"name": "test"})
        self.recorder = Recorder(self.frames, microphone, settings)
        self.news: list[News] = []
        self.sees = self.hears = True
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._feed, name="feed", daemon=True)

    def __enter__(self) -> Feed:
        self._thread.start()
        self.recorder.open()
        self.until(lambda: self.frames.n_put > 10 and self.ring.n_blocks > 10)
        return self

    def __exit__(self, *_: object) -> None:
        self.recorder.close()
        self._stop.set()
        self._thread.join()

    def _feed(self) -> None:
        begin_s, random = time.monotonic(), np.random.default_rng(0)
        pictures = random.integers(0, 256, (16, MOTION.height, MOTION.width), np.uint8)
        whistle, n_frames = Whistle(begin_s, 0.3), 0
        while not self._stop.wait(0.01):
            now_s = time.monotonic()
            while (frame_s := begin_s + n_frames / FPS) <= now_s:
                if self.sees:
                    self.frames.put(Frame(pictures[n_frames % 16], frame_s), now_s)
                n_frames += 1
            while self.hears and begin_s + (self.ring.n_blocks + 1) * BLOCK / RATE_HZ <= now_s:
                piece = whistle.read()
                self.ring.put(piece.samples, piece.time_s)

    def until(self, is_so: object, timeout_s: float = 20.0) -> None:
        """Watch until a condition holds; its not coming is a failure."""
        give_up_s = time.monotonic() + timeout_s
        while not is_so():  # type: ignore[operator]  # a callable
            assert time.monotonic() < give_up_s, f"not within {timeout_s:g} s; heard {self.news}"
            self.news += self.recorder.watch()
            time.sleep(0.005)

    def until_heard(self, word: str) -> News:
        """Watch until there is news of a kind that was not given before; give it."""
        self.until(lambda: any(each.word == word for each in self.news))
        found = next(each for each in self.news if each.word == word)
        self.news.remove(found)
        return found

    def play(self, duration_s: float) -> None:
        """Watch for a while."""
        end_s = time.monotonic() + duration_s
        self.until(lambda: time.monotonic() >= end_s, duration_s + 20.0)
