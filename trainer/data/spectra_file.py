"""What training reads of one take, in one file: a record for each column, then its spectra.

A record is a column with its time and the bands of its sound, so that a window with all that is heard in it is one
read. Files are read, not mapped: what is read through a map counts as the process's own memory until the system wants
it back, and a file that is cut short under a map kills the process.
"""

from __future__ import annotations

import json
import os
import threading
import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from device.core.errors import TrainingError
from device.store.store import Take
from trainer.data.spectra import Float32, in_bands, leading_factors, levels_db, pieces, spectra_at
from trainer.settings import ExampleSettings

MAGIC = b"dance sampler spectra 1\n"
HEADER_BYTES = 4096
Records = npt.NDArray[np.void]
Advance = Callable[[int], None]
"""Told how many columns more are done."""


def record_dtype(n_features: int, n_bands: int) -> np.dtype[np.void]:
    """A column: `time_s`, `column` (n_features,) in grey levels, `bands` (n_bands,) of its sound."""
    return np.dtype([("time_s", "<f8"), ("column", "<f4", (n_features,)), ("bands", "<f2", (n_bands,))])


def n_bytes(take: Take, settings: ExampleSettings) -> int:
    """Size of a take's file."""
    record = record_dtype(take.settings.n_features, settings.n_bands)
    return HEADER_BYTES + take.n_columns * (record.itemsize + 2 * settings.synth.n_bins)


def write_spectra(path: Path, take: Take, settings: ExampleSettings, advance: Advance = lambda _: None) -> None:
    """Compute what is learned of a take and write it to a file; the disk has it when this returns.

    Memory does not grow with the take, but for the time and the level of each of its columns.

    Parameters
    ----------
    path : Path
        Written whole under this name: not yet the one under which it is looked for.
    take : Take
    settings : ExampleSettings
    advance : callable
    """
    record = record_dtype(take.settings.n_features, settings.n_bands)
    header = {"n": take.n_columns, "features": take.settings.n_features, "bands": settings.n_bands}
    with path.open("wb+", buffering=0) as file:
        file.write((MAGIC + json.dumps({**header, "bins": settings.synth.n_bins}).encode()).ljust(HEADER_BYTES))
        spectra = _Section(file.fileno(), HEADER_BYTES + take.n_columns * record.itemsize, settings.synth.n_bins)
        factors = _write_heard(spectra, take, settings, advance)
        for piece in pieces(take.n_columns):
            heard = spectra.read(piece)
            if factors is not None:
                heard = (heard.astype(np.float32) * factors[piece, np.newaxis]).astype(np.float16)
                spectra.write(piece, heard)
            records = np.zeros(len(heard), record)
            records["time_s"], records["column"] = take.times_s[piece], take.columns_at(piece.start, piece.stop)
            records["bands"] = in_bands(heard, settings.n_bands)
            _write_all(file.fileno(), records, HEADER_BYTES + piece.start * record.itemsize)
            take.give_back()
        os.fsync(file.fileno())


class _Section:
    """The spectra in a file that is being written."""

    def __init__(self, descriptor: int, offset: int, n_bins: int) -> None:
        self._descriptor, self._offset, self._n_bins = descriptor, offset, n_bins

    def write(self, piece: slice, spectra: npt.NDArray[np.float16]) -> None:
        _write_all(self._descriptor, spectra, self._offset + piece.start * self._n_bins * 2)

    def read(self, piece: slice) -> npt.NDArray[np.float16]:
        spectra = np.empty((piece.stop - piece.start, self._n_bins), np.float16)
        read_into(self._descriptor, spectra, self._offset + piece.start * self._n_bins * 2)
        return spectra


def _write_heard(spectra: _Section, take: Take, settings: ExampleSettings, advance: Advance) -> Float32 | None:
    """Write the spectra as they were recorded; give what makes their loudness follow the body."""
    level_db, quantity = np.empty(take.n_columns), np.empty(take.n_columns)
    for piece in pieces(take.n_columns):
        heard = spectra_at(take, take.times_s[piece], settings)
        level_db[piece] = levels_db(heard, settings.synth.power)
        columns = take.columns_at(piece.start, piece.stop)
        quantity[piece] = columns[:, : take.settings.height].mean(axis=1)
        spectra.write(piece, heard.astype(np.float16))
        take.give_back()
        advance(len(heard))
    return leading_factors(take, level_db, quantity, settings)


class SpectraFile:
    """A file of `write_spectra`, open for reading; threads may read at once.

    Parameters
    ----------
    path : Path

    Raises
    ------
    ValueError
        It is not a whole file of this kind.
    OSError
        It cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        weakref.finalize(self, os.close, self._descriptor)
        header = os.read(self._descriptor, HEADER_BYTES)
        if not header.startswith(MAGIC):
            raise ValueError(f"{path} does not hold spectra")
        facts = json.loads(header.removeprefix(MAGIC))
        self.n_columns, self.n_bins = int(facts["n"]), int(facts["bins"])
        self.dtype = record_dtype(int(facts["features"]), int(facts["bands"]))
        self._spectra_at = HEADER_BYTES + self.n_columns * self.dtype.itemsize
        if os.fstat(self._descriptor).st_size != self._spectra_at + self.n_columns * 2 * self.n_bins:
            raise ValueError(f"{path} was cut short")

    def read_records(self, start: int, out: Records) -> None:
        """Fill an array of this file's `dtype`, shape (n,), with the columns from `start` on."""
        self._read(out, HEADER_BYTES + start * self.dtype.itemsize)

    def read_spectrum(self, column: int, out: npt.NDArray[np.float16]) -> None:
        """Fill an array, shape (n_bins,), with the spectrum of one column."""
        self._read(out, self._spectra_at + column * 2 * self.n_bins)

    def announce(self, start: int, stop: int) -> None:
        """Tell the system that some columns will be read, so that it reads them now, in one piece; do not wait."""
        if not hasattr(os, "posix_fadvise"):
            return
        n_bins, n_record = 2 * self.n_bins, self.dtype.itemsize
        for first, size in ((HEADER_BYTES, n_record), (self._spectra_at, n_bins)):
            os.posix_fadvise(self._descriptor, first + start * size, (stop - start) * size, os.POSIX_FADV_WILLNEED)

    def _read(self, out: Records | npt.NDArray[np.float16], offset: int) -> None:
        try:
            read_into(self._descriptor, out, offset)
        except OSError as error:
            raise TrainingError(f"{self.path} cannot be read ({error}): check the disk, then train again") from error


_SEEKING = threading.Lock()


def read_into(descriptor: int, out: npt.NDArray[np.generic], offset: int) -> None:
    """Fill an array, contiguous, from a place in a file.

    Raises
    ------
    OSError
        The file ends before, or cannot be read.
    """
    if hasattr(os, "preadv"):
        n_read = os.preadv(descriptor, [out.data], offset)
    else:  # where there is no reading at a place, one thread after the other
        with _SEEKING, os.fdopen(os.dup(descriptor), "rb", buffering=0) as file:
            file.seek(offset)
            n_read = file.readinto(out.data) or 0
    if n_read != out.nbytes:
        raise OSError("it ends too early")


def _write_all(descriptor: int, values: npt.NDArray[np.generic], offset: int) -> None:
    os.lseek(descriptor, offset, os.SEEK_SET)
    left = np.ascontiguousarray(values).reshape(-1).view(np.uint8).data
    while left:
        left = left[os.write(descriptor, left) :]
