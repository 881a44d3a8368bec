"""The grey of JPEG pictures, as USB cameras send them."""

from __future__ import annotations

import av
import numpy as np
import numpy.typing as npt
from av.error import FFmpegError
from av.video.codeccontext import VideoCodecContext

Grey = npt.NDArray[np.uint8]


class JpegGrey:
    """Decodes pictures one by one.

    Parameters
    ----------
    size : tuple of int
        (height, width) of the pictures.

    Notes
    -----
    In one thread: with more, each picture would come a picture late. The decoder can also leave details out, but takes
    no less time for it.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        self._size = size
        decoder = av.CodecContext.create("mjpeg", "r")
        assert isinstance(decoder, VideoCodecContext)  # noqa: S101 - that is what it is
        decoder.thread_count = 1
        self._decoder = decoder

    def decode(self, data: bytes) -> Grey | None:
        """Give a picture's grey, 0 to 255, shape `size`, uint8; None if it is damaged or of another size."""
        if not data:
            return None  # To the decoder that would be the end of all pictures.
        try:
            (picture,) = self._decoder.decode(av.Packet(data))
        except (FFmpegError, ValueError):
            return None
        height, width = self._size
        if (picture.height, picture.width) != self._size:
            return None
        plane = picture.planes[0]
        grey: Grey = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[:height, :width]
        return grey
