"""Spectra that are kept: computed once for the same take and settings, whole or not at all, within a bound."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import tracemalloc
from collections import namedtuple
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest

from device.core.errors import TrainingError, UsageError
from device.core.motiongram import MotionSettings
from device.core.synth import SynthSettings, analyse
from device.store.store import Take, TakeWriter
from trainer.data import spectra, spectra_cache
from trainer.data.dataset import Examples
from trainer.data.open_files import allow_takes
from trainer.data.spectra_cache import SpectraCache, key_of
from trainer.data.spectra_file import SpectraFile, write_spectra
from trainer.settings import ExampleSettings

pytestmark = pytest.mark.timeout(120)

RATE_HZ = 8000
MOTION = MotionSettings(height=6, width=8)
SETTINGS = ExampleSettings(0.3, 50.0, 0.01, 4, 16, SynthSettings(rate_hz=RATE_HZ))
Usage = namedtuple("Usage", "total used free")


def make_take(folder: Path, duration_s: float = 8.0, seed: int = 0, fps: float = 50.0) -> Take:
    """Random motion; noise that is as loud as it, the other way round, so that its loudness is made to follow."""
    rng = np.random.default_rng(seed)
    times_s = 5.0 + np.arange(int(duration_s * fps)) / fps
    quantity = 0.2 + np.abs(np.sin(times_s * 2))
    writer = TakeWriter(folder, MOTION, RATE_HZ, {"name": f"{seed}"})
    writer.add_columns((quantity[:, np.newaxis] * rng.random((len(times_s), 14))).astype(np.float32), times_s)
    samples_s = 5.0 + np.arange(int(duration_s * RATE_HZ)) / RATE_HZ
    level = 0.3 / (0.2 + np.abs(np.sin(samples_s * 2)))
    writer.add_sound((0.1 * level * rng.standard_normal(len(samples_s))).astype(np.float32), 5.0)
    return writer.finish()


@pytest.fixture
def cache(tmp_path: Path) -> SpectraCache:
    return SpectraCache(tmp_path / "cache")


@pytest.fixture
def take(tmp_path: Path) -> Take:
    return make_take(tmp_path / "takes")


class Counted:
    """`write_spectra`, counted."""

    def __init__(self) -> None:
        self.n = 0

    def __call__(self, *args: Any) -> None:
        self.n += 1
        write_spectra(*args)


@pytest.fixture
def computed() -> Iterator[Counted]:
    counted = Counted()
    with patch.object(spectra_cache, "write_spectra", counted):
        yield counted


def content(file: SpectraFile) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.frombuffer(file.path.read_bytes(), np.uint8)


def test_nothing_is_computed_twice(cache: SpectraCache, take: Take, computed: Counted) -> None:
    cache.open([take], SETTINGS)
    (again,) = cache.open([Take.open(take.path)], replace(SETTINGS, segment_s=1.0))  # windows are put together later
    assert computed.n == 1
    assert again.n_columns == take.n_columns


def test_the_same_take_elsewhere_is_the_same(
    cache: SpectraCache, take: Take, computed: Counted, tmp_path: Path
) -> None:
    copied = tmp_path / "elsewhere" / "0007"
    subprocess.run(["mkdir", "-p", copied.parent], check=True)
    subprocess.run(["cp", "-r", take.path, copied], check=True)
    cache.open([take, Take.open(copied)], SETTINGS)
    assert computed.n == 1


@pytest.mark.parametrize(
    "changed",
    [
        replace(SETTINGS, lead_s=0.02),
        replace(SETTINGS, body_leads=False),
        replace(SETTINGS, n_bands=8),
        replace(SETTINGS, synth=SynthSettings(rate_hz=RATE_HZ, power=0.4)),
    ],
)
def test_other_settings_are_other_spectra(take: Take, changed: ExampleSettings) -> None:
    assert key_of(take, SETTINGS) != key_of(take, changed)


def test_other_takes_are_other_spectra(tmp_path: Path) -> None:
    assert len({key_of(make_take(tmp_path, seed=seed), SETTINGS) for seed in range(3)}) == 3


def test_pieces_are_what_the_whole_is(take: Take) -> None:
    centres = np.clip(np.round(take.samples_of(take.times_s + 0.01)).astype(np.int64), 0, take.n_samples)
    whole = analyse(take.sound_at(0, take.n_samples), centres, SETTINGS.synth)
    with patch.object(spectra, "PIECE", 37):
        np.testing.assert_array_equal(spectra.spectra_at(take, take.times_s, SETTINGS), whole)


def test_what_is_read_is_what_was_computed(cache: SpectraCache, take: Take) -> None:
    with patch.object(spectra, "PIECE", 37):
        (file,) = cache.open([take], SETTINGS)
    records = np.zeros(take.n_columns, file.dtype)
    file.read_records(0, records)
    np.testing.assert_array_equal(records["time_s"], take.times_s)
    np.testing.assert_array_equal(records["column"], take.columns)
    heard = spectra.spectra_at(take, take.times_s, SETTINGS)
    quantity = take.columns[:, :6].mean(axis=1)
    factors = spectra.leading_factors(take, spectra.levels_db(heard, 0.3), quantity.astype(np.float64), SETTINGS)
    assert factors is not None
    wanted = heard * factors[:, np.newaxis]
    kept = np.empty((take.n_columns, file.n_bins), np.float16)
    for column in range(take.n_columns):
        file.read_spectrum(column, kept[column])
    np.testing.assert_allclose(kept, wanted, rtol=2e-3, atol=1e-4)
    np.testing.assert_allclose(records["bands"], spectra.in_bands(kept, 16))


def test_processes_side_by_side_compute_the_same(take: Take, tmp_path: Path) -> None:
    takes = [take, *(make_take(tmp_path / "takes", seed=seed) for seed in (1, 2))]
    one = SpectraCache(tmp_path / "one").open(takes, SETTINGS)
    with patch.object(spectra_cache, "WORTH_PROCESSES", 0):
        other = SpectraCache(tmp_path / "other").open(takes, SETTINGS)
    for a, b in zip(one, other, strict=True):
        assert a.path.name == b.path.name
        np.testing.assert_array_equal(content(a), content(b))


@pytest.mark.parametrize("harm", [lambda data: data[:-1], lambda data: data[:100], lambda _: b"", lambda d: d[::-1]])
def test_a_torn_file_is_never_read(cache: SpectraCache, take: Take, computed: Counted, harm: Any) -> None:
    (file,) = cache.open([take], SETTINGS)
    whole = content(file)
    file.path.write_bytes(harm(whole.tobytes()))
    (again,) = cache.open([take], SETTINGS)
    assert computed.n == 2
    np.testing.assert_array_equal(content(again), whole)


def test_what_a_killed_trainer_left_is_not_read_and_goes(cache: SpectraCache, take: Take, computed: Counted) -> None:
    cache.folder.mkdir()
    left = cache.folder / f"{key_of(take, SETTINGS)}.part"
    left.write_bytes(b"half")
    other = cache.folder / "0123.part"
    other.write_bytes(b"half")
    cache.open([take], SETTINGS)
    assert computed.n == 1
    assert sorted(path.suffix for path in cache.folder.iterdir()) == [".spectra"]


def test_trainers_at_once_compute_a_take_once(cache: SpectraCache, take: Take, computed: Counted) -> None:
    begin, found = threading.Barrier(4), []

    def train() -> None:
        begin.wait(10)
        found.extend(cache.open([take], SETTINGS))

    threads = [threading.Thread(target=train) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 4
    assert computed.n == 1


def test_the_folder_is_bounded_but_for_what_is_in_use(tmp_path: Path) -> None:
    takes = [make_take(tmp_path / "takes", seed=seed) for seed in range(3)]
    size = SpectraCache(tmp_path / "cache").open(takes[:1], SETTINGS)[0].path.stat().st_size
    os.utime(tmp_path / "cache" / f"{key_of(takes[0], SETTINGS)}.spectra", (1, 1))
    bounded = SpectraCache(tmp_path / "cache", most_gb=2.5 * size / 1e9)
    held = bounded.open(takes[1:2], SETTINGS)
    assert len(list(bounded.folder.iterdir())) == 2
    bounded.open(takes[2:], SETTINGS)
    names = {path.stem for path in bounded.folder.iterdir()}
    assert names == {key_of(take, SETTINGS) for take in takes[1:]}, "what was used longest ago goes first"
    none = SpectraCache(tmp_path / "cache", most_gb=0.0)
    none.open(takes[:2], SETTINGS)
    assert {path.stem for path in none.folder.iterdir()} == {key_of(take, SETTINGS) for take in takes[:2]}
    out = np.zeros(10, held[0].dtype)
    held[0].read_records(0, out)  # whoever has it open keeps it


def test_no_room_is_one_line_before_anything_is_computed(cache: SpectraCache, take: Take, computed: Counted) -> None:
    with (
        patch("trainer.data.spectra_cache.shutil.disk_usage", lambda _: Usage(1, 1, 1000)),
        pytest.raises(TrainingError, match="--cache"),
    ):
        cache.open([take], SETTINGS)
    assert computed.n == 0


def test_a_folder_that_cannot_be_is_one_line(take: Take, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(TrainingError, match="--cache"):
        SpectraCache(tmp_path / "file" / "cache").open([take], SETTINGS)


@pytest.mark.parametrize(
    ("options", "says"), [(["--cache", "{file}"], "is a file"), (["--cache-gb", "-1"], "0 or more")]
)
def test_wrong_use_is_said(tmp_path: Path, options: list[str], says: str) -> None:
    import argparse

    (tmp_path / "file").write_text("mine")
    parser = argparse.ArgumentParser()
    spectra_cache.add_cache_arguments(parser)
    with pytest.raises(UsageError, match=says):
        spectra_cache.cache_of(parser.parse_args([word.format(file=tmp_path / "file") for word in options]))


def test_more_takes_than_files_are_allowed_at_first(tmp_path: Path) -> None:
    for seed in range(12):
        make_take(tmp_path / "takes", 1.0, seed)
    script = """
