"""The light: mains flicker, exposure and lamps are no motion, and a dancer near the camera is no lamp."""

from __future__ import annotations

import numpy as np
import pytest

from device.core.frame import Frame
from device.core.motiongram import Motiongram, MotionSettings
from device.core.room import RoomMotiongram
from tests.room_films import (
    ROWS,
    Light,
    Picture,
    dance,
    empty,
    furniture,
    house_lights,
    mains,
    moved,
    quantities,
    seen,
    switched,
    true_quantities,
)

SETTINGS = MotionSettings()
LEARNED_S = 6.0
SWITCHED_S = 8.0


def added(grey: float) -> Light:
    return lambda picture, time_s: picture + grey * np.sin(2 * np.pi * 100.3 * (time_s + ROWS / 48 / 60))


LIGHTS = {"dim": mains(0.05), "deep": mains(0.2), "stray": added(8.0)}


@pytest.mark.parametrize("fps", [25, 60, 120])
@pytest.mark.parametrize("light", LIGHTS)
def test_flicker_of_the_mains_is_not_heard(light: str, fps: float) -> None:
    frames = list(seen(empty(furniture(), 10, fps), 1.5, LIGHTS[light]))
    ours = quantities(RoomMotiongram(SETTINGS), frames)[int(LEARNED_S * fps) :]
    assert ours.max() < 0.02  # a lone pixel now and then
    assert np.count_nonzero(ours) < 0.05 * len(ours)
    if fps == 60:  # at the others the flicker stands nearly still after 40 ms
        assert quantities(Motiongram(SETTINGS), frames).mean() > 1.0


@pytest.mark.parametrize("depth", [0.05, 0.2])
def test_a_dance_is_heard_as_it_is_under_lamps_that_flicker(depth: float) -> None:
    clean = dance(seconds=12.0)
    ours, truth = quantities(RoomMotiongram(SETTINGS), seen(clean, 1.5, mains(depth))), true_quantities(clean)
    later = slice(int(LEARNED_S * 60), None)
    assert ours[later].mean() == pytest.approx(truth[later].mean(), rel=0.1)
    assert np.corrcoef(ours[later], truth[later])[0, 1] > 0.98


def brighter(picture: Picture) -> Picture:
    return picture * 1.5


def darker(picture: Picture) -> Picture:
    return picture * 0.6


def spot(picture: Picture) -> Picture:
    lit: Picture = picture + 60 * np.exp(-((np.arange(64) - 40) ** 2 / 300 + (ROWS - 20) ** 2 / 200))
    return lit


def faint_spot(picture: Picture) -> Picture:
    return picture + 0.4 * (spot(picture) - picture)


STEPS = {
    "brighter": brighter,
    "darker": darker,
    "house lights": house_lights,
    "spot": spot,
    "faint spot": faint_spot,
}


@pytest.mark.parametrize("fps", [25, 60, 120])
@pytest.mark.parametrize("step", STEPS)
def test_a_step_of_light_is_no_burst_in_an_empty_room(step: str, fps: float) -> None:
    frames = list(seen(empty(furniture(), 10, fps), 1.5, switched(SWITCHED_S, STEPS[step])))
    assert quantities(Motiongram(SETTINGS), frames).max() > 3.0
    assert quantities(RoomMotiongram(SETTINGS), frames).max() < 0.05


@pytest.mark.parametrize("step", [step for step in STEPS if step != "faint spot"])  # that is less than the dance is
def test_a_step_of_light_in_a_dance_neither_bursts_nor_silences_it_for_long(step: str) -> None:
    clean = dance(seconds=10.0)
    room = RoomMotiongram(SETTINGS)
    frames = list(seen(clean, 1.5, switched(SWITCHED_S, STEPS[step])))
    ours = quantities(room, frames)
    at = int(SWITCHED_S * 60)
    before = ours[at - 60 : at]
    assert quantities(Motiongram(SETTINGS), frames)[at : at + 6].max() > 2 * before.max()
    assert ours[at : at + 6].max() < 1.2 * before.max()
    n_silent = np.count_nonzero(ours[at : at + 60] == 0.0)
    assert n_silent / 60 <= SETTINGS.difference_time_s + 1 / 60
    assert ours[at + 4 : at + 60].min() > 0.0


