"""`python -m tests.twin.replay.look IMAGE PROMISED`: is what was promised on a disk that was cut off?

Run by root in a mount namespace of its own. PROMISED is a JSON file of a `Played`; prints one line for each promise
that was broken. The image is left as it is: what is looked at is a copy in memory.
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from device.core.errors import DanceSamplerError
from tests.twin.replay.logged_disk import run
from tests.twin.replay.real_box import Played, what_is_missing
from tests.twin.replay.replayed import copy_sparse, mended


def to_json(played: Played) -> str:
    """Write a promise."""
    return json.dumps(asdict(played))


def from_json(text: str) -> Played:
    """Read what `to_json` wrote."""
    said = json.loads(text)
    running = said["running"]
    return Played(said["takes"], None if running is None else (running[0], running[1]), tuple(said["models"]))


def look(image: Path, played: Played) -> list[str]:
    """Give the promises that an ext4 whose root is a box's state does not hold; it must be in a mount namespace."""
    with tempfile.TemporaryDirectory() as folder:
        run("mount", "-t", "tmpfs", "-o", "size=1g", "tmpfs", folder)
        copy, root = Path(folder) / "image", Path(folder) / "root"
        root.mkdir()
        copy_sparse(image, copy)
        try:
            with mended(copy, root):
                return what_is_missing(root, played)
        except (DanceSamplerError, OSError) as error:
            return [f"it does not start: {error}"]
        finally:
            run("umount", folder)


def main(image: str, promised: str) -> int:
    """Say what is missing."""
    logging.disable()
    print("\n".join(look(Path(image), from_json(Path(promised).read_text(encoding="utf-8")))))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
