"""What the box is doing, for a workstation."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

from device import __version__
from device.box.status_client import StatusError, ask
from device.config import Config
from device.store.disk import free_bytes


def status_said(config: Config) -> dict[str, Any]:
    """Tell what the running box says of itself; of one that does not run what its card tells."""
    state = Path(config.state.folder)
    said: dict[str, Any] = {"program": __version__, "box": platform.node()}
    try:
        return {**ask(Path(config.status.socket), {"op": "status"}), **said, "running": True}
    except StatusError as error:
        from device.remote.models import models_said

        said |= {"running": False, "why": str(error), "models": models_said(state)}
    try:
        said["disk"] = {"free_bytes": free_bytes(state)}
    except OSError:
        said["disk"] = {}
    return said
