"""A video file as a camera: any video that PyAV decodes, scaled to grey pictures with their own times."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Generator, Iterator
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter
from av.video.stream import VideoStream

from device.core.errors import CameraError
from device.core.frame import Frame

_log = logging.getLogger(__name__)

# Area averaging with exact rounding: within 0.52 grey levels of the exact mean from 4K down to 48 x 64, and the same
# bits on every processor. The flags are swscale's SWS_ACCURATE_RND and SWS_BITEXACT, which PyAV 17 has no names for.
_SCALING = int(Interpolation.AREA) | 0x40000 | 0x80000

# What a file that names no rate, or an absurd one, is taken to have.
_DEFAULT_FPS = 25.0
_SLOWEST_FPS, _FASTEST_FPS = 0.01, 1000.0

# A jump back by more is a new clock (joined files), not a frame out of order.
_CLOCK_RESTART_S = 1.0

# A clip that ends this much earlier than its header says has been cut off.
_TRUNCATION_TOLERANCE_S = 0.5


class CameraFile:
    """Gives every picture of a video once, as fast as it is asked; the engine keeps the time.

    Pictures are squeezed to `height` x `width` whatever their shape, by area averaging, from full or limited range to
    0..255. A rotation that the file asks for (phones held upright) is applied in steps of 90 degrees. Times are those
    of the file, in variable steps if it has them. A picture without a time comes one nominal step after the one before;
    one that is not later than the one before is dropped, unless the clock jumped back by more than 1 s: then the
    rest follows on from where the clock had been. Memory does not depend on the length of the clip.

    Parameters
    ----------
    path : str or Path
        The clip.
    height, width : int
        Size of the grey pictures.

    Attributes
    ----------
    start_s : float
        Time of the first picture in the file's own clock.
    fps : float
        Nominal rate: the average that the file states.
    truncated : bool
        True once pictures have been found missing: the file was damaged or ends too early. Complete after the last
        `read`.
    n_dropped : int
        Pictures that were dropped because their time had passed.

    Raises
    ------
    CameraError
        There is no picture to be had from this file.
    """

    def __init__(self, path: str | os.PathLike[str], height: int = 48, width: int = 64) -> None:
        self._path = Path(path)
        self._height = height
        self._width = width
        self._container = _open_container(self._path)
        self.truncated = False
        self.n_dropped = 0
        self._offset_s = 0.0
        self._last_s: float | None = None
        self._last_file_s = 0.0
        try:
            self._stream = _picture_stream(self._container, self._path)
            self._stream.thread_type = "AUTO"
            self.fps = _nominal_fps(self._stream)
            # An AVI has no times: with pictures that are stored out of order, those that ffmpeg makes up are wrong.
            self._has_times = not (self._container.format.name == "avi" and self._stream.codec_context.has_b_frames)
            self._reformatter = VideoReformatter()
            self._frames = self._timed_frames()
            self._first = next(self._frames, None)
            if self._first is None:
                raise CameraError(f"{self._path} holds no picture that can be decoded: record or copy it again")
        except BaseException:
            self._container.close()
            raise
        self.start_s = self._first.time_s

    def read(self) -> Frame | None:
        """Give the next picture; None after the last one and after `close`.

        Raises
        ------
        CameraError
            A picture cannot be scaled.
        """
        frame, self._first = self._first, None
        return frame or next(self._frames, None)

    def close(self) -> None:
        """Close the file. May be called twice."""
        self._first = None
        self._frames.close()
        self._container.close()

    def _timed_frames(self) -> Generator[Frame, None, None]:
        for picture in self._decoded():
            time_s = self._time_of(picture)
            if time_s is None:
                self.n_dropped += 1
                continue
            self._last_s = time_s
            yield Frame(self._grey(picture), time_s)
        self._check_length()

    def _decoded(self) -> Iterator[VideoFrame]:
        """Pictures in order; what is damaged is left out and marks the clip as truncated."""
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
            except FFmpegError:
                packet = None
                self.truncated = True
            if packet is None:
                return
            try:
                yield from self._stream.decode(packet)
            except FFmpegError:
                self.truncated = True

    def _time_of(self, picture: VideoFrame) -> float | None:
        """Time of a picture in seconds, None if it is not later than the last one."""
        file_s = picture.time if self._has_times else None
        if self._last_s is None:
            self._last_file_s = file_s or 0.0
            return self._last_file_s
        if file_s is None:
            file_s = self._last_file_s + 1 / self.fps
        if file_s < self._last_file_s - _CLOCK_RESTART_S:
            self._offset_s = self._last_s + 1 / self.fps - file_s
        elif file_s <= self._last_file_s:
            return None
        self._last_file_s = file_s
        return file_s + self._offset_s

    def _grey(self, picture: VideoFrame) -> npt.NDArray[np.uint8]:
        quarter_turns = round(picture.rotation / 90) % 4
        upright = quarter_turns % 2 == 0
        try:
            scaled = self._reformatter.reformat(
                picture,
                width=self._width if upright else self._height,
                height=self._height if upright else self._width,
                format="gray",
                interpolation=_SCALING,
                dst_color_range=ColorRange.JPEG,
                threads=1,
            )
        except FFmpegError as error:
            raise CameraError(f"{self._path}: a picture cannot be scaled ({_reason(error)}): convert it") from error
        grey = np.asarray(scaled.to_ndarray(), np.uint8)
        return np.ascontiguousarray(np.rot90(grey, quarter_turns))

    def _check_length(self) -> None:
        expected_s = _stated_end_s(self._container, self._stream)
        if expected_s is not None and self._last_s is not None and not self._offset_s:
            missing_s = expected_s - (self._last_s + 1 / self.fps)
            self.truncated = self.truncated or missing_s > _TRUNCATION_TOLERANCE_S
        if self.truncated and self._last_s is not None:
            _log.warning("%s is damaged or cut off: played up to %.2f s, as far as it goes", self._path, self._last_s)


def _open_container(path: Path) -> InputContainer:
    if not path.exists():
        raise CameraError(f"there is no video {path}: check the path")
    if not path.is_file():
        raise CameraError(f"{path} is not a file: give the path of one video")
    try:
        # An absolute path: ffmpeg would take a name such as "a:b.mp4" for a network address.
        container = av.open(str(path.absolute()))
    except PermissionError as error:
        raise CameraError(f"{path} may not be read: check its permissions") from error
    except (FFmpegError, OSError, ValueError) as error:
        raise CameraError(
            f"{path} is not a video, or is cut off before its index ({_reason(error)}): record or copy it again"
        ) from error
    # Anything at all is a film of characters to this demuxer, if it is called .txt.
    if container.format.name == "tty":
        container.close()
        raise CameraError(f"{path} is a text, not a video: give the path of a video")
    return container


def _picture_stream(container: InputContainer, path: Path) -> VideoStream:
    """Find the moving picture, not the cover of an album."""
    for stream in container.streams.video:
        if Disposition.attached_pic not in stream.disposition:
            if stream.codec_context is None:
                raise CameraError(f"{path}: its picture's format is unknown here: convert the clip to H.264")
            return stream
    raise CameraError(f"{path} has no picture: give a video")


def _nominal_fps(stream: VideoStream) -> float:
    """Rate that the file states; some containers state nonsense where they know none."""
    for rate in (stream.average_rate, stream.guessed_rate, stream.base_rate):
        if rate is not None and _SLOWEST_FPS <= rate <= _FASTEST_FPS:
            return float(rate)
    return _DEFAULT_FPS


def _stated_end_s(container: InputContainer, stream: VideoStream) -> float | None:
    """When the picture ends by the file's header; None if only decoding can tell."""
    start_s = float((stream.start_time or 0) * (stream.time_base or 0))
    # A cut AVI states how many pictures there were, and a length that ffmpeg guessed from what is left.
    if container.format.name == "avi" and stream.frames and stream.average_rate:
        return start_s + float(stream.frames / stream.average_rate)
    if stream.duration is not None and stream.time_base is not None:
        return start_s + float(stream.duration * stream.time_base)
    # Matroska has a tag for each stream (hours, minutes, seconds); its other length is that of the longest stream.
    tag = re.fullmatch(r"(\d+):(\d+):(\d+\.?\d*)", stream.metadata.get("DURATION", ""))
    if tag:
        return int(tag[1]) * 3600 + int(tag[2]) * 60 + float(tag[3])
    if container.duration is not None and len(container.streams) == 1:
        return (container.start_time + container.duration) / float(av.time_base)
    return None


def _reason(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or error).strip().splitlines()[0]
