"""Imports videos one by one in this process, or side by side in a process for each."""

from __future__ import annotations

import logging
import multiprocessing
import shutil
import signal
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from device.core.errors import DanceSamplerError
from device.core.motiongram import MotionSettings
from device.edges import camera_file
from device.store.store import allocate
from trainer.importing.video import Advance, import_video


@dataclass(frozen=True)
class Outcome:
    """What became of one video.

    Attributes
    ----------
    video : Path
    take : Path or None
        Folder of its take; None if it could not be imported.
    error : str
        Why not, and what to do; empty if it could.
    notes : tuple of str
        What its owner should know of the take.
    """

    video: Path
    take: Path | None
    error: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ImportTask:
    """What all videos of one import have in common."""

    takes_dir: Path
    settings: MotionSettings
    rate_hz: int

    def run(self, video: Path, folder: Path, advance: Advance) -> Outcome:
        """Import one video into an empty folder; what is wrong with it becomes the outcome."""
        try:
            with _camera_unheard():
                notes = import_video(video, folder, self.settings, self.rate_hz, advance)
            return Outcome(video, folder, notes=tuple(notes))
        except DanceSamplerError as error:
            named = str(error) if video.name in str(error) else f"{video}: {error}"
            return Outcome(video, None, named)
        except OSError as error:
            return Outcome(
                video, None, f"{video} cannot be read ({error.strerror or error}): check the file and its disk"
            )


def one_by_one(
    task: ImportTask, videos: Sequence[Path], _n_jobs: int, advance: Advance
) -> Iterator[tuple[int, Outcome]]:
    """Import in this process: place and outcome of each video as it is done."""
    for index, video in enumerate(videos):
        folder: Path | None = None
        outcome: Outcome | None = None
        try:
            with _interrupt_held():
                folder = allocate(task.takes_dir)
            outcome = task.run(video, folder, advance)
        finally:
            if folder is not None and (outcome is None or outcome.take is None):
                shutil.rmtree(folder, ignore_errors=True)
        yield index, outcome


@dataclass
class _Running:
    index: int
    video: Path
    folder: Path
    process: BaseProcess


# By the end of the pipe that we read.
_Jobs = dict[Connection, _Running]


def side_by_side(
    task: ImportTask, videos: Sequence[Path], n_jobs: int, advance: Advance
) -> Iterator[tuple[int, Outcome]]:
    """Import in a process for each video, so that one that brings its decoder down does not stop the others."""
    waiting = deque(enumerate(videos))
    running: _Jobs = {}
    try:
        while waiting or running:
            while waiting and len(running) < n_jobs:
                _start(task, *waiting.popleft(), running)
            ready = wait(list(running))
            for connection in [connection for connection in running if connection in ready]:
                outcome = _received(connection, running, advance)
                if outcome is not None:
                    done = running.pop(connection)
                    done.process.join()
                    if outcome.take is None:
                        shutil.rmtree(done.folder, ignore_errors=True)
                    yield done.index, outcome
    finally:
        for left in running.values():
            left.process.terminate()
            left.process.join()
            shutil.rmtree(left.folder, ignore_errors=True)


def _start(task: ImportTask, index: int, video: Path, running: _Jobs) -> None:
    context = multiprocessing.get_context("spawn")
    with _interrupt_held():
        folder = allocate(task.takes_dir)
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(task, video, folder, theirs), daemon=True)
        try:
            process.start()
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        running[ours] = _Running(index, video, folder, process)
        theirs.close()


@contextmanager
def _interrupt_held() -> Iterator[None]:
    """Hold Control-C back until a folder is known as ours; a process that is started meanwhile never hears of it."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "pthread_sigmask"):
        yield
        return
    # Started later, inside of the block, it would let signals through again.
    resource_tracker.ensure_running()
    held: list[int] = []
    handler = signal.signal(signal.SIGINT, lambda number, _: held.append(number))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, handler)
        if held:
            raise KeyboardInterrupt


def _received(connection: Connection, running: _Jobs, advance: Advance) -> Outcome | None:
    """Take one message: progress gives None, the last one an outcome."""
    try:
        message = connection.recv()
    except (EOFError, OSError):
        dead = running[connection]
        dead.process.join()
        return Outcome(
            dead.video,
            None,
            f"{dead.video} ended its decoder (code {dead.process.exitcode}): convert it, or leave it out",
        )
    if isinstance(message, Outcome):
        return message
    advance(message)
    return None


def _work(task: ImportTask, video: Path, folder: Path, connection: Connection) -> None:
    # Where signals cannot be blocked: the parent ends its children, then removes what they had begun.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A parent that is gone breaks the pipe: then the take is abandoned and nobody needs to hear of it.
    with suppress(BrokenPipeError):
        connection.send(task.run(video, folder, connection.send))


@contextmanager
def _camera_unheard() -> Iterator[None]:
    """Keep the camera's own line about a damaged clip back: the outcome says it."""
    log = logging.getLogger(camera_file.__name__)
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)
