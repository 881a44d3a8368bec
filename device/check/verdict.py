"""What a check is given, and what it says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from device.config import Config
from device.core.errors import DanceSamplerError

GOOD, WARNING, FAILED, SKIPPED = "ok", "warning", "failed", "skipped"


@dataclass(frozen=True)
class Verdict:
    """What was found.

    Attributes
    ----------
    name : str
        Of the check.
    state : str
        'ok'; 'warning': it plays, but could do so better; 'failed': it does not; 'skipped'.
    found : str
        In one line.
    remedy : str
        What to do; empty when nothing is.
    figures : dict
        What was measured, with units in the names.
    """

    name: str
    state: str
    found: str
    remedy: str = ""
    figures: dict[str, Any] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """Write it for people."""
        return [
            f"{self.state:<8} {self.name:<10} {self.found}",
            *([f"{'':<19} -> {self.remedy}"] if self.remedy else []),
        ]

    def to_json(self) -> dict[str, Any]:
        """Write it for programs."""
        return asdict(self)


@dataclass(frozen=True)
class Context:
    """What checks are to know.

    Attributes
    ----------
    config : Config
        With the options of the command in it.
    seconds : float
        How long is measured.
    is_interactive : bool
        Whether somebody sits there who can press a button.
    is_running : bool
        Whether the box itself runs, and so holds camera, card and pins.
    say : callable
        Tells that somebody what is to be done, in one line.
    root : Path
        Where /sys and /proc lie.
    """

    config: Config
    seconds: float
    is_interactive: bool
    is_running: bool
    say: Callable[[str], None]
    root: Path = Path("/")


Check = Callable[[Context], Verdict]


def tried(name: str, check: Check, context: Context, *, needs_devices: bool) -> Verdict:
    """Run a check; what it raises is its verdict.

    Parameters
    ----------
    name : str
    check : Check
    context : Context
    needs_devices : bool
        Whether it needs what a running box holds.
    """
    if needs_devices and context.is_running:
        return Verdict(name, SKIPPED, "the running box holds it", "stop it first: systemctl stop dance-sampler")
    try:
        return check(context)
    except DanceSamplerError as error:
        return failure(name, str(error))
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        return failure(name, f"{place}{error.strerror or error}")
    except ModuleNotFoundError as error:
        remedy = "pip install -r requirements-device.txt"
        return Verdict(name, FAILED, f"{error.name} is not installed", remedy)


def failure(name: str, message: str) -> Verdict:
    """Make a verdict of an error's line, which says what is wrong, and what to do."""
    return Verdict(name, FAILED, " ".join(message.split()))
