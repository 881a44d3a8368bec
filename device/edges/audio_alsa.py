"""A sound card through ALSA: mono blocks to every channel, the card's own clock, underruns counted and overcome."""

from __future__ import annotations

import errno
import logging
import os
import select
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from device.core.errors import AudioError
from device.core.pcm import PcmEncoder
from device.edges.audio_alsa_open import FORMATS, load_alsa, open_pcm

_log = logging.getLogger(__name__)

# A card that underruns again and again while it is being filled, or takes nothing, is given up.
_MAX_RESTARTS = 8
_MAX_REFUSALS = 100

# Who waits for room looks this often whether it should stop.
_LONGEST_WAIT_S = 0.1

# A card that plays nothing for so long is given up; the kernel alone would hold the audio thread for 10 s.
_LONGEST_STANDSTILL_S = 3.0

_UNDERRUN = os.strerror(errno.EPIPE)
_SUSPENDED = os.strerror(errno.ESTRPIPE)


class AlsaOutput:
    """Plays on a sound card, or on anything that ALSA's configuration names.

    The card starts with its first samples, so these are silence up to one block short of a full buffer, then the first
    block: from the first one on, and again after an underrun, a block waits `buffer` samples at most to be heard.

    Parameters
    ----------
    pcm : str
        "default", "hw:CARD=Device", "plughw:1" and so on.
    rate_hz : int
        Samples per second; a card that runs at another rate is refused, nothing is resampled here.
    period, n_periods : int
        Block and number of blocks that the card is asked for; what it really has is in `period` and `buffer`.
    channels : int
        Channels to ask for; a card with another number gets what it has. All play the same.
    alsa : module, optional
        Stands in for pyalsaaudio.
    monotonic_s, sleep : callable
        A clock in seconds, and how to let some of them pass.

    Attributes
    ----------
    n_channels : int
        Channels that the card really has.
    sample_format : str
        "int32", "int24", "int24in32", "int16" or "float32".

    Raises
    ------
    AudioError
        The card is missing, busy, runs at another rate or in no format that is known here.
    """

    def __init__(
        self,
        pcm: str = "default",
        rate_hz: int = 48_000,
        period: int = 128,
        n_periods: int = 3,
        channels: int = 2,
        *,
        alsa: ModuleType | Any = None,
        monotonic_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.name = pcm
        self._alsa = load_alsa() if alsa is None else alsa
        self._closed = True
        self._pcm, info = open_pcm(self._alsa, pcm, rate_hz, period, n_periods, channels)
        self._closed = False
        self.rate_hz = rate_hz
        self.period = int(info["period_size"])
        self.buffer = int(info["buffer_size"])
        self.n_channels = int(info["channels"])
        self.sample_format = FORMATS[info["format_name"]]
        self.n_xruns = 0
        if (self.period, self.buffer) != (period, period * n_periods):
            _log.info("%s has periods of %d in a buffer of %d samples", pcm, self.period, self.buffer)
        self._encoder = PcmEncoder(self.sample_format, self.n_channels, n_max=self.buffer)
        self._silence = memoryview(bytes(self.buffer * self._encoder.frame_bytes))
        self._filled = False
        self._tells_state = hasattr(self._pcm, "state")
        self._tells_room = hasattr(self._pcm, "avail")
        self._monotonic_s = monotonic_s
        self._sleep = sleep
        self._handed_over_s = 0.0
        self._poll = select.poll()
        for descriptor, events in self._pcm.polldescriptors() if self._tells_room else ():
            self._poll.register(descriptor, events)

    def wait(self) -> None:
        """Wait until there is room for one period, for 0.1 s at most.

        Returns at once before the card has started and after an underrun, which `write` counts and mends; with
        pyalsaaudio 0.9 and 0.10, which do not tell what room there is, always.

        Raises
        ------
        AudioError
            The card is gone, or closed.
        """
        self._check_open()
        self._wait_for(self.period, _LONGEST_WAIT_S)

    def write(self, block: npt.NDArray[np.float32]) -> None:
        """Hand over one block of any length, waiting until there is room for it.

        No memory is set aside here. An underrun is counted in `n_xruns`; then the buffer is filled up with silence and
        the block, or what is left of it, is played.

        Raises
        ------
        AudioError
            The card is gone, or closed, or takes nothing, or stands still for 3 s.
        """
        self._check_open()
        for first in range(0, len(block), self._encoder.n_max):
            self._play(self._encoder.encode(block[first : first + self._encoder.n_max]))

    def close(self) -> None:
        """Let the card go at once; what it still holds is not played. May be called twice."""
        if self._closed:
            return
        self._closed = True
        self._stop()  # close() alone waits for the buffer to drain, and for ever on a card that hangs.
        self._pcm.close()

    def _check_open(self) -> None:
        if self._closed:
            raise AudioError(f"sound card {self.name!r} is closed: nothing more can be played on it")

    def _room(self) -> int:
        """Count the samples that can be written without waiting; after an underrun, all of them."""
        n_free = int(self._pcm.avail())
        if n_free in (-errno.EPIPE, -errno.ESTRPIPE):
            return self.buffer
        if n_free < 0:
            raise self._gone(os.strerror(-n_free))
        return n_free

    def _wait_for(self, n_samples: int, longest_s: float) -> bool:
        """Wait until so many samples can be written without waiting; False if that takes longer."""
        until_s = self._monotonic_s() + longest_s
        while self._is_running() and (n_missing := n_samples - self._room()) > 0:
            left_s = until_s - self._monotonic_s()
            if left_s <= 0.0:
                return False
            self._wait_once(min(n_missing / self.rate_hz, left_s), left_s)
        return True

    def _is_running(self) -> bool:
        """Tell whether there is something to wait for; what does not tell its room waits in its own `write`."""
        return self._tells_room and bool(self._pcm.state() == self._alsa.PCM_STATE_RUNNING)

    def _wait_once(self, missing_s: float, left_s: float) -> None:
        """Wait until the card says that there is room; if it says so and there is none, for as long as that takes."""
        ready = self._poll.poll(1000.0 * left_s)
        if not ready:
            return
        try:
            self._pcm.polldescriptors_revents(ready)  # Some plugins must be told that they were heard.
        except self._alsa.ALSAAudioError as error:
            raise self._gone(error) from error
        if self._room() < self.period:
            self._sleep(missing_s)

    def _play(self, rest: memoryview) -> None:
        if self._filled and self._has_run_empty():
            self.n_xruns += 1
            self._filled = False
        for _ in range(_MAX_RESTARTS):
            if not self._filled:
                self._filled = True
                self._push(self._silence[: max(len(self._silence) - len(rest), 0)])
            if self._filled:
                rest = self._push(rest)
            if self._filled:
                self._handed_over_s = self._monotonic_s()
                return
        raise AudioError(f"sound card {self.name!r} runs empty while it is filled: ask for longer or more periods")

    def _push(self, rest: memoryview) -> memoryview:
        """Write all of it; after an underrun `_filled` is False, and what was not written is given back."""
        n_refusals = 0
        while rest:
            n_written = self._write_some(self._piece_that_fits(rest))
            if n_written == -errno.EPIPE:
                self.n_xruns += 1
                self._filled = False
                break
            n_refusals += n_written == 0
            if n_written < 0 or n_refusals > _MAX_REFUSALS:
                raise AudioError(f"sound card {self.name!r} takes no sound: unplug it and plug it in again")
            rest = rest[n_written * self._encoder.frame_bytes :]
        return rest

    def _piece_that_fits(self, rest: memoryview) -> memoryview:
        """Wait until a piece can be written: a period of a card that runs, all of one that is to be filled."""
        if not self._is_running():
            return rest
        piece = rest[: self.period * self._encoder.frame_bytes]
        if not self._wait_for(len(piece) // self._encoder.frame_bytes, _LONGEST_STANDSTILL_S):
            raise AudioError(f"sound card {self.name!r} stands still: unplug it and plug it in again")
        return piece

    def _write_some(self, samples: memoryview) -> int:
        """Write what fits; the number of samples written, or -EPIPE after an underrun, whatever the version says."""
        try:
            return int(self._pcm.write(samples))  # 0.11 returns -EPIPE.
        except self._alsa.ALSAAudioError as error:
            reason = str(error)
            if _UNDERRUN in reason:  # 0.10 raises, and is ready for the next write.
                return -errno.EPIPE
            if _SUSPENDED in reason:  # The machine slept; once stopped, the next write starts again.
                self._stop()
                return -errno.EPIPE
            raise self._gone(reason) from error

    def _has_run_empty(self) -> bool:
        """Look for an underrun since the last block: `write` in 0.10 often hides it, in 0.9 always."""
        if not self._tells_state:
            return self._monotonic_s() - self._handed_over_s > self.buffer / self.rate_hz
        if self._pcm.state() != self._alsa.PCM_STATE_XRUN:
            return False
        self._stop()  # So that the next write, in every version, starts anew and does not report it again.
        return True

    def _gone(self, reason: object) -> AudioError:
        return AudioError(f"sound card {self.name!r} is gone ({reason}): plug it in again")

    def _stop(self) -> None:
        try:
            self._pcm.drop()
        except self._alsa.ALSAAudioError as error:
            _log.debug("%s could not be stopped: %s", self.name, error)
