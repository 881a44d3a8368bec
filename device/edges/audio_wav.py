"""A WAV file as a sound card: what is played is written to disk, and is there once it is whole."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import soundfile

from device.core.errors import AudioError
from device.core.pcm import PcmEncoder, SampleFormat

# A WAV counts its bytes in 32 bits; what is over would be lost.
_MAX_BYTES = 2**32 - 2**16

# For each width what libsndfile is to write, and from what; of int32 it takes the upper 24 bits.
_FORMATS: dict[int, tuple[str, SampleFormat]] = {16: ("PCM_16", "int16"), 24: ("PCM_24", "int32")}


class WavOutput:
    """Writes mono sound as it comes, to a temporary file beside `path`, which `close` renames.

    A file that was there stays until then. Nothing waits and nothing is ever late: the pace is the caller's.

    Parameters
    ----------
    path : str or Path
        The file to make; its folders are made too.
    rate_hz : int
        Samples per second.
    period, n_periods : int
        Block and number of blocks of the sound card that this stands for.
    n_bits : int
        16 or 24.

    Raises
    ------
    AudioError
        The file cannot be written there.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        rate_hz: int = 48_000,
        period: int = 128,
        n_periods: int = 3,
        n_bits: Literal[16, 24] = 16,
    ) -> None:
        self.rate_hz = rate_hz
        self.period = period
        self.buffer = period * n_periods
        self.n_xruns = 0
        self._path = Path(path)
        if self._path.is_dir():
            raise AudioError(f"{self._path} is a folder: give the name of the WAV file to write")
        self._part = self._path.with_name(f".{self._path.name}.{os.getpid()}.part")
        subtype, self._sample_format = _FORMATS[n_bits]
        self._encoder = PcmEncoder(self._sample_format, n_channels=1, n_max=max(period, 4096))
        self._n_bytes = 0
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file: soundfile.SoundFile | None = soundfile.SoundFile(
                self._part, "w", samplerate=rate_hz, channels=1, subtype=subtype, format="WAV"
            )
        except (OSError, soundfile.SoundFileError) as error:
            self._discard()
            raise AudioError(f"{self._path} cannot be written ({_reason(error)}): choose another place") from error

    def wait(self) -> None:
        """Return at once, for a file always has room."""

    def write(self, block: npt.NDArray[np.float32]) -> None:
        """Append one block of any length; full scale is -1 to 1, what lies outside is clipped, NaN is silence.

        Raises
        ------
        AudioError
            The disk is full, the file is full (4 GB: 12 hours at 48 kHz) or closed.
        """
        if self._file is None:
            raise AudioError(f"{self._path} is closed: nothing more can be played into it")
        for first in range(0, len(block), self._encoder.n_max):
            self._append(self._file, block[first : first + self._encoder.n_max])

    def close(self) -> None:
        """Finish the file and give it its name. May be called twice.

        Raises
        ------
        AudioError
            The file could not be finished; nothing of it is left.
        """
        if self._file is None:
            return
        file, self._file = self._file, None
        try:
            file.close()
            with self._part.open("rb") as part:
                os.fsync(part.fileno())
            self._part.replace(self._path)
        except (OSError, soundfile.SoundFileError) as error:
            self._discard()
            raise AudioError(f"{self._path} could not be finished ({_reason(error)}): free some space") from error

    def abandon(self) -> None:
        """Leave nothing behind, not even what was there half. Does nothing after `close`."""
        if self._file is None:
            return
        file, self._file = self._file, None
        with suppress(soundfile.SoundFileError):  # The disk may be full: the file goes anyway.
            file.close()
        self._discard()

    def _discard(self) -> None:
        with suppress(OSError):
            self._part.unlink(missing_ok=True)

    def _append(self, file: soundfile.SoundFile, block: npt.NDArray[np.float32]) -> None:
        samples = self._encoder.encode(block)
        if self._n_bytes + len(samples) > _MAX_BYTES:
            raise AudioError(f"{self._path} is full, a WAV holds 4 GB: play for a shorter time")
        try:
            file.buffer_write(samples, self._sample_format)
        except (OSError, AssertionError, soundfile.SoundFileError) as error:
            self.abandon()
            raise AudioError(f"{self._path} cannot be written any more ({_reason(error)}): free some space") from error
        self._n_bytes += len(samples)


def read_wav(path: str | os.PathLike[str]) -> tuple[npt.NDArray[np.float32], int]:
    """Read a sound file whole, its channels averaged.

    Returns
    -------
    samples : np.ndarray, shape (n_samples,), float32
        Full scale is -1 to 1.
    rate_hz : int

    Raises
    ------
    AudioError
        It is not there or not a sound file.
    """
    if not Path(path).is_file():
        raise AudioError(f"there is no sound file {path}: check the path")
    try:
        samples, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    except soundfile.SoundFileError as error:
        raise AudioError(f"{path} is not a sound file ({_reason(error)}): give a WAV or FLAC file") from error
    return np.mean(samples, axis=1, dtype=np.float32), int(rate_hz)


def _reason(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or getattr(error, "error_string", None) or str(error) or "disk full"
    return str(text).strip().rstrip(".").splitlines()[0]
