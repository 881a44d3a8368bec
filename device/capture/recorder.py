"""The supervisor's end of the recorder's process: takes begin and end by it, and it tells what becomes of them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

from device.capture.microphone import Microphone
from device.capture.recorder_process import News, RecorderSetup, recorder_main
from device.capture.recording import TakeSettings
from device.engine.frame_bus import FrameBus
from device.engine.process import Child
from device.engine.station import Station

__all__ = ["News", "Recorder", "TakeSettings"]

_log = logging.getLogger(__name__)


def no_counts() -> dict[str, int]:
    """Count nothing."""
    return {}


class Recorder:
    """The parent's end of the recorder's process.

    Parameters
    ----------
    frames : FrameBus
        Of the camera that is live.
    microphone : Microphone
    settings : TakeSettings
    counts : callable
        What the camera has lost so far, by name; a take notes how much of it fell into its time.

    Notes
    -----
    One thread calls the methods, and `watch` again and again.
    """

    def __init__(
        self,
        frames: FrameBus,
        microphone: Microphone,
        settings: TakeSettings,
        counts: Callable[[], dict[str, int]] = no_counts,
    ) -> None:
        self.settings = settings
        self.microphone = microphone
        self._counts = counts
        self._counts_before: dict[str, int] = {}
        self._frames = frames
        self._is_taking = False
        self._path: Path | None = None
        self._unfinished: Path | None = None
        self._station = Station("recorder", self._launch)

    def open(self) -> None:
        """Start the process."""
        self._station.start()

    def start(self, begin_s: float) -> None:
        """Have a take begin; 'started' or 'failed' follows.

        Parameters
        ----------
        begin_s : float
            CLOCK_MONOTONIC; a count-in ahead, or a few seconds ago.
        """
        if self._is_taking:
            return
        self._is_taking = True
        self._counts_before = self._all_counts()
        self._station.tell("start", begin_s)

    def stop(self, end_s: float | None = None) -> None:
        """Have the take end now, or at a time; 'saved' or 'failed' follows."""
        self._end(end_s, is_cancelled=False)

    def cancel(self) -> None:
        """Have the take end now and be marked as one that nobody wants; 'saved' or 'failed' follows."""
        self._end(None, is_cancelled=True)

    def abandon(self) -> None:
        """End the process, which does not answer; another one salvages what was written. No news follow."""
        self._is_taking = False
        self._station.end()
        self._unfinished, self._path = self._path, None
        self._station.start()

    def watch(self) -> list[News]:
        """See that the process goes on, and give what is new."""
        news: list[News] = []
        for word, content in self._station.heard():
            if word == "ready":
                self._station.is_ready = True
            elif word == "take":
                news += self._hear(content)
            elif word == "failed":
                news += self._on_end(str(content))
        self._station.start_if_due()
        return news

    def close(self) -> None:
        """End the process; a take that was not ended is left to be salvaged. May be called twice."""
        self._station.end()

    @property
    def is_taking(self) -> bool:
        """Whether a take was started and nothing was heard yet of its end."""
        return self._is_taking

    @property
    def path(self) -> Path | None:
        """Folder of the take that is being recorded."""
        return self._path

    @property
    def level_dbfs(self) -> float:
        """Peak of what comes in, of late."""
        return self.microphone.level_dbfs

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

    def _launch(self) -> Child:
        setup = RecorderSetup(self._frames, self.microphone.ring, self.settings, self._unfinished)
        self._unfinished = None
        return Child("recorder", recorder_main, setup)

    def _all_counts(self) -> dict[str, int]:
        return {**self._counts(), **self.microphone.counts}

    def _end(self, end_s: float | None, *, is_cancelled: bool) -> None:
        before = self._counts_before
        notes = {name: count - before.get(name, 0) for name, count in self._all_counts().items()}
        self._station.tell("end", (time.monotonic() if end_s is None else end_s, is_cancelled, notes))

    def _hear(self, news: News) -> list[News]:
        if news.word == "started":
            self._path = news.path
        if not self._is_taking:
            return []  # Of one that was abandoned.
        if news.word in ("saved", "failed"):
            self._is_taking, self._path = False, None
        return [news]

    def _on_end(self, reason: str) -> list[News]:
        """Start the process again; it salvages the take, or there is none."""
        _log.warning("%s; it is started again", reason)
        self._unfinished = self._path
        self._station.try_again_later(reason)
        if self._is_taking and self._path is None:
            self._is_taking = False
            return [News("failed", None, reason)]
        return []
