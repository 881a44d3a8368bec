"""How full the disk is, and how long a recording can go on before it reaches the reserve."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from device.core.motiongram import MotionSettings

LEFT_FREE_BYTES = 32_000_000
"""A model that would leave less room on the card is not installed: the box's own small files need some."""
SHORTEST_S = 10.0
"""A recording that would have to end sooner is not begun."""


def free_bytes(path: Path) -> int:
    """Bytes that can be written where `path` lies, or would: the nearest folder above it that exists counts.

    Raises
    ------
    OSError
        The disk cannot be asked.
    """
    while not path.exists() and path != path.parent:
        path = path.parent
    return shutil.disk_usage(path).free


def take_bytes_per_s(settings: MotionSettings, fps: float, rate_hz: int) -> float:
    """How fast a take grows, bytes per second.

    Parameters
    ----------
    settings : MotionSettings
        What its columns are made with.
    fps : float
        Columns per second.
    rate_hz : int
        Samples per second.
    """
    from device.core.take import COLUMNS_PER_CHUNK, SAMPLES_PER_CHUNK, column_dtype, sound_dtype

    columns = column_dtype(settings.n_features).itemsize / COLUMNS_PER_CHUNK
    return columns * fps + sound_dtype().itemsize / SAMPLES_PER_CHUNK * rate_hz


def seconds_left(path: Path, bytes_per_s: float, reserve_bytes: int) -> float:
    """Seconds until the reserve is reached by what grows so fast; 0 if it is reached.

    Raises
    ------
    OSError
        The disk cannot be asked.
    """
    return max(free_bytes(path) - reserve_bytes, 0) / bytes_per_s


def full_problem(path: Path, bytes_per_s: float, reserve_bytes: int) -> str | None:
    """Say why no recording may begin, and what to do; None if one may.

    Parameters
    ----------
    path : Path
        The folder of the takes.
    bytes_per_s : float
        From `take_bytes_per_s`.
    reserve_bytes : int
        What must stay free.
    """
    try:
        left_s = seconds_left(path, bytes_per_s, reserve_bytes)
    except OSError as error:
        return f"{path} cannot be asked how full it is ({error.strerror}): check the card"
    if left_s >= SHORTEST_S:
        return None
    return (
        f"the card of {path} is full but for its reserve of {reserve_bytes / 1e6:.0f} MB: "
        "carry takes away (python -m device takes export), then delete them here"
    )
