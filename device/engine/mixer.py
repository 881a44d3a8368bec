"""The mixer: the voice that plays, the one that takes over, and the input, as one sound that is never too loud."""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np

from device.core.fade import RELEASE_S, Fade
from device.core.glide import Glide, by_loudness, by_power
from device.core.limiter import PEAK_DB, amplitude, limit_peaks
from device.edges.model import Float32
from device.engine.monitor import Monitor
from device.engine.scores import News

_FOR_EVER = 1 << 62


class Source(Protocol):
    """What fills blocks: a `Voice`, at the mixer's rate."""

    def fill(self, block: Float32) -> News | None:
        """Fill a block; give the news that are first heard in it."""


LISTEN_S = 0.02
"""From what is played to what comes in, and back."""


class Mixer:
    """Fills blocks from the voice that plays; another takes over between two blocks, without a gap.

    Parameters
    ----------
    rate_hz : int
    peak : float
        Amplitude that nothing passes, whatever a model says.
    n_max : int
        Samples in the longest block.
    monitor : Monitor, optional
        The input, which can be listened to.

    Notes
    -----
    Audio path: `fill`, `listen` and `set_level` belong to its thread; they take no lock and set no memory aside.
    `take_over` belongs to another thread of the same process and hands over by assigning one reference; the voice that
    ended is kept until the next one, so that the audio thread does not free it.
    """

    def __init__(
        self, rate_hz: int, peak: float = amplitude(PEAK_DB), n_max: int = 4096, monitor: Monitor | None = None
    ) -> None:
        self.rate_hz = rate_hz
        self._peak = peak
        self._playing: Source | None = None
        self._change: _Change | None = None
        self._retired: object = None
        self._beside = np.zeros(n_max, np.float32)
        self._fade = Fade(rate_hz, RELEASE_S)
        self._fade.hold(_FOR_EVER)
        self._monitor = monitor
        self._voices_gain = Glide(rate_hz, n_max, by_power)
        self._input_gain = Glide(rate_hz, n_max, by_power, place=0.0)
        self._level = Glide(rate_hz, n_max, by_loudness)
        self._level_fade_s = 0.0

    @property
    def is_changing(self) -> bool:
        """Whether a voice is taking over: no other may until it has."""
        return self._change is not None

    def take_over(self, source: Source, crossfade_s: float = 0.0) -> None:
        """Let another voice take over from the next block on; the first one simply begins.

        Parameters
        ----------
        source : Source
        crossfade_s : float
            How long both are heard; at constant power, for they have nothing to do with each other.
        """
        self._retired = None
        if self._playing is None:
            self._playing = source
            return
        self._change = _Change(source, max(1, round(crossfade_s * self.rate_hz)))

    def fill(self, block: Float32) -> News | None:
        """Fill a block with the next samples.

        Parameters
        ----------
        block : np.ndarray, shape (n_samples,), float32
            Written in place, within the limiter's peak.

        Returns
        -------
        News or None
            The news that are first heard in this block, of the voice that plays or takes over.
        """
        change = self._change  # one read: it may be another a moment later
        if self._playing is None:
            block.fill(0.0)
            news = None
        else:
            news = self._playing.fill(block)
        if change is not None:
            beside = self._beside[: len(block)]
            news = change.source.fill(beside) or news
            if change.mix(block, beside):
                self._retired, self._playing, self._change = self._playing, change.source, None
        self._voices_gain.apply(block, LISTEN_S)
        if self._monitor is not None:
            self._add_input(self._monitor, block)
        self._level.apply(block, self._level_fade_s)
        self._fade.apply(block)
        limit_peaks(block, self._peak)
        return news

    def listen(self, is_voice_heard: bool, is_input_heard: bool) -> None:
        """Let voices and input be heard, or not, from the next block on; one fades into the other."""
        self._voices_gain.send(float(is_voice_heard))
        self._input_gain.send(float(is_input_heard))

    def set_level(self, level: float, fade_s: float, *, at_once: bool = False) -> None:
        """Let all of it become louder or softer.

        Parameters
        ----------
        level : float
            Amplitude, 0 to 1.
        fade_s : float
            How long from silence to full level takes.
        at_once : bool
            Begin there, before anything is heard.
        """
        self._level_fade_s = fade_s
        self._level.send(math.sqrt(max(0.0, level)), at_once=at_once)

    def release(self) -> int:
        """Fall to silence quickly, for the performance ends here; how many samples that takes."""
        self._fade.release()
        return self._fade.n_until_silent

    def _add_input(self, monitor: Monitor, block: Float32) -> None:
        if self._input_gain.is_silent:
            monitor.stop()
            return
        beside = self._beside[: len(block)]
        monitor.fill(beside)
        self._input_gain.apply(beside, LISTEN_S)
        np.add(block, beside, out=block)


class _Change:
    """One voice taking over from another."""

    def __init__(self, source: Source, n_samples: int) -> None:
        self.source = source
        angle = 0.5 * math.pi * (np.arange(n_samples) + 0.5) / n_samples
        self._falling, self._rising = np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)
        self._n_done = 0

    def mix(self, block: Float32, beside: Float32) -> bool:
        """Mix the new voice into the old one's block, in place; whether the old one has ended."""
        n = min(len(block), len(self._rising) - self._n_done)
        part = slice(self._n_done, self._n_done + n)
        np.multiply(block[:n], self._falling[part], out=block[:n])
        np.multiply(beside[:n], self._rising[part], out=beside[:n])
        np.add(block[:n], beside[:n], out=block[:n])
        block[n:] = beside[n:]
        self._n_done += n
        return self._n_done == len(self._rising)
