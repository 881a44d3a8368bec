"""Pictures of motion and sound without axes: the page puts them on its own, one time axis for all.

They are indexed PNGs, one byte a point: a tenth of what full colour takes, and sharp on any screen.
"""

from __future__ import annotations

import struct
import zlib

import numpy as np
import numpy.typing as npt

from device.core.spectrogram import spectrogram_db

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
UInt8 = npt.NDArray[np.uint8]

N_COLUMNS = 1100
"""Points of a picture from its first moment to its last."""
N_SHADES = 64
RANGE_DB = 70.0
SOUND_COLOURS = ("#ffffff", "#fbe3c8", "#f0a35e", "#cf4b4f", "#7a1f5c", "#1d0a33")
"""From silence to the loudest; lightness falls all the way, so that it reads without colour."""
MOTION_COLOURS = ("#ffffff", "#c9dbe6", "#7fa9c4", "#2a6f97", "#0f3a55")
MARKS_HZ = (100, 1000, 10000)


def motion_picture(columns: Float32, times_s: Float64, n_rows: int) -> bytes:
    """A motiongram: rows of the camera's picture from top to bottom, over time.

    Parameters
    ----------
    columns : np.ndarray, shape (n, height + width)
        Grey levels.
    times_s : np.ndarray, shape (n,)
        Increasing.
    n_rows : int
        Of a column, the values that are rows of the picture.

    Returns
    -------
    bytes
        A PNG, `N_COLUMNS` wide, evenly spaced in time.
    """
    rows = np.sqrt(np.maximum(columns[:, :n_rows], 0.0))  # what is faint is seen beside what is strong
    at_s = np.linspace(times_s[0], times_s[-1], N_COLUMNS)
    shown = rows[np.maximum(np.searchsorted(times_s, at_s, side="right") - 1, 0)].T
    top = max(float(np.percentile(rows, 99.5)), 0.1)
    return indexed_png(shades(shown / top), MOTION_COLOURS)


def sound_levels_db(sound: Float32, rate_hz: int) -> Float32:
    """Spectrogram of a sound on a logarithmic scale of frequencies: shape (n_bands, N_COLUMNS), lowest band first."""
    return spectrogram_db(sound, rate_hz, N_COLUMNS)[0]


def sound_picture(level_db: Float32, top_db: float) -> bytes:
    """A spectrogram as a PNG, high tones above; `top_db` is the darkest, `RANGE_DB` less is white."""
    return indexed_png(shades((level_db[::-1] - (top_db - RANGE_DB)) / RANGE_DB), SOUND_COLOURS)


def frequency_marks(rate_hz: int) -> list[tuple[str, float]]:
    """Labels of frequencies, and how far up the picture each lies, 0 to 1."""
    hz = spectrogram_db(np.zeros(1, np.float32), rate_hz, 1)[1]
    places = [(mark, float(np.log(mark / hz[0]) / np.log(hz[-1] / hz[0]))) for mark in MARKS_HZ]
    return [(f"{hz // 1000} kHz" if hz >= 1000 else f"{hz} Hz", place) for hz, place in places if 0 <= place <= 1]


def shades(values: Float32 | Float64) -> UInt8:
    """Values from 0 to 1 as shades, 0 to `N_SHADES` - 1; what lies outside is the first or the last."""
    made: UInt8 = np.clip(np.multiply(np.nan_to_num(values), N_SHADES), 0, N_SHADES - 1).astype(np.uint8)
    return made


def indexed_png(picture: UInt8, colours: tuple[str, ...]) -> bytes:
    """Write a PNG of shades (https://www.w3.org/TR/png/).

    Parameters
    ----------
    picture : np.ndarray, shape (height, width), uint8
        Below `N_SHADES`.
    colours : tuple of str
        '#rrggbb', evenly spread over the shades.
    """
    height, width = picture.shape
    stops = np.array([[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in colours], np.float64)
    at = np.linspace(0, len(stops) - 1, N_SHADES)
    palette = np.stack([np.interp(at, np.arange(len(stops)), stops[:, i]) for i in range(3)], axis=1)
    rows = np.pad(picture, ((0, 0), (1, 0)))  # each line begins with its filter: none
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
        (b"PLTE", palette.round().astype(np.uint8).tobytes()),
        (b"IDAT", zlib.compress(rows.tobytes(), 9)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in parts)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
