"""Whatever GStreamer opens as a camera, such as a Jetson's `nvarguscamerasrc`."""

from __future__ import annotations

import logging
import time
from contextlib import suppress

import numpy as np

from device.core.errors import CameraError
from device.core.frame import Frame
from device.edges.bounded import within
from device.edges.gstreamer import Pipeline

_log = logging.getLogger(__name__)

FIRST_S, READ_S, CLOSE_S = 10.0, 1.5, 1.0
LOOK_S = 0.1
"""How often it is seen whether a pipeline that gives nothing has failed."""
SINK = "dance"
ROW_BYTES = 4
"""GStreamer fills rows up to a multiple of this."""


class CameraGStreamer:
    """A camera that a pipeline opens.

    Parameters
    ----------
    pipeline : str
        Up to its pictures, as gst-launch-1.0 takes it; what makes them small and grey, and gives the newest, is added.
    height, width : int
        Size of the grey pictures, squeezed from the pipeline's.

    Raises
    ------
    CameraError
        The pipeline cannot be made, or gives no picture.

    Notes
    -----
    When this returns, frames come. Their times are what the source says, converted to CLOCK_MONOTONIC. Exposure is the
    pipeline's own matter. One thread calls it.
    """

    def __init__(self, pipeline: str, height: int, width: int) -> None:
        self._rows = np.empty((height, -(-width // ROW_BYTES) * ROW_BYTES), np.uint8)
        self._width = width
        self._pipeline: Pipeline | None = Pipeline(_whole(pipeline, height, width), SINK)
        try:
            if not self._pipeline.play():
                raise CameraError(self._why())
            self._first = self._next(FIRST_S)
            if self._first is None:
                raise CameraError("the camera's pipeline has no picture: mend it")
        except BaseException:
            self.close()
            raise

    def read(self) -> Frame | None:
        """Wait for the next frame; None when the pipeline has come to its end.

        Raises
        ------
        CameraError
            The pipeline has failed, or gives nothing.
        """
        first, self._first = self._first, None
        return first or self._next(READ_S)

    def close(self) -> None:
        """Let the camera go. May be called twice."""
        pipeline, self._pipeline, self._first = self._pipeline, None, None
        if pipeline is not None:
            with suppress(CameraError):  # A driver that never answers is left to the end of the process.
                within(CLOSE_S, "the camera's pipeline cannot be stopped", pipeline.stop)

    def _next(self, patience_s: float) -> Frame | None:
        pipeline = self._pipeline
        if pipeline is None:
            return None
        give_up_s = time.monotonic() + patience_s
        while time.monotonic() < give_up_s:
            age_s = pipeline.pull(LOOK_S, self._rows)
            if age_s is not None:
                return Frame(self._rows[:, : self._width].copy(), time.monotonic() - age_s)
            trouble = pipeline.trouble()
            if trouble is not None:
                raise CameraError(f"the camera's pipeline has failed ({trouble}): check the cable, or mend it")
            if pipeline.is_over:
                return None
        raise CameraError("the camera's pipeline gives no frames: check its cable")

    def _why(self) -> str:
        trouble = self._pipeline.trouble() if self._pipeline is not None else None
        return f"the camera's pipeline does not start ({trouble or 'no reason given'}): check the cable, or mend it"


def _whole(pipeline: str, height: int, width: int) -> str:
    """Add what makes pictures small and grey, and keeps the newest only.

    Small first, for that is the cheapest; then by way of RGB, for from one grey to another the range is not converted.
    """
    return (
        f"{pipeline} ! videoscale add-borders=false ! videoconvert ! "
        f"video/x-raw,format=BGRx,width={width},height={height} ! videoconvert ! video/x-raw,format=GRAY8 ! "
        f"appsink name={SINK} drop=true max-buffers=1 sync=false"
    )
