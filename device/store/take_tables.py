"""A take for other people's programs: its sound as WAV, its motiongram as an array, its frames as a table."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from device.core.take import to_int16
from device.store.files import SyncedFile, sync_path
from device.store.take_reader import Take

WAV, ARRAY, TABLE = "sound.wav", "columns.npy", "frames.csv"
_N_FRAMES, _N_SAMPLES = 4096, 1 << 18


def write_tables(take: Take, folder: Path) -> None:
    """Write sound.wav, columns.npy and frames.csv; memory stays flat.

    The WAV is mono, 16 bit, as recorded. The array has shape (n_columns, height + width), float32. The table has a line
    for each frame: its time in seconds, the sample of the WAV that sounded then, and the quantity of motion, the mean
    difference of the frame in grey levels.

    Raises
    ------
    OSError
        They cannot be written.
    """
    for name, pieces in ((WAV, _wav(take)), (ARRAY, _array(take)), (TABLE, _table(take))):
        file = SyncedFile(folder / name, fresh=False)
        try:
            for piece in pieces:
                file.write(piece)
            file.sync()
        finally:
            file.close()
    sync_path(folder)


def _wav(take: Take) -> Iterator[bytes]:
    n_bytes = 2 * take.n_samples
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, take.rate_hz, 2 * take.rate_hz, 2, 16)
    yield struct.pack("<4sI4s", b"RIFF", 36 + n_bytes, b"WAVE") + form + struct.pack("<4sI", b"data", n_bytes)
    for start in range(0, take.n_samples, _N_SAMPLES):
        stop = min(start + _N_SAMPLES, take.n_samples)
        yield to_int16(take.sound_at(start, stop)).astype("<i2").tobytes()


def _array(take: Take) -> Iterator[bytes]:
    head = io.BytesIO()
    shape = (take.n_columns, take.settings.n_features)
    described = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(head, described)  # type: ignore[no-untyped-call]  # numpy's, not annotated
    yield head.getvalue()
    for start in range(0, take.n_columns, _N_FRAMES):
        yield take.columns_at(start, start + _N_FRAMES).astype("<f4").tobytes()


def _table(take: Take) -> Iterator[bytes]:
    yield b"time_s,sample,quantity_of_motion\n"
    samples = take.samples_of(take.times_s)
    for start in range(0, take.n_columns, _N_FRAMES):
        stop = min(start + _N_FRAMES, take.n_columns)
        motion = take.columns_at(start, stop)[:, : take.settings.height].mean(axis=1)
        rows = zip(take.times_s[start:stop], samples[start:stop], motion, strict=True)
        yield "".join(f"{time_s:.6f},{sample:.1f},{mean:.4f}\n" for time_s, sample, mean in rows).encode()
