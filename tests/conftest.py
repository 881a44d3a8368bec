from __future__ import annotations

import pytest

from tests.tiny_model import TinyModel, load_tiny_model


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> TinyModel:
    """A small network as both files of a bundle, made once."""
    return load_tiny_model(tmp_path_factory.mktemp("tiny_model"))
