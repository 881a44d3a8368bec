"""The bytes of a take: chunks of columns and of sound that carry their own checksum, and the facts in take.json.

Everything is little-endian. A chunk has a fixed size; all but the last of a file are full. What a pulled plug leaves
behind is therefore good up to the first chunk that is not whole.
"""

from __future__ import annotations

import json
import math
import zlib
from dataclasses import asdict, dataclass, field
from typing import cast

import numpy as np
import numpy.typing as npt

from device.core.errors import ConfigError, TakeError
from device.core.motiongram import MotionSettings

FORMAT = 2
"""1: takes before cancelled and notes, with 16 columns in a chunk. Both are read."""
# A slow camera's chunk must not hold back much of the last second: 0.16 s at 25 frames a second.
COLUMNS_PER_CHUNK = 4
_COLUMNS_PER_CHUNK_1 = 16
MOST_COLUMNS_PER_CHUNK = 1024
SAMPLES_PER_CHUNK = 4096
COLUMN_MAGIC = b"DSc1"
SOUND_MAGIC = b"DSs1"
# The checksum covers what comes after it; the magic before it is compared.
CHECKED_FROM = 8
# Long enough that the median of its chunks is free of jitter, short enough that 100 ppm drift by less than 1 ms.
CLOCK_PIECE_S = 8.0
MOST_FEATURES = 1 << 14
HIGHEST_RATE_HZ = 1_000_000
LARGEST_FACTS = 1 << 20
RESTORE = "restore the take from a copy or delete it"
_TYPES: dict[str, type] = {
    "rate_hz": int,
    "source": dict,
    "n_columns": int,
    "n_samples": int,
    "salvaged": bool,
    "cancelled": bool,
    "notes": dict,
    "columns_per_chunk": int,
}

Chunks = npt.NDArray[np.void]
Times = npt.NDArray[np.float64]


def column_dtype(n_features: int, capacity: int = COLUMNS_PER_CHUNK) -> np.dtype[np.void]:
    """One chunk of columns: magic, crc32, index, count, `times_s` and `columns` (`capacity` of each)."""
    head = [("magic", "S4"), ("crc32", "<u4"), ("index", "<u4"), ("count", "<u4")]
    body = [("times_s", "<f8", (capacity,)), ("columns", "<f4", (capacity, n_features))]
    return np.dtype([*head, *body])


def sound_dtype() -> np.dtype[np.void]:
    """One chunk of sound: magic, crc32, index, count, `time_s` of its first sample and 4096 int16 `samples`."""
    head = [("magic", "S4"), ("crc32", "<u4"), ("index", "<u4"), ("count", "<u4")]
    return np.dtype([*head, ("time_s", "<f8"), ("samples", "<i2", (SAMPLES_PER_CHUNK,))])


def seal(chunk: Chunks, magic: bytes, index: int, count: int) -> None:
    """Make a chunk whole, in place: write its head and its checksum.

    Parameters
    ----------
    chunk : np.ndarray, shape (1,), of `column_dtype` or `sound_dtype`
    count : int
        Columns or samples that it holds.
    """
    chunk["magic"], chunk["index"], chunk["count"] = magic, index, count
    chunk["crc32"] = _checksum(chunk)


def n_whole(chunks: Chunks, magic: bytes, capacity: int) -> int:
    """Chunks from the first on that are whole: right head, right checksum, all but the last full.

    Parameters
    ----------
    chunks : np.ndarray, shape (n_chunks,), of `column_dtype` or `sound_dtype`
        May be a memory map.
    """
    counts = chunks["count"]
    follows_full = np.concatenate([[True], counts[:-1] == capacity])[: len(chunks)]
    headed = (chunks["magic"] == magic) & (chunks["index"] == np.arange(len(chunks)))
    good = headed & (counts >= 1) & (counts <= capacity) & follows_full
    n_headed = len(good) if good.all() else int(np.argmin(good))
    for index in range(n_headed):
        if int(chunks["crc32"][index]) != _checksum(chunks[index : index + 1]):
            return index
    return n_headed


def n_held(chunks: Chunks, capacity: int) -> int:
    """Columns or samples in whole chunks."""
    return 0 if len(chunks) == 0 else (len(chunks) - 1) * capacity + int(chunks["count"][-1])


