"""Stand-ins for libraries that the peers import and do not need to make sound: trainers, data sets, download tools.

They have the names that are asked for and nothing in them. What computes sound is the peers' own code, on torch.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


class StandIn(ModuleType):
    """A module that has whatever is asked of it: classes by capital names, and modules."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__path__: list[str] = []
        self.__all__: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        made: Any = type(name, (), {}) if name[0].isupper() else StandIn(f"{self.__name__}.{name}")
        setattr(self, name, made)
        return made


class StandInFinder(MetaPathFinder, Loader):
    """Finds some packages, and all that lies in them, as stand-ins."""

    def __init__(self, packages: Collection[str]) -> None:
        self._packages = packages

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> Any:
        del path, target
        return ModuleSpec(name, self, is_package=True) if name.partition(".")[0] in self._packages else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return StandIn(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing is in it."""


def stand_in_for(*packages: str) -> None:
    """Import stand-ins for packages from now on, whether they are installed or not."""
    sys.meta_path.insert(0, StandInFinder(packages))
