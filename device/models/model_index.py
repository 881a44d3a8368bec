"""What the folders of installed models do not tell: their order, the highest version of each name, which are good.

A clock may run backwards after a power cut, so that no file's time can be trusted.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from device.store.files import replace_synced

FILE = "installed.json"
FACTORY_NAME = "factory"
"""What the factory's model is called here, which lies elsewhere."""
_MOST_BYTES = 1 << 20


@dataclass(frozen=True)
class Trial:
    """The current model has not shown yet that it plays well.

    Attributes
    ----------
    folder : str
        Name of its folder.
    model : str
        Its name in the manifest.
    highest : int
        The highest version of that name before it came; 0 for none.
    n_attempts : int
        How often it was begun to be tried; counted before it is.
    """

    folder: str
    model: str
    highest: int
    n_attempts: int = 0


@dataclass(frozen=True)
class Index:
    """What is known of the installed models.

    Attributes
    ----------
    order : tuple of str
        Names of their folders, the newest last; a folder that is not named is older than all.
    highest : dict of str to int
        Name of a model -> highest version of it that was ever installed.
    good : tuple of str
        Folders of models that have played well, or were current before there were trials; the last good one last.
    variants : dict of str to str
        Folder -> the variant that was found to be the one for this chip.
    trial : Trial or None
    """

    order: tuple[str, ...] = ()
    highest: dict[str, int] = field(default_factory=dict)
    good: tuple[str, ...] = ()
    variants: dict[str, str] = field(default_factory=dict)
    trial: Trial | None = None

    def with_model(self, folder: str, name: str, version: int) -> Index:
        """Add a model, as the newest."""
        order = (*(each for each in self.order if each != folder), folder)
        return replace(self, order=order, highest={**self.highest, name: max(version, self.highest.get(name, 0))})

    def with_good(self, folder: str) -> Index:
        """Let a model be the last good one."""
        return replace(self, good=(*(each for each in self.good if each != folder), folder))

    def without(self, folders: set[str]) -> Index:
        """Forget models that were removed; what their highest versions were is not forgotten."""
        return replace(
            self,
            order=tuple(each for each in self.order if each not in folders),
            good=tuple(each for each in self.good if each not in folders),
            variants={key: value for key, value in self.variants.items() if key not in folders},
        )

    def without_trial(self, *, failed: bool) -> Index:
        """End the trial; of one that failed, as if that model had never come."""
        trial, highest = self.trial, dict(self.highest)
        if trial is not None and failed:
            highest.pop(trial.model, None)
            highest |= {trial.model: trial.highest} if trial.highest else {}
        return replace(self, trial=None, highest=highest)


def load_index(models: Path) -> Index:
    """Read the index; an empty one if there is none, or none that can be read: the models are still there."""
    try:
        with (models / FILE).open("rb") as file:
            content = json.loads(file.read(_MOST_BYTES))
        order, highest = content["order"], content["highest"]
        good, variants = content.get("good", []), content.get("variants", {})
        is_sound = all(isinstance(name, str) for name in [*order, *good, *variants.values()]) and all(
            type(version) is int for version in highest.values()
        )
        if not is_sound:
            return Index()
        return Index(tuple(order), dict(highest), tuple(good), dict(variants), _trial(content.get("trial")))
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return Index()


def _trial(content: Any) -> Trial | None:
    if content is None:
        return None
    trial = Trial(content["folder"], content["model"], content["highest"], content["n_attempts"])
    if [type(value) for value in asdict(trial).values()] != [str, str, int, int]:
        raise TypeError("it is not a trial")
    return trial


def save_index(models: Path, index: Index) -> None:
    """Write the index: at any time the old one is there, or the new.

    Raises
    ------
    OSError
        It cannot be written.
    """
    replace_synced(models / FILE, (json.dumps(asdict(index), indent=1, sort_keys=True) + "\n").encode())
