"""Exposure follows the room over a day, not the dancers, within a frame's time, and nobody hears it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import pytest

from device.core.exposure import (
    STEP,
    Exposure,
    ExposureFollower,
    ExposureLimits,
    ExposureSettings,
)
from device.core.frame import Frame
from device.core.motiongram import MotionSettings
from device.core.room import RoomMotiongram
from tests.room_films import HEIGHT, WIDTH, dance, furniture, plain_wall

LIMITS = ExposureLimits(shortest_s=1e-4, longest_s=0.016, largest_gain=8.0)
SETTINGS = ExposureSettings(brightness=90.0, step_s=10.0)
FPS = 20.0
Light = Callable[[float], float]
Scene = npt.NDArray[np.float64]


class Room:
    """A camera in a room: what it shows follows light and exposure, by the root that cameras have."""

    def __init__(self, light: Light, settings: ExposureSettings = SETTINGS, limits: ExposureLimits = LIMITS) -> None:
        self.follower = ExposureFollower(settings, limits)
        self.steps: list[tuple[float, Exposure]] = []
        self._light = light
        self._rng = np.random.default_rng(0)

    def see(self, from_s: float, to_s: float, scenes: Callable[[float], Scene], fps: float = FPS) -> Iterator[Frame]:
        """Give frames; the scene's 1 is white at an exposure of 10 ms in a light of 1."""
        for time_s in np.arange(from_s, to_s, 1 / fps):
            held = self.follower.exposure
            grey = 255 * (scenes(time_s) * self._light(time_s) * held.time_s * held.gain / 0.01) ** (1 / 2.2)
            grey = grey + self._rng.standard_normal(grey.shape)
            frame = Frame(np.clip(grey + 0.5, 0, 255).astype(np.uint8), float(time_s))
            changed = self.follower.look(frame.grey, frame.time_s)
            if changed is not None:
                self.steps.append((float(time_s), changed))
            yield frame

    def means(self, from_s: float, to_s: float, scenes: Callable[[float], Scene], fps: float = FPS) -> list[float]:
        return [float(frame.grey.mean()) for frame in self.see(from_s, to_s, scenes, fps)]


def empty(_time_s: float) -> Scene:
    return (furniture() / 255) ** 2.2


def wall(_time_s: float) -> Scene:
    return (plain_wall() / 255) ** 2.2


def visited(time_s: float) -> Scene:
    """Somebody comes for 10 s, and dances, of each 30 s."""
    frames = dance(2, 10.0, FPS, size=1.3, contrast=150.0)
    there_s = time_s % 30.0
    return wall(time_s) if there_s >= 9.9 else (frames[int(there_s * FPS)].grey / 255) ** 2.2


@pytest.mark.parametrize("light", [0.01, 0.05, 0.3, 1.0, 10.0, 40.0])
def test_it_finds_the_room_at_once(light: float) -> None:
    room = Room(lambda _: light)
    means = room.means(0.0, 1.3, empty)
    is_in_reach = light > 0.02
    assert room.follower.is_found
    assert (90 / 1.25 < means[-1] < 90 * 1.25) == is_in_reach
    assert len(room.steps) <= 5


def test_what_was_found_stays_whoever_comes_and_dances() -> None:
    room = Room(lambda _: 1.0)
    room.means(0.0, 60.0, wall)
    n_steps = len(room.steps)
    means = room.means(60.0, 600.0, visited)
    assert max(means) > 1.2 * min(means)  # a camera's own control would have followed
    assert len(room.steps) == n_steps


def test_it_follows_a_day_by_small_steps() -> None:
    def evening(time_s: float) -> float:
        return float(4.0 * 0.5 ** (time_s / 3600.0))  # half the light every hour

    room = Room(evening)
    room.means(0.0, 10.0, empty)
    n_found = len(room.steps)
    means = room.means(10.0, 4 * 3600.0, empty, fps=1.0)
    light = [held.time_s * held.gain for _, held in room.steps[n_found:]]
    factors = np.array(light[1:]) / np.array(light[:-1])
    assert len(light) > 50
    assert np.abs(np.log(factors)).max() <= np.log(STEP) * 1.001
    times_s = np.array([time_s for time_s, _ in room.steps[n_found:]])
    assert np.diff(times_s).min() >= SETTINGS.step_s
    assert min(means) > 90 / 1.3
    assert max(means) < 90 * 1.3


