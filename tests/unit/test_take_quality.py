"""What is wrong with a take is found, and what only looks odd is not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from device.core.take_quality import TakeQuality

RATE_HZ, FPS = 8000, 25
RANDOM = np.random.default_rng(0)
ROOM = RANDOM.integers(40, 200, (48, 64), np.uint8)
COVERED = RANDOM.normal(20.0, 2.0, (48, 64)).clip(0, 255).astype(np.uint8)
UNLIT = RANDOM.normal(2.0, 8.0, (48, 64)).clip(0, 255).astype(np.uint8)  # dark, and noisy with it
WHITE_WALL = np.tile(np.linspace(180, 220, 64), (48, 1)).astype(np.uint8)


def music(n: int) -> npt.NDArray[np.float32]:
    return RANDOM.normal(0.0, 0.1, n).astype(np.float32)


def quiet(n: int) -> npt.NDArray[np.float32]:
    return RANDOM.normal(0.0, 0.0003, n).astype(np.float32)


def marks(
    hear: Callable[[int], npt.NDArray[np.float32]] = music,
    grey: npt.NDArray[np.uint8] = ROOM,
    quantity: float = 0.5,
    n_clipped: int = 0,
    seconds: int = 20,
) -> set[str]:
    quality = record(hear, grey, quantity, n_clipped, seconds)
    return set(filter(None, str(quality.notes()["marks"]).split(", ")))


def record(
    hear: Callable[[int], npt.NDArray[np.float32]],
    grey: npt.NDArray[np.uint8],
    quantity: float,
    n_clipped: int,
    seconds: int,
) -> TakeQuality:
    quality = TakeQuality(RATE_HZ)
    for second in range(seconds):
        for start in range(0, RATE_HZ, 320):
            quality.hear(hear(320), n_clipped if start == 0 else 0)
        for index in range(FPS):
            quality.see(grey, quantity, 100.0 + second + index / FPS)
    return quality


def test_a_good_take_has_no_marks() -> None:
    assert marks() == set()
    assert marks(grey=WHITE_WALL) == set()


@pytest.mark.parametrize(("n_clipped", "is_marked"), [(0, False), (1, True), (500, True)])
def test_clipping_every_second_is_marked(n_clipped: int, is_marked: bool) -> None:
    assert ("clipping" in marks(n_clipped=n_clipped)) == is_marked


def test_one_loud_drum_in_a_take_is_not_clipping() -> None:
    quality = record(music, ROOM, 0.5, 0, 60)
    quality.hear(music(320), 20)
    notes = quality.notes()
    assert (notes["marks"], notes["clipped_share"]) == ("", pytest.approx(20 / (60 * RATE_HZ + 320), abs=1e-6))


def test_silence_is_marked_and_a_pause_is_not() -> None:
    assert marks(hear=quiet) == {"silence"}
    quality = record(quiet, ROOM, 0.5, 0, 8)
    for _ in range(10):
        quality.hear(music(RATE_HZ), 0)
    notes = quality.notes()
    assert (notes["marks"], notes["silent_share"]) == ("", pytest.approx(8 / 18, abs=1e-3))


@pytest.mark.parametrize("grey", [COVERED, UNLIT, np.full((48, 64), 255, np.uint8)])
def test_a_camera_that_sees_nothing_is_marked(grey: npt.NDArray[np.uint8]) -> None:
    assert "covered camera" in marks(grey=grey)


def test_a_hand_before_the_lens_for_a_moment_is_only_a_figure() -> None:
    quality = record(music, ROOM, 0.5, 0, 30)
    for index in range(2 * FPS):
        quality.see(COVERED, 0.5, 200.0 + index / FPS)
    notes = quality.notes()
    assert (notes["marks"], notes["covered_share"]) == ("", pytest.approx(2 / 32, abs=1e-3))


def test_nobody_moving_is_marked_and_rests_are_not() -> None:
    assert marks(quantity=0.0) == {"nobody moving"}
    quality = record(music, ROOM, 0.5, 0, 12)
    for index in range(8 * FPS):
        quality.see(ROOM, 0.0, 112.0 + index / FPS)
    assert quality.notes()["marks"] == ""


def test_the_first_frame_which_never_moves_is_not_held_against_a_take() -> None:
    quality = TakeQuality(RATE_HZ)
    for index in range(round(1.5 * FPS)):
        quality.see(ROOM, 0.5 if index else 0.0, index / FPS)
    assert (quality.notes()["still_share"], quality.notes()["marks"]) == (0.0, "")


def test_a_short_take_is_judged_too() -> None:
    assert marks(hear=quiet, seconds=1) == {"silence"}
    quality = TakeQuality(RATE_HZ)
    quality.hear(quiet(1000), 0)
    quality.see(ROOM, 0.0, 1.0)
    assert quality.notes()["marks"] == "silence"


def test_what_was_lost_is_marked_from_a_hundredth_on() -> None:
    quality = record(music, ROOM, 0.5, 0, 20)
    quality.lose(n_samples=RATE_HZ // 10, n_frames=4)
    assert quality.notes()["marks"] == ""
    quality.lose(n_samples=RATE_HZ // 5, n_frames=4)
    notes = quality.notes()
    assert notes["marks"] == "frames lost, sound lost"
    assert (notes["n_lost_frames"], notes["n_lost_samples"]) == (8, RATE_HZ // 10 + RATE_HZ // 5)
    assert float(str(notes["peak_dbfs"])) == pytest.approx(20 * np.log10(0.45), abs=3.0)
