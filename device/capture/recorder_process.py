"""The recorder's process: takes, from the rings to the disk. It may wait for the disk, and it may be killed.

What it has written by then is salvaged by the next one. The parent's end is `Recorder`.
"""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from device.capture.recording import Recording, TakeSettings
from device.core.errors import TakeError
from device.engine.frame_bus import FrameBus
from device.engine.process import Part, run_part
from device.engine.sound_ring import SoundRing
from device.store.disk import full_problem, seconds_left, take_bytes_per_s
from device.store.store import Take, salvage

_log = logging.getLogger(__name__)

STEP_S = 0.05
"""Between two looks at the rings, which hold seconds."""
LIVE_S = 2.0
"""A take is not begun with a camera or an input that gave nothing for so long."""
FASTEST_FPS = 120.0
"""What the room on the disk is reckoned with."""
DISK_LOOK_S = 1.0
LEAST_LEFT_S = 3.0
"""A take that would reach the disk's reserve within this time should end."""
_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class RecorderSetup:
    """What the recorder's process is given.

    Attributes
    ----------
    frames : FrameBus
    ring : SoundRing
    settings : TakeSettings
    unfinished : Path or None
        A take that the process before was recording when it ended.
    """

    frames: FrameBus
    ring: SoundRing
    settings: TakeSettings
    unfinished: Path | None


@dataclass(frozen=True)
class News:
    """What has become of a take.

    Attributes
    ----------
    word : str
        'started': it will be there when its time comes; 'saved'; 'failed': there is none, or one to be salvaged;
        'must_stop': it goes on, but should end.
    path : Path or None
        Its folder; None with 'saved' if it ended before it began, so that there is none.
    reason : str
        Why it failed or must stop, one line for people.
    is_full : bool
        For want of room.
    facts : dict
        Of a saved one: 'duration_s', 'cancelled', 'salvaged', 'marks', and all that was noted.
    """

    word: str
    path: Path | None = None
    reason: str = ""
    is_full: bool = False
    facts: dict[str, object] = field(default_factory=dict)


class _Desk:
    """The recorder's process at work.

    Parameters
    ----------
    part : Part
    setup : RecorderSetup
    now_s : callable
    """

    def __init__(self, part: Part, setup: RecorderSetup, now_s: Callable[[], float] = time.monotonic) -> None:
        self._part = part
        self._setup = setup
        self._now_s = now_s
        self._recording: Recording | None = None
        self._ending: tuple[bool, dict[str, Any]] = (False, {})
        self._is_told_to_stop = False
        self._looked_s = 0.0
        self._bytes_per_s = take_bytes_per_s(setup.settings.motion, FASTEST_FPS, setup.ring.rate_hz)

    def run(self) -> None:
        """Do what the parent says, until it is gone."""
        if self._setup.unfinished is not None:
            self._salvage(self._setup.unfinished)
        while True:
            if self._part.connection.poll(None if self._recording is None else STEP_S):
                self._do(*self._part.hear())
            if self._recording is not None:
                self._step(self._recording)

    def _do(self, word: str, content: Any) -> None:
        if word == "start":
            self._start(content)
        elif word == "end" and self._recording is not None:
            self._recording.end_s, self._ending = content[0], content[1:]
            if self._recording.end_s <= self._recording.begin_s:
                self._recording.abandon()
                self._recording = None
                self._part.say("take", News("saved"))

    def _start(self, begin_s: float) -> None:
        settings = self._setup.settings
        if (problem := full_problem(settings.takes_dir, self._bytes_per_s, settings.reserve_bytes)) is not None:
            self._part.say("take", News("failed", None, problem, is_full=True))
            return
        try:
            self._check_live()
            self._recording = Recording(self._setup.frames, self._setup.ring, self._setup.settings, begin_s)
        except TakeError as error:
            self._part.say("take", _failure(error, None))
            return
        self._is_told_to_stop = False
        self._ending = (False, {})
        self._part.say("take", News("started", self._recording.path))

    def _check_live(self) -> None:
        setup, now_s = self._setup, self._now_s()
        frame = setup.frames.read(setup.frames.n_put - 1)
        if frame is None or now_s - frame.arrival_s > LIVE_S:
            raise TakeError("the camera gives no frames: nothing can be recorded before it does, check its cable")
        n_blocks = setup.ring.n_blocks
        if n_blocks == 0 or now_s - setup.ring.time_s(n_blocks - 1) > LIVE_S:
            raise TakeError("no sound comes in: nothing can be recorded before it does, check the sound card's input")

    def _step(self, recording: Recording) -> None:
        try:
            now_s = self._now_s()  # Before the rings are read: what came by then is in them.
            recording.step()
            if recording.is_complete(now_s):
                self._recording = None
                self._finish(recording)
            elif not self._is_told_to_stop:
                self._look_whether_to_stop(recording, now_s)
        except TakeError as error:
            self._recording = None
            self._save_what_is_there(recording, error)

    def _look_whether_to_stop(self, recording: Recording, now_s: float) -> None:
        news = None
        if recording.is_too_long(now_s):
            news = News("must_stop", recording.path, "the take is as long as takes may be")
        elif now_s - self._looked_s >= DISK_LOOK_S:
            self._looked_s = now_s
            with suppress(OSError):  # A disk that cannot be asked may still be written.
                left_s = seconds_left(recording.path, self._bytes_per_s, self._setup.settings.reserve_bytes)
                if left_s < LEAST_LEFT_S:
                    news = News("must_stop", recording.path, "the card is full but for its reserve", is_full=True)
        if news is not None:
            self._is_told_to_stop = True
            self._part.say("take", news)

    def _finish(self, recording: Recording) -> None:
        is_cancelled, notes = self._ending
        try:
            take = recording.finish(cancelled=is_cancelled, **notes)
        except TakeError as error:
            recording.close()
            self._part.say("take", _failure(error, recording.path))
            return
        self._part.say("take", _saved(take))

    def _save_what_is_there(self, recording: Recording, error: TakeError) -> None:
        """Make a take of what was written before the disk refused; it was refused all the same."""
        _log.warning("%s; the take ends here", error)
        try:
            recording.finish(cancelled=False, ended_by=str(error))
        except TakeError:
            recording.close()  # What the disk has of it is salvaged at the next start.
        self._part.say("take", _failure(error, recording.path))

    def _salvage(self, path: Path) -> None:
        try:
            self._part.say("take", _saved(salvage(path)))
        except TakeError as error:
            self._part.say("take", _failure(error, path))


def _saved(take: Take) -> News:
    facts = take.facts
    said: dict[str, object] = {
        "duration_s": round(take.duration_s, 3),
        "cancelled": facts.cancelled,
        "salvaged": facts.salvaged,
        "marks": "",
    }
    return News("saved", take.path, facts={**said, **facts.notes})


def _failure(error: TakeError, path: Path | None) -> News:
    is_full = isinstance(error.__cause__, OSError) and error.__cause__.errno in _FULL
    return News("failed", path, str(error), is_full)


def recorder_process(part: Part, setup: RecorderSetup) -> None:
    """Say so, then record when the parent says. The body of the process."""
    part.say("ready", [])
    _Desk(part, setup).run()


def recorder_main(part: Part, setup: RecorderSetup) -> None:
    """Run the recorder's process."""
    run_part("recorder", part, lambda: recorder_process(part, setup))
