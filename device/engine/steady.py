"""A sound card that may be missing: without it the engine plays on silently, and aloud again when it is back."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable

from device.core.errors import AudioError
from device.edges.audio import AudioOutput
from device.edges.model import Float32
from device.engine.paced import LONGEST_WAIT_S, Clock

_log = logging.getLogger(__name__)

# How often a card that is missing is looked for.
RETRY_S = 0.5

# How long the first look may keep the beginning waiting: a card that is there plays from the first block.
_FIRST_LOOK_S = 1.0

# How long closing waits for the side thread, which a card that hangs may hold for ever.
_FAREWELL_S = 1.0


class SteadyOutput:
    """Plays on a card while there is one, and keeps its time while there is none; no card is never an error.

    Without a card the blocks are let go at the pace of one with the configured period and buffer.

    Parameters
    ----------
    open_card : callable
        Opens the card, or raises AudioError; may block. Called by the side thread only.
    rate_hz : int
        Samples per second. A card that runs at another rate is as good as none.
    period, n_periods : int
        Block and number of blocks of the pace without a card.
    clock : Clock
        The pace itself.
    retry_s : float
        A card that is missing is looked for so often, in seconds.

    Attributes
    ----------
    period, buffer : int
        Samples; of the card that plays now, else as configured. They change, with `wait` and `write` only, when a card
        goes or comes: read them for every block.
    n_xruns : int
        Underruns of all cards so far.
    n_lost : int
        How often a card was lost that had played.
    last_error : str
        Why the last card was lost or the last try failed, in one line; empty when there was no trouble yet.

    Notes
    -----
    Two threads. `wait` and `write` belong to the audio path: they open and close nothing, write no log, and take no
    lock; the thread that calls them is the only one that says which output plays. The side thread, made here, opens,
    closes and logs. They hand cards over by assigning a reference, each of which has one that assigns it and one that
    clears it: `_offered`, from the side thread, and `_dropped`, from the audio path. Make this before the caller takes
    real-time priority, which a thread hands on to those that it starts.
    """

    def __init__(
        self,
        open_card: Callable[[], AudioOutput],
        rate_hz: int,
        period: int,
        n_periods: int,
        clock: Clock,
        retry_s: float = RETRY_S,
    ) -> None:
        self.rate_hz = rate_hz
        self.period = period
        self.buffer = period * n_periods
        self.n_xruns = 0
        self.n_lost = 0
        self.last_error = ""
        self._silence = _Silence(rate_hz, period, period * n_periods, clock)
        self._now: AudioOutput = self._silence
        self._n_xruns_before = 0
        self._offered: AudioOutput | None = None
        self._dropped: tuple[AudioOutput, str] | None = None
        self._open_card = open_card
        self._retry_s = retry_s
        self._closed = False
        self._stop = threading.Event()
        self._looked = threading.Event()
        self._side = threading.Thread(target=self._look_after_card, name="sound card", daemon=True)
        self._side.start()
        self._looked.wait(_FIRST_LOOK_S)

    @property
    def is_live(self) -> bool:
        """Whether a card plays now."""
        return self._now is not self._silence

    def wait(self) -> None:
        """Wait until there is room for one period, for some 0.1 s at most, on the card or without one.

        Raises
        ------
        AudioError
            After `close`.
        """
        self._take_offer()
        try:
            self._now.wait()
        except AudioError as error:
            self._lose(str(error))

    def write(self, block: Float32) -> None:
        """Hand over one block, waiting until there is room for it.

        Parameters
        ----------
        block : np.ndarray, shape (n_samples,), float32
            As a card takes it; lost without one.

        Raises
        ------
        AudioError
            After `close`.
        """
        self._take_offer()
        try:
            self._now.write(block)
        except AudioError as error:
            self._lose(str(error))
            self._now.write(block)  # Its time passes all the same.
        if self._now is not self._silence:
            self.n_xruns = self._n_xruns_before + self._now.n_xruns

    def close(self) -> None:
        """Let the card go and look for none any more. May be called twice; not by the audio path, for it may wait."""
        self._closed = True
        self._stop.set()
        self._side.join(_FAREWELL_S)
        for card in (self._now, self._offered, self._dropped and self._dropped[0]):
            if card is not None:
                card.close()

    def _take_offer(self) -> None:
        """Play on the card that has come, if one has."""
        if self._closed:
            raise AudioError("the sound output is closed: nothing more can be played on it")
        card = self._offered
        if card is not None:
            self._n_xruns_before = self.n_xruns
            self._play_on(card)
            self._offered = None  # Last, so that the side thread at no time sees neither and opens another.

    def _lose(self, reason: str) -> None:
        self.n_lost += 1
        self.n_xruns = self._n_xruns_before + self._now.n_xruns
        self._dropped = self._now, reason  # First, so that the side thread lets it go before it opens another.
        self._play_on(self._silence)

    def _play_on(self, output: AudioOutput) -> None:
        self._now = output
        self.period, self.buffer = output.period, output.buffer

    def _look_after_card(self) -> None:
        """Do the side thread's work until closed."""
        is_told = False  # Of one loss, the log says one line.
        while not self._stop.is_set():
            if self._dropped is not None:
                card, reason = self._dropped
                self._dropped = None
                is_told = self._tell(reason, is_told=False)
                card.close()
            if self._now is self._silence and self._offered is None:
                try:
                    self._offer(self._opened())
                    is_told = False
                except OSError as error:
                    is_told = self._tell(str(error), is_told)
            self._looked.set()
            self._stop.wait(self._retry_s)

    def _tell(self, reason: str, is_told: bool) -> bool:
        self.last_error = reason
        if not is_told:
            _log.warning("%s; until then all is silent", reason)
        return True

    def _opened(self) -> AudioOutput:
        card = self._open_card()
        if card.rate_hz != self.rate_hz:
            card.close()
            raise AudioError(f"the sound card runs at {card.rate_hz} Hz, not at {self.rate_hz}: set audio.rate_hz")
        return card

    def _offer(self, card: AudioOutput) -> None:
        if self._stop.is_set():
            card.close()  # Nobody takes it any more.
            return
        if self.last_error:
            _log.info("the sound card is there")
        self._offered = card


class _Silence:
    """No card, but the time of one: what is written passes unheard."""

    def __init__(self, rate_hz: int, period: int, buffer: int, clock: Clock) -> None:
        self.rate_hz = rate_hz
        self.period = period
        self.buffer = buffer
        self.n_xruns = 0
        self._clock = clock
        self._queued_until_s = -math.inf

    def wait(self) -> None:
        """Wait until there is room for one period, for 0.1 s at most."""
        self._clock.wait(min(self._full_s(self.period), LONGEST_WAIT_S))

    def write(self, block: Float32) -> None:
        """Let a block pass, no faster than a card would."""
        missing_s = self._full_s(len(block))
        now_s = self._clock.now_s()
        # Who is late loses the time, as with a card, and nobody hears it.
        self._queued_until_s = max(self._queued_until_s, now_s) + len(block) / self.rate_hz
        self._clock.wait(missing_s)

    def close(self) -> None:
        """Do nothing."""

    def _full_s(self, n: int) -> float:
        """Seconds until there is room for so many samples; negative when there is room already."""
        return self._queued_until_s - self._clock.now_s() - (self.buffer - n) / self.rate_hz
