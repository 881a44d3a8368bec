"""From an input's pieces to blocks in the ring: at one rate, without gaps, with their times."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from device.core.continuity import Continuity
from device.core.level import PeakLevel
from device.edges.audio_in import Piece
from device.edges.model import Float32
from device.engine.shared import Layout, SharedArrays
from device.engine.sound_ring import SoundRing

if TYPE_CHECKING:
    from device.engine.resampled import Converter

MICROPHONE: Layout = {
    **dict.fromkeys(("is_live", "n_overruns", "n_losses", "n_filled"), ((1,), "i8")),
    **dict.fromkeys(("peak", "last_block_s", "last_clipped_s", "last_turn_s"), ((1,), "f8")),
}
"""What the microphone's process says of itself: whether it hears a card, how often sound was lost because it was late
and how often the card was, how many samples of silence stand for what was lost; the peak of late, when the newest block
came, when sound was last at full scale, and when the process last got on."""


class Intake:
    """Fills the ring, whatever the pieces are like.

    Parameters
    ----------
    ring : SoundRing
        May hold what an earlier run has put there: the time between is filled with silence.
    said : SharedArrays
        Of `MICROPHONE`.

    Notes
    -----
    One thread, the only one that writes either.
    """

    def __init__(self, ring: SoundRing, said: SharedArrays) -> None:
        self._ring = ring
        self._said = said
        self._level = PeakLevel(ring.rate_hz)
        self._block: Float32 = np.zeros(ring.block, np.float32)
        self._n_held = 0
        self._n_clipped = 0
        self._converter: Converter | None = None
        n_before = ring.n_blocks * ring.block
        next_s = ring.time_s(ring.n_blocks - 1) + ring.block / ring.rate_hz if n_before else None
        self._continuity = Continuity(ring.rate_hz, n_before, next_s)

    def take(self, piece: Piece, rate_hz: int, now_s: float) -> None:
        """Put a piece of sound, at its own rate, into the ring.

        Parameters
        ----------
        piece : Piece
        rate_hz : int
        now_s : float
        """
        piece = self._at_ring_rate(piece, rate_hz)
        n_missing = self._continuity.missing(len(piece.samples), piece.time_s, piece.follows)
        self._n_clipped += piece.n_clipped
        self._said["peak"][0] = self._level.see(piece.samples)
        if piece.n_clipped:
            self._said["last_clipped_s"][0] = now_s
        end_s = self._continuity.next_s
        self._fill(max(0, n_missing), end_s - (len(piece.samples) + max(0, n_missing)) / self._ring.rate_hz)
        heard = piece.samples[max(0, -n_missing) :]
        self._append(heard, end_s - len(heard) / self._ring.rate_hz)
        self._said["last_block_s"][0] = now_s

    def pass_silently(self, now_s: float) -> None:
        """Fill the time up to now with silence, for there is no card; nothing unless there was one before."""
        if self._continuity.n_samples == 0:
            return
        begin_s = self._continuity.next_s
        n = max(0, int((now_s - begin_s) * self._ring.rate_hz))
        self._continuity.skip(n)
        self._said["peak"][0] = self._level.see(np.zeros(n, np.float32)[: self._ring.rate_hz])
        self._fill(n, begin_s)
        self._said["last_block_s"][0] = now_s

    def _at_ring_rate(self, piece: Piece, rate_hz: int) -> Piece:
        if rate_hz == self._ring.rate_hz:
            return piece
        if self._converter is None or not piece.follows:
            from device.engine.resampled import Converter

            self._converter = Converter(rate_hz, self._ring.rate_hz)
        samples, time_s = self._converter.convert(piece.samples, piece.time_s)
        return Piece(samples, time_s, piece.n_clipped, piece.follows)

    def _fill(self, n: int, time_s: float) -> None:
        """Put silence into the ring."""
        self._said["n_filled"][0] += n
        block, rate_hz = self._ring.block, self._ring.rate_hz
        nothing = np.zeros(block, np.float32)
        n_kept = round(rate_hz * 60.0)  # More than the ring holds: the rest is only counted.
        if n > n_kept:
            n_blocks = (n - n_kept) // block
            self._ring.skip(n_blocks)
            n, time_s = n - n_blocks * block, time_s + n_blocks * block / rate_hz
        while n > 0:
            n_here = min(n, block)
            self._append(nothing[:n_here], time_s)
            n, time_s = n - n_here, time_s + n_here / rate_hz

    def _append(self, samples: Float32, time_s: float) -> None:
        """Put samples into the ring, block by block; what does not fill one is held until more comes."""
        first, block, rate_hz = 0, self._ring.block, self._ring.rate_hz
        while first < len(samples):
            n = min(block - self._n_held, len(samples) - first)
            self._block[self._n_held : self._n_held + n] = samples[first : first + n]
            first, self._n_held = first + n, self._n_held + n
            if self._n_held == block:
                self._ring.put(self._block, time_s + (first - block) / rate_hz, self._n_clipped)
                self._n_held = self._n_clipped = 0
