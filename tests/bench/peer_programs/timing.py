"""How a peer is timed: on one thread, in processor time, sound block by block; the figures go out as JSON."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

N_WARM_UP = 5


def real_time_factor(
    play: Callable[[Any], Any], given: Any, n_samples: int, rate_hz: int, duration_s: float
) -> dict[str, Any]:
    """Processor time of blocks over their duration, and what the blocks were; each is played from what is given."""
    for _ in range(N_WARM_UP):
        made = play(given)
    if made.shape[-1] != n_samples:
        sys.exit(f"a block of {made.shape[-1]} samples came, not of {n_samples}")
    n_blocks = max(1, round(duration_s * rate_hz / n_samples))
    started_s = time.process_time()
    for _ in range(n_blocks):
        play(given)
    took_s = time.process_time() - started_s
    return {"block": n_samples, "rate_hz": rate_hz, "rtf": took_s * rate_hz / (n_blocks * n_samples)}


def report(name: str, version: str, n_parameters: int, figures: list[dict[str, Any]]) -> None:
    """Print what was measured, as the last line."""
    print(json.dumps({"name": name, "version": version, "n_parameters": n_parameters, "figures": figures}))
