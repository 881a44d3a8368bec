"""What may import what: read from the source of every file, never by importing it."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("device", "trainer", "deploy")

# Ours: the first prefix that a file lies under says which of our modules it may import.
FOR_TRAINER = ("core", "edges", "engine", "store", "models", "config", "cli", "console")
FOR_DEPLOY = ("core", "store", "models", "cli", "console")
OURS = {
    "device/core/": ("device.core",),
    "device/edges/": ("device.core", "device.edges"),
    "device/": ("device",),
    "trainer/": ("trainer", *(f"device.{each}" for each in FOR_TRAINER)),
    # The workstation reads and signs a bundle by what reads it on the box, and writes a take by what writes it there.
    "deploy/": ("deploy", *(f"device.{each}" for each in FOR_DEPLOY)),
}

# Other people's: each library may be imported under these prefixes only. One that is not here may be imported nowhere.
HOMES = {
    "numpy": ("device/", "trainer/", "deploy/"),
    **dict.fromkeys(("tomllib", "tomli"), ("device/config.py",)),  # of the standard library from Python 3.11
    "matplotlib": ("device/commands/report.py", "trainer/"),
    "av": ("device/edges/camera_file.py", "device/edges/jpeg_grey.py", "trainer/"),
    **dict.fromkeys(("picamera2", "libcamera"), ("device/edges/camera_picamera2.py",)),
    "linuxpy": ("device/edges/camera_v4l2.py", "device/edges/v4l2_exposure.py"),
    "soundfile": ("device/edges/audio_wav.py", "device/edges/audio_in_wav.py", "trainer/"),
    "alsaaudio": ("device/edges/audio_alsa_open.py",),
    "tflite_runtime": ("device/edges/model_tflite.py",),
    "ai_edge_litert": ("device/edges/model_tflite.py",),
    "gpiozero": ("device/edges/panel_gpiozero.py", "device/edges/panel_mock.py", "device/edges/pins_gpiod.py"),
    "gpiod": ("device/edges/pins_gpiod.py",),
    "systemd": ("device/edges/service_systemd.py",),
    "soxr": ("device/engine/resampled.py", "trainer/"),
    "ansible": ("deploy/ansible/callback_plugins/",),
    **dict.fromkeys(("tensorflow", "keras", "tensorboard", "scipy", "tqdm", "optuna"), ("trainer/",)),
}

# The core is pure: no clock, threads, processes, files, network or unseeded randomness.
# fmt: off
IMPURE = {
    "asyncio", "concurrent", "ctypes", "fcntl", "glob", "io", "logging", "mmap", "multiprocessing",
    "os", "pathlib", "random", "sched", "secrets", "select", "selectors", "shutil", "signal", "socket", "sqlite3",
    "subprocess", "tempfile", "threading", "time", "urllib", "uuid",
}
# fmt: on
IMPURE_CALLS = {"open", "input", "print", "exec", "eval"}
CLOCKS = {"now", "today", "utcnow"}  # of datetime, which may be reckoned with
SEEDED = {"default_rng", "Generator", "PCG64", "Philox", "SeedSequence"}


def violations(root: Path) -> list[str]:
    """Give one line for each import, or call in the core, that is against the rules."""
    found = []
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            name = path.relative_to(root).as_posix()
            tree = ast.parse(path.read_text(encoding="utf-8"), name)
            checks = [*_check_imports(name, tree), *(_check_calls(tree) if name.startswith("device/core/") else ())]
            found += [f"{name}:{line}: {what}" for line, what in checks]
    return found


def _imports(name: str, tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Give each module that is imported, wherever it stands in the file, as 'a.b' or 'a.b.name'."""
    package = name.removesuffix(".py").split("/")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*start, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and _called(node) in ("import_module", "__import__"):
            first = node.args[0] if node.args else None
            if isinstance(first, ast.Constant):
                yield node.lineno, str(first.value)


def _check_imports(name: str, tree: ast.Module) -> Iterator[tuple[int, str]]:
    allowed = next(modules for prefix, modules in OURS.items() if name.startswith(prefix))
    for line, module in _imports(name, tree):
        top = module.split(".")[0]
        if top in PACKAGES or top == "tests":
            if not any(f"{module}.".startswith(f"{each}.") for each in allowed):
                yield line, f"{module} is not among {', '.join(allowed)}"
        elif top in sys.stdlib_module_names:
            if name.startswith("device/core/") and top in IMPURE:
                yield line, f"{top} is not pure"
        elif not name.startswith(HOMES.get(top, ())):
            yield line, f"{top} is not for this file"
        elif name.startswith("device/core/") and module == "numpy.random":
            yield line, "numpy.random must be seen where it is used"


