"""Takes on disk: the only place that writes them, in an order that survives a pulled plug.

A take is a folder `NNNN` with columns.bin and sound.bin, which grow by whole chunks, and take.json, which comes last
and makes it whole. Until then take.json.part holds what is known from the start, so that `salvage` can finish what
was cut short. Numbers only grow: `.last-NNNN` in the folder of takes remembers the highest that was ever whole, even
when that take was deleted.
"""

from __future__ import annotations

import re
import shutil
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
    n_held,
    sound_dtype,
    to_int16,
)
from device.files import ChunkFile, explained, replace_synced, sync_path, write_synced
from device.take_reader import (
    COLUMNS,
    FACTS,
    FACTS_PART,
    SOUND,
    Take,
    n_whole_columns,
    n_whole_sound,
    read_columns,
    read_facts,
    read_sound,
    why_incomplete,
)

__all__ = [
    "FACTS",
    "Take",
    "TakeWriter",
    "allocate",
    "incomplete_takes",
    "list_takes",
    "read_facts",
    "salvage",
    "take_folders",
    "why_incomplete",
]

SYNC_EVERY_S = 1.0
_FOLDER = re.compile(r"\d{4,9}")
_MARK = re.compile(r"\.last-(\d{4,9})")
_SOURCE_OF = {"motion": "camera", "sound": "microphone or line input"}


def allocate(takes_dir: Path) -> Path:
    """Make the folder of the next take; any number of processes may do so at once.

    Returns
    -------
    Path
        An empty folder whose number is higher than that of any take that lies or ever lay whole in `takes_dir`.

    Raises
    ------
    TakeError
        The folder cannot be made.
    """
    with explained(takes_dir):
        takes_dir.mkdir(parents=True, exist_ok=True)
        while True:
            number = max([*_marks(takes_dir), *map(_number, take_folders(takes_dir))], default=0) + 1
            folder = takes_dir / f"{number:04d}"
            try:
                folder.mkdir()
            except FileExistsError:
                continue
            # Since the numbers were read, others may have finished a take of this one and deleted it.
            if max(_marks(takes_dir), default=0) < number:
                sync_path(takes_dir)
                return folder
            folder.rmdir()


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
        try:
            with explained(self.path):
                self._start(start)
        except TakeError:
            shutil.rmtree(self.path, ignore_errors=True)
            raise
        self._synced_s = clock()

    @property
    def settings(self) -> MotionSettings:
        """What the columns are made with."""
        return self._facts.settings

    @property
    def n_safe_columns(self) -> int:
        """Columns that a pulled plug can no longer take away."""
        return self._columns.n_synced_chunks * COLUMNS_PER_CHUNK

    @property
    def n_safe_samples(self) -> int:
        """Samples that a pulled plug can no longer take away."""
        return self._sound.n_synced_chunks * SAMPLES_PER_CHUNK

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

    def note(self, **facts: object) -> None:
        """Add to what take.json says of the take, once it is whole; text, numbers, true, false or null by name.

        Parameters
        ----------
        **facts
            Join `source`; what a name said before is replaced.
        """
        self._facts = replace(self._facts, source={**self._facts.source, **facts})

    def finish(self) -> Take:
        """Make the take whole.

        Raises
        ------
        TakeError
            There are no columns or no sound in it, or the disk refuses; nothing is deleted.
        """
        n_columns, n_samples = self._columns.n_added, self._sound.n_added
        if n_columns == 0 or n_samples == 0:
            missing = "motion" if n_columns == 0 else "sound"
            raise TakeError(f"{self.path}: no {missing} was recorded: check the {_SOURCE_OF[missing]}, record again")
        self._adding = False
        with explained(self.path):
            for chunks in (self._columns, self._sound):
                chunks.flush()
                chunks.sync()
            _make_whole(self.path, replace(self._facts, n_columns=n_columns, n_samples=n_samples))
        self._ended = True
        self.close()
        return Take.open(self.path)

    def abandon(self) -> None:
        """Delete what was written. May be called twice, and does nothing to a finished take."""
        if not self._ended:
            self._ended = True
            self._adding = False
            self.close()
            shutil.rmtree(self.path, ignore_errors=True)

    def close(self) -> None:
        """Let the files go; a take that was not finished stays cut short. May be called twice."""
        self._adding = False
        self._columns.close()
        self._sound.close()

    def _start(self, start: bytes) -> None:
        write_synced(self.path / FACTS_PART, start)
        n_features = self._facts.settings.n_features
        columns, sound = self.path / COLUMNS, self.path / SOUND
        with ExitStack() as opened:
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


def take_folders(takes_dir: Path) -> list[Path]:
    """List the folders of all takes, whole or not, by number."""
    if not takes_dir.is_dir():
        return []
    return sorted((path for path in takes_dir.iterdir() if _FOLDER.fullmatch(path.name)), key=_number)


def list_takes(takes_dir: Path, *, check: bool = True) -> list[Take]:
    """List the whole takes in a folder, by number; none if there is no such folder.

    Raises
    ------
    TakeError
        A take says it is whole and is not.
    """
    return [Take.open(path, check=check) for path in take_folders(takes_dir) if (path / FACTS).exists()]


def incomplete_takes(takes_dir: Path) -> list[Path]:
    """List the folders of takes that were cut short, or are being recorded now, by number."""
    return [path for path in take_folders(takes_dir) if not (path / FACTS).exists()]


def salvage(path: Path) -> Take:
    """Make a whole take of one that was cut short or is damaged, up to its last whole chunk. Nothing is cut off.

    A whole, undamaged take is left as it is.

    Raises
    ------
    TakeError
        There is nothing in it that could be saved.
    """
    facts = read_facts(path, FACTS if (path / FACTS).exists() else FACTS_PART)
    if (path / FACTS).exists():
        try:
            return Take.open(path)
        except TakeError:
            pass  # Damaged: what is whole of it is found below.
    columns, sound = read_columns(path, facts), read_sound(path)
    n_columns = n_held(columns[: n_whole_columns(columns)], COLUMNS_PER_CHUNK)
    n_samples = n_held(sound[: n_whole_sound(sound)], SAMPLES_PER_CHUNK)
    if n_columns == 0 or n_samples == 0:
        raise TakeError(f"{path} was cut short before it held motion and sound, nothing can be salvaged: delete it")
    with explained(path):
        _make_whole(path, replace(facts, n_columns=n_columns, n_samples=n_samples, salvaged=True))
    return Take.open(path)


def _make_whole(path: Path, facts: TakeFacts) -> None:
    if _FOLDER.fullmatch(path.name):
        _remember(path.parent, _number(path))
    replace_synced(path / FACTS, build_facts(facts))
    (path / FACTS_PART).unlink(missing_ok=True)


def _remember(takes_dir: Path, number: int) -> None:
    (takes_dir / f".last-{number:04d}").touch()
    numbers = sorted(_marks(takes_dir))
    for lower in numbers[:-1]:
        (takes_dir / f".last-{lower:04d}").unlink(missing_ok=True)
    sync_path(takes_dir)


def _marks(takes_dir: Path) -> list[int]:
    found = [_MARK.fullmatch(path.name) for path in takes_dir.iterdir()]
    return [int(match.group(1)) for match in found if match]


def _number(path: Path) -> int:
    return int(path.name)
