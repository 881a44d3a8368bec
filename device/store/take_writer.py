"""A take as it is recorded: chunks that the disk has within the second, and what makes them whole at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from device.core.errors import TakeError
from device.core.motiongram import MotionSettings
from device.core.take import (
    COLUMN_MAGIC,
    COLUMNS_PER_CHUNK,
    SAMPLES_PER_CHUNK,
    SOUND_MAGIC,
    TakeFacts,
    Times,
    build_facts,
    column_dtype,
    sound_dtype,
    to_int16,
)
from device.store.chunk_file import ChunkFile
from device.store.files import explained, remove_file, remove_tree, replace_synced, sync_path, write_synced
from device.store.locks import LOOK_S, FolderLock
from device.store.take_numbers import allocate, remember
from device.store.take_reader import COLUMNS, FACTS, FACTS_PART, SOUND, Take

SYNC_EVERY_S = 0.5
"""With the chunk that is being filled, and the time that a card takes, less than a second is lost."""
_SOURCE_OF = {"motion": "camera", "sound": "microphone or line input"}


class TakeWriter:
    """Writes one take as it is recorded. It owns the folder until `finish` or `abandon`.

    Memory stays flat; a column or a block costs a copy, and once a second a wait for the disk. One thread only.
    When the disk refuses, what was added before is kept, and `finish` can be called once there is room.

    Parameters
    ----------
    takes_dir : Path
        Where takes lie; made if missing.
    settings : MotionSettings
        What the columns are made with.
    rate_hz : int
        Nominal samples of sound per second.
    source : dict
        Where the take is from, for people to read; text and numbers only.
    folder : Path, optional
        A folder from `allocate`; by default the next one is made.
    clock : callable
        Seconds that only go forward.

    Raises
    ------
    TakeError
        The take cannot be written.
    """

    def __init__(
        self,
        takes_dir: Path,
        settings: MotionSettings,
        rate_hz: int,
        source: dict[str, object],
        *,
        folder: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._facts = TakeFacts(settings, rate_hz, dict(source))
        start = build_facts(self._facts)
        self.path = folder if folder is not None else allocate(takes_dir)
        self._clock = clock
        self._last_time_s = -np.inf
        self._ended = False
        self._adding = True
        self._lock = self._lock_folder()
        try:
            with explained(self.path):
                self._start(start)
        except TakeError:
            remove_tree(self.path)
            raise
        self._synced_s = clock()

    @property
    def settings(self) -> MotionSettings:
        """What the columns are made with."""
        return self._facts.settings

    @property
    def n_safe_columns(self) -> int:
        """Columns that a pulled plug can no longer take away."""
        return self._columns.n_safe

    @property
    def n_safe_samples(self) -> int:
        """Samples that a pulled plug can no longer take away."""
        return self._sound.n_safe

    def add_columns(self, columns: npt.NDArray[np.float32], times_s: Times) -> None:
        """Append columns with the times of their frames.

        Parameters
        ----------
        columns : np.ndarray, shape (n, height + width), float32
        times_s : np.ndarray, shape (n,), float64
            Each later than the one before.

        Raises
        ------
        TakeError
            The shapes do not fit, a value is not finite, the times do not rise, or the disk refuses.
        """
        n_features = self._facts.settings.n_features
        if columns.shape != (len(times_s), n_features):
            raise TakeError(
                f"columns have shape {columns.shape}, not ({len(times_s)}, {n_features}): use the take's settings"
            )
        if not (np.isfinite(columns).all() and np.isfinite(times_s).all()):
            raise TakeError("a column or its time is not a number: check the camera")
        if len(times_s) and (times_s[0] <= self._last_time_s or np.any(np.diff(times_s) <= 0.0)):
            raise TakeError("the times of the frames do not rise: check the camera's clock")
        with self._writing():
            for first, n, at in self._columns.places(len(times_s)):
                self._columns.chunk["columns"][0, at : at + n] = columns[first : first + n]
                self._columns.chunk["times_s"][0, at : at + n] = times_s[first : first + n]
        if len(times_s):
            self._last_time_s = float(times_s[-1])

    def add_sound(self, samples: npt.NDArray[np.float32] | npt.NDArray[np.int16], time_s: float) -> None:
        """Append sound that follows the sound before without a gap; fill with silence what was lost.

        Parameters
        ----------
        samples : np.ndarray, shape (n,), float32 (-1 to 1) or int16
        time_s : float
            Time of the first sample; may jitter by milliseconds.

        Raises
        ------
        TakeError
            The time is not finite, or the disk refuses.
        """
        if samples.ndim != 1 or not np.isfinite(time_s):
            raise TakeError("sound must be mono and its time a number: check the sound card")
        whole = to_int16(samples)
        with self._writing():
            for first, n, at in self._sound.places(len(whole)):
                if at == 0:
                    self._sound.chunk["time_s"] = time_s + first / self._facts.rate_hz
                self._sound.chunk["samples"][0, at : at + n] = whole[first : first + n]

    def finish(self, *, cancelled: bool = False, **notes: object) -> Take:
        """Make the take whole.

        Parameters
        ----------
        cancelled : bool
            Mark it as one that nobody wants: it is kept, and left out of training.
        **notes : str, int, float, bool or None
            What was noticed while it was recorded, for take.json.

        Raises
        ------
        TakeError
            There are no columns or no sound in it, a note is not text or number, or the disk refuses; nothing is
            deleted.
        """
        n_columns, n_samples = self._columns.n_added, self._sound.n_added
        if n_columns == 0 or n_samples == 0:
            missing = "motion" if n_columns == 0 else "sound"
            raise TakeError(f"{self.path}: no {missing} was recorded: check the {_SOURCE_OF[missing]}, record again")
        facts = replace(self._facts, n_columns=n_columns, n_samples=n_samples, cancelled=cancelled, notes=notes)
        build_facts(facts)  # a note that cannot be written is told while there is still something to be done about it
        self._adding = False
        with explained(self.path):
            for chunks in (self._columns, self._sound):
                chunks.flush()
                chunks.sync()
            make_whole(self.path, facts)
        self._ended = True
        self.close()
        return Take.open(self.path)

    def abandon(self) -> None:
        """Delete what was written. May be called twice, and does nothing to a finished take."""
        if not self._ended:
            self._ended = True
            self._adding = False
            self.close()
            remove_tree(self.path)

    def close(self) -> None:
        """Let the files go; a take that was not finished stays cut short. May be called twice."""
        self._adding = False
        self._columns.close()
        self._sound.close()
        self._lock.release()

    def _lock_folder(self) -> FolderLock:
        with explained(self.path):
            try:
                return FolderLock(self.path, wait_s=LOOK_S)
            except BlockingIOError as error:
                raise TakeError(f"another take is being recorded into {self.path}: give each its own folder") from error

    def _start(self, start: bytes) -> None:
        write_synced(self.path / FACTS_PART, start)
        n_features = self._facts.settings.n_features
        columns, sound = self.path / COLUMNS, self.path / SOUND
        with ExitStack() as opened:
            opened.callback(self._lock.release)
            self._columns = ChunkFile(columns, column_dtype(n_features), COLUMN_MAGIC, COLUMNS_PER_CHUNK)
            opened.callback(self._columns.close)
            self._sound = ChunkFile(sound, sound_dtype(), SOUND_MAGIC, SAMPLES_PER_CHUNK)
            opened.callback(self._sound.close)
            sync_path(self.path)
            opened.pop_all()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        if not self._adding:
            raise TakeError(f"{self.path} has ended: start another take")
        with explained(self.path):
            yield
            if self._clock() - self._synced_s >= SYNC_EVERY_S:
                self._columns.sync()
                self._sound.sync()
                self._synced_s = self._clock()


def make_whole(path: Path, facts: TakeFacts) -> None:
    """Write what makes a take whole, when all else of it is on the disk."""
    remember(path)
    replace_synced(path / FACTS, build_facts(facts))
    remove_file(path / FACTS_PART)