def _check_calls(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = _called(node)
            if called == "default_rng" and not node.args and not node.keywords:
                yield node.lineno, "a generator without a seed"
            if isinstance(node.func, ast.Attribute) and called in CLOCKS:
                yield node.lineno, f"{called} looks at the clock"
            if isinstance(node.func, ast.Name) and called in IMPURE_CALLS:
                yield node.lineno, f"{called} is not pure"
        if isinstance(node, ast.Attribute) and node.attr not in SEEDED and _is_random(node.value):
            yield node.lineno, f"random.{node.attr} draws from hidden state"


def _is_random(node: ast.expr) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "random"


def _called(node: ast.Call) -> str:
    if isinstance(node.func, ast.Name):
        return node.func.id
    return node.func.attr if isinstance(node.func, ast.Attribute) else ""


def test_every_file_keeps_the_import_rules() -> None:
    assert violations(ROOT) == []


def test_the_files_are_really_read() -> None:
    source = (ROOT / "device/cli.py").read_text(encoding="utf-8")
    assert "device.core.errors.UsageError" in [module for _, module in _imports("device/cli.py", ast.parse(source))]


@pytest.mark.parametrize(
    ("name", "source", "said"),
    [
        ("device/core/a.py", "import time", "time is not pure"),
        ("device/core/a.py", "from threading import Lock", "threading is not pure"),
        ("device/core/a.py", "import os.path", "os is not pure"),
        ("device/core/a.py", "from pathlib import Path", "pathlib is not pure"),
        ("device/core/a.py", "def f():\n    import random", "random is not pure"),
        ("device/core/a.py", "text = open('x')", "open is not pure"),
        ("device/core/a.py", "from datetime import datetime\nx = datetime.now()", "now looks at the clock"),
        ("device/core/a.py", "import numpy as np\nr = np.random.default_rng()", "a generator without a seed"),
        ("device/core/a.py", "import numpy as np\nx = np.random.normal()", "random.normal draws from hidden state"),
        ("device/core/a.py", "from numpy import random", "numpy.random must be seen where it is used"),
        ("device/core/a.py", "import scipy", "scipy is not for this file"),
        ("device/core/a.py", "from device.edges import camera", "device.edges.camera is not among device.core"),
        ("device/core/a.py", "from ..config import Config", "device.config.Config is not among device.core"),
        ("device/core/a.py", "from device import config", "device.config is not among device.core"),
        ("device/edges/a.py", "import device.config", "device.config is not among device.core, device.edges"),
        ("device/edges/a.py", "import alsaaudio", "alsaaudio is not for this file"),
        ("device/edges/a.py", "import av.container", "av is not for this file"),
        ("device/a.py", "from trainer.learning.model import build", "trainer.learning.model.build is not among device"),
        ("device/a.py", "import tensorflow as tf", "tensorflow is not for this file"),
        ("device/a.py", "m = importlib.import_module('keras.layers')", "keras is not for this file"),
        ("device/a.py", "import matplotlib.pyplot as plt", "matplotlib is not for this file"),
        ("device/a.py", "if TYPE_CHECKING:\n    import tflite_runtime", "tflite_runtime is not for this file"),
        ("device/a.py", "import requests", "requests is not for this file"),
        ("device/a.py", "from tests.unit import test_imports", "tests.unit.test_imports is not among device"),
        (
            "trainer/a.py",
            "from device.commands.perform import main",
            "device.commands.perform.main is not among trainer, device.core",
        ),
        ("trainer/a.py", "from deploy import push", "deploy.push is not among trainer"),
        ("trainer/a.py", "import alsaaudio", "alsaaudio is not for this file"),
        (
            "deploy/a.py",
            "import device.engine",
            "device.engine is not among deploy, device.core, device.store",
        ),
        ("deploy/a.py", "import trainer", "trainer is not among deploy"),
    ],
)
def test_a_planted_violation_is_found(tmp_path: Path, name: str, source: str, said: str) -> None:
    file = tmp_path / name
    file.parent.mkdir(parents=True)
    file.write_text(source)
    (found,) = violations(tmp_path)
    assert found.startswith(f"{name}:{len(source.splitlines())}: {said}")


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("device/core/a.py", "import math\nfrom device.core.frame import Frame"),
        ("device/core/a.py", "import numpy as np\nr = np.random.default_rng(1)"),
        ("device/edges/camera_file.py", "import time, av\nfrom device.core.frame import Frame"),
        ("device/a.py", "from device.edges.camera import Camera\nimport device.core.synth"),
        (
            "trainer/a.py",
            "import tensorflow\nfrom device.engine.player import Player\nfrom device.store.store import Take",
        ),
        ("deploy/a.py", "from device.core.bundle import Manifest\nfrom device.store.store import Take"),
    ],
)
def test_what_is_allowed_passes(tmp_path: Path, name: str, source: str) -> None:
    file = tmp_path / name
    file.parent.mkdir(parents=True)
    file.write_text(source)
    assert violations(tmp_path) == []