def test_a_slow_fade_is_no_motion() -> None:
    def fade(picture: Picture, time_s: float) -> Picture:
        share = np.clip((time_s - SWITCHED_S) / 0.5, 0, 1)
        faded: Picture = picture + share * (spot(picture) - picture)
        return faded

    assert quantities(RoomMotiongram(SETTINGS), seen(empty(furniture(), 10, 60), 1.5, fade)).max() < 0.1


@pytest.mark.parametrize("speed", [1.0, 2.0])
@pytest.mark.parametrize("contrast", [110.0, -50.0])
@pytest.mark.parametrize("number", [3, 11])
def test_a_dancer_who_fills_half_of_the_picture_is_not_taken_for_light(
    number: int, contrast: float, speed: float
) -> None:
    frames = list(seen(dance(number, 6.0, size=2.0, speed=speed, contrast=contrast), 1.0))
    room = RoomMotiongram(SETTINGS)
    ours, plain = moved(room, frames), moved(Motiongram(SETTINGS), frames)
    assert max(motion.area for motion in plain) > 0.12
    assert [motion.area for motion in ours] == [motion.area for motion in plain]
    assert (room.state.n_suppressed_frames, room.state.n_relit_frames) == (0, 0)


def test_what_is_as_wide_as_the_picture_and_moves_is_heard() -> None:
    """Somebody who lies before the camera, or carries a banner: whole rows change alike."""
    frames = []
    for n in range(120):
        picture = furniture()
        top = 10 + round(8 * np.sin(2 * np.pi * 1.2 * n / 60))
        picture[top : top + 10, 2:62] = 220.0
        frames.append(Frame(picture.astype(np.uint8), n / 60))
    room = RoomMotiongram(SETTINGS)
    np.testing.assert_array_equal(quantities(room, frames), quantities(Motiongram(SETTINGS), frames))


def test_light_that_becomes_of_another_kind_is_followed() -> None:
    """Lamps multiply what is there, light that strays into the lens is added; in a room of black and white."""
    contrasts = np.where(np.arange(64) % 8 < 3, 10.0, 180.0) + np.zeros((48, 1))

    def light(picture: Picture, time_s: float) -> Picture:
        kind = mains(0.1) if int(time_s / 4) % 2 == 0 else added(12.0)
        return kind(picture, time_s)

    ours = quantities(RoomMotiongram(SETTINGS), seen(empty(contrasts, 16, 60), 1.0, light))[240:]
    assert quantities(Motiongram(SETTINGS), seen(empty(contrasts, 16, 60), 1.0, light))[240:].mean() > 5.0
    assert np.count_nonzero(ours > 0.05) <= 16  # the frames within which it may notice


def test_what_only_looks_like_steps_of_light_never_makes_it_mute() -> None:
    """Something near covers and uncovers the picture in patches, on and on: all of it changes, to one side."""
    rng = np.random.default_rng(0)
    patches = np.kron(rng.random((6, 8)) ** 3, np.ones((8, 8)))
    frames = []
    for n in range(60 * 40):
        covered = abs((n / 8) % 2 - 1)  # down and up again, 8 frames each
        frames.append(Frame((20 + 220 * covered * patches).astype(np.uint8), n / 60))
    room = RoomMotiongram(SETTINGS)
    n_heard = [np.count_nonzero(quantities(room, frames[at : at + 600])) for at in range(0, 2400, 600)]
    assert room.state.n_suppressed_frames > 100
    assert min(n_heard) > 250


def test_what_is_seen_of_the_light_is_told() -> None:
    room = RoomMotiongram(SETTINGS)
    quantities(room, seen(empty(furniture(), 10, 60), 1.5, switched(SWITCHED_S, house_lights)))
    assert room.state.n_light_steps == 1
    assert 2 <= room.state.n_suppressed_frames <= 3
    flickering = RoomMotiongram(SETTINGS)
    quantities(flickering, seen(empty(furniture(), 5, 60), 1.5, mains(0.1)))
    assert flickering.state.n_light_steps == 0
    assert flickering.state.flicker == pytest.approx(11.0, abs=4.0)
    assert flickering.state.n_relit_frames > 280