def to_int16(samples: npt.NDArray[np.float32] | npt.NDArray[np.int16]) -> npt.NDArray[np.int16]:
    """Make samples what a take keeps: full scale is 32768; what lies outside is clipped, NaN is silence."""
    if samples.dtype == np.int16:
        return cast("npt.NDArray[np.int16]", samples)
    finite: npt.NDArray[np.float32] = np.nan_to_num(samples, nan=0.0, posinf=1.0, neginf=-1.0)
    scaled = np.rint(finite * np.float32(32768.0))
    return cast("npt.NDArray[np.int16]", np.clip(scaled, -32768, 32767).astype(np.int16))


def to_float32(samples: npt.NDArray[np.int16]) -> npt.NDArray[np.float32]:
    """Make kept samples what is heard, -1 to 1: the inverse of `to_int16`."""
    # One pass: a take holds many million samples. The factor is a power of two, so nothing is rounded.
    return np.multiply(samples, np.float32(1.0 / 32768.0), dtype=np.float32)


class SoundClock:
    """Which sample sounded at which time: straight lines between medians of the chunks' times.

    A sound card's clock drifts against the camera's, and the times that a driver gives jitter by milliseconds. The
    offset to the nominal rate moves slowly, so its median over some seconds keeps the drift and loses the jitter.

    Parameters
    ----------
    chunk_times_s : np.ndarray, shape (n_chunks,), float64
        Time of the first sample of each chunk.
    rate_hz : int
        Nominal samples per second.

    Raises
    ------
    TakeError
        The times are not finite or do not go on.
    """

    def __init__(self, chunk_times_s: Times, rate_hz: int) -> None:
        n_chunks, chunk_s = len(chunk_times_s), SAMPLES_PER_CHUNK / rate_hz
        if n_chunks == 0 or not np.isfinite(chunk_times_s).all():
            raise TakeError("the sound has no usable times: record the take again")
        nominal_s = np.arange(n_chunks) * chunk_s
        n_pieces = max(1, round(n_chunks * chunk_s / CLOCK_PIECE_S))
        pieces = np.array_split(np.arange(n_chunks), min(n_pieces, n_chunks))
        self._rate_hz = rate_hz
        self._offsets_s = np.array([np.median((chunk_times_s - nominal_s)[piece]) for piece in pieces])
        self._nominal_s = np.array([nominal_s[piece].mean() for piece in pieces])
        self._times_s = self._nominal_s + self._offsets_s
        if np.any(np.diff(self._times_s) <= 0.0):
            raise TakeError("the times of the sound run backwards: record the take again")

    def samples_of(self, times_s: Times) -> Times:
        """Give the sample positions, float64, of times; outside of the take they go on at the nominal rate."""
        offsets_s = np.interp(times_s, self._times_s, self._offsets_s)
        return cast(Times, (times_s - offsets_s) * self._rate_hz)

    def times_of(self, samples: Times) -> Times:
        """Give the times in seconds, float64, of sample positions: the inverse of `samples_of`."""
        nominal_s = np.asarray(samples, np.float64) / self._rate_hz
        return cast(Times, nominal_s + np.interp(nominal_s, self._nominal_s, self._offsets_s))


@dataclass(frozen=True)
class TakeFacts:
    """What take.json says.

    Attributes
    ----------
    settings : MotionSettings
        What the columns were made with.
    rate_hz : int
        Nominal samples of sound per second.
    source : dict
        Where the take is from, for people to read: text, numbers, true, false or null by name.
    n_columns, n_samples : int
        What the chunks hold; 0 while the take is being recorded.
    salvaged : bool
        The recording was cut short and the take made whole afterwards.
    cancelled : bool
        Whoever recorded it did not want it: it is kept, and left out of training.
    notes : dict
        What was noticed of the recording when it ended, such as clipping or dropped frames: as `source`.
    columns_per_chunk : int
        How many columns a full chunk holds.
    """

    settings: MotionSettings
    rate_hz: int
    source: dict[str, object]
    n_columns: int = 0
    n_samples: int = 0
    salvaged: bool = False
    cancelled: bool = False
    notes: dict[str, object] = field(default_factory=dict)
    columns_per_chunk: int = COLUMNS_PER_CHUNK


