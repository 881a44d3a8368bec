"""Float blocks to the samples of sound cards and files, in memory that is set aside once, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

SampleFormat = Literal["int16", "int24", "int24in32", "int32", "float32"]


@dataclass(frozen=True)
class _Layout:
    n_bits: int
    n_bytes: int
    dtype: str


# int24 is packed in three bytes, int24in32 lies in the lower three of four.
_LAYOUTS: dict[SampleFormat, _Layout] = {
    "int16": _Layout(16, 2, "<i2"),
    "int24": _Layout(24, 3, "<i4"),
    "int24in32": _Layout(24, 4, "<i4"),
    "int32": _Layout(32, 4, "<i4"),
    "float32": _Layout(0, 4, "<f4"),
}


class PcmEncoder:
    """Mono float blocks to interleaved little-endian samples.

    Full scale is -1 to 1, as 2**(bits - 1) steps: what was read from a file of the same width comes out bit by bit.
    What lies outside is clipped, NaN is silence.

    Parameters
    ----------
    sample_format : str
        "int16", "int24" (three bytes), "int24in32" (four bytes), "int32" or "float32".
    n_channels : int
        How often each sample is given.
    n_max : int
        Samples in the longest block.
    """

    def __init__(self, sample_format: SampleFormat, n_channels: int, n_max: int) -> None:
        layout = _LAYOUTS[sample_format]
        self.n_max = n_max
        self.frame_bytes = layout.n_bytes * n_channels
        is_float = layout.n_bits == 0
        self._scale = 1.0 if is_float else 2.0 ** (layout.n_bits - 1)
        self._highest = 1.0 if is_float else self._scale - 1
        self._round = not is_float
        self._nan = np.empty(n_max, np.bool_)
        self._scaled = np.empty(n_max, np.float64)
        self._samples = np.empty((n_max, 1), layout.dtype)
        self._bytes = np.zeros((n_max, n_channels, layout.n_bytes), np.uint8)
        self._sample_bytes = self._samples.view(np.uint8).reshape(n_max, 1, -1)[:, :, : layout.n_bytes]
        self._memory = self._bytes.data.cast("B")

    def encode(self, block: npt.NDArray[np.float32]) -> memoryview:
        """Convert one block to bytes.

        Parameters
        ----------
        block : np.ndarray, shape (n_samples,), float32
            At most `n_max` samples.

        Returns
        -------
        memoryview
            `n_samples` times `frame_bytes` bytes. The same memory at every call: write it out, or copy it, first.
        """
        n = len(block)
        scaled, nan = self._scaled[:n], self._nan[:n]
        np.copyto(scaled, block)
        np.isnan(scaled, out=nan)
        np.copyto(scaled, 0.0, where=nan)
        np.multiply(scaled, self._scale, out=scaled)
        np.maximum(scaled, -self._scale, out=scaled)
        np.minimum(scaled, self._highest, out=scaled)
        if self._round:
            np.rint(scaled, out=scaled)
        np.copyto(self._samples[:n, 0], scaled, casting="unsafe")
        np.copyto(self._bytes[:n], self._sample_bytes[:n])
        return self._memory[: n * self.frame_bytes]


class PcmDecoder:
    """Interleaved little-endian samples to mono float blocks: the inverse of `PcmEncoder`.

    Parameters
    ----------
    sample_format : str
        As for `PcmEncoder`.
    n_channels : int
    channel : int
        Which channel is heard, the first is 1; 0: the mean of all.
    """

    def __init__(self, sample_format: SampleFormat, n_channels: int, channel: int = 0) -> None:
        self._layout = _LAYOUTS[sample_format]
        self._n_channels = n_channels
        self._channels = slice(None) if channel == 0 else slice(channel - 1, channel)
        # Both ends of the range of whole numbers; what a float says beyond full scale is clipped as well.
        self._highest = 1.0 - 2.0 ** (1 - min(self._layout.n_bits or 16, 16))

    def decode(self, data: bytes) -> tuple[npt.NDArray[np.float32], int]:
        """Convert the bytes of whole samples.

        Returns
        -------
        samples : np.ndarray, shape (n_samples,), float32
            Full scale is -1 to 1; NaN is silence.
        n_clipped : int
            Samples at full scale, to 16 bits, in any of the channels that are heard.
        """
        heard = self._floats(data)[:, self._channels]
        n_clipped = int(np.count_nonzero((np.abs(heard) >= self._highest).any(axis=1)))
        return heard.mean(axis=1, dtype=np.float32), n_clipped

    def _floats(self, data: bytes) -> npt.NDArray[np.float32]:
        """Give all channels, shape (n_samples, n_channels)."""
        n_bits, n_bytes = self._layout.n_bits, self._layout.n_bytes
        if n_bytes == 3:
            whole = np.zeros((len(data) // 3, 4), np.uint8)
            whole[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
            steps, n_bits = whole.view("<i4")[:, 0], 32
        else:
            steps = np.frombuffer(data, self._layout.dtype)
            if n_bits == 24:  # What lies in the fourth byte is the card's own.
                steps, n_bits = steps << 8, 32
        scale = 1.0 if n_bits == 0 else 2.0 ** (1 - n_bits)
        floats: npt.NDArray[np.float32] = np.multiply(steps, scale, dtype=np.float64).astype(np.float32)
        if n_bits == 0:
            np.nan_to_num(floats, copy=False, nan=0.0, posinf=1.0, neginf=-1.0)
        return floats.reshape(-1, self._n_channels)
