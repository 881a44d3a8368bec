"""A sound file as an input: whatever libsndfile reads, piece by piece, with the times at which it would be heard."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import soundfile

from device.core.errors import AudioError
from device.edges.audio_in import Piece

# What counts as full scale: the highest step of 16 bits.
_FULL_SCALE = 1.0 - 1.0 / 32768.0


class WavInput:
    """Gives a sound file once, as fast as it is asked; who reads keeps the time. Memory does not depend on its length.

    Parameters
    ----------
    path : str or Path
    begin_s : float
        Time of its first sample.
    period : int
        Samples in a piece.
    channel : int
        Which channel is heard, the first is 1; 0: the mean of all.

    Raises
    ------
    AudioError
        It is not there, not a sound file, or has no such channel.
    """

    def __init__(self, path: str | os.PathLike[str], begin_s: float = 0.0, period: int = 128, channel: int = 0) -> None:
        self.name = str(path)
        if not Path(path).is_file():
            raise AudioError(f"there is no sound file {path}: check the path")
        try:
            self._file = soundfile.SoundFile(path)
        except soundfile.SoundFileError as error:
            reason = str(error).strip().rstrip(".").splitlines()[0]
            raise AudioError(f"{path} is not a sound file ({reason}): give a WAV or FLAC file") from error
        if channel > self._file.channels:
            n_channels = self._file.channels
            self._file.close()
            raise AudioError(f"{path} has no channel {channel}, only {n_channels}: set capture.channel lower")
        self.rate_hz = int(self._file.samplerate)
        self.period = period
        self.n_overruns = 0
        self._begin_s = begin_s
        self._channel = channel
        self._n_read = 0

    def read(self) -> Piece | None:
        """Give the next piece; None after the last one and after `close`.

        Raises
        ------
        AudioError
            The file cannot be read further.
        """
        if self._file.closed:
            return None
        try:
            samples = self._file.read(self.period, dtype="float32", always_2d=True)
        except soundfile.SoundFileError as error:
            raise AudioError(f"{self.name} cannot be read to its end ({error}): copy it again") from error
        if len(samples) == 0:
            return None
        heard = samples if self._channel == 0 else samples[:, self._channel - 1 : self._channel]
        n_clipped = int(np.count_nonzero((np.abs(heard) >= _FULL_SCALE).any(axis=1)))
        time_s = self._begin_s + self._n_read / self.rate_hz
        piece = Piece(heard.mean(axis=1, dtype=np.float32), time_s, n_clipped, follows=self._n_read > 0)
        self._n_read += len(samples)
        return piece

    def close(self) -> None:
        """Close the file. May be called twice."""
        self._file.close()
