"""Makes one take of one video: the columns of its pictures beside its resampled sound."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from device.core.errors import TakeError
from device.core.motiongram import Motion, Motiongram, MotionSettings
from device.edges.camera_file import CameraFile
from device.store.store import TakeWriter
from trainer.importing import media

SHORTEST_S = 0.1
# Picture and sound seldom end together; a difference up to this is not worth a word.
USUAL_DIFFERENCE_S = 0.5
COLUMNS_AT_ONCE = 32

Advance = Callable[[float], None]
Stretch = tuple[float, float]
"""First and last time, in seconds."""


def import_video(video: Path, folder: Path, settings: MotionSettings, rate_hz: int, advance: Advance) -> list[str]:
    """Make a take of one video.

    Parameters
    ----------
    folder : Path
        An empty folder from `device.store.store.allocate`.
    advance : callable
        Told of each stretch of the video that is done, in seconds.

    Returns
    -------
    list of str
        What its owner should know of the take.

    Raises
    ------
    CameraError, AudioError
        It has no picture or no sound.
    TakeError
        It is too short, or the take cannot be written; nothing of the take is left.
    """
    camera = CameraFile(video, settings.height, settings.width)
    try:
        sound = media.read_sound(video, rate_hz)
        source: dict[str, object] = {"kind": "video", "name": video.name, "sha256": _sha256(video)}
        writer = TakeWriter(folder.parent, settings, rate_hz, source, folder=folder)
        try:
            seen = _copy_motion(camera, writer, advance)
            heard = _copy_sound(sound, writer, rate_hz)
            notes = _notes(video, camera.truncated, seen, heard)
            writer.finish()
            return notes
        except BaseException:
            writer.abandon()
            raise
    finally:
        camera.close()


def _copy_motion(camera: CameraFile, writer: TakeWriter, advance: Advance) -> Stretch:
    motions = _motions(camera, writer.settings)
    last_s = camera.start_s
    while batch := list(islice(motions, COLUMNS_AT_ONCE)):
        writer.add_columns(np.stack([motion.column for motion in batch]), np.array([motion.time_s for motion in batch]))
        advance(batch[-1].time_s - last_s)
        last_s = batch[-1].time_s
    return camera.start_s, last_s


def _motions(camera: CameraFile, settings: MotionSettings) -> Iterator[Motion]:
    motiongram = Motiongram(settings)
    while (frame := camera.read()) is not None:
        yield motiongram.push(frame)


def _copy_sound(sound: Iterator[tuple[float, media.Samples]], writer: TakeWriter, rate_hz: int) -> Stretch:
    first_s: float | None = None
    last_s = 0.0
    for time_s, samples in sound:
        writer.add_sound(samples, time_s)
        first_s = time_s if first_s is None else first_s
        last_s = time_s + len(samples) / rate_hz
    return (last_s if first_s is None else first_s), last_s


def _notes(video: Path, is_truncated: bool, seen: Stretch, heard: Stretch) -> list[str]:
    """Say what is odd about a take; too short is an error."""
    shared_s = min(seen[1], heard[1]) - max(seen[0], heard[0])
    if shared_s < SHORTEST_S:
        raise TakeError(
            f"{video} is too short, {max(shared_s, 0.0):.2f} s of both picture and sound: {SHORTEST_S} s is least"
        )
    notes = []
    if is_truncated:
        notes.append(
            f"{video} is damaged or cut off: imported what can be decoded, {seen[1] - seen[0]:.1f} s of picture"
        )
    if heard[1] < seen[1] - USUAL_DIFFERENCE_S:
        notes.append(f"{video}: its sound ends {seen[1] - heard[1]:.1f} s before its picture; the rest is not used")
    return notes


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