import resource, sys
from pathlib import Path
from tests.unit.test_spectra_cache import SETTINGS
from trainer.data import open_files
from trainer.data import spectra_cache
from trainer.data.prepare import load_takes
open_files.SPARE_FILES = 20
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (20, hard))
takes = load_takes(Path(sys.argv[1]))
print(len(spectra_cache.SpectraCache(Path(sys.argv[2])).open(takes, SETTINGS)))
"""
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "takes", tmp_path / "cache"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "12\n", done.stderr


def test_more_takes_than_the_system_allows_is_one_line() -> None:
    with pytest.raises(TrainingError, match="ulimit"):
        allow_takes(10**12)


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_what_was_read_of_a_take_is_given_back(tmp_path: Path) -> None:
    def resident_bytes() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    path = make_take(tmp_path, 1800.0, fps=1.0).path
    take = Take.open(path)
    opened = resident_bytes()
    for second in range(1800):
        take.sound_at(second * RATE_HZ, (second + 1) * RATE_HZ)
    read = resident_bytes()
    take.give_back()
    assert read - opened > 20e6
    assert read - resident_bytes() > 20e6
    np.testing.assert_array_equal(take.sound_at(0, 100), Take.open(path).sound_at(0, 100))


def test_memory_does_not_grow_with_the_take(tmp_path: Path) -> None:
    peaks = []
    with patch.object(spectra, "PIECE", 64):
        for seed, duration_s in ((0, 20.0), (1, 120.0)):
            take = make_take(tmp_path / "takes", duration_s, seed)
            tracemalloc.start()
            write_spectra(tmp_path / "file", take, SETTINGS)
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    # What grows is a few numbers for each column; its spectrum, of 1025 numbers, does not stay.
    assert peaks[1] - peaks[0] < 5000 * 200


def test_examples_hold_addresses_not_spectra(tmp_path: Path, cache: SpectraCache) -> None:
    take = make_take(tmp_path / "takes", 120.0)
    cache.open([take], SETTINGS)
    tracemalloc.start()
    examples = Examples([take], SETTINGS, cache)
    rows = np.arange(100, 6000)
    for number in range(20):
        examples.training_batch(rows, 16, (0,), number)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < take.n_columns * 100
