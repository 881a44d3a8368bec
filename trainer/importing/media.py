"""The sound of a video: any that PyAV decodes, mixed to one channel, resampled as it comes, with its times."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import soxr
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import FFmpegError

from device.core.errors import AudioError

# Containers round times to 1 ms and encoders pad: less than this is no gap.
GAP_TOLERANCE_S = 0.02
# A jump back by more is a new clock (joined files), as it is for the picture.
CLOCK_RESTART_S = 1.0
LONGEST_GAP_S = 600.0

Samples = npt.NDArray[np.float32]
_FULL_SCALE = {"u8": 128.0, "s16": 32768.0, "s32": 2147483648.0, "s64": 9223372036854775808.0}


def read_sound(path: Path, rate_hz: int) -> Iterator[tuple[float, Samples]]:
    """Open the first sound of a video and give it block by block; memory stays flat.

    All channels are averaged. Where the file has a gap there is silence; what overlaps is left out; what cannot be
    decoded is a gap.

    Parameters
    ----------
    path : Path
        A video or sound file.
    rate_hz : int
        Samples per second wanted.

    Yields
    ------
    time_s : float
        Time of the block's first sample in the file's own clock, the one that its pictures are on.
    samples : np.ndarray, shape (n,), float32
        Follows the block before without a gap.

    Raises
    ------
    AudioError
        There is no sound, now or, if none of it can be decoded, at the end.
    """
    container, stream = _open(path)
    return _resampled(path, container, stream, rate_hz)


def duration_s(path: Path) -> float:
    """Tell how long a video says it is, in seconds; 0 if it does not say or cannot be opened."""
    try:
        with av.open(str(path.absolute())) as container:
            return float(container.duration or 0) / float(av.time_base)
    except (FFmpegError, OSError, ValueError):
        return 0.0


def _open(path: Path) -> tuple[InputContainer, AudioStream]:
    try:
        # An absolute path: ffmpeg would take a name such as "a:b.mp4" for a network address.
        container = av.open(str(path.absolute()))
    except (FFmpegError, OSError, ValueError) as error:
        raise AudioError(f"{path} cannot be opened ({error}): record or copy it again") from error
    for stream in container.streams.audio:
        if stream.codec_context is not None and stream.rate:
            return container, stream
    container.close()
    raise AudioError(f"{path} has no sound: give a video with the music that is danced to")


def _resampled(
    path: Path, container: InputContainer, stream: AudioStream, rate_hz: int
) -> Iterator[tuple[float, Samples]]:
    resampler: _Resampler | None = None
    with container:
        for time_s, samples, from_hz in _without_gaps(path, _decoded(container, stream)):
            if resampler is None or resampler.from_hz != from_hz:
                if resampler is not None:
                    yield from resampler.rest()
                resampler = _Resampler(from_hz, rate_hz)
            yield from resampler.feed(time_s, samples)
        if resampler is None:
            raise AudioError(f"{path}: none of its sound can be decoded: convert it, or record it again")
        yield from resampler.rest()


class _Resampler:
    """One run of sound at one rate. A block's time is found from the times of what went in last."""

    def __init__(self, from_hz: int, to_hz: int) -> None:
        self.from_hz = from_hz
        self._to_hz = to_hz
        self._soxr = soxr.ResampleStream(from_hz, to_hz, 1, dtype="float32")
        self._n_in = 0
        self._n_out = 0
        self._end_s = 0.0

    def feed(self, time_s: float, samples: Samples) -> Iterator[tuple[float, Samples]]:
        self._n_in += len(samples)
        self._end_s = time_s + len(samples) / self.from_hz
        yield from self._given(self._soxr.resample_chunk(samples))

    def rest(self) -> Iterator[tuple[float, Samples]]:
        yield from self._given(self._soxr.resample_chunk(np.zeros(0, np.float32), last=True))

    def _given(self, samples: Samples) -> Iterator[tuple[float, Samples]]:
        if len(samples):
            before_end_s = self._n_in / self.from_hz - self._n_out / self._to_hz
            self._n_out += len(samples)
            yield self._end_s - before_end_s, samples


def _without_gaps(path: Path, frames: Iterator[AudioFrame]) -> Iterator[tuple[float, Samples, int]]:
    """Time, samples and rate of each frame: gaps filled, overlaps left out, a new clock carried on from the old."""
    next_s: float | None = None
    offset_s = 0.0
    for frame in frames:
        samples, rate_hz = _mono(frame), frame.sample_rate
        time_s = next_s if frame.time is None else frame.time + offset_s
        time_s = 0.0 if time_s is None else time_s
        jump_s = 0.0 if next_s is None else time_s - next_s
        if jump_s > LONGEST_GAP_S:
            raise AudioError(f"{path}: its sound has a hole of {jump_s:.0f} s: cut the video into parts")
        if next_s is not None and jump_s > GAP_TOLERANCE_S:
            for silence in _silence(round(jump_s * rate_hz), rate_hz):
                yield next_s, silence, rate_hz
                next_s += len(silence) / rate_hz
        elif jump_s < -CLOCK_RESTART_S:
            offset_s -= jump_s
            time_s -= jump_s
        elif jump_s < -GAP_TOLERANCE_S:
            n_late = min(round(-jump_s * rate_hz), len(samples))
            samples, time_s = samples[n_late:], time_s + n_late / rate_hz
        if len(samples):
            yield time_s, samples, rate_hz
            next_s = time_s + len(samples) / rate_hz


def _silence(n_samples: int, at_once: int) -> Iterator[Samples]:
    for first in range(0, n_samples, at_once):
        yield np.zeros(min(at_once, n_samples - first), np.float32)


def _decoded(container: InputContainer, stream: AudioStream) -> Iterator[AudioFrame]:
    """Frames in order, without what is damaged."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except FFmpegError:
            return
        if packet is None:
            return
        try:
            frames = packet.decode()
        except FFmpegError:
            continue
        yield from (frame for frame in frames if isinstance(frame, AudioFrame))


def _mono(frame: AudioFrame) -> Samples:
    """Mean of the channels, shape (n_samples,), float32; what is not a number is silence."""
    kind = frame.format.name.removesuffix("p")
    values = np.asarray(frame.to_ndarray())
    channels = values if frame.format.is_planar else values.reshape(-1, frame.layout.nb_channels).T
    mono = channels.mean(axis=0, dtype=np.float64)
    if kind in _FULL_SCALE:
        mono = mono / _FULL_SCALE[kind] - (1.0 if kind == "u8" else 0.0)
    finite: npt.NDArray[np.float64] = np.nan_to_num(mono, nan=0.0, posinf=1.0, neginf=-1.0)
    return finite.astype(np.float32)
