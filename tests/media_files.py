"""Makers of small videos for the tests, good and bad: plain functions that write a file and return its path."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from fractions import Fraction
from itertools import chain, count
from pathlib import Path
from typing import cast

import av
import numpy as np
import numpy.typing as npt
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from device.edges.camera_file import CameraFile
from device.models.bundles import FACTORY

# Divides 24, 25, 30, 50, 60, 120 and 59.94 fps evenly, and fits the 16 bits that mpeg4 has.
TICKS_PER_S = 60_000

# libavutil's AVCOL_RANGE_MPEG and AVCOL_RANGE_JPEG.
LIMITED_RANGE, FULL_RANGE = 1, 2

SETS_IN_S = 5.0

Picture = npt.NDArray[np.uint8]
Samples = npt.NDArray[np.float32]


def moving_bar(n_frames: int, height: int = 48, width: int = 64, bar_px: int = 8) -> list[Picture]:
    """Grey pictures of a white bar on black that goes once from left to right.

    Returns
    -------
    list of np.ndarray, shape (height, width), uint8
    """
    pictures = []
    for index in range(n_frames):
        picture = np.zeros((height, width), np.uint8)
        left = round(index * (width - bar_px) / max(n_frames - 1, 1))
        picture[:, left : left + bar_px] = 255
        pictures.append(picture)
    return pictures


def make_restless_dance(path: Path) -> Path:
    """The factory's dance from where it has set in: no 4 s of it hold more than 1.7 times the motion of any others."""
    pictures = []
    with closing(CameraFile(FACTORY.parent / "dance.mp4")) as camera:
        while (frame := camera.read()) is not None:
            if frame.time_s >= SETS_IN_S:
                pictures.append(frame.grey)
    return make_video(path, pictures, fps=50.0)


def tone(duration_s: float, rate_hz: int, f0_hz: float = 440.0, n_channels: int = 1, level: float = 0.5) -> Samples:
    """A sine, the same in every channel.

    Returns
    -------
    np.ndarray, shape (n_samples, n_channels), float32
    """
    time_s = np.arange(round(duration_s * rate_hz)) / rate_hz
    sine = (level * np.sin(2 * np.pi * f0_hz * time_s)).astype(np.float32)
    return np.repeat(sine[:, None], n_channels, axis=1)


def make_video(
    path: Path,
    frames: Iterable[Picture] | None,
    times_s: Iterable[float] | None = None,
    *,
    fps: float = 25.0,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    full_range: bool = False,
    sound: Samples | None = None,
    sound_rate_hz: int = 48_000,
    sound_codec: str | None = None,
    sound_start_s: float = 0.0,
    options: dict[str, str] | None = None,
    index_first: bool = False,
    rotation_deg: int = 0,
    is_cover: bool = False,
) -> Path:
    """Write a video; what it holds is decided by what is given.

    Pictures are taken one by one: a generator keeps memory flat.

    Parameters
    ----------
    path : Path
        The suffix chooses the container: .mp4, .mov, .mkv, .avi, .webm.
    frames : iterable of np.ndarray, shape (height, width) grey or (height, width, 3) RGB, uint8, or None
        Full-range pictures, even in size unless the format can do otherwise; None: a file without a picture.
    times_s : iterable of float, optional
        Time of each frame in seconds, in any steps (variable rate); index / `fps` unless given. Keeps 1/60000 s; use
        a container with free times (.mp4, .mov, .mkv to 1 ms), .avi has only a fixed rate.
    codec, pix_fmt, full_range
        "ffv1" with "gray" in .mkv is without loss; "libx264" with "yuv420p" is what phones write (limited range, unless
        `full_range`).
    sound : np.ndarray, shape (n_samples,) or (n_samples, n_channels), float32, optional
        Sound beside the picture.
    sound_start_s : float
        Time of the first sample.
    options : dict, optional
        Options of the video's codec.
    index_first : bool
        For .mp4 and .mov: the index lies before the pictures, so that a truncated file can be read up to the cut.
    rotation_deg : int
        What a player is asked to turn the picture by, counterclockwise; the pictures are stored as given.
    is_cover : bool
        The picture is that of an album's cover, not a moving one.
    sound_codec : str, optional
        "aac" in .mp4 and "pcm_s16le" elsewhere, unless given.
    """
    container_options = {"movflags": "faststart"} if index_first else {}
    with av.open(str(path), "w", container_options=container_options) as container:
        video = None
        if frames is not None:
            pictures = iter(frames)
            first = next(pictures)
            video = _add_video_stream(container, first.shape[:2], fps, codec, pix_fmt, full_range, options)
            if rotation_deg:
                video.set_display_rotation(rotation_deg)
            if is_cover:
                video.disposition = Disposition.attached_pic
        audio = None
        if sound is not None:
            sound = sound[:, None] if sound.ndim == 1 else sound
            chosen = sound_codec or ("aac" if path.suffix == ".mp4" else "pcm_s16le")
            layout = _layout(sound.shape[1])
            audio = cast(AudioStream, container.add_stream(chosen, rate=sound_rate_hz, layout=layout))
        if video is not None:
            _write_frames(container, video, chain([first], pictures), times_s, fps, pix_fmt, full_range)
        if audio is not None and sound is not None:
            _write_sound(container, audio, sound, sound_rate_hz, sound_start_s)
    return path


