"""What a workstation and a box say to each other over SSH: one command a connection, and a bundle as one stream.

The box's side of a key is one program (`device deploy-shell`), which gets the words of `ssh BOX WORDS` as one line: a
verb and a few plain words, and nothing else. What comes from outside is never a path, and never seen by a shell.

A bundle travels as `MAGIC`, then for each file, in the order of their names: the length of its name (1 byte), the
name, its size (8 bytes, little-endian), its bytes. No compression, no folders, no links: nothing could be more than it
seems. Equal bundles give equal streams, so that the stream's sha256 names an upload.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass

from device.core.bundle_files import MANIFEST, MAX_MANIFEST_BYTES, MAX_MODEL_BYTES, MODEL_FILES, SIGNATURE
from device.core.errors import BundleError, UsageError

PROTOCOL_VERSION = 1
"""In the first JSON object of every answer, as 'protocol'."""
MAGIC = b"dance-sampler-bundle 1\n"
MAX_SIGNATURE_BYTES = 64 << 10
LIMITS = {
    MANIFEST: MAX_MANIFEST_BYTES,
    SIGNATURE: MAX_SIGNATURE_BYTES,
    **dict.fromkeys(MODEL_FILES.values(), MAX_MODEL_BYTES),
}
"""Name of each file that a bundle may hold -> most bytes of it."""
_SIZE = struct.Struct("<Q")
MOST_STREAM_BYTES = len(MAGIC) + sum(1 + len(name) + _SIZE.size + most for name, most in LIMITS.items())
TAKE_FILES = ("columns.bin", "sound.bin", "take.json")
"""Names of the files of a take."""
MOST_LOG_LINES = 10_000
LONGEST_COMMAND = 200
ALLOW_DOWNGRADE = "allow-downgrade"

_DIGEST = r"(?P<digest>[0-9a-f]{64})"
_NUMBER = r"(?:0|[1-9][0-9]{0,14})"
_TAKE_FILE = "|".join(map(re.escape, TAKE_FILES))
_FORMS = {
    "status": "",
    "list": "",
    "offset": f" {_DIGEST}",
    "put": rf" {_DIGEST} (?P<size>{_NUMBER}) (?P<offset>{_NUMBER})",
    "activate": rf" {_DIGEST}(?P<downgrade> {ALLOW_DOWNGRADE})?",
    "rollback": "",
    "pull-take": rf" (?P<number>{_NUMBER}) (?P<file>{_TAKE_FILE}) (?P<offset>{_NUMBER})",
    "log": rf" (?P<n_lines>{_NUMBER})",
}
VERBS = tuple(_FORMS)
_PATTERNS = {verb: re.compile(re.escape(verb) + form) for verb, form in _FORMS.items()}


@dataclass(frozen=True)
class Command:
    """What is asked of the box; fields that a verb has no word for keep their defaults.

    Attributes
    ----------
    verb : str
        One of `VERBS`.
    digest : str
        sha256 of an upload's stream, 64 hexadecimal digits.
    size, offset : int
        Bytes.
    allow_downgrade : bool
    number : int
        Of a take.
    file : str
        One of `TAKE_FILES`.
    n_lines : int
    """

    verb: str
    digest: str = ""
    size: int = 0
    offset: int = 0
    allow_downgrade: bool = False
    number: int = 0
    file: str = ""
    n_lines: int = 0


def parse_command(line: str) -> Command:
    """Read the one line that came with a connection.

    Raises
    ------
    UsageError
        It is anything else than a verb with its words, one space between each.
    """
    match = None
    if len(line) <= LONGEST_COMMAND:
        pattern = _PATTERNS.get(line.split(" ", 1)[0])
        match = pattern.fullmatch(line) if pattern else None
    if match is None:
        raise UsageError(
            f"this key is for {', '.join(VERBS)} only: use python -m deploy of the same version as the box"
        )
    found = match.groupdict()
    command = Command(
        verb=line.split(" ", 1)[0],
        digest=found.get("digest") or "",
        size=int(found.get("size") or 0),
        offset=int(found.get("offset") or 0),
        allow_downgrade=bool(found.get("downgrade")),
        number=int(found.get("number") or 0),
        file=found.get("file") or "",
        n_lines=int(found.get("n_lines") or 0),
    )
    _check_limits(command)
    return command


def build_command(command: Command) -> str:
    """Write a command as `parse_command` reads it.

    Raises
    ------
    UsageError
        It would not be understood.
    """
    c = command
    words: dict[str, tuple[object, ...]] = {
        "offset": (c.digest,),
        "put": (c.digest, c.size, c.offset),
        "activate": (c.digest, *((ALLOW_DOWNGRADE,) if c.allow_downgrade else ())),
        "pull-take": (c.number, c.file, c.offset),
        "log": (c.n_lines,),
    }
    line = " ".join(map(str, (c.verb, *words.get(c.verb, ()))))
    if parse_command(line) != command:
        raise UsageError(f"{c.verb} has no such words: leave out what it does not take")
    return line


def pack_bundle(files: Mapping[str, bytes]) -> bytes:
    """Write a bundle's files as one stream.

    Parameters
    ----------
    files : mapping of str to bytes
        Names and contents.

    Raises
    ------
    BundleError
        A name does not belong in a bundle, or a file is too large.
    """
    parts = [MAGIC]
    for name in sorted(files):
        _check_file(name, len(files[name]))
        parts += [bytes([len(name)]), name.encode("ascii"), _SIZE.pack(len(files[name])), files[name]]
    return b"".join(parts)


def unpack_bundle(data: bytes) -> dict[str, bytes]:
    """Read a bundle's files from their stream; of what they hold nothing is looked at.

    Raises
    ------
    BundleError
        It is not a stream that `pack_bundle` wrote.
    """
    if not data.startswith(MAGIC):
        raise BundleError("what came is not a bundle: push it again, with a program of the box's version")
    files: dict[str, bytes] = {}
    place = len(MAGIC)
    while place < len(data):
        name, start, size = _read_header(data, place)
        if files and name <= max(files):
            raise BundleError("the bundle's files came twice or in another order: push it again")
        place = start + size
        files[name] = data[start:place]
    if MANIFEST not in files:
        raise BundleError(f"{MANIFEST} is missing from what came: push the bundle again")
    return files


def digest_of(data: bytes) -> str:
    """sha256 of a stream, 64 hexadecimal digits: the name of its upload."""
    return hashlib.sha256(data).hexdigest()


def check_size(size: int) -> None:
    """Raise BundleError unless a stream may be so large, in bytes."""
    if not len(MAGIC) < size <= MOST_STREAM_BYTES:
        raise BundleError(f"a bundle has {len(MAGIC)} to {MOST_STREAM_BYTES} bytes, not {size}: push a bundle")


def _read_header(data: bytes, place: int) -> tuple[str, int, int]:
    """Give the name of a file, where its bytes begin, and how many there are."""
    end = place + 1 + data[place]
    try:
        name = data[place + 1 : end].decode("ascii")
        (size,) = _SIZE.unpack_from(data, end)
    except (UnicodeDecodeError, struct.error) as error:
        raise BundleError("what came is cut short or damaged: push the bundle again") from error
    _check_file(name, size)
    if end + _SIZE.size + size > len(data):
        raise BundleError(f"{name} is cut short: push the bundle again")
    return name, end + _SIZE.size, size


def _check_file(name: str, size: int) -> None:
    if name not in LIMITS:
        raise BundleError(f"{name[:60]!r} does not belong in a bundle: remove it, or export the bundle again")
    if size > LIMITS[name]:
        raise BundleError(f"{name} is larger than {LIMITS[name] >> 10} KiB: export a smaller bundle")


def _check_limits(command: Command) -> None:
    if command.verb == "log" and not 1 <= command.n_lines <= MOST_LOG_LINES:
        raise UsageError(f"the log is given in 1 to {MOST_LOG_LINES} lines: ask for so many")
    if command.verb == "put":
        check_size(command.size)
        if command.offset > command.size:
            raise UsageError(f"an upload of {command.size} bytes cannot go on at {command.offset}: push again")
