"""The room: silent when empty, never mute for people, and the same to the bit where there is nothing to learn."""

from __future__ import annotations

import tracemalloc
from itertools import islice

import numpy as np
import pytest

from device.core.errors import ConfigError
from device.core.frame import Frame
from device.core.motiongram import FILTERS, Motiongram, MotionSettings
from device.core.room import RoomMotiongram
from device.core.room_profile import RoomProfile, RoomSettings
from tests.filmed_salsa import STILL_S, VIEWS
from tests.room_films import (
    Picture,
    crowd,
    dance,
    empty,
    furniture,
    hand,
    mains,
    moved,
    plain_wall,
    quantities,
    seen,
    true_quantities,
)
from trainer.filming.film import View, film, salsa_bodies

SETTINGS = MotionSettings()
LEARNED_S = 6.0
"""After this long a room that was quiet is known."""


def profile_of(noise: float, **other: object) -> RoomProfile:
    known = {"flicker": 0.0, "size": 0.72, "has_danced": False, **other}
    return RoomProfile(np.full((48, 64), noise, np.float32), **known)  # type: ignore[arg-type] # as given


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("number", [1, 6, 18])
def test_in_a_steady_room_columns_are_those_of_the_motiongram_to_the_bit(view: View, number: int) -> None:
    body = salsa_bodies()[number]
    times_s = np.arange(int((body.duration_s + 2 * STILL_S) * 50)) / 50
    frames = list(film(body, times_s - STILL_S, view))
    room = RoomMotiongram(SETTINGS)
    for plain, ours in zip(moved(Motiongram(SETTINGS), frames), moved(room, frames), strict=True):
        assert ours.column.tobytes() == plain.column.tobytes()
        assert (ours.quantity, ours.area, ours.centroid_x) == (plain.quantity, plain.area, plain.centroid_x)
    assert room.state.n_moving_seconds > 8


@pytest.mark.parametrize(
    ("noise", "fps"), [(1, 60), (2, 60), (3, 25), (4, 60), (8, 25), (8, 60), (8, 120)], ids=lambda value: f"{value:g}"
)
def test_an_empty_room_falls_silent_whatever_the_camera_s_noise(noise: float, fps: float) -> None:
    heard = quantities(RoomMotiongram(SETTINGS), seen(empty(plain_wall(), 20, fps), noise))
    assert not heard[int(LEARNED_S * fps) :].any()


def shot(picture: Picture) -> Picture:
    deviation: Picture = 0.5 * np.sqrt(picture)
    return deviation


def dark_is_noisy(picture: Picture) -> Picture:
    deviation: Picture = 12 / np.sqrt(1 + picture / 10)
    return deviation


@pytest.mark.parametrize("noise", [shot, dark_is_noisy])
def test_noise_that_differs_from_place_to_place_is_learned_too(noise: object) -> None:
    frames = list(seen(empty(furniture(), 20, 60), noise))  # type: ignore[arg-type] # one of the two
    assert quantities(Motiongram(SETTINGS), frames).mean() > 0.5
    assert not quantities(RoomMotiongram(SETTINGS), frames)[int(LEARNED_S * 60) :].any()


def test_hot_pixels_are_not_heard() -> None:
    rng = np.random.default_rng(0)
    hot = rng.integers(0, 48 * 64, 20)

    def flash(picture: Picture, time_s: float) -> Picture:  # noqa: ARG001 - light is called so
        picture.flat[hot] += 60 * (rng.random(20) < 0.3)
        return picture

    frames = list(seen(empty(plain_wall(), 20, 60), 1.0, flash))
    assert np.count_nonzero(quantities(Motiongram(SETTINGS), frames)) > 1000
    assert np.count_nonzero(quantities(RoomMotiongram(SETTINGS), frames)[int(LEARNED_S * 60) :]) < 10


def test_it_plays_from_the_first_frame_on() -> None:
    frames = list(seen(dance(seconds=1.0), 4.0))
    ours = quantities(RoomMotiongram(SETTINGS), frames)
    np.testing.assert_array_equal(ours, quantities(Motiongram(SETTINGS), frames))
    assert ours[10:].min() > 0.1


@pytest.mark.parametrize(("noise", "contrast"), [(1, 40), (2.5, 40), (4, 40), (8, 110)])
def test_a_small_gesture_is_heard_in_a_noisy_room(noise: float, contrast: float) -> None:
    clean = hand(14, 60, contrast, from_s=10.0)
    ours, truth = quantities(RoomMotiongram(SETTINGS), seen(clean, noise)), true_quantities(clean)
    assert not ours[480:590].any()
    assert ours[605:].mean() == pytest.approx(truth[605:].mean(), rel=0.15)
    assert np.corrcoef(ours[605:], truth[605:])[0, 1] > 0.95


@pytest.mark.parametrize(("noise", "within"), [(3, 0.05), (6, 0.1), (8, 0.2)])
def test_a_dance_is_heard_as_it_is_in_a_noisy_room_that_was_never_empty(noise: float, within: float) -> None:
    clean = dance(seconds=16.0)
    ours, truth = quantities(RoomMotiongram(SETTINGS), seen(clean, noise)), true_quantities(clean)
    later = slice(int(LEARNED_S * 60), None)
    assert ours[later].mean() == pytest.approx(truth[later].mean(), rel=within)
    assert np.corrcoef(ours[later], truth[later])[0, 1] > 0.97


