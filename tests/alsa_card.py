"""The card of alsa_card.c, built and named in a configuration of ALSA."""

from __future__ import annotations

import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("alsa_card.c")


def build_card(folder: Path) -> Path:
    """Compile the plugin; needs gcc and libasound2-dev, as pyalsaaudio does."""
    plugin = folder / "libdancecard.so"
    subprocess.run(
        ["gcc", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-DPIC", SOURCE, "-o", plugin, "-lasound"],
        check=True,
    )
    return plugin


def write_config(path: Path, plugin: Path, pcms: dict[str, str]) -> Path:
    """Write a configuration that ALSA_CONFIG_PATH can point to: the system's own, the card's type, and these PCMs."""
    lines = ["</usr/share/alsa/alsa.conf>", f'pcm_type.dancecard {{ lib "{plugin}" }}']
    lines += [f"pcm.{name} {{ {definition} }}" for name, definition in pcms.items()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