@pytest.mark.parametrize("step_s", [2.0, 10.0])
def test_lamps_that_go_out_are_followed_within_minutes_and_not_too_far(step_s: float) -> None:
    room = Room(lambda time_s: 4.0 if time_s < 30.0 else 1.0, ExposureSettings(90.0, step_s))
    room.means(0.0, 30.0, empty)
    means = room.means(30.0, 210.0, empty, fps=10.0)
    assert means[0] < 60.0
    assert means[-1] > 90 / 1.25
    assert max(means) < 90.0
    spread = means[-100:]
    assert max(spread) - min(spread) < 5.0


def test_it_waits_for_a_pause_in_the_motion_but_not_for_ever() -> None:
    room = Room(lambda time_s: 4.0 if time_s < 30.0 else 0.3)
    rng = np.random.default_rng(1)

    def crowd(_time_s: float) -> Scene:
        return np.kron((0.1 + 0.9 * rng.random((6, 8))) ** 2.2, np.ones((8, 8)))

    room.means(0.0, 10.0, empty)
    n_found = len(room.steps)
    room.means(10.0, 600.0, crowd, fps=10.0)
    times_s = [time_s for time_s, _ in room.steps[n_found:]]
    assert times_s
    assert min(np.diff(times_s)) > 30.0


def test_no_exposure_is_longer_than_a_frame_and_gain_comes_last() -> None:
    room = Room(lambda time_s: max(0.02, 2.0 - time_s / 500.0))
    room.means(0.0, 1500.0, empty, fps=10.0)
    for _, held in room.steps:
        assert LIMITS.shortest_s <= held.time_s <= LIMITS.longest_s
        assert 1.0 <= held.gain <= LIMITS.largest_gain
        assert held.gain == 1.0 or held.time_s == LIMITS.longest_s
    assert room.steps[-1][1] == Exposure(LIMITS.longest_s, LIMITS.largest_gain)  # dark: as far as it goes, then no more


@pytest.mark.parametrize(("time_s", "gain"), [(0.005, 0.0), (0.0, 2.0), (0.005, 2.0)])
def test_what_is_fixed_stays(time_s: float, gain: float) -> None:
    room = Room(lambda now_s: 0.5 if now_s < 100 else 4.0, ExposureSettings(90.0, 10.0, time_s, gain))
    room.means(0.0, 300.0, empty, fps=10.0)
    held = [room.follower.exposure, *(step for _, step in room.steps)]
    assert not time_s or {each.time_s for each in held} == {time_s}
    assert not gain or {each.gain for each in held} == {gain}
    assert bool(room.steps) == (not (time_s and gain))


def test_a_fixed_exposure_that_is_longer_than_a_frame_is_cut() -> None:
    follower = ExposureFollower(ExposureSettings(90.0, 10.0, time_s=0.5), LIMITS)
    assert follower.exposure.time_s == LIMITS.longest_s


def test_a_clock_that_jumps_back_is_no_end() -> None:
    room = Room(lambda _: 1.0)
    room.means(1000.0, 1010.0, empty)
    dark = Room(lambda _: 0.2)
    dark.follower = room.follower
    means = dark.means(0.0, 200.0, empty, fps=10.0)
    assert means[-1] > 90 / 1.3


@pytest.mark.parametrize("fps", [30.0, 60.0])
def test_no_step_is_seen_as_motion_by_what_makes_the_sound(fps: float) -> None:
    room = Room(lambda _: 1.0, ExposureSettings(90.0, step_s=2.0))
    motiongram = RoomMotiongram(MotionSettings(HEIGHT, WIDTH))
    for frame in room.see(0.0, 5.0, empty, fps):
        motiongram.push(frame)
    n_found = len(room.steps)
    # First too dark, then too light: steps to either side.
    room._light = lambda time_s: 0.3 if time_s < 45.0 else 2.0
    quantities = np.array([motiongram.push(frame).quantity for frame in room.see(5.0, 85.0, empty, fps)])
    assert len(room.steps) - n_found > 20
    # The lamps themselves are not what is asked here.
    times_s = 5.0 + np.arange(len(quantities)) / fps
    is_lamp = (times_s < 5.2) | ((times_s > 44.9) & (times_s < 45.2))
    assert max(quantities[~is_lamp]) == 0.0
