"""What is known of a room: its bytes, built and parsed strictly, and how the rest is learned. No files."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from device.core.errors import ConfigError
from device.core.room_size import LARGEST_SIZE, LARGEST_ZOOM, SMALLEST_SIZE, SMALLEST_ZOOM

Float32 = npt.NDArray[np.float32]

FORMAT = "dance-sampler room"
FORMAT_VERSION = 1
MAX_PROFILE_BYTES = 16 << 20
LARGEST_NOISE = 100.0
LARGEST_SIDE = 4096
STEPS_PER_LEVEL = 10
"""Noise is stored in tenths of a grey level."""
AGAIN = "calibrate the room again"


@dataclass(frozen=True)
class RoomSettings:
    """How a room is learned while the box plays.

    Attributes
    ----------
    adapt : bool
        Learn at all; otherwise what the profile says holds.
    quiet_s : float
        A part of the picture must have been quiet for this long before its noise is learned, in seconds.
    learn_s : float
        Time constant with which noise is learned anew, in seconds.
    zoom : float
        How many times larger dancers are made, 0.7 to 2; 0: learn it from their height in the picture.
    size_s : float
        How slowly the dancer's size is learned, in seconds of motion.

    Raises
    ------
    ConfigError
        A value lies outside its range.
    """

    adapt: bool = True
    quiet_s: float = 3.0
    learn_s: float = 10.0
    zoom: float = 0.0
    size_s: float = 20.0

    def __post_init__(self) -> None:
        for name in ("quiet_s", "learn_s", "size_s"):
            if not 0.0 < getattr(self, name) <= 86_400.0:
                raise ConfigError(f"room.{name} = {getattr(self, name)} cannot be used: set it above 0, up to a day")
        if self.zoom != 0.0 and not SMALLEST_ZOOM <= self.zoom <= LARGEST_ZOOM:
            raise ConfigError(
                f"room.zoom = {self.zoom} cannot be used: set {SMALLEST_ZOOM:g} to {LARGEST_ZOOM:g}, or 0 to learn it"
            )


@dataclass(frozen=True, eq=False)
class RoomProfile:
    """What was learned of a room.

    Attributes
    ----------
    noise : np.ndarray, shape (height, width), float32
        Standard deviation of each pixel's difference between two frames, in grey levels, 0 to 100.
    flicker : float
        Mean change of the light that was taken out, in grey levels; for people to read.
    size : float
        Height of the dancer as a share of the picture's, 0.05 to 2.
    has_danced : bool
        The size was measured; otherwise it is what is typical.
    """

    noise: Float32
    flicker: float
    size: float
    has_danced: bool

    def to_json(self) -> bytes:
        """ASCII JSON; equal profiles give equal bytes, and what was parsed gives the bytes that it came from."""
        steps = np.rint(np.clip(self.noise, 0.0, LARGEST_NOISE) * STEPS_PER_LEVEL).astype(int)
        document = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "flicker": round(float(self.flicker), 2),
            "size": round(float(self.size), 3),
            "has_danced": self.has_danced,
            "noise_in_tenths": steps.tolist(),
        }
        return (json.dumps(document, allow_nan=False).replace("], [", "],\n [") + "\n").encode("ascii")

    @classmethod
    def from_json(cls, data: bytes) -> RoomProfile:
        """Parse what `to_json` built, or what anyone else did.

        Raises
        ------
        ConfigError
            It is not a profile, not whole, or holds a value that cannot be: one line that says which.
        """
        document = _document(data)
        return cls(
            noise=_noise(document["noise_in_tenths"]),
            flicker=_number(document, "flicker", 0.0, 255.0),
            size=_number(document, "size", SMALLEST_SIZE, LARGEST_SIZE),
            has_danced=_boolean(document, "has_danced"),
        )


def _document(data: bytes) -> dict[str, Any]:
    if len(data) > MAX_PROFILE_BYTES:
        raise ConfigError(f"the room's profile has {len(data)} bytes, more than any has: {AGAIN}")
    try:
        document = json.loads(data.decode("ascii"), object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"the room's profile is not JSON that can be read ({_short(error)}): {AGAIN}") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise ConfigError(f"this is not the profile of a room: {AGAIN}")
    version = document.get("format_version")
    if type(version) is not int or version != FORMAT_VERSION:
        raise ConfigError(f"the room's profile has the format {_short(version)}, not {FORMAT_VERSION}: {AGAIN}")
    keys = {"format", "format_version", "flicker", "size", "has_danced", "noise_in_tenths"}
    if document.keys() != keys:
        odd = min(document.keys() ^ keys)
        raise ConfigError(f"the room's profile has too few or too many keys ({_short(odd)}): {AGAIN}")
    return document


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a key comes twice")
    return document


def _noise(rows: object) -> Float32:
    highest = round(LARGEST_NOISE * STEPS_PER_LEVEL)
    is_picture = (
        isinstance(rows, list)
        and 0 < len(rows) <= LARGEST_SIDE
        and all(isinstance(row, list) and 0 < len(row) <= LARGEST_SIDE for row in rows)
        and len({len(row) for row in rows}) == 1
    )
    if not is_picture or not all(type(step) is int and 0 <= step <= highest for row in rows for step in row):  # type: ignore[attr-defined] # it is a list by now
        raise ConfigError(f"the noise in the room's profile is no picture of numbers from 0 to {highest}: {AGAIN}")
    return np.array(rows, np.float32) / np.float32(STEPS_PER_LEVEL)


def _number(document: dict[str, Any], key: str, low: float, high: float) -> float:
    value = document[key]
    if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
        raise ConfigError(f"'{key}' in the room's profile is not a number from {low:g} to {high:g}: {AGAIN}")
    return float(value)


def _boolean(document: dict[str, Any], key: str) -> bool:
    value = document[key]
    if not isinstance(value, bool):
        raise ConfigError(f"'{key}' in the room's profile is neither true nor false: {AGAIN}")
    return value


def _short(what: object) -> str:
    return " ".join(str(what).split())[:80]
