"""Latencies counted in fixed memory, however long the performance."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

BIN_MS = 0.05
N_BINS = 40_000  # 2 s; what is later counts as 2 s in the percentiles, and is exact in the maximum


class LatencyHistogram:
    """Counts latencies in bins of `BIN_MS`.

    Parameters
    ----------
    counts : np.ndarray, shape (N_BINS,), int64, optional
        Memory to count in, such as one that processes share.
    longest_ms : np.ndarray, shape (1,), float64, optional
        Memory for the maximum.

    Notes
    -----
    Audio path: `add` allocates nothing that stays. Belongs to one thread until that one has ended.
    """

    def __init__(
        self, counts: npt.NDArray[np.int64] | None = None, longest_ms: npt.NDArray[np.float64] | None = None
    ) -> None:
        self._counts = np.zeros(N_BINS, np.int64) if counts is None else counts
        self._longest_ms = np.zeros(1) if longest_ms is None else longest_ms

    def add(self, latency_ms: float) -> None:
        """Count one latency; below zero is zero."""
        self._counts[min(max(int(latency_ms / BIN_MS), 0), N_BINS - 1)] += 1
        if latency_ms > self._longest_ms[0]:
            self._longest_ms[0] = latency_ms

    @property
    def n(self) -> int:
        """How many were counted."""
        return int(self._counts.sum())

    @property
    def max_ms(self) -> float:
        """The longest; 0 when nothing was counted."""
        return float(self._longest_ms[0])

    def percentile_ms(self, percent: float) -> float:
        """Give the latency that this share of all does not exceed, to `BIN_MS`; 0 when nothing was counted.

        Parameters
        ----------
        percent : float
            0 to 100.
        """
        if self.n == 0:
            return 0.0
        rank = max(1, math.ceil(self.n * percent / 100.0))
        index = int(np.searchsorted(np.cumsum(self._counts), rank))
        return min((index + 1) * BIN_MS, self.max_ms)

    def figures(self) -> dict[str, float]:
        """`p50`, `p99` and `max`, in milliseconds rounded to 0.01."""
        return {
            "p50": round(self.percentile_ms(50), 2),
            "p99": round(self.percentile_ms(99), 2),
            "max": round(self.max_ms, 2),
        }

    def bins(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """Give what was counted, for a picture.

        Returns
        -------
        from_ms : np.ndarray, shape (n_bins,), float64
            Lower edges, up to the last bin that holds something.
        counts : np.ndarray, shape (n_bins,), int64
        """
        filled = np.flatnonzero(self._counts)
        n = int(filled[-1]) + 1 if len(filled) else 0
        return np.arange(n) * BIN_MS, self._counts[:n].copy()
