"""The input as it is heard at the output: a little behind its newest sample, on the output card's own clock.

The two cards' clocks differ by some 100 ppm. What is heard follows the input's by reading it a little faster or slower,
by up to `FASTEST_PPM`, between its samples (a cubic through four of them): 0.1 % is 2 cents, which nobody hears. One
card that does both needs none of it, and is heard to the bit.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np

from device.core.glide import Glide, by_power
from device.edges.model import Float32
from device.engine.sound_ring import SoundRing

FASTEST_PPM = 1000.0
DEAD_S = 0.0005
"""So far from where it should be nothing is done about it: one card's clock is never corrected for its own jitter."""
PPM_PER_S = 2e5
"""How much faster per second of distance: at 100 ppm it settles half a millisecond beside the dead zone."""
SLOW_S = 1.0
"""Time constant with which the distance is measured."""
LARGEST_S = 0.02
"""A distance that is not followed but jumped, in silence: the input was lost or its time has stepped."""
RAMP_S = 0.002
LATER_S = 0.002
"""So much later it is heard after each time that the input came too late."""
LARGEST_MARGIN_S = 0.05
_BEFORE, _AFTER = 1, 2
"""Samples around a place that the cubic needs."""


class Monitor:
    """Fills blocks with the newest sound of a ring, at a fixed delay.

    Parameters
    ----------
    ring : SoundRing
        At the output's nominal rate.
    n_max : int
        Samples in the longest block.
    margin_s : float
        How late the input may come without a gap.
    gain : float
        What it is multiplied by.
    now_s : callable
        The clock of the ring's times.

    Attributes
    ----------
    n_gaps : int
        How often the input came too late.

    Notes
    -----
    Audio path: reads shared memory and the clock; sets no memory aside, waits for nothing. A gap begins and ends with a
    ramp of `RAMP_S`. When the input comes too late it is heard a little later from then on.
    """

    def __init__(
        self,
        ring: SoundRing,
        n_max: int,
        margin_s: float,
        gain: float = 1.0,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.n_gaps = 0
        self._ring = ring
        self._rate_hz = ring.rate_hz
        self._margin_s = self._least_margin_s = margin_s
        self._gain = np.float32(gain)
        self._now_s = now_s
        self._place: float | None = None
        self._distance_s = 0.0
        n_most = math.ceil(n_max * (1.0 + 1e-6 * FASTEST_PPM)) + _BEFORE + _AFTER + 1
        self._source: Float32 = np.zeros(n_most, np.float32)
        self._steps = np.arange(n_max, dtype=np.float64)
        self._at = np.zeros(n_max, np.float64)
        self._whole = np.zeros(n_max, np.float64)
        self._index = np.zeros(n_max, np.int64)
        self._fraction: Float32 = np.zeros(n_max, np.float32)
        self._points: Float32 = np.zeros((4, n_max), np.float32)
        self._scratch: Float32 = np.zeros(n_max, np.float32)
        self._gate = Glide(ring.rate_hz, n_max, by_power, place=0.0)
        self._n_ramp = math.ceil(RAMP_S * ring.rate_hz) + 1
        self._is_falling = False

    @property
    def delay_s(self) -> float:
        """How old what is heard next is, without the output's buffer; 0 before anything is heard."""
        return 0.0 if self._place is None else self._now_s() - self._time_of(self._place)

    def stop(self) -> None:
        """Forget where it was, and what came too late: it is not listened to for now."""
        self._place, self._is_falling, self._margin_s = None, False, self._least_margin_s

    def fill(self, block: Float32) -> None:
        """Fill a block with the next samples; silence where there are none.

        Parameters
        ----------
        block : np.ndarray, shape (n_samples,), float32
            Written in place.
        """
        if self._place is None:
            self._begin(block)
        elif self._is_falling:
            self._fall(self._place, block)
        else:
            self._go_on(self._place, block)

    def _begin(self, block: Float32) -> None:
        """Rise from silence, if there is sound where it should be."""
        block.fill(0.0)
        if self._ring.n_blocks and self._read(math.floor(self._should_be(len(block))), block, 1.0, self._n_ramp):
            self._gate.send(0.0, at_once=True)
            self._gate.send(1.0)
            self._gate.apply(block, RAMP_S)
            self._distance_s = 0.0

    def _go_on(self, place: float, block: Float32) -> None:
        n = len(block)
        distance_s = (self._should_be(n) - place) / self._rate_hz
        self._distance_s += n / (SLOW_S * self._rate_hz) * (distance_s - self._distance_s)
        if abs(self._distance_s) <= LARGEST_S and self._read(place, block, self._step(), self._n_ramp):
            self._gate.apply(block, RAMP_S)
            return
        if self._is_late(place, n):
            self.n_gaps += 1
            self._margin_s = min(max(LARGEST_MARGIN_S, self._least_margin_s), self._margin_s + LATER_S)
        self._is_falling = True
        self._gate.send(0.0)
        self._fall(place, block)

    def _fall(self, place: float, block: Float32) -> None:
        """Play the ramp's length that was spared, to silence; afterwards begin anew."""
        n = min(len(block), self._n_ramp)
        block[n:] = 0.0
        if self._read(place, block[:n], 1.0, 0):
            self._gate.apply(block[:n], RAMP_S)
        else:
            block.fill(0.0)
            self._gate.send(0.0, at_once=True)
        if self._gate.is_silent:
            self._place, self._is_falling = None, False

    def _is_late(self, place: float, n: int) -> bool:
        return place + n + _AFTER + self._n_ramp > self._ring.n_blocks * self._ring.block

    def _should_be(self, n: int) -> float:
        """Find the sample that should be heard now, a block of either card, a ramp and the margin behind the newest."""
        late = n + self._ring.block + self._n_ramp + _AFTER + self._margin_s * self._rate_hz
        newest = self._ring.n_blocks - 1
        newest_s = self._ring.time_s(newest)
        return newest * self._ring.block + (self._now_s() - newest_s) * self._rate_hz - late

    def _time_of(self, place: float) -> float:
        newest = self._ring.n_blocks - 1
        return self._ring.time_s(newest) + (place - newest * self._ring.block) / self._rate_hz

    def _step(self) -> float:
        """Samples of the input for one of the output."""
        beyond_s = math.copysign(max(0.0, abs(self._distance_s) - DEAD_S), self._distance_s)
        return 1.0 + 1e-6 * min(max(PPM_PER_S * beyond_s, -FASTEST_PPM), FASTEST_PPM)

    def _read(self, place: float, block: Float32, step: float, n_spare: int) -> bool:
        """Read a block from a place on, and go there; whether all was there, and so many samples more."""
        n = len(block)
        first = math.floor(place)
        fraction = place - first
        n_source = math.ceil(fraction + step * n) + _BEFORE + _AFTER
        newest = self._ring.n_blocks * self._ring.block
        source = self._source[:n_source]
        if first - _BEFORE + n_source + n_spare > newest or not self._ring.copy(first - _BEFORE, source):
            return False
        if fraction == 0.0 and step == 1.0:
            block[:] = source[_BEFORE : _BEFORE + n]
        else:
            self._interpolate(source, fraction, step, block)
        np.multiply(block, self._gain, out=block)
        self._place = place + step * n
        return True

    def _interpolate(self, source: Float32, fraction: float, step: float, block: Float32) -> None:
        """Read between the samples: Catmull and Rom's cubic, in Horner's form."""
        n = len(block)
        at, index, t = self._at[:n], self._index[:n], self._fraction[:n]
        np.multiply(self._steps[:n], step, out=at)
        np.add(at, fraction, out=at)
        whole = self._whole[:n]
        np.floor(at, out=whole)
        np.copyto(index, whole, casting="unsafe")
        np.subtract(at, whole, out=at)
        np.copyto(t, at, casting="unsafe")
        before, here, after, beyond = self._points[:, :n]
        for points in (before, here, after, beyond):
            np.take(source, index, out=points, mode="clip")
            np.add(index, 1, out=index)
        scratch = self._scratch[:n]
        # ((a t + b) t + c) t + here, with a, b and c from the four samples.
        np.subtract(here, after, out=block)
        np.multiply(block, np.float32(3.0), out=block)
        np.add(block, beyond, out=block)
        np.subtract(block, before, out=block)
        np.multiply(block, t, out=block)
        np.multiply(before, np.float32(2.0), out=scratch)
        np.add(block, scratch, out=block)
        np.multiply(here, np.float32(5.0), out=scratch)
        np.subtract(block, scratch, out=block)
        np.multiply(after, np.float32(4.0), out=scratch)
        np.add(block, scratch, out=block)
        np.subtract(block, beyond, out=block)
        np.multiply(block, t, out=block)
        np.add(block, after, out=block)
        np.subtract(block, before, out=block)
        np.multiply(block, t, out=block)
        np.multiply(block, np.float32(0.5), out=block)
        np.add(block, here, out=block)
