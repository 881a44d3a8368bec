"""A sound card's input through ALSA: every channel or one as mono, each piece with the time of its first sample."""

from __future__ import annotations

import errno
import logging
import os
import select
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

from device.core.errors import AudioError
from device.core.pcm import PcmDecoder
from device.edges.audio_alsa_open import FORMATS, load_alsa, open_pcm
from device.edges.audio_in import Piece

_log = logging.getLogger(__name__)

# A card that gives nothing for so long is given up; the kernel alone would wait for 10 s.
_LONGEST_STANDSTILL_S = 1.0

# A card that was just opened may have to wake up first, but a process that gives no sign for 2 s is taken to hang.
_LONGEST_START_S = 1.8

_LOST = (errno.EPIPE, errno.ESTRPIPE)


class AlsaInput:
    """Hears a sound card, or anything that ALSA's configuration names.

    A piece is what there is, up to a period. Its time is that of its arrival less what it and all that is queued behind
    it last, so that it does not hang on when it is read.

    Parameters
    ----------
    pcm : str
        "default", "hw:CARD=Device", "plughw:1" and so on.
    rate_hz : int
        Samples per second to ask for; what the card has is in `rate_hz`.
    period : int
        Samples that the card is asked to hand over at once.
    buffer_s : float
        What the card is asked to hold for a program that is late, in seconds.
    channels : int
        Channels to ask for; a card with another number gives what it has.
    channel : int
        Which of them is heard, the first is 1; 0: the mean of all.
    alsa : module, optional
        Stands in for pyalsaaudio.
    monotonic_s, sleep : callable
        A clock in seconds, and how to let some of them pass.

    Attributes
    ----------
    n_channels : int
        Channels that the card really has.
    sample_format : str
        See `device.core.pcm`.

    Raises
    ------
    AudioError
        The card is missing, busy, has no such channel or no format that is known here.
    """

    def __init__(
        self,
        pcm: str = "default",
        rate_hz: int = 48_000,
        period: int = 128,
        buffer_s: float = 0.2,
        channels: int = 2,
        channel: int = 0,
        *,
        alsa: ModuleType | Any = None,
        monotonic_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.name = pcm
        self._alsa = load_alsa() if alsa is None else alsa
        self._closed = True
        n_periods = max(2, round(buffer_s * rate_hz / period))
        self._pcm, info = open_pcm(self._alsa, pcm, rate_hz, period, n_periods, channels, is_input=True)
        self._closed = False
        self.rate_hz = int(info["rate"])
        self.period = int(info["period_size"])
        self.n_channels = int(info["channels"])
        self.sample_format = FORMATS[info["format_name"]]
        self.n_overruns = 0
        if channel > self.n_channels:
            self.close()
            raise AudioError(
                f"sound card {pcm!r} has no input channel {channel}, only {self.n_channels}: set capture.channel lower"
            )
        self._decoder = PcmDecoder(self.sample_format, self.n_channels, channel)
        self._tells_room = hasattr(self._pcm, "avail")
        self._monotonic_s = monotonic_s
        self._sleep = sleep
        self._follows = False
        self._patience_s = _LONGEST_START_S
        self._poll = select.poll()
        for descriptor, events in self._pcm.polldescriptors():
            self._poll.register(descriptor, events)

    def read(self) -> Piece:
        """Wait for the next piece.

        What was lost because nobody read in time is counted in `n_overruns`; the piece after it does not follow.

        Raises
        ------
        AudioError
            The card is gone, or closed, or gives nothing for a second.
        """
        give_up_s = self._monotonic_s() + self._patience_s
        while not (data := self._read_some()):
            left_s = give_up_s - self._monotonic_s()
            if left_s <= 0.0:
                raise AudioError(f"sound card {self.name!r} gives no sound: unplug it and plug it in again")
            self._wait(left_s)
        samples, n_clipped = self._decoder.decode(data)
        n_queued = len(samples) + (max(0, int(self._pcm.avail())) if self._tells_room else 0)
        time_s = self._monotonic_s() - n_queued / self.rate_hz
        piece = Piece(samples, time_s, n_clipped, self._follows)
        self._follows, self._patience_s = True, _LONGEST_STANDSTILL_S
        return piece

    def close(self) -> None:
        """Let the card go at once. May be called twice."""
        if self._closed:
            return
        self._closed = True
        try:
            self._pcm.drop()
        except self._alsa.ALSAAudioError as error:
            _log.debug("%s could not be stopped: %s", self.name, error)
        self._pcm.close()

    def _read_some(self) -> bytes:
        """Read what there is, at most a period; the first read starts the card, and the first after an overrun."""
        if self._closed:
            raise AudioError(f"sound card {self.name!r} is closed: nothing more can be heard from it")
        n_read, data = self._ask()
        if -n_read in _LOST:
            self.n_overruns += 1
            self._follows = False
            n_read, data = self._ask()  # starts it again: a card that stands still wakes nobody who waits for it
        if n_read < 0:
            raise AudioError(f"sound card {self.name!r} is gone ({os.strerror(-n_read)}): plug it in again")
        return bytes(data) if n_read > 0 else b""

    def _ask(self) -> tuple[int, bytes]:
        """Read once; a loss is -EPIPE or -ESTRPIPE, whichever pyalsaaudio it is."""
        try:
            n_read, data = self._pcm.read()
        except self._alsa.ALSAAudioError as error:
            lost = next((code for code in _LOST if os.strerror(code) in str(error)), 0)
            if not lost:
                raise AudioError(f"sound card {self.name!r} is gone ({error}): plug it in again") from error
            return -lost, b""
        return n_read, data

    def _wait(self, longest_s: float) -> None:
        """Wait until the card says that there is something; if there is nothing all the same, for part of a period."""
        ready = self._poll.poll(1000.0 * longest_s)
        if not ready:
            return
        try:
            self._pcm.polldescriptors_revents(ready)  # Some plugins must be told that they were heard.
        except self._alsa.ALSAAudioError as error:
            raise AudioError(f"sound card {self.name!r} is gone ({error}): plug it in again") from error
        if not self._tells_room or self._pcm.avail() == 0:
            self._sleep(0.25 * self.period / self.rate_hz)
