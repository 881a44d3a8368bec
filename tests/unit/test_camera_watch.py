"""What the camera's process makes of what cameras give: good frames pass, the others are counted and said once."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest

from device.core.errors import CameraError
from device.core.frame import Frame
from device.edges.camera import Camera
from device.edges.camera_fake import FakeCamera
from device.engine.camera_process import CameraSetup, watch
from device.engine.frame_bus import FrameBus
from device.engine.performance import Meter, meter_layout
from device.engine.realtime import Urgency
from device.engine.shared import Bell, SharedArrays
from tests.hand_clock import HandClock

HEIGHT, WIDTH = 48, 64
PERIOD_S = 1 / 60
GOOD = np.full((HEIGHT, WIDTH), 9, np.uint8)


class Given:
    """A camera that gives these frames, each one period after the last, then ends."""

    def __init__(self, frames: Iterable[Any], clock: HandClock) -> None:
        self._frames = iter(frames)
        self._clock = clock

    def read(self) -> Frame | None:
        self._clock.wait(PERIOD_S)
        found = next(self._frames, None)
        if isinstance(found, Exception):
            raise found
        return found

    def close(self) -> None:
        pass


class Watched:
    """What came of a camera's frames."""

    def __init__(self, camera: Camera, clock: HandClock, seconds: float | None = None) -> None:
        self.started, self.bell, self.memory = Bell(), Bell(), SharedArrays(meter_layout())
        self.frames, self.meter = FrameBus(HEIGHT, WIDTH, [self.bell]), Meter(1, self.memory)
        setup = CameraSetup(
            lambda: camera, False, self.frames, seconds, self.started, self.memory, Urgency(0, lock_memory=False)
        )
        self.duration_s = watch(camera, setup, clock)

    @property
    def times_s(self) -> list[float]:
        return [each.frame.time_s for each in self.frames.read_from(0)]

    @property
    def counts(self) -> tuple[int, int]:
        return self.meter.count("n_bad_frames"), self.meter.count("n_dropped_frames")


def watched(frames: Iterable[Any], seconds: float | None = None) -> Watched:
    clock = HandClock()
    return Watched(Given(frames, clock), clock, seconds)


def good(time_s: float) -> Frame:
    return Frame(GOOD, time_s)


def test_good_frames_pass_with_their_times_and_when_they_came() -> None:
    frames = [Frame(np.full((HEIGHT, WIDTH), value, np.uint8), 5.0 + value * PERIOD_S) for value in range(20)]
    seen = watched(frames)
    arrivals = seen.frames.read_from(0)
    assert [each.frame.time_s for each in arrivals] == [frame.time_s for frame in frames]
    assert all((each.frame.grey == each.serial).all() for each in arrivals)
    assert [each.arrival_s for each in arrivals] == pytest.approx([1000.0 + n * PERIOD_S for n in range(1, 21)])
    assert seen.meter.time_s("last_frame_s") == arrivals[-1].arrival_s
    assert seen.counts == (0, 0)
    assert seen.duration_s == pytest.approx(20 * PERIOD_S)
    assert seen.started.wait(0.0)
    assert seen.bell.wait(0.0)


BAD = {
    "changed size": Frame(np.zeros((WIDTH, HEIGHT), np.uint8), 1.0),
    "smaller": Frame(np.zeros((24, 32), np.uint8), 1.0),
    "colour": Frame(np.zeros((HEIGHT, WIDTH, 3), np.uint8), 1.0),
    "no picture": Frame(np.zeros((0, 0), np.uint8), 1.0),
    "wide numbers": Frame(np.zeros((HEIGHT, WIDTH), np.float32), 1.0),
    "time is no number": Frame(GOOD, math.nan),
    "time has no end": Frame(GOOD, math.inf),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_what_is_no_picture_is_left_out_counted_and_said_once(bad: Frame, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        frames = [good(0.0), bad, good(0.5), bad, bad, good(1.5)]
        seen = watched(frames)
    assert seen.times_s == [0.0, 0.5, 1.5]
    assert seen.counts == (3, 0)
    (line,) = caplog.messages
    assert line.endswith("not of 64 x 48, uint8: such frames are left out")


def test_what_is_no_picture_at_first_begins_nothing(caplog: pytest.LogCaptureFixture) -> None:
    seen = watched([BAD["colour"]] * 3)
    assert len(caplog.messages) == 1
    assert seen.duration_s == 0.0
    assert not seen.started.wait(0.0)
    # It is alive all the same: whoever watches must not think that it hangs.
    assert seen.meter.time_s("last_frame_s") == pytest.approx(1000.0 + 3 * PERIOD_S)


@pytest.mark.parametrize(
    ("times_s", "passed_s", "n_dropped"),
    [
        ([0.0, 0.0, 0.0, 0.1], [0.0, 0.1], 2),
        ([0.0, 0.1, 0.05, 0.2], [0.0, 0.1, 0.2], 1),
        ([10.0, 10.1, 3.0, 3.1, 3.2], [10.0, 10.1, 10.2, 10.3, 10.4], 0),
        ([0.0, 1.0, 2.0, 3.0], [0.0, 1.0, 2.0, 3.0], 0),
        ([1e9, 1e9 + 1 / 60], [1e9, 1e9 + 1 / 60], 0),
    ],
    ids=["duplicates", "out of order", "a jump back", "1 fps", "a clock that is far on"],
)
def test_times_only_grow(times_s: list[float], passed_s: list[float], n_dropped: int) -> None:
    seen = watched(map(good, times_s))
    assert seen.times_s == pytest.approx(passed_s)
    assert seen.counts == (0, n_dropped)


@pytest.mark.parametrize("brightest", [0, 255], ids=["black", "noise"])
def test_black_and_noise_are_pictures_too(brightest: int) -> None:
    rng = np.random.default_rng(0)
    pictures = (rng.integers(0, brightest, (HEIGHT, WIDTH), np.uint8, endpoint=True) for _ in range(50))
    seen = watched(Frame(picture, index * PERIOD_S) for index, picture in enumerate(pictures))
    assert (len(seen.times_s), seen.counts) == (50, (0, 0))


def test_a_length_cuts_it_and_what_comes_later_is_not_asked_for() -> None:
    clock = HandClock()
    camera = Given((good(index * 0.1) for index in range(100)), clock)
    seen = Watched(camera, clock, seconds=0.5)
    assert seen.times_s == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])
    assert camera.read() is not None


def test_a_camera_that_ends_at_once_has_no_length() -> None:
    clock = HandClock()
    assert Watched(FakeCamera(times_s=[], height=HEIGHT, width=WIDTH), clock).duration_s == 0.0


def test_a_fault_is_passed_on_and_what_came_before_was_seen() -> None:
    clock = HandClock()
    bell, memory = Bell(), SharedArrays(meter_layout())
    frames = FrameBus(HEIGHT, WIDTH, [bell])
    camera = Given([good(0.0), good(0.1), CameraError("the cable is out: plug it in")], clock)
    setup = CameraSetup(lambda: camera, False, frames, None, Bell(), memory, Urgency(0, lock_memory=False))
    with pytest.raises(CameraError, match="cable"):
        watch(camera, setup, clock)
    assert frames.n_put == 2
