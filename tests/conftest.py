from __future__ import annotations

import os
from collections.abc import Iterator
from unittest.mock import patch

import pytest

from tests.road import Road, go
from tests.tiny_model import TinyModel, load_tiny_model


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the road, which takes longest, and the soak, which mostly waits: the rest fits beside them."""
    items.sort(key=lambda item: ("road" not in getattr(item, "fixturenames", ()), item.path.stem != "test_soak"))


@pytest.fixture(scope="session", autouse=True)
def user_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What programs keep in the user's cache they keep elsewhere while they are tested."""
    with patch.dict(os.environ, XDG_CACHE_HOME=str(tmp_path_factory.mktemp("cache"))):
        yield


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> TinyModel:
    """A small network as both files of a bundle, made once."""
    return load_tiny_model(tmp_path_factory.mktemp("tiny_model"))


@pytest.fixture(scope="session")
def road(tmp_path_factory: pytest.TempPathFactory) -> Road:
    """Videos, takes, run, bundle and figures of a dance with its sound, made once by the commands that a user types."""
    return go(tmp_path_factory.mktemp("road"))
