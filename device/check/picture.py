"""A coarse picture in the terminal, to aim a camera by, and a meter of how much moves. Pure."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

RESET = "\033[0m"
RAMP = " .:-=+*#%@"
"""For what shows no colours: dark to bright."""
FULL_MOTION = 10.0
"""Quantity of motion, in grey levels, that fills the meter: a lively dance has 3 on the whole, and up to 9."""

SMALLEST_RANGE = 16.0
"""Grey levels: what differs by less is not stretched to full contrast, it is noise."""

_FIRST_GREY, _N_GREYS = 232, 24  # of the 256 colours of terminals


def stretched(grey: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Give a picture with full contrast, so that a dark room can be seen, too.

    Parameters
    ----------
    grey : np.ndarray, shape (height, width), uint8
    """
    low, high = np.percentile(grey, [1, 99])
    gain = 255.0 / max(high - low, SMALLEST_RANGE)
    picture: npt.NDArray[np.uint8] = np.clip((grey - low) * gain, 0, 255).astype(np.uint8)
    return picture


def in_blocks(grey: npt.NDArray[np.uint8]) -> list[str]:
    """Draw a picture with half blocks, two rows of pixels a line.

    Parameters
    ----------
    grey : np.ndarray, shape (height, width), uint8
    """
    levels = _FIRST_GREY + grey.astype(np.int64) * _N_GREYS // 256
    if len(levels) % 2:
        levels = np.vstack([levels, levels[-1:]])
    return [
        "".join(f"\033[38;5;{top};48;5;{bottom}m▀" for top, bottom in zip(*rows, strict=True)) + RESET
        for rows in levels.reshape(-1, 2, levels.shape[1])
    ]


def in_letters(grey: npt.NDArray[np.uint8]) -> list[str]:
    """Draw a picture with letters, two rows of pixels a line; for terminals without colours, and for pipes."""
    height = len(grey) // 2 * 2
    mean = grey[:height].reshape(-1, 2, grey.shape[1]).mean(axis=1)
    return ["".join(RAMP[int(level) * len(RAMP) // 256] for level in row) for row in mean]


def meter(motion: float, n_cells: int = 40) -> str:
    """Draw how much moves.

    Parameters
    ----------
    motion : float
        Quantity of motion, in grey levels.
    """
    n = round(min(max(motion / FULL_MOTION, 0.0), 1.0) * n_cells)
    return f"motion {motion:5.1f} [{'#' * n}{'.' * (n_cells - n)}]"
