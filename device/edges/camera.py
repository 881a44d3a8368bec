"""The camera interface: what the engine asks of anything that sees."""

from __future__ import annotations

from typing import Protocol

from device.core.frame import Frame


class Camera(Protocol):
    """Something that gives grey frames with their capture times.

    A driver must provide `read` and `close`; both may be called from one thread only.
    """

    def read(self) -> Frame | None:
        """Wait for the next frame; None when there will be no more (the end of a clip).

        Raises
        ------
        CameraError
            No frame can be had; the message says what to do.
        """
        ...

    def close(self) -> None:
        """Let the device go. May be called twice."""
        ...
