"""The container layer: the box under a real systemd, installed by its own installer, on Debian Bookworm and Trixie."""

from __future__ import annotations

from functools import partial

from tests.twin.container import endurance, guard, installation, remote, service
from tests.twin.container.nspawn import why_not
from tests.twin.container.stage import Stage
from tests.twin.results import Results
from tests.twin.workbench import Workbench

TRIES = (
    *installation.FIRST,
    *service.TRIES,
    *guard.TRIES,
    *remote.TRIES,
    *installation.AFTERWARDS,
    *endurance.TRIES,
)
"""In the order in which they are tried: first it is installed, last nothing must be left."""
CHECKS = [each.check for each in TRIES]


def run(results: Results, work: Workbench) -> None:
    """Try all of it."""
    if why := why_not():
        results.finish(CHECKS, why)
        return
    stage = Stage(work)
    for check, body in TRIES:
        results.run(check, partial(body, stage))
