"""In which order models were installed, and the highest version of each name: what their folders do not tell.

A clock may run backwards after a power cut, so that no file's time can be trusted.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path

from device.files import replace_synced

FILE = "installed.json"
_MOST_BYTES = 1 << 20


@dataclass(frozen=True)
class Index:
    """What is known of the installed models.

    Attributes
    ----------
    order : tuple of str
        Names of their folders, the newest last; a folder that is not named is older than all.
    highest : dict of str to int
        Name of a model -> highest version of it that was ever installed.
    """

    order: tuple[str, ...] = ()
    highest: dict[str, int] = field(default_factory=dict)

    def with_model(self, folder: str, name: str, version: int) -> Index:
        """Add a model, as the newest."""
        order = (*(each for each in self.order if each != folder), folder)
        return replace(self, order=order, highest={**self.highest, name: max(version, self.highest.get(name, 0))})


def load_index(models: Path) -> Index:
    """Read the index; an empty one if there is none, or none that can be read: the models are still there."""
    try:
        with (models / FILE).open("rb") as file:
            content = json.loads(file.read(_MOST_BYTES))
        order, highest = content["order"], content["highest"]
        is_sound = all(isinstance(name, str) for name in order) and all(
            type(version) is int for version in highest.values()
        )
        return Index(tuple(order), dict(highest)) if is_sound else Index()
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return Index()


def save_index(models: Path, index: Index) -> None:
    """Write the index: at any time the old one is there, or the new.

    Raises
    ------
    OSError
        It cannot be written.
    """
    content = {"order": list(index.order), "highest": index.highest}
    replace_synced(models / FILE, (json.dumps(content, indent=1, sort_keys=True) + "\n").encode())
