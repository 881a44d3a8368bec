"""The gain that holds the sound while frames come, and lets it go gently when they stop."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

RISE_S = 0.010
RELEASE_S = 0.020


class Fade:
    """Holds, then fades to silence; comes back at once with the next frame.

    Parameters
    ----------
    rate_hz : int
        Samples per second.
    fade_s : float
        From full level to silence.

    Notes
    -----
    Audio path: allocates a block's worth of temporaries only while the gain moves. Counts in whole numbers, so the
    sound is the same to the bit whatever the block size. The curve is a smoothstep: it starts and ends without a
    corner.
    """

    def __init__(self, rate_hz: int, fade_s: float) -> None:
        n_rise = max(1, round(RISE_S * rate_hz))
        n_fall = max(1, round(fade_s * rate_hz))
        # A height that both ramps climb in whole steps.
        self._full = n_rise * n_fall
        self._rise, self._fall = n_fall, n_rise
        self._quick_fall = max(1, self._full // max(1, round(RELEASE_S * rate_hz)))
        self._height = 0
        self._n_held = 0

    @property
    def is_silent(self) -> bool:
        """Whether nothing can be heard until the next `hold`."""
        return self.n_until_silent == 0

    @property
    def n_until_silent(self) -> int:
        """Samples until `is_silent`, if no `hold` comes before."""
        # The rise may still lift the height while the sound is held.
        height = min(self._height + self._n_held * self._rise, self._full)
        return self._n_held - (-height // self._fall)

    def hold(self, n_samples: int) -> None:
        """Rise to full level, and stay there until this many samples from now."""
        self._n_held = n_samples

    def release(self) -> None:
        """Fall to silence within `RELEASE_S`, for the performance ends here."""
        self._n_held = 0
        self._fall = max(self._fall, self._quick_fall)

    def apply(self, block: npt.NDArray[np.float32]) -> None:
        """Multiply the next samples by the gain, in place.

        Parameters
        ----------
        block : np.ndarray, shape (n_samples,), float32
        """
        n_held = min(self._n_held, len(block))
        self._n_held -= n_held
        self._ramp(block[:n_held], self._rise)
        self._ramp(block[n_held:], -self._fall)

    def _ramp(self, part: npt.NDArray[np.float32], slope: int) -> None:
        if len(part) == 0 or (slope > 0 and self._height == self._full):
            return
        if slope < 0 and self._height == 0:
            part.fill(0.0)
            return
        heights = np.clip(self._height + slope * np.arange(1, len(part) + 1), 0, self._full)
        self._height = int(heights[-1])
        share = heights / self._full
        part *= (share * share * (3.0 - 2.0 * share)).astype(np.float32)