@pytest.mark.parametrize("noise", [1.5, 5])
def test_a_crowd_is_never_learned_even_in_ten_minutes(noise: float) -> None:
    clean = crowd(12, 12, 25)
    round_trip = clean + clean[::-1]
    room = RoomMotiongram(SETTINGS, adapt=RoomSettings(zoom=1.0))
    minutes = []
    for minute in range(10):
        frames = (
            Frame(round_trip[n % len(round_trip)].grey, n / 25) for n in range(1500 * minute, 1500 * minute + 1500)
        )
        minutes.append(quantities(room, seen(frames, noise, seed=minute)).mean())
    truth = true_quantities(Frame(frame.grey, n / 25) for n, frame in enumerate(round_trip)).mean()
    assert minutes[-1] > 0.95 * minutes[1]
    assert minutes[-1] > 0.85 * truth


def test_one_who_sways_is_never_learned() -> None:
    frames = []
    columns = np.arange(64)
    for n in range(25 * 120):
        left = 30 + 1.5 * np.sin(2 * np.pi * 0.3 * n / 25)
        cover = np.clip(np.minimum(columns + 1, left + 8) - np.maximum(columns, left), 0, 1)
        picture = plain_wall()
        picture[12:40] += 110 * cover
        frames.append(Frame(picture.round().astype(np.uint8), n / 25))
    room = RoomMotiongram(SETTINGS, adapt=RoomSettings(zoom=1.0))
    frames = list(seen(frames, 1.0))
    np.testing.assert_array_equal(quantities(room, frames), quantities(Motiongram(SETTINGS), frames))
    assert room.state.noisy_share == 0.0


def test_too_high_a_floor_falls_within_seconds_while_somebody_dances() -> None:
    room = RoomMotiongram(SETTINGS, profile_of(20.0), RoomSettings(zoom=1.0))
    clean = dance(seconds=16.0)
    ours, truth = quantities(room, seen(clean, 1.0)), true_quantities(clean)
    assert ours[:60].mean() < 0.8 * truth[:60].mean()
    assert ours[-240:].mean() > 0.9 * truth[-240:].mean()
    assert room.state.noise < 2.0


def test_a_known_room_is_silent_from_the_first_frame_on() -> None:
    first = RoomMotiongram(SETTINGS)
    quantities(first, seen(empty(plain_wall(), 15, 60), 6.0))
    again = RoomProfile.from_json(first.profile.to_json())
    frames = list(seen(empty(plain_wall(), 4, 60), 6.0, seed=1))
    assert quantities(Motiongram(SETTINGS), frames)[5:].min() > 1.0
    assert not quantities(RoomMotiongram(SETTINGS, again), frames).any()
    assert not quantities(RoomMotiongram(SETTINGS, again, RoomSettings(adapt=False)), frames).any()


def test_without_adaptation_nothing_is_learned() -> None:
    frames = list(seen(empty(plain_wall(), 8, 60), 4.0))
    room = RoomMotiongram(SETTINGS, adapt=RoomSettings(adapt=False))
    np.testing.assert_array_equal(quantities(room, frames), quantities(Motiongram(SETTINGS), frames))
    assert room.state.learned_share == 0.0


def test_reset_forgets_frames_but_not_the_room() -> None:
    room = RoomMotiongram(SETTINGS)
    frames = list(seen(hand(9, 60, 110), 4.0))
    quantities(room, frames[:480])
    assert room.push(frames[490]).quantity > 0.0
    learned = room.profile.to_json()
    room.reset()
    assert room.push(frames[500]).quantity == 0.0
    assert room.profile.to_json() == learned
    assert not quantities(room, seen(empty(plain_wall(), 1, 60, start_s=20.0), 4.0)).any()


def test_memory_is_flat() -> None:
    room = RoomMotiongram(SETTINGS)
    frames = seen(dance(seconds=15.0), 4.0, mains(0.1))
    quantities(room, islice(frames, 300))
    tracemalloc.start()
    try:
        for frame in frames:
            room.push(frame)
        grown, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert grown < 100_000


@pytest.mark.parametrize("filter_", FILTERS)
@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 3), (6, 9), (49, 63), (17, 5)])
def test_pictures_of_any_size_and_every_filter(height: int, width: int, filter_: str) -> None:
    settings = MotionSettings(height, width, filter=filter_)
    room, rng = RoomMotiongram(settings), np.random.default_rng(0)
    for n in range(400):
        noise = rng.normal(60, 6, (height, width))
        motion = room.push(Frame(np.clip(noise, 0, 255).astype(np.uint8), n / 50))
    assert motion.column.shape == (height + width,)
    assert motion.column.dtype == np.float32
    assert not motion.column.any()


def test_a_profile_of_other_pictures_is_refused() -> None:
    with pytest.raises(ConfigError, match="is for pictures of 64 x 48 pixels, not 9 x 6: calibrate"):
        RoomMotiongram(MotionSettings(6, 9), profile_of(1.0))
