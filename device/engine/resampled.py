"""A bundle's sound at another rate than the card's: resampled by soxr, block by block, without a click or a drift."""

from __future__ import annotations

import math
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import soxr

from device.edges.model import Float32

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

# What soxr offers that needs no long look ahead, measured with soxr 1.1.0 from 44,100 to 48,000 Hz and back:
#   LQ           0.5 ms and 10 ms ahead; -0.1 dB at 16 kHz, -3.5 dB at 18 kHz, -22 dB at 20 kHz; 3 us for 128 samples
#   HQ, vr=True  5.5 ms and 5.0 ms ahead; flat to 20 kHz; 7 us
# What is not the sound lies below -109 dB in both. MQ and better in its usual form look 19 to 40 ms ahead, for their
# filters are Fourier transforms of long blocks; QQ looks 0.05 ms ahead, but its mirror images reach -10 dB.
_WAYS: tuple[dict[str, Any], ...] = ({"quality": "LQ"}, {"quality": "HQ", "vr": True})

# Samples that are asked of the source at once, at most.
_MAX_PULL = 1024


class Source(Protocol[T_co]):
    """Something that fills blocks of sound."""

    def fill(self, block: Float32) -> T_co | None:
        """Write all samples of a block, shape (n_samples,), and say what is new in it."""


class Resampled(Generic[T]):
    """The same interface at another rate.

    Parameters
    ----------
    source : Source
        What it says when it fills, such as which news are first heard, is passed on.
    source_hz, rate_hz : int
        Samples per second of the source, and of the blocks that are filled here.

    Attributes
    ----------
    delay_s : float
        How far the source is ahead of what is heard: what the filter must see beforehand, in seconds. Of soxr's ways
        the one is taken that has to look ahead the least at these rates.

    Notes
    -----
    Audio path. The source is asked for what is needed and for no more, so that what it makes is new: in the long run
    once a block, and a sample or two are over. How the sound is cut into blocks changes nothing of it.
    """

    def __init__(self, source: Source[T], source_hz: int, rate_hz: int) -> None:
        self.rate_hz = rate_hz
        self._stream, self.delay_s = _promptest(source_hz, rate_hz)
        self._source = source
        self._source_per_sample = source_hz / rate_hz
        self._pulled = np.zeros(_MAX_PULL, np.float32)
        self._surplus = np.zeros(0, np.float32)

    def fill(self, block: Float32) -> T | None:
        """Fill a block with the next samples.

        Parameters
        ----------
        block : np.ndarray, shape (n_samples,), float32
            Written in place. Between the source's samples the sound may rise a little above them.

        Returns
        -------
        object or None
            The last that the source said while it made these samples and was not None.
        """
        news: T | None = None
        n_done = self._take(block)
        while n_done < len(block):
            n = min(math.ceil((len(block) - n_done) * self._source_per_sample), _MAX_PULL)
            pulled = self._pulled[:n]
            said = self._source.fill(pulled)
            news = news if said is None else said
            self._surplus = self._stream.resample_chunk(pulled)
            n_done += self._take(block[n_done:])
        return news

    def _take(self, block: Float32) -> int:
        """Move what there is to the block; how many samples."""
        n = min(len(self._surplus), len(block))
        block[:n] = self._surplus[:n]
        self._surplus = self._surplus[n:]
        return n


class Converter:
    """Sound that comes at another rate than it is kept in, with its times.

    Parameters
    ----------
    source_hz, rate_hz : int
        Samples per second of what comes, and of what is given.
    """

    def __init__(self, source_hz: int, rate_hz: int) -> None:
        self._source_hz, self._rate_hz = source_hz, rate_hz
        self._stream, _ = _promptest(source_hz, rate_hz)
        self._n_in = self._n_out = 0

    def convert(self, samples: Float32, time_s: float) -> tuple[Float32, float]:
        """Take the next samples and give those that are ready, none at times.

        Parameters
        ----------
        samples : np.ndarray, shape (n_samples,), float32
        time_s : float
            Of the first sample.

        Returns
        -------
        samples : np.ndarray, shape (n_ready,), float32
        time_s : float
            Of the first sample that is given: the filter lets it wait, and that is taken off.
        """
        given_s = time_s + self._n_out / self._rate_hz - self._n_in / self._source_hz
        converted: Float32 = self._stream.resample_chunk(samples)
        self._n_in += len(samples)
        self._n_out += len(converted)
        return converted, given_s


def _promptest(source_hz: int, rate_hz: int) -> tuple[Any, float]:
    """Give the stream that has to look ahead the least, and how far, in seconds."""
    delays_s = [_look_ahead_s(_stream(source_hz, rate_hz, way), source_hz, rate_hz) for way in _WAYS]
    delay_s = min(delays_s)
    return _stream(source_hz, rate_hz, _WAYS[delays_s.index(delay_s)]), delay_s


def _stream(source_hz: int, rate_hz: int, way: dict[str, Any]) -> Any:
    return soxr.ResampleStream(source_hz, rate_hz, 1, dtype="float32", **way)


def _look_ahead_s(stream: Any, source_hz: int, rate_hz: int) -> float:
    """Find how far a filter lets the source get ahead, by letting silence through: it hangs on no sound."""
    n_in = n_out = 0
    longest_s = 0.0
    nothing = np.zeros(16, np.float32)
    while n_in < source_hz / 4:
        n_in += len(nothing)
        n_out += len(stream.resample_chunk(nothing))
        longest_s = max(longest_s, n_in / source_hz - n_out / rate_hz)
    return longest_s
