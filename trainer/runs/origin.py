"""With what a run was made: program, versions, machine and the command, so that it can be made again."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PROGRAM = Path(__file__).parents[2]
LIBRARIES = ("tensorflow", "keras", "numpy", "scipy", "tflite-runtime", "ai-edge-litert")
LONGEST_GIT_S = 10.0


def made_with() -> dict[str, object]:
    """Describe this process for `run.json`.

    Returns
    -------
    dict
        `command`, `folder` where it was given, `python`, `versions` of the libraries, `machine`, `n_cpus`, and `git`:
        the program's commit and whether files differ from it, or None where it is no checkout.
    """
    return {
        "command": shlex.join(_command(sys.argv)),
        "folder": str(Path.cwd()),
        "python": platform.python_version(),
        "versions": {name: found for name in LIBRARIES if (found := _version(name))},
        "machine": f"{platform.system()} {platform.release()} {platform.machine()}",
        "n_cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "git": _git(),
    }


def _command(argv: list[str]) -> list[str]:
    program = Path(argv[0])
    if program.name == "__main__.py":
        return ["python", "-m", program.parent.name, *argv[1:]]
    return argv


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _git() -> dict[str, object] | None:
    if not (PROGRAM / ".git").exists():
        return None
    try:
        commit = _ask_git("rev-parse", "HEAD").strip()
        changed = [line[3:] for line in _ask_git("status", "--porcelain", "--untracked-files=no").splitlines()]
    except (OSError, subprocess.SubprocessError):  # no git, or not our checkout: the run is worth more than its origin
        return None
    return {"commit": commit, "changed": changed}


def _ask_git(*words: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(PROGRAM), *words], capture_output=True, text=True, check=True, timeout=LONGEST_GIT_S
    )
    return done.stdout
