"""Many takes are many open files, more than systems give a process unasked."""

from __future__ import annotations

import sys

from device.core.errors import TrainingError

FILES_PER_TAKE = 3
"""Columns, sound and spectra."""
SPARE_FILES = 256


def allow_takes(n_takes: int) -> None:
    """Let this process have so many takes open.

    Raises
    ------
    TrainingError
        The system does not allow it.
    """
    if sys.platform == "win32":
        return
    import resource

    n_files = FILES_PER_TAKE * n_takes + SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= n_files:
        return
    if hard != resource.RLIM_INFINITY and hard < n_files:
        raise TrainingError(
            f"{n_takes} takes need {n_files} open files, the system allows {hard}: raise its limit (ulimit -Hn), or "
            "give fewer, longer takes"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (n_files, hard))
