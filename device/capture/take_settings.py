"""What all takes of a configuration have in common, whoever records them."""

from __future__ import annotations

import platform
from pathlib import Path

from device import __version__
from device.capture.recording import TakeSettings
from device.config import Config
from device.core.motiongram import MotionSettings

MEGA = 1_000_000


def take_settings(
    config: Config, kind: str, shape: tuple[int, int], takes_dir: Path, camera: str, audio_in: str
) -> TakeSettings:
    """Put together what is recorded, where, and what is noted of its source.

    Parameters
    ----------
    config : Config
    kind : str
        Who records: 'box' or 'capture'.
    shape : tuple of int
        Height and width of the frames, pixels.
    takes_dir : Path
    camera, audio_in : str
        Their names.
    """
    source: dict[str, object] = {
        "kind": kind,
        "camera": camera,
        "audio_in": audio_in,
        "box": platform.node(),
        "program": __version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
    return TakeSettings(
        takes_dir, take_motion(config, shape), config.capture.longest_s, config.store.reserve_mb * MEGA, source
    )


def take_motion(config: Config, shape: tuple[int, int]) -> MotionSettings:
    """Give what the columns of takes are made with, from frames of this height and width."""
    rule = config.motion
    return MotionSettings(*shape, rule.difference_time_s, rule.threshold, rule.filter)