def build_facts(facts: TakeFacts) -> bytes:
    """Write the content of take.json.

    Raises
    ------
    TakeError
        `source` or `notes` hold what JSON cannot, or the facts would not be read back.
    """
    content = {"format": FORMAT, "motion": asdict(facts.settings)}
    content.update({name: value for name, value in vars(facts).items() if name != "settings"})
    try:
        built = (json.dumps(content, indent=2, sort_keys=True, allow_nan=False) + "\n").encode()
    except (TypeError, ValueError) as error:
        raise TakeError(f"source or notes cannot be written as JSON ({error}): give text and numbers") from error
    parse_facts(built)
    return built


def parse_facts(data: bytes) -> TakeFacts:
    """Read take.json, trusting nothing in it.

    Raises
    ------
    TakeError
        Anything is missing, unknown, of the wrong type, out of range or from a newer program.
    """
    content = _parse_object(data)
    version = content.pop("format", None)
    if type(version) is not int or version < 1:
        raise TakeError(f"take.json has no format version: it is not one of ours: {RESTORE}")
    if version > FORMAT:
        raise TakeError(f"take.json has format {version}, this program knows {FORMAT}: update the program")
    motion = content.pop("motion", None)
    since_2 = {"cancelled": False, "notes": {}, "columns_per_chunk": _COLUMNS_PER_CHUNK_1} if version == 1 else {}
    _check_types(content, {name: kind for name, kind in _TYPES.items() if name not in since_2}, "take.json")
    content.update(since_2)
    facts = TakeFacts(settings=_parse_settings(motion), **content)  # type: ignore[arg-type]  # checked just above
    if not 1 <= facts.rate_hz <= HIGHEST_RATE_HZ:
        raise TakeError(f"take.json: rate_hz is {facts.rate_hz}, not 1 to {HIGHEST_RATE_HZ}: {RESTORE}")
    if facts.n_columns < 0 or facts.n_samples < 0:
        raise TakeError(f"take.json: a count is negative: {RESTORE}")
    if not 1 <= facts.columns_per_chunk <= MOST_COLUMNS_PER_CHUNK:
        raise TakeError(f"take.json: no chunk holds {facts.columns_per_chunk} columns: {RESTORE}")
    if any(isinstance(value, (dict, list)) for value in [*facts.source.values(), *facts.notes.values()]):
        raise TakeError(f"take.json: source or notes hold more than text and numbers: {RESTORE}")
    return facts


def _checksum(chunk: Chunks) -> int:
    return zlib.crc32(chunk.view(np.uint8).data[CHECKED_FROM:])


def _parse_object(data: bytes) -> dict[str, object]:
    if len(data) > LARGEST_FACTS:
        raise TakeError(f"take.json is larger than any that we write: {RESTORE}")
    try:
        content = json.loads(data.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise TakeError(f"take.json cannot be read: {RESTORE}") from error
    if not isinstance(content, dict):
        raise TakeError(f"take.json is not an object: {RESTORE}")
    return content


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _check_types(content: dict[str, object], types: dict[str, type], where: str) -> None:
    for name in sorted(set(types) | set(content)):
        if name not in content:
            raise TakeError(f"{where}: '{name}' is missing: {RESTORE}")
        if name not in types:
            raise TakeError(f"{where}: '{name}' is unknown: update the program")
        if type(content[name]) is not types[name]:
            raise TakeError(f"{where}: '{name}' is not {types[name].__name__}: {RESTORE}")


def _parse_settings(motion: object) -> MotionSettings:
    if not isinstance(motion, dict):
        raise TakeError(f"take.json: 'motion' is missing: {RESTORE}")
    fractions = {"difference_time_s", "threshold"}
    floats = {name: float(value) for name, value in motion.items() if name in fractions and type(value) is int}
    motion = {**motion, **floats}
    types = {name: type(value) for name, value in asdict(MotionSettings()).items()}
    _check_types(motion, types, "take.json, motion")
    try:
        settings = MotionSettings(**motion)
    except ConfigError as error:
        raise TakeError(f"take.json: {error}") from error
    finite = math.isfinite(settings.difference_time_s) and math.isfinite(settings.threshold)
    if not finite or settings.height + settings.width > MOST_FEATURES:
        raise TakeError(f"take.json, motion: no camera has such pictures: {RESTORE}")
    return settings
