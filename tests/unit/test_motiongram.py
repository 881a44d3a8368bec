"""The motiongram against a plain reference, at every frame rate, and on frames that are not as they should be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import numpy.typing as npt
import pytest

from device.core.errors import CameraError, ConfigError
from device.core.frame import Frame
from device.core.motiongram import Motion, Motiongram, MotionSettings, erode
from trainer.filming.film import View, film, salsa_bodies

Grey = npt.NDArray[np.uint8]

SMALL = MotionSettings(height=6, width=9)
FILTERS = ("regular", "binary", "blob")


def run(settings: MotionSettings, frames: Sequence[Frame]) -> list[Motion]:
    motiongram = Motiongram(settings)
    return [motiongram.push(frame) for frame in frames]


def flat(level: int, time_s: float, settings: MotionSettings = SMALL) -> Frame:
    return Frame(np.full((settings.height, settings.width), level, np.uint8), time_s)


def noisy_film(n_frames: int, fps: float, jitter_s: float, seed: int = 0) -> list[Frame]:
    """Patches of noise of every strength, so that each filter leaves something and takes something away."""
    rng = np.random.default_rng(seed)
    pictures = rng.integers(0, 256, (n_frames, 6, 9))
    nearly = pictures[0::3] + rng.integers(-20, 21, pictures[0::3].shape)
    pictures[1::3] = np.clip(nearly, 0, 255)
    pictures[2::3, 1:5, 2:8] = 255
    times_s = np.arange(n_frames) / fps + rng.uniform(-jitter_s, jitter_s, n_frames)
    return [Frame(p.astype(np.uint8), float(t)) for p, t in zip(pictures, times_s, strict=True)]


def reference(settings: MotionSettings, frames: Sequence[Frame], n: int) -> Motion:
    """The motion of frame n, pixel by pixel from the definition."""
    height, width = settings.height, settings.width
    past, scale = reference_past(settings.difference_time_s, [frame.time_s for frame in frames], n)
    if past is None:
        return Motion(np.zeros(height + width, np.float32), frames[n].time_s, 0.0, 0.5, 0.5, 0.0)
    moved = reference_moved(settings, frames[n].grey, frames[past].grey)
    rows = [sum(moved[y]) / width for y in range(height)]
    columns = [sum(moved[y][x] for y in range(height)) / height for x in range(width)]
    total = sum(rows) * width
    centroid_x = sum(moved[y][x] * (x + 0.5) for y in range(height) for x in range(width)) / (total * width or 1)
    centroid_y = sum(moved[y][x] * (y + 0.5) for y in range(height) for x in range(width)) / (total * height or 1)
    return Motion(
        column=np.array([value * scale for value in rows + columns]),
        time_s=frames[n].time_s,
        quantity=total * scale / (height * width),
        centroid_x=centroid_x if total else 0.5,
        centroid_y=centroid_y if total else 0.5,
        area=sum(value > 0 for row in moved for value in row) / (height * width),
    )


def reference_past(wanted_s: float, times_s: list[float], n: int) -> tuple[int | None, float]:
    """Which frame to compare frame n with, and how to scale the difference."""
    if n == 0:
        return None, 1.0
    if wanted_s == 0:
        return n - 1, 1.0
    past = 0
    for k in range(n):
        if abs(times_s[n] - times_s[k] - wanted_s) < abs(times_s[n] - times_s[past] - wanted_s):
            past = k
    actual_s = times_s[n] - times_s[past]
    return (None, 1.0) if actual_s < 0.4 * wanted_s else (past, wanted_s / actual_s)


def reference_moved(settings: MotionSettings, after: Grey, before: Grey) -> list[list[float]]:
    height, width = after.shape
    difference = [[abs(float(after[y, x]) - float(before[y, x])) for x in range(width)] for y in range(height)]
    moved = [[0.0] * width for _ in range(height)]
    for y in range(height):
        for x in range(width):
            value = difference[y][x]
            if settings.filter == "blob":
                around = [(y + j, x + i) for j in (-1, 0, 1) for i in (-1, 0, 1)]
                value = min(difference[j][i] for j, i in around if 0 <= j < height and 0 <= i < width)
            if value > settings.threshold * 255:
                moved[y][x] = 255.0 if settings.filter == "binary" else value
    return moved


@pytest.mark.parametrize("filter_", FILTERS)
@pytest.mark.parametrize("difference_time_s", [0.0, 0.02, 0.04, 0.5])
@pytest.mark.parametrize(("fps", "jitter_s", "threshold"), [(25, 0.0, 0.04), (60, 0.002, 0.0), (120, 0.002, 0.2)])
def test_equals_a_plain_reference(
    filter_: str, difference_time_s: float, fps: float, jitter_s: float, threshold: float
) -> None:
    settings = replace(SMALL, filter=filter_, difference_time_s=difference_time_s, threshold=threshold)
    frames = noisy_film(90, fps, jitter_s)
    motions = run(settings, frames)
    assert max(motion.quantity for motion in motions) > 1
    for n, motion in enumerate(motions):
        expected = reference(settings, frames, n)
        # Columns of 256 grey levels and more, where the scale is above 1, are as exact as float32 is.
        np.testing.assert_allclose(motion.column, expected.column, rtol=6e-8, atol=1e-5)
        for name in ("time_s", "quantity", "centroid_x", "centroid_y", "area"):
            assert getattr(motion, name) == pytest.approx(getattr(expected, name), abs=1e-9)


def test_a_column_is_rows_then_columns_in_fractions_of_a_grey_level() -> None:
    before = np.zeros((48, 64), np.uint8)
    after = before.copy()
    after[5, 60] = 16
    motion = run(MotionSettings(), [Frame(before, 0.0), Frame(after, 0.04)])[-1]
    assert motion.column.dtype == np.float32
    assert motion.column.shape == (112,)
    assert np.flatnonzero(motion.column).tolist() == [5, 48 + 60]
    assert motion.column[5] == 16 / 64
    assert motion.column[48 + 60] == pytest.approx(16 / 48)
    assert motion.quantity == pytest.approx(16 / (48 * 64))
    assert (motion.centroid_x, motion.centroid_y) == pytest.approx((60.5 / 64, 5.5 / 48))


@pytest.mark.parametrize(("before", "after"), [(0, 255), (255, 0), (10, 250), (250, 10)])
def test_darker_and_brighter_differ_alike(before: int, after: int) -> None:
    motion = run(SMALL, [flat(before, 0.0), flat(after, 0.04)])[-1]
    np.testing.assert_array_equal(motion.column, np.float32(abs(after - before)))
    assert (motion.centroid_x, motion.centroid_y, motion.area) == pytest.approx((0.5, 0.5, 1.0))


@pytest.mark.parametrize(("step", "kept"), [(10, 0.0), (11, 11.0)])
def test_the_threshold_is_a_fraction_of_full_scale(step: int, kept: float) -> None:
    assert run(SMALL, [flat(100, 0.0), flat(100 + step, 0.04)])[-1].quantity == kept


def test_the_threshold_looks_at_the_difference_not_at_the_brightness() -> None:
    assert run(SMALL, [flat(0, 0.0), flat(9, 0.04), flat(0, 0.08)])[-1].quantity == 0
    assert run(SMALL, [flat(200, 0.0), flat(209, 0.04)])[-1].quantity == 0


def test_still_is_zero_and_in_the_middle() -> None:
    for motion in run(SMALL, [flat(77, n / 50) for n in range(10)]):
        assert not motion.column.any()
        assert (motion.quantity, motion.centroid_x, motion.centroid_y, motion.area) == (0.0, 0.5, 0.5, 0.0)


def test_nothing_is_said_before_a_frame_is_old_enough() -> None:
    motions = run(SMALL, [flat(40 * n, n / 120) for n in range(6)])
    assert [motion.quantity > 0 for motion in motions] == [False, False, True, True, True, True]
    # 16.7 ms of the 40 ms asked for, so that two frames are enough at 60 fps; then nearest: 25 ms, 33.3 ms, 41.7 ms.
    expected = [80 * 2.4, 120 * 1.6, 160 * 1.2, 200 * 0.96]
    assert [m.quantity for m in motions[2:]] == pytest.approx(expected)


@pytest.mark.parametrize("jump_s", [-0.001, -3.0, 1.01, 3600.0])
def test_a_jump_in_time_starts_anew(jump_s: float) -> None:
    settings = replace(SMALL, difference_time_s=0.0)
    frames = [flat(0, 10.0), flat(90, 10.04), flat(0, 10.04 + jump_s), flat(90, 10.08 + jump_s)]
    assert [motion.quantity for motion in run(settings, frames)] == [0, 90, 0, 90]


def test_frames_that_were_dropped_are_no_burst() -> None:
    frames = [flat(100, n / 60) for n in range(6)]
    after_gap = flat(200, frames[-1].time_s + 0.4)
    assert run(SMALL, [*frames, after_gap])[-1].quantity == pytest.approx(10.0)


def test_two_frames_of_one_time_do_no_harm() -> None:
    quantities = [m.quantity for m in run(SMALL, [flat(0, 0.0), flat(50, 0.0), flat(50, 0.04), flat(50, 0.04)])]
    assert np.isfinite(quantities).all()
    assert quantities[1] == 0


def test_reset_forgets() -> None:
    motiongram = Motiongram(SMALL)
    motiongram.push(flat(0, 0.0))
    motiongram.reset()
    assert motiongram.push(flat(255, 0.04)).quantity == 0
    assert motiongram.push(flat(0, 0.08)).quantity == 255


def test_a_camera_may_reuse_its_buffer() -> None:
    buffer = np.zeros((6, 9), np.uint8)
    motiongram = Motiongram(SMALL)
    motiongram.push(Frame(buffer, 0.0))
    buffer[:] = 80
    assert motiongram.push(Frame(buffer, 0.04)).quantity == 80


def test_columns_stay_as_they_were_given() -> None:
    motiongram = Motiongram(SMALL)
    motiongram.push(flat(0, 0.0))
    first = motiongram.push(flat(80, 0.04)).column
    motiongram.push(flat(0, 0.08))
    motiongram.push(flat(30, 0.12))
    np.testing.assert_array_equal(first, np.float32(80))


def test_memory_does_not_grow() -> None:
    motiongram = Motiongram(SMALL)
    for n in range(5000):
        motiongram.push(flat(n % 256, n / 120 - (30 if n > 2500 else 0)))
    assert len(motiongram._past) + len(motiongram._spare) <= 8


def test_blob_takes_lone_pixels_and_thin_lines_away() -> None:
    picture = np.zeros((48, 64), np.uint8)
    picture[3, 3] = picture[10, 5:60] = 200
    picture[20:25, 30:35] = 200
    motion = run(MotionSettings(filter="blob"), [Frame(np.zeros_like(picture), 0.0), Frame(picture, 0.04)])[-1]
    assert motion.area == 9 / (48 * 64)
    assert np.flatnonzero(motion.column).tolist() == [21, 22, 23, 48 + 31, 48 + 32, 48 + 33]


def test_what_touches_the_border_is_not_eroded_by_it() -> None:
    picture = np.full((4, 5), 9, np.uint8)
    np.testing.assert_array_equal(erode(picture), picture)
    np.testing.assert_array_equal(erode(np.full((1, 1), 9, np.uint8)), [[9]])


@pytest.mark.parametrize(
    "grey",
    [np.zeros((9, 6), np.uint8), np.zeros((6, 9, 3), np.uint8), np.zeros((6, 9)), np.zeros((48, 64), np.uint8)],
)
def test_another_picture_than_agreed_is_one_line(grey: Grey) -> None:
    motiongram = Motiongram(SMALL)
    motiongram.push(flat(0, 0.0))
    with pytest.raises(CameraError, match=r"^the camera gave a picture of .* not of 9 x 6, uint8: [^\n]+$"):
        motiongram.push(Frame(grey, 0.04))
    assert motiongram.push(flat(90, 0.04)).quantity == 90


@pytest.mark.parametrize("time_s", [float("nan"), float("inf")])
def test_a_time_that_is_no_number_is_one_line(time_s: float) -> None:
    with pytest.raises(CameraError, match=r"^the camera gave a frame at time (nan|inf): [^\n]+$"):
        Motiongram(SMALL).push(flat(0, time_s))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("height", 0),
        ("width", -1),
        ("difference_time_s", -0.01),
        ("difference_time_s", 1.5),
        ("difference_time_s", float("nan")),
        ("threshold", 1.0),
        ("threshold", -0.1),
        ("filter", "Regular"),
    ],
)
def test_settings_out_of_range_are_one_line(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=r"^[^\n]+: set [^\n]+$"):
        replace(SMALL, **{name: value})  # type: ignore[arg-type]  # what a configuration file may hold


@cache
def dance(fps: float, jitter_s: float = 0.0, contrast: float = 110.0) -> list[Frame]:
    """Film six seconds of salsa, with sensor noise and flicker."""
    rng = np.random.default_rng(int(fps))
    times_s = np.arange(int(6 * fps)) / fps + 0.005 + rng.uniform(-jitter_s, jitter_s, int(6 * fps))
    return list(film(salsa_bodies()[2], times_s, View(contrast=contrast)))


def loudness_db(motions: Sequence[Motion]) -> float:
    return float(20 * np.log10(np.mean([motion.quantity for motion in motions if motion.time_s > 0.1])))


def columns_at(motions: Sequence[Motion], times_s: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    values = np.array([motion.column for motion in motions]).T
    return np.stack([np.interp(times_s, [motion.time_s for motion in motions], value) for value in values])


@pytest.mark.parametrize(("fps", "jitter_s"), [(24, 0), (30, 0), (50, 0), (60, 0), (60, 0.002), (120, 0), (120, 0.002)])
@pytest.mark.parametrize("contrast", [110.0, -40.0])
def test_one_dance_gives_the_same_columns_at_any_frame_rate(fps: float, jitter_s: float, contrast: float) -> None:
    at_25_fps = run(MotionSettings(), dance(25, contrast=contrast))
    motions = run(MotionSettings(), dance(fps, jitter_s, contrast))
    # Without the scale 60 fps is 1.5 dB too quiet; with it all lie within 0.15 dB.
    assert loudness_db(motions) == pytest.approx(loudness_db(at_25_fps), abs=0.3)
    times_s = np.arange(0.2, 5.8, 0.04)
    columns, expected = columns_at(motions, times_s), columns_at(at_25_fps, times_s)
    # Frames at other instants of the same dance: alike, not equal.
    assert np.corrcoef(columns.ravel(), expected.ravel())[0, 1] > 0.96
    often = expected.mean(axis=1) > 0.5
    level_db = 20 * np.log10(columns.mean(axis=1)[often] / expected.mean(axis=1)[often])
    assert np.abs(level_db).max() < 1


@pytest.mark.parametrize("fps", [50, 60, 120])
def test_binary_columns_are_as_loud_at_any_frame_rate(fps: float) -> None:
    settings = MotionSettings(filter="binary")
    assert loudness_db(run(settings, dance(fps))) == pytest.approx(loudness_db(run(settings, dance(25))), abs=1)


def test_the_frame_before_would_depend_on_the_frame_rate() -> None:
    settings = MotionSettings(difference_time_s=0.0)
    assert loudness_db(run(settings, dance(120))) < loudness_db(run(settings, dance(25))) - 6
