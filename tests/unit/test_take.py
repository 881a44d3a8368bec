"""The bytes of a take: what is whole, what is refused, and how well its clocks line up."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from device.core.errors import TakeError
from device.core.motiongram import MotionSettings
from device.core.take import (
    COLUMN_MAGIC,
    COLUMNS_PER_CHUNK,
    SAMPLES_PER_CHUNK,
    SOUND_MAGIC,
    Chunks,
    SoundClock,
    TakeFacts,
    build_facts,
    column_dtype,
    n_held,
    n_whole,
    parse_facts,
    seal,
    sound_dtype,
    to_float32,
    to_int16,
)

FACTS = TakeFacts(MotionSettings(4, 6), 48_000, {"name": "böse.mp4", "takes": 3}, n_columns=20, n_samples=5000)
HOUR_S = 3600.0
RATE_HZ = 48_000


def sealed_chunks(n_chunks: int, last_count: int = COLUMNS_PER_CHUNK) -> Chunks:
    chunks = np.zeros(n_chunks, column_dtype(10))
    chunks["columns"] = np.random.default_rng(0).random(chunks["columns"].shape)
    for index in range(n_chunks):
        count = last_count if index == n_chunks - 1 else COLUMNS_PER_CHUNK
        seal(chunks[index : index + 1], COLUMN_MAGIC, index, count)
    return chunks


def n_good(chunks: Chunks) -> int:
    return n_whole(chunks, COLUMN_MAGIC, COLUMNS_PER_CHUNK)


def test_sealed_chunks_are_whole() -> None:
    chunks = sealed_chunks(5, last_count=3)
    assert n_good(chunks) == 5
    assert n_held(chunks, COLUMNS_PER_CHUNK) == 4 * COLUMNS_PER_CHUNK + 3
    assert n_good(chunks[:0]) == 0
    assert n_held(chunks[:0], COLUMNS_PER_CHUNK) == 0


def test_one_wrong_bit_anywhere_ends_what_is_whole() -> None:
    good = sealed_chunks(4)
    size = good.itemsize
    for place in [*range(16), size // 2, size - 1]:
        for chunk in (0, 2):
            chunks = good.copy()
            chunks.view(np.uint8)[chunk * size + place] ^= 0x10
            assert n_good(chunks) == chunk, f"a wrong bit in byte {place} went unseen"


def test_chunks_out_of_order_are_not_whole() -> None:
    chunks = sealed_chunks(4)
    assert n_good(chunks[[0, 1, 3, 2]]) == 2
    assert n_good(chunks[1:]) == 0


def test_nothing_follows_a_chunk_that_is_not_full() -> None:
    chunks = sealed_chunks(3)
    seal(chunks[1:2], COLUMN_MAGIC, 1, COLUMNS_PER_CHUNK - 1)
    assert n_good(chunks) == 2


def test_a_count_beyond_the_chunk_is_not_whole() -> None:
    chunks = sealed_chunks(2)
    for count in (0, COLUMNS_PER_CHUNK + 1, 2**32 - 1):
        seal(chunks[1:2], COLUMN_MAGIC, 1, count)
        assert n_good(chunks) == 1


def test_a_chunk_of_sound_is_not_one_of_columns() -> None:
    chunk = np.zeros(1, sound_dtype())
    seal(chunk, COLUMN_MAGIC, 0, 1)
    assert n_whole(chunk, SOUND_MAGIC, SAMPLES_PER_CHUNK) == 0


def test_samples_keep_their_value_within_half_a_step() -> None:
    sound = np.linspace(-1.0, 1.0, 10_001, dtype=np.float32)
    back = to_float32(to_int16(sound))
    assert np.abs(back[:-1] - sound[:-1]).max() <= 0.5 / 32768
    every = np.arange(-32768, 32768).astype(np.int16)
    assert np.array_equal(to_int16(to_float32(every)), every)


def test_samples_too_loud_are_clipped_and_no_number_is_silence() -> None:
    sound = np.array([2.0, -3.0, np.nan, np.inf, -np.inf], np.float32)
    assert to_int16(sound).tolist() == [32767, -32768, 0, 32767, -32768]


def drifting_times_s(
    n_chunks: int, ppm: float, jitter_s: float, wander_ppm: float = 0.0
) -> tuple[np.ndarray[tuple[int], np.dtype[np.float64]], np.ndarray[tuple[int], np.dtype[np.float64]]]:
    """True and jittered times of chunks of a sound card whose clock drifts."""
    nominal_s = np.arange(n_chunks) * SAMPLES_PER_CHUNK / RATE_HZ
    warming_s = wander_ppm * 1e-6 * 600.0 * (1.0 - np.exp(-nominal_s / 600.0))
    true_s = 5.0 + nominal_s * (1.0 - ppm * 1e-6) + warming_s
    jitter = np.random.default_rng(1).uniform(-jitter_s, jitter_s, n_chunks)
    return true_s, true_s + jitter


@pytest.mark.parametrize("ppm", [-100.0, 0.0, 100.0])
@pytest.mark.parametrize("wander_ppm", [0.0, 30.0])
def test_sound_lines_up_within_5_ms_for_an_hour(ppm: float, wander_ppm: float) -> None:
    n_chunks = int(HOUR_S * RATE_HZ / SAMPLES_PER_CHUNK)
    true_s, seen_s = drifting_times_s(n_chunks, ppm, jitter_s=0.002, wander_ppm=wander_ppm)
    found = SoundClock(seen_s, RATE_HZ).samples_of(true_s)
    wrong_s = np.abs(found - np.arange(n_chunks) * SAMPLES_PER_CHUNK) / RATE_HZ
    assert wrong_s.max() < 0.002


def test_late_times_now_and_then_do_not_move_the_sound() -> None:
    true_s, seen_s = drifting_times_s(5000, 100.0, jitter_s=0.002)
    seen_s[::20] += 0.08
    wrong = SoundClock(seen_s, RATE_HZ).samples_of(true_s) - np.arange(5000) * SAMPLES_PER_CHUNK
    assert np.abs(wrong).max() / RATE_HZ < 0.002


def test_times_and_samples_are_inverse_even_outside_the_take() -> None:
    _, seen_s = drifting_times_s(2000, 100.0, jitter_s=0.002)
    clock = SoundClock(seen_s, RATE_HZ)
    samples = np.linspace(-48_000.0, 2000 * SAMPLES_PER_CHUNK + 48_000, 501)
    assert np.abs(clock.samples_of(clock.times_of(samples)) - samples).max() < 0.01


def test_one_chunk_is_a_clock() -> None:
    clock = SoundClock(np.array([2.0]), 1000)
    assert clock.samples_of(np.array([2.5]))[0] == pytest.approx(500.0)


@pytest.mark.parametrize(
    "times_s", [np.zeros(0), np.array([0.0, np.nan]), np.array([0.0, np.inf]), -np.arange(1000.0) * 100.0]
)
def test_times_that_are_no_clock_are_refused(times_s: np.ndarray[tuple[int], np.dtype[np.float64]]) -> None:
    with pytest.raises(TakeError):
        SoundClock(times_s, RATE_HZ)


def test_facts_come_back_as_they_were() -> None:
    assert parse_facts(build_facts(FACTS)) == FACTS


def test_facts_of_the_first_format_are_read() -> None:
    content = json.loads(build_facts(FACTS))
    for later in ("cancelled", "notes", "columns_per_chunk"):
        del content[later]
    facts = parse_facts(json.dumps({**content, "format": 1}).encode())
    assert facts == replace(FACTS, columns_per_chunk=16)


def test_a_source_that_is_not_json_is_refused_before_anything_is_written() -> None:
    sources: list[dict[str, object]] = [{"path": object()}, {"level": float("nan")}, {"more": {"deep": 1}}]
    for source in sources:
        with pytest.raises(TakeError):
            build_facts(TakeFacts(MotionSettings(), RATE_HZ, source))


Change = Callable[[dict[str, object]], object]


def motion_with(**changes: object) -> Change:
    return lambda content: content.update(motion={**dict(content["motion"]), **changes})  # type: ignore[call-overload]


HOSTILE: dict[str, Change] = {
    "newer format": lambda content: content.update(format=3),
    "no format": lambda content: content.pop("format"),
    "true as format": lambda content: content.update(format=True),
    "negative count": lambda content: content.update(n_columns=-1),
    "negative sound": lambda content: content.update(n_samples=-4096),
    "count as text": lambda content: content.update(n_columns="20"),
    "count with fraction": lambda content: content.update(n_samples=5000.5),
    "rate of nothing": lambda content: content.update(rate_hz=0),
    "rate beyond sense": lambda content: content.update(rate_hz=10**30),
    "a path": lambda content: content.update(columns="../../../etc/passwd"),
    "missing": lambda content: content.pop("rate_hz"),
    "no motion": lambda content: content.update(motion=None),
    "motion with more": motion_with(path="/etc/passwd"),
    "huge picture": motion_with(height=10**9),
    "negative picture": motion_with(width=-64),
    "unknown filter": motion_with(filter="../x"),
    "deep source": lambda content: content.update(source={"a": {"b": 1}}),
    "source as list": lambda content: content.update(source=[]),
    "deep notes": lambda content: content.update(notes={"a": [1]}),
    "cancelled as number": lambda content: content.update(cancelled=0),
    "chunks of nothing": lambda content: content.update(columns_per_chunk=0),
    "huge chunks": lambda content: content.update(columns_per_chunk=10**9),
    "a take of the first format that was cancelled": lambda content: content.update(format=1),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_facts_that_are_not_ours_are_refused(what: str) -> None:
    content = json.loads(build_facts(FACTS))
    HOSTILE[what](content)
    with pytest.raises(TakeError, match=r"take\.json"):
        parse_facts(json.dumps(content).encode())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b"[" * 100_000,
        build_facts(FACTS).replace(b"0.04", b"NaN"),
        build_facts(FACTS).replace(b"0.04", b"1e999"),
        b"9" * 10_000,
        b" " * (2 << 20),
    ],
)
def test_bytes_that_are_no_facts_are_refused(data: bytes) -> None:
    with pytest.raises(TakeError, match=r"take\.json"):
        parse_facts(data)
