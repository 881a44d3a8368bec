"""PNG files of grey pictures, for people to look at."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import numpy.typing as npt

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY, _DEPTH_BITS = 0, 8


def png(grey: npt.NDArray[np.uint8]) -> bytes:
    """Encode a picture.

    Parameters
    ----------
    grey : np.ndarray, shape (height, width), uint8

    Returns
    -------
    bytes
        A PNG file, as ISO/IEC 15948 says.
    """
    height, width = grey.shape
    rows = np.zeros((height, width + 1), np.uint8)  # each row begins with its filter: 0, none
    rows[:, 1:] = grey
    header = struct.pack(">IIBBBBB", width, height, _DEPTH_BITS, _GREY, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes())), (b"IEND", b""))
    return _SIGNATURE + b"".join(_chunk(kind, data) for kind, data in parts)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
