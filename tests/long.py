"""Tests that take too long for every time: `LONG_TESTS=1 make test` runs them. A short version of each always runs."""

from __future__ import annotations

import os

import pytest

long = pytest.mark.skipif(not os.environ.get("LONG_TESTS"), reason="takes long: LONG_TESTS=1 runs it")
