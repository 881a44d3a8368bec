"""A whole take, read through memory maps."""

from __future__ import annotations

import mmap
import stat
from pathlib import Path

import numpy as np
import numpy.typing as npt

from device.core.errors import TakeError
from device.core.motiongram import MotionSettings
from device.core.take import (
    COLUMN_MAGIC,
    LARGEST_FACTS,
    SAMPLES_PER_CHUNK,
    SOUND_MAGIC,
    Chunks,
    SoundClock,
    TakeFacts,
    Times,
    column_dtype,
    n_held,
    n_whole,
    parse_facts,
    sound_dtype,
    to_float32,
)

COLUMNS, SOUND, FACTS, FACTS_PART = "columns.bin", "sound.bin", "take.json", "take.json.part"


class Take:
    """One whole take; open it with `Take.open`.

    Attributes
    ----------
    path : Path
    facts : TakeFacts
        What take.json says.
    times_s : np.ndarray, shape (n_columns,), float64
        Time of each frame, on the clock that the sound's times are on too.
    """

    def __init__(self, path: Path, facts: TakeFacts, columns: Chunks, sound: Chunks) -> None:
        self.path = path
        self.facts = facts
        self.times_s: Times = columns["times_s"].reshape(-1)[: facts.n_columns].copy()
        self._columns = columns
        self._sound = sound
        self._clock = SoundClock(sound["time_s"].astype(np.float64), facts.rate_hz)

    @classmethod
    def open(cls, path: Path, *, check: bool = True) -> Take:
        """Open a whole take.

        Parameters
        ----------
        path : Path
            Its folder.
        check : bool
            Compare the checksums of all chunks, which reads all of the take: about a second for an hour.

        Raises
        ------
        TakeError
            It is not whole, or not as it was written; the message says what to do.
        """
        facts = read_facts(path, FACTS)
        if facts.n_columns == 0 or facts.n_samples == 0:
            raise TakeError(f"{path} is an empty take: delete it and record again")
        capacity = facts.columns_per_chunk
        columns = _expected(path, COLUMNS, read_columns(path, facts), -(-facts.n_columns // capacity), facts)
        sound = _expected(path, SOUND, read_sound(path), -(-facts.n_samples // SAMPLES_PER_CHUNK), facts)
        whole = not check or (n_whole_columns(columns, facts) == len(columns) and n_whole_sound(sound) == len(sound))
        held = (n_held(columns, capacity), n_held(sound, SAMPLES_PER_CHUNK))
        if not whole or held != (facts.n_columns, facts.n_samples):
            raise TakeError(f"{path} is damaged: {what_to_do(path)}")
        take = cls(path, facts, columns, sound)
        take.give_back()
        if not np.isfinite(take.times_s).all() or np.any(np.diff(take.times_s) <= 0.0):
            raise TakeError(f"{path}: the times of its frames do not rise: delete it and record again")
        return take

    @property
    def number(self) -> int:
        """The number that its folder is named by."""
        return int(self.path.name) if self.path.name.isdecimal() else 0

    @property
    def settings(self) -> MotionSettings:
        """What the columns were made with."""
        return self.facts.settings

    @property
    def rate_hz(self) -> int:
        """Nominal samples per second."""
        return self.facts.rate_hz

    @property
    def n_columns(self) -> int:
        """Columns in the take."""
        return self.facts.n_columns

    @property
    def n_samples(self) -> int:
        """Samples in the take."""
        return self.facts.n_samples

    @property
    def duration_s(self) -> float:
        """Seconds from the first frame to the last."""
        return float(self.times_s[-1] - self.times_s[0])

    @property
    def columns(self) -> npt.NDArray[np.float32]:
        """A copy of all columns, shape (n_columns, height + width), float32."""
        return self.columns_at(0, self.n_columns)

    def columns_at(self, start: int, stop: int) -> npt.NDArray[np.float32]:
        """Copy the columns from `start` to before `stop`, as far as the take has them.

        Returns
        -------
        np.ndarray, shape (n, height + width), float32
        """
        start = min(max(start, 0), self.n_columns)
        stop = min(max(stop, start), self.n_columns)
        capacity = self.facts.columns_per_chunk
        first = start // capacity
        chunks = self._columns["columns"][first : -(-stop // capacity)]
        columns = chunks.reshape(-1, self.settings.n_features)
        skipped = start - first * capacity
        return np.array(columns[skipped : skipped + stop - start], np.float32)

    def sound_at(self, start: int, stop: int) -> npt.NDArray[np.float32]:
        """Copy the samples from `start` to before `stop`; silence outside of the take.

        Returns
        -------
        np.ndarray, shape (stop - start,), float32, -1 to 1
        """
        sound = np.zeros(max(stop - start, 0), np.float32)
        inner, end = max(start, 0), min(stop, self.n_samples)
        if inner < end:
            first = inner // SAMPLES_PER_CHUNK
            samples = self._sound["samples"][first : -(-end // SAMPLES_PER_CHUNK)].reshape(-1)
            skipped = inner - first * SAMPLES_PER_CHUNK
            sound[inner - start : end - start] = to_float32(samples[skipped : skipped + end - inner])
        return sound

    def give_back(self) -> None:
        """Give the memory of what was read back; what is read again comes from the file again.

        The system counts what was read through a map as this process's own, however long ago that was.
        """
        for chunks in (self._columns, self._sound):
            owner: object = chunks
            while isinstance(owner, np.ndarray):
                owner = owner.base
            if isinstance(owner, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
                owner.madvise(mmap.MADV_DONTNEED)

    def sample_of(self, time_s: float) -> float:
        """Find the sample, with a fraction, that sounded at a time; below 0 or beyond the last outside of the take."""
        return float(self._clock.samples_of(np.array([time_s]))[0])

    def samples_of(self, times_s: Times) -> Times:
        """`sample_of` for many times, shape (n,), float64."""
        return self._clock.samples_of(times_s)

    def time_of(self, sample: float) -> float:
        """Find the time at which a sample sounded: the inverse of `sample_of`."""
        return float(self._clock.times_of(np.array([sample]))[0])


def read_facts(path: Path, name: str) -> TakeFacts:
    """Read take.json, or what was written of it at the start, of the take in a folder."""
    if not path.is_dir():
        raise TakeError(f"there is no take at {path}: give the folder of one")
    if name == FACTS and not (path / name).exists():
        raise TakeError(f"{path} {why_incomplete(path)}")
    if not _is_plain(path / name):
        raise TakeError(f"{path} has no {name}, nothing can be salvaged: delete it")
    try:
        with (path / name).open("rb") as file:
            return parse_facts(file.read(LARGEST_FACTS + 1))
    except TakeError as error:
        raise TakeError(f"{path}: {error}") from error
    except OSError as error:
        raise TakeError(f"{path / name} cannot be read ({error.strerror}): check the disk") from error


def why_incomplete(path: Path) -> str:
    """Say of a take without take.json what is wrong with it and what to do; it may be being recorded right now."""
    return f"was cut short or is being recorded: when it is not, {what_to_do(path)}"


def what_to_do(path: Path) -> str:
    """Say how to save a take that is not whole, or that nothing of it can be saved."""
    if _is_lost(path):
        return "delete it, nothing in it can be salvaged"
    return f"run python -m device takes salvage {path}"


def read_columns(path: Path, facts: TakeFacts) -> Chunks:
    """Map the chunks of columns of a take, whole or not."""
    return _map(path / COLUMNS, column_dtype(facts.settings.n_features, facts.columns_per_chunk))


def read_sound(path: Path) -> Chunks:
    """Map the chunks of sound of a take, whole or not."""
    return _map(path / SOUND, sound_dtype())


def n_whole_columns(chunks: Chunks, facts: TakeFacts) -> int:
    """Chunks of columns, from the first on, that are whole."""
    return n_whole(chunks, COLUMN_MAGIC, facts.columns_per_chunk)


def n_whole_sound(chunks: Chunks) -> int:
    """Chunks of sound, from the first on, that are whole."""
    return n_whole(chunks, SOUND_MAGIC, SAMPLES_PER_CHUNK)


def _expected(path: Path, name: str, chunks: Chunks, n_chunks: int, facts: TakeFacts) -> Chunks:
    # A salvaged take keeps what lies beyond its last whole chunk.
    if len(chunks) < n_chunks or (len(chunks) > n_chunks and not facts.salvaged):
        raise TakeError(f"{path / name} has {len(chunks)} chunks, not {n_chunks}: {what_to_do(path)}")
    return chunks[:n_chunks]


def _is_lost(path: Path) -> bool:
    """Whether it is certain that `salvage` finds nothing: a file is missing, or has no whole first chunk."""
    name = FACTS if (path / FACTS).exists() else FACTS_PART
    if not all(_is_plain(path / each) for each in (name, COLUMNS, SOUND)):
        return True
    try:
        facts = read_facts(path, name)
        columns, sound = read_columns(path, facts), read_sound(path)
    except TakeError:
        return False  # Facts or a disk that cannot be read: salvage says what to do about it.
    return n_whole_columns(columns[:1], facts) == 0 or n_whole_sound(sound[:1]) == 0


def _map(path: Path, dtype: np.dtype[np.void]) -> Chunks:
    if not _is_plain(path):
        raise TakeError(f"{path} is not a plain file: restore the take from a copy or delete it")
    try:
        n_chunks = path.stat().st_size // dtype.itemsize
        return np.memmap(path, dtype, "r", shape=(n_chunks,)) if n_chunks else np.zeros(0, dtype)
    except OSError as error:
        raise TakeError(f"{path} cannot be read ({error.strerror}): check the disk") from error


def _is_plain(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False
