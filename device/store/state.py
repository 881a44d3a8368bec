"""The folder of the box's state: what lies in it, and whether it can be written to.

Everything else of the box may be read-only; this may be a partition of its own.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path


def takes_folder(state: Path) -> Path:
    """Where takes lie."""
    return state / "takes"


def models_folder(state: Path) -> Path:
    """Where installed models lie."""
    return state / "models"


def state_problem(state: Path) -> str | None:
    """Say why nothing can be recorded or installed, and what to do; None if it can. Nothing is written to find out.

    Parameters
    ----------
    state : Path
        The folder of the box's state.
    """
    try:
        if not stat.S_ISDIR(state.stat().st_mode):
            return f"{state} is not a folder: make it one, or name another as state.folder in the configuration"
    except OSError as error:
        return f"{state} cannot be used ({error.strerror}): make the folder or mount its partition"
    if _is_read_only(state):
        return f"{state} is read-only: mount it to be written to, or check the card if it was"
    for folder in (state, takes_folder(state), models_folder(state)):
        if folder.exists() and not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
            return f"{folder} may not be written to: give it to the user that the box runs as"
    return None


def _is_read_only(folder: Path) -> bool:
    # A card that fails is made read-only by the system while the box runs.
    return hasattr(os, "statvfs") and bool(os.statvfs(folder).f_flag & os.ST_RDONLY)
