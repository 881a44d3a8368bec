"""Cameras by name: what a name may be, which cameras there are, and which one is meant where none is named."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from device.core.errors import CameraError, UsageError

AUTO, PI = "auto", "picamera2"
WITH_TARGET = {"file": "CLIP", "v4l2": "/dev/videoN", "gst": "PIPELINE"}
DEVICES = Path("/dev")
NAMES = ", ".join([AUTO, PI, *(f"{kind}:{target}" for kind, target in WITH_TARGET.items())])


@dataclass(frozen=True)
class FoundCamera:
    """A camera that this machine has.

    Attributes
    ----------
    source : str
        What names it, such as 'v4l2:/dev/video0'.
    name : str
        What its maker calls it.
    """

    source: str
    name: str


def check_source(source: str) -> str:
    """Give a camera's name if it can be one.

    Parameters
    ----------
    source : str
        'auto', 'picamera2' or 'picamera2:1' (the second), 'v4l2:/dev/video0', 'gst:PIPELINE' or 'file:CLIP'.

    Raises
    ------
    UsageError
        It cannot.
    """
    kind, _, target = source.partition(":")
    is_pi = kind == PI and (target.isdecimal() or source == PI)
    if source == AUTO or is_pi or (kind in WITH_TARGET and target.strip()):
        return source
    raise UsageError(f"there is no camera '{source}': give one of {NAMES}")


def clip_of(source: str) -> Path | None:
    """Give the video that a camera's name means; None for a live camera."""
    kind, _, target = source.partition(":")
    return Path(target) if kind == "file" else None


def check_node(path: Path) -> None:
    """See that a camera is there, before its driver is loaded: a box looks for one that is absent twice a second.

    Raises
    ------
    CameraError
        It is not.
    """
    if not path.exists():
        raise CameraError(f"there is no camera {path}: plug it in, or name another")


def find_cameras() -> list[FoundCamera]:
    """List the cameras that this machine has, those on a Pi's own connector first."""
    found = []
    if any(DEVICES.glob("video*")):
        from device.edges.camera_v4l2 import find_v4l2

        found = [FoundCamera(f"v4l2:{path}", name) for path, name in find_v4l2(DEVICES)]
    if has_picamera2():
        from device.edges.camera_picamera2 import find_pi_cameras

        numbered = [(PI if number == 0 else f"{PI}:{number}", model) for number, model in find_pi_cameras()]
        found = [*(FoundCamera(source, model) for source, model in numbered), *found]
    return found


def the_camera() -> str:
    """Name the camera that is meant where none is named: the one on a Pi's connector, else the one there is.

    Raises
    ------
    CameraError
        There is none, or there are several.
    """
    found = find_cameras()
    if not found:
        raise CameraError("there is no camera: plug one in, or name it with --camera or camera.source")
    others = [each for each in found if not each.source.startswith(PI)]
    if len(found) > len(others):
        return found[0].source
    if len(others) > 1:
        named = ", ".join(f"{each.source} ({each.name})" for each in others)
        raise CameraError(f"there are {len(others)} cameras: set camera.source to one of {named}")
    return found[0].source


def has_picamera2() -> bool:
    """Tell whether picamera2 is installed."""
    return importlib.util.find_spec(PI) is not None