def make_sound_file(path: Path, sound: Samples, rate_hz: int, codec: str | None = None) -> Path:
    """A media file with sound and no picture."""
    return make_video(path, None, sound=sound, sound_rate_hz=rate_hz, sound_codec=codec)


def make_text_file(path: Path) -> Path:
    """Text under the name of a video."""
    path.write_text("This is a shopping list: milk, bread, a tripod.\n" * 40, encoding="utf-8")
    return path


def make_truncated(source: Path, path: Path, keep: float = 0.5) -> Path:
    """The first part of another file, as a broken copy or a pulled plug leaves it.

    An .mp4 or .mov loses its index, which is at the end, and cannot be read at all, unless it was made with
    `index_first`; .mkv and .avi can be read up to the cut.
    """
    content = source.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    return path


def _layout(n_channels: int) -> str:
    return {1: "mono", 2: "stereo", 6: "5.1"}.get(n_channels, f"{n_channels}c")


def _add_video_stream(
    container: OutputContainer,
    size: tuple[int, ...],
    fps: float,
    codec: str,
    pix_fmt: str,
    full_range: bool,
    options: dict[str, str] | None,
) -> VideoStream:
    stream = cast(VideoStream, container.add_stream(codec, rate=Fraction(fps).limit_denominator(1001), options=options))
    stream.height, stream.width, stream.pix_fmt = size[0], size[1], pix_fmt
    if container.format.name != "avi":
        stream.time_base = stream.codec_context.time_base = Fraction(1, TICKS_PER_S)
    if full_range:
        stream.codec_context.color_range = FULL_RANGE
    return stream


def _write_frames(
    container: OutputContainer,
    stream: VideoStream,
    frames: Iterable[Picture],
    times_s: Iterable[float] | None,
    fps: float,
    pix_fmt: str,
    full_range: bool,
) -> None:
    fixed_rate = container.format.name == "avi"
    time_base = 1 / Fraction(fps).limit_denominator(1001) if fixed_rate else Fraction(1, TICKS_PER_S)
    times = (index / fps for index in count()) if times_s is None or fixed_rate else iter(times_s)
    to_range = FULL_RANGE if full_range or pix_fmt.startswith(("gray", "yuvj", "rgb")) else LIMITED_RANGE
    for picture, time_s in zip(frames, times, strict=False):
        frame = av.VideoFrame.from_ndarray(picture, format="gray" if picture.ndim == 2 else "rgb24")
        frame = frame.reformat(format=pix_fmt, src_color_range=FULL_RANGE, dst_color_range=to_range)
        frame.pts, frame.time_base = round(time_s / time_base), time_base
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def _write_sound(container: OutputContainer, stream: AudioStream, sound: Samples, rate_hz: int, start_s: float) -> None:
    layout = stream.layout.name
    resampler = av.AudioResampler(format=stream.format.name, layout=layout, rate=rate_hz)
    for first in range(0, len(sound), 1024):
        block = np.ascontiguousarray(sound[first : first + 1024].T, np.float32)
        frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=layout)
        frame.sample_rate, frame.time_base = rate_hz, Fraction(1, rate_hz)
        frame.pts = first + round(start_s * rate_hz)
        for converted in resampler.resample(frame):
            container.mux(stream.encode(converted))
    container.mux(stream.encode(None))
