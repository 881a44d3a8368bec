"""What a take holds, as one hash: whoever keeps something that was made from a take keeps this beside it."""

from __future__ import annotations

import hashlib

from device.core.take import Chunks
from device.store.store import Take
from device.store.take_reader import read_columns, read_sound


def take_hash(take: Take) -> str:
    """Hash a take's columns, sound, times and settings; its place, its name and its notes do not matter.

    The checksums that its chunks carry are hashed, not what they cover: `Take.open` has compared them, and 10 hours
    take seconds.

    Returns
    -------
    str
        sha256, 64 hexadecimal digits.
    """
    facts = take.facts
    found = hashlib.sha256(f"{facts.settings} {facts.rate_hz} {facts.n_columns} {facts.n_samples}".encode())
    for chunks in (read_columns(take.path, facts), read_sound(take.path)):
        found.update(_checksums(chunks))
    return found.hexdigest()


def _checksums(chunks: Chunks) -> bytes:
    return chunks["crc32"].astype("<u4").tobytes() + chunks["count"].astype("<u4").tobytes()
