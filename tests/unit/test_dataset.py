"""Examples: what the model is shown is what the box will see, beside the sound of the same time."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest

from device.core.motiongram import MotionSettings
from device.core.synth import SynthSettings
from device.core.window import Window
from device.store.store import Take, TakeWriter
from trainer.data.augment import empty_stage, vary
from trainer.data.dataset import Examples, band_edges
from trainer.data.prepare import split
from trainer.settings import ExampleSettings

RATE_HZ = 48000
MOTION = MotionSettings(height=6, width=8)


def make_take(folder: Path, fps: float, seed: int = 0) -> Take:
    """Random motion; a tone that rises by 100 Hz a second, so that each spectrum tells its time."""
    rng = np.random.default_rng(seed)
    times_s = np.arange(int(6 * fps)) / fps
    writer = TakeWriter(folder, MOTION, RATE_HZ, {"name": "test"})
    writer.add_columns(rng.random((len(times_s), 14)).astype(np.float32), times_s)
    seconds = np.arange(6 * RATE_HZ) / RATE_HZ
    writer.add_sound((0.3 * np.sin(2 * np.pi * (1000 * seconds + 50 * seconds**2))).astype(np.float32), 0.0)
    return writer.finish()


def settings(lead_s: float = 0.0) -> ExampleSettings:
    return ExampleSettings(0.3, 50.0, lead_s, 4, 16, SynthSettings())


def heard_s(spectrum: np.ndarray[tuple[int], np.dtype[np.float32]]) -> float:
    """The time that a spectrum tells by its pitch."""
    return (float(spectrum.argmax()) * RATE_HZ / 2048 - 1000) / 100


@pytest.mark.parametrize("fps", [25.0, 50.0, 60.0])
def test_windows_are_what_the_box_sees(tmp_path: Path, fps: float) -> None:
    other, take = (make_take(tmp_path, fps, seed) for seed in range(2))
    examples = Examples([other, take], settings())
    rows = np.arange(int(fps), int(fps) + 60) + other.n_columns
    batch = examples.batch(rows, np.ones(60, np.float32))
    window = Window(15, 14, 50.0)
    for row in range(int(fps) + 60):
        window.push(take.columns[row], float(take.times_s[row]))
        if row >= fps:
            np.testing.assert_allclose(batch["window"][row - int(fps)], window.read(), atol=1e-6)


def test_windows_of_an_unsteady_camera_are_what_the_box_sees(tmp_path: Path) -> None:
    """Frames that come early, late, too many, and not at all for two seconds."""
    rng = np.random.default_rng(0)
    steps_s = rng.choice([0.004, 0.02, 0.021, 0.033, 0.09], 300)
    steps_s += rng.uniform(0.0, 0.001, 300)
    steps_s[150] = 2.0
    times_s = 90_000.0 + np.cumsum(steps_s)
    for _ in range(2):
        writer = TakeWriter(tmp_path, MOTION, RATE_HZ, {"name": "test"})
        writer.add_columns(rng.random((300, 14)).astype(np.float32), times_s)
        writer.add_sound(0.1 * rng.standard_normal(12 * RATE_HZ).astype(np.float32), 90_000.0)
        take = writer.finish()
    examples = Examples([take, take], settings())
    batch = examples.batch(np.arange(600), np.ones(600, np.float32))
    window = Window(15, 14, 50.0)
    for row in range(600):
        if row == 300:
            window.reset()
        window.push(take.columns[row % 300], float(times_s[row % 300]))
        np.testing.assert_allclose(batch["window"][row], window.read(), atol=1e-5, err_msg=str(row))


@pytest.mark.parametrize(("position", "lead_s"), [(1.0, 0.0), (0.0, 0.0), (0.5, 0.0), (1.0, 0.04)])
def test_sound_is_of_the_time_that_the_position_names(tmp_path: Path, position: float, lead_s: float) -> None:
    takes = [make_take(tmp_path, 50.0, seed) for seed in range(2)]
    examples = Examples(takes, settings(lead_s))
    training, _ = split(takes, 0.3, 0.02, 0.0)
    rows = examples.rows(training)[10:-10:7]
    batch = examples.batch(rows, np.full(len(rows), position, np.float32))
    newest_s = np.concatenate([take.times_s for take in takes])[rows]
    wanted_s = newest_s + (position - 1) * 0.3 + lead_s
    inside = wanted_s < 5.9
    found_s = np.array([heard_s(spectrum) for spectrum in batch["spectrum"]])
    # A bin is 23 Hz, 0.23 s of the rise; half of it, and half a frame.
    assert np.abs(found_s - wanted_s)[inside].max() < 0.13


def test_a_segment_never_reaches_into_another_take(tmp_path: Path) -> None:
    takes = [make_take(tmp_path, 50.0, seed) for seed in range(2)]
    examples = Examples(takes, settings())
    first_of_second = examples.batch(np.array([takes[0].n_columns]), np.zeros(1, np.float32))
    assert not first_of_second["window"][0, :-1].any()
    assert heard_s(first_of_second["spectrum"][0]) < 0.3
    # Put together with one that has all of its columns, it still has only its own.
    both = examples.batch(takes[0].n_columns + np.array([3, 100]), np.zeros(2, np.float32))
    assert heard_s(both["spectrum"][0]) < 0.3
    assert both["bands"].any(axis=2).all()


def test_half_of_the_windows_are_varied_and_keep_their_motion(tmp_path: Path) -> None:
    examples = Examples([make_take(tmp_path, 50.0)], settings())
    window = examples.batch(np.arange(50, 250), np.ones(200, np.float32))["window"]
    varied = window.copy()
    vary(varied, MOTION.height, np.random.default_rng(0))
    is_varied = (np.abs(varied - window) > 1e-3).any(axis=(1, 2))
    assert 0.35 < is_varied.mean() < 0.65
    window, varied = window[is_varied], varied[is_varied]
    light = varied[:, :1, :1] / window[:, :1, :1]
    np.testing.assert_allclose(varied[:, :, :6], light * window[:, :, :6], rtol=1e-5)
    assert 0.1 < np.log(light).std() < 0.5
    varied /= light
    for before, after in zip(window[:, -1, 6:], varied[:, -1, 6:], strict=True):
        kept = after[after > 0]
        assert len(kept) >= 4
        assert np.isclose(kept[:, np.newaxis], before).any(axis=1).all()
        assert len(np.unique(kept)) == len(kept)
    assert (np.abs(varied - window) > 1e-3).any(axis=(1, 2)).mean() > 0.8  # moved, or mirrored: not light alone


def test_an_empty_stage_is_silent(tmp_path: Path) -> None:
    examples = Examples([make_take(tmp_path, 50.0)], settings())
    batch = examples.batch(np.arange(50, 150), np.ones(100, np.float32))
    heard = batch["spectrum"].copy()
    is_empty = np.arange(100) < 30
    empty_stage(batch, is_empty, np.random.default_rng(0))
    assert not batch["spectrum"][:30].any()
    assert not batch["bands"][:30].any()
    assert batch["window"][:30].max() < 0.3
    specks = (batch["window"][:30] > 0).mean(axis=(1, 2))
    assert 0 < specks.max() < 0.05
    assert 5 < (specks == 0).sum() < 25
    np.testing.assert_array_equal(batch["spectrum"][30:], heard[30:])
    batches = examples.batches(np.arange(50, 290), 60, np.random.default_rng(0))
    silent = np.concatenate([~one["spectrum"].any(axis=1) for one in batches])
    assert 0.005 < silent.mean() < 0.12


def test_a_batch_depends_on_its_number_alone_and_all_rows_come_once(tmp_path: Path) -> None:
    examples = Examples([make_take(tmp_path, 50.0)], settings())
    rows = np.arange(50, 290)
    keys = ((0, 1), (0, 1), (1, 1), (0, 2))
    first, again, other, next_ = (examples.training_batch(rows, 60, (seed,), number) for seed, number in keys)
    for name in first:
        np.testing.assert_array_equal(first[name], again[name])
    assert (first["window"] != other["window"]).any()
    assert (first["window"] != next_["window"]).any()
    with patch("trainer.data.order.shuffled", lambda places, *_: places):
        varied = [examples.training_batch(rows, 60, (seed,), 1)["window"] for seed in range(2)]
    assert (varied[0] != varied[1]).any(), "the same order is varied in the same way"
    seen: list[np.ndarray[tuple[int], np.dtype[np.int64]]] = []
    with patch.object(Examples, "_varied", lambda _, rows, __: seen.append(rows)):
        for number in range(3):
            examples.training_batch(rows, 160, (0,), number)
    passes = np.concatenate(seen).reshape(2, 240)
    for one in passes:
        assert np.array_equal(np.sort(one), rows)
    assert (passes[0] != passes[1]).any()


def test_music_to_which_nobody_moves_is_not_learned(tmp_path: Path) -> None:
    writer = TakeWriter(tmp_path, MOTION, RATE_HZ, {"name": "music goes on"})
    columns = np.ones((300, 14), np.float32)
    columns[100:200] = 0.1
    writer.add_columns(columns, np.arange(300) / 50)
    writer.add_sound(np.full(6 * RATE_HZ, 0.1, np.float32) * np.sin(np.arange(6 * RATE_HZ), dtype=np.float32), 0.0)
    examples = Examples([writer.finish()], settings())
    rng = np.random.default_rng(0)
    (still,) = examples.batches(np.arange(120, 200), 80, rng)
    assert not still["spectrum"].any()
    (moving,) = examples.batches(np.arange(20, 100), 80, rng)
    assert moving["spectrum"].any(axis=1).mean() > 0.8


def test_no_band_is_empty() -> None:
    for n_bands in (4, 16, 64):
        edges = band_edges(1025, n_bands)
        assert edges[0] == 0
        assert edges[-1] == 1025
        assert (np.diff(edges) > 0).all()
