"""How many starts in a row failed: a box that cannot start as it is set up must come up in safe mode, not never.

The count lies with the box's state, which outlives a pulled plug; while that cannot be written to it lies in the
run-time folder, which at least outlives the service. What lies there is the newer one.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from device.core.errors import TakeError
from device.store.files import explained, make_folders, remove_file, replace_synced

FILE = "starts.json"
RUN = Path("/run/dance-sampler")
SAFE_MODE_AFTER = 3
"""So many starts in a row that did not become healthy end in safe mode."""
_MOST_BYTES = 4096
_MOST = 1_000_000


def note_start(state: Path, now_s: float, run: Path = RUN) -> int:
    """Count a start, before anything is done that could fail.

    Parameters
    ----------
    state : Path
        The folder of the box's state.
    now_s : float
        The wall clock, seconds since 1970, for people to read.
    run : Path
        Where the count lies while `state` cannot be written to.

    Returns
    -------
    int
        Starts in a row that did not become healthy, this one included.
    """
    n_starts = n_failed_starts(state, run) + 1
    _write(state, run, {"n_starts": n_starts, "last_start_s": round(now_s, 3)})
    return n_starts


def note_healthy(state: Path, run: Path = RUN) -> None:
    """Begin the count anew: the box plays, or was stopped in order."""
    if n_failed_starts(state, run):
        _write(state, run, {"n_starts": 0})


def n_failed_starts(state: Path, run: Path = RUN) -> int:
    """Starts in a row that did not become healthy, so far; 0 if nothing that can be read is known of any."""
    for folder in (run, state):
        known = _read(folder / FILE)
        if known is not None:
            return known
    return 0


def _read(path: Path) -> int | None:
    """Give the count in a file; None if there is none that could be one."""
    with suppress(OSError, ValueError, RecursionError):
        with path.open("rb") as file:
            content = json.loads(file.read(_MOST_BYTES))
        n_starts = content.get("n_starts") if isinstance(content, dict) else None
        if type(n_starts) is int and 0 <= n_starts <= _MOST:
            return n_starts
    return None


def _write(state: Path, run: Path, content: dict[str, float]) -> None:
    data = (json.dumps(content) + "\n").encode()
    try:
        _replace(state / FILE, data)
    except TakeError:
        with suppress(TakeError):  # Nowhere to count: then the service manager's own limit is what is left.
            _replace(run / FILE, data)
        return
    with suppress(OSError):
        remove_file(run / FILE)


def _replace(path: Path, data: bytes) -> None:
    with explained(path):
        make_folders(path.parent)
        replace_synced(path, data)
