"""What is said over SSH: one line, strictly, and one bundle as one stream."""

from __future__ import annotations

import struct
from dataclasses import replace

import numpy as np
import pytest

from device.core.bundle import MANIFEST, MAX_MANIFEST_BYTES, MODEL_FILES, SIGNATURE
from device.core.errors import BundleError, UsageError
from device.core.wire import (
    LIMITS,
    MAGIC,
    MOST_STREAM_BYTES,
    TAKE_FILES,
    Command,
    build_command,
    digest_of,
    pack_bundle,
    parse_command,
    unpack_bundle,
)
from device.store.take_reader import COLUMNS, FACTS, SOUND

DIGEST = "0123456789abcdef" * 4
COMMANDS = {
    "status": Command("status"),
    "list": Command("list"),
    f"offset {DIGEST}": Command("offset", digest=DIGEST),
    f"put {DIGEST} 1000 0": Command("put", digest=DIGEST, size=1000),
    f"put {DIGEST} 1000 1000": Command("put", digest=DIGEST, size=1000, offset=1000),
    f"activate {DIGEST}": Command("activate", digest=DIGEST),
    f"activate {DIGEST} allow-downgrade": Command("activate", digest=DIGEST, allow_downgrade=True),
    "rollback": Command("rollback"),
    "pull-take 12 sound.bin 65536": Command("pull-take", number=12, file="sound.bin", offset=65536),
    "log 200": Command("log", n_lines=200),
}
FILES = {
    MANIFEST: b"{}",
    MODEL_FILES["f16"]: bytes(range(256)),
    MODEL_FILES["int8"]: b"\x00",
    SIGNATURE: b"-----",
}


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_is_read_and_written(line: str) -> None:
    assert parse_command(line) == COMMANDS[line]
    assert build_command(COMMANDS[line]) == line


@pytest.mark.parametrize("line", COMMANDS)
@pytest.mark.parametrize(
    "odd",
    ["{} ", " {}", "{}\n", "{};id", "{} && id", "{}$(id)", "{}`id`", "{}|sh", "{} > /tmp/x", "{}\x00", "{}  x", "{}\t",
     "{}/../..", "{} -h", "sh -c {}", "'{}'", "{}\u0660", "{} allow-downgrade allow-downgrade"],
)  # fmt: skip
def test_nothing_else_is_a_command(line: str, odd: str) -> None:
    with pytest.raises(UsageError):
        parse_command(odd.format(line))


@pytest.mark.parametrize(
    "line",
    ["", " ", "sh", "scp -t /", "internal-sftp", "STATUS", "offset", "offset ../../etc", f"offset {DIGEST.upper()}",
     f"offset {DIGEST[:-1]}", f"put {DIGEST} 1000", f"put {DIGEST} 1000 -1", f"put {DIGEST} 1000 01",
     f"put {DIGEST} 0x10 0",
     f"put {DIGEST} 1000 1001", f"put {DIGEST} {10**15} 0", f"activate {DIGEST} yes", "pull-take 1 ../../etc/passwd 0",
     "pull-take ../1 sound.bin 0", "pull-take 1 take.json.part 0", "log 0", "log 10001", "log -5", "log 5;reboot",
     "log \u0661", "status\r", "a" * 100_000],
)  # fmt: skip
def test_words_that_are_none_of_ours_are_refused(line: str) -> None:
    with pytest.raises((UsageError, BundleError)):
        parse_command(line)


def test_a_size_beyond_the_limit_is_refused_before_anything_is_read() -> None:
    assert parse_command(f"put {DIGEST} {MOST_STREAM_BYTES} 0").size == MOST_STREAM_BYTES
    for size in (MOST_STREAM_BYTES + 1, len(MAGIC)):
        with pytest.raises(BundleError, match=str(size)):
            parse_command(f"put {DIGEST} {size} 0")


def test_words_that_a_verb_does_not_take_are_not_lost_silently() -> None:
    with pytest.raises(UsageError):
        build_command(replace(COMMANDS["status"], digest=DIGEST))


def test_the_files_of_a_take_are_those_that_the_box_writes() -> None:
    assert set(TAKE_FILES) == {COLUMNS, SOUND, FACTS}


def test_a_bundle_comes_back_and_equal_ones_are_equal_streams() -> None:
    stream = pack_bundle(FILES)
    assert unpack_bundle(stream) == FILES
    assert pack_bundle(dict(reversed(FILES.items()))) == stream
    assert digest_of(stream) == digest_of(pack_bundle(FILES))
    assert len(digest_of(stream)) == 64


@pytest.mark.parametrize("name", ["../manifest.json", "/etc/passwd", "", "model.tflite", "a" * 200, "manifest.json\n"])
def test_only_a_bundles_own_files_travel(name: str) -> None:
    with pytest.raises(BundleError, match="does not belong"):
        pack_bundle({**FILES, name: b""})
    with pytest.raises(BundleError, match="does not belong"):
        unpack_bundle(pack_bundle(FILES) + header(name, 0))


def header(name: str, size: int) -> bytes:
    return bytes([len(name)]) + name.encode() + struct.pack("<Q", size)


def test_a_file_may_not_claim_more_than_it_may_have() -> None:
    """A size is looked at before memory is set aside for it: 16 EiB cost nothing."""
    for size in (MAX_MANIFEST_BYTES + 1, 2**63, 2**64 - 1):
        with pytest.raises(BundleError, match="larger than"):
            unpack_bundle(MAGIC + header(MANIFEST, size))
    with pytest.raises(BundleError, match="larger than"):
        pack_bundle({MANIFEST: bytes(LIMITS[MANIFEST] + 1)})


def test_a_thousand_files_are_not_a_bundle() -> None:
    stream = pack_bundle(FILES) + 1000 * (header(SIGNATURE, 1) + b"x")
    with pytest.raises(BundleError, match="came twice"):
        unpack_bundle(stream)


def test_cut_anywhere_it_is_not_a_bundle() -> None:
    stream = pack_bundle({**FILES, SIGNATURE: b"x"})
    ends = {len(MAGIC)}
    place = len(MAGIC)
    for name in sorted(FILES):
        place += 1 + len(name) + 8 + len({**FILES, SIGNATURE: b"x"}[name])
        ends.add(place)
    for cut in range(len(stream)):
        if cut in ends and cut > len(MAGIC):
            assert unpack_bundle(stream[:cut]).keys() < FILES.keys()  # that, the manifest and the digest tell
        else:
            with pytest.raises(BundleError):
                unpack_bundle(stream[:cut])


def test_garbage_is_refused_and_never_anything_worse() -> None:
    rng = np.random.default_rng(0)
    stream = pack_bundle(FILES)
    for _ in range(2000):
        data = bytearray(stream)
        for place in rng.integers(0, len(data), rng.integers(1, 4)):
            data[place] = rng.integers(256)
        try:
            files = unpack_bundle(bytes(data))
        except BundleError:
            continue
        assert files.keys() <= LIMITS.keys()
    for _ in range(500):
        with pytest.raises(BundleError):
            unpack_bundle(rng.bytes(200))
