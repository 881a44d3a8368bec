"""Real time for what has none of its own, on a clock that only moves when it is waited on."""

from __future__ import annotations

import numpy as np
import pytest

from device.core.errors import UsageError
from device.core.frame import Frame
from device.edges.audio_fake import FakeOutput
from device.edges.camera_fake import FakeCamera
from device.engine.paced import PacedCamera, PacedOutput
from tests.hand_clock import HandClock

RATE_HZ = 48_000


def frames_of(camera: PacedCamera, clock: HandClock) -> list[tuple[float, float]]:
    """Time of each frame, and when it was given, since the clock's start."""
    seen = []
    while (frame := camera.read()) is not None:
        seen.append((round(frame.time_s - 1000.0, 6), round(clock.now_s() - 1000.0, 6)))
    return seen


def test_frames_come_at_their_own_times_and_the_first_at_once() -> None:
    clock = HandClock()
    camera = PacedCamera(FakeCamera(times_s=[5.0, 5.04, 5.06, 5.06, 5.2]), clock)
    assert frames_of(camera, clock) == [(0.0, 0.0), (0.04, 0.04), (0.06, 0.06), (0.2, 0.2)]


def test_a_clip_that_starts_again_goes_on() -> None:
    clock = HandClock()
    camera = PacedCamera(FakeCamera(times_s=[5.0, 5.04, 1.0, 1.04]), clock)
    assert frames_of(camera, clock) == [(0.0, 0.0), (0.04, 0.04), (0.08, 0.08), (0.12, 0.12)]


def test_a_late_reader_gets_the_frames_that_are_due_at_once_with_their_own_times() -> None:
    clock = HandClock()
    camera = PacedCamera(FakeCamera(times_s=[0.0, 0.04, 0.08]), clock)
    assert isinstance(camera.read(), Frame)
    clock.time_s += 1.0
    assert frames_of(camera, clock) == [(0.04, 1.0), (0.08, 1.0)]


def block(n: int = 128) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.ones(n, np.float32)


def test_a_paced_file_takes_the_buffer_at_once_and_then_a_period_at_a_time() -> None:
    clock = HandClock()
    paced = PacedOutput(FakeOutput(), clock)
    handed_over = []
    for _ in range(6):
        paced.write(block())
        handed_over.append(round((clock.now_s() - 1000.0) * RATE_HZ))
    assert handed_over == [0, 0, 0, 128, 256, 384]
    assert paced.n_xruns == 0


def test_a_late_block_is_an_underrun_and_leaves_silence_where_the_sound_was_missing() -> None:
    clock, output = HandClock(), FakeOutput()
    paced = PacedOutput(output, clock)
    for _ in range(3):
        paced.write(block())
    clock.time_s += 1000 / RATE_HZ
    paced.write(block())
    assert (paced.n_xruns, paced.n_lost) == (1, 1000 - 384)
    assert np.array_equal(np.flatnonzero(output.played == 0.0), np.arange(384, 1000))
    clock.time_s += 100 / RATE_HZ
    paced.write(block())
    assert paced.n_xruns == 1


def test_a_block_that_comes_when_the_last_sample_is_played_is_in_time() -> None:
    clock, output = HandClock(), FakeOutput()
    paced = PacedOutput(output, clock)
    for _ in range(50):
        for _ in range(3):
            paced.write(block())
        clock.time_s = 1000.0 + len(output.played) / RATE_HZ
    assert (paced.n_xruns, paced.n_lost) == (0, 0)


def test_a_file_is_no_longer_than_it_may_be_even_if_its_last_block_is_late() -> None:
    clock, output = HandClock(), FakeOutput()
    paced = PacedOutput(output, clock)
    paced.n_most = 600
    for _ in range(2):
        paced.write(block(250))
        clock.time_s += 550 / RATE_HZ
    paced.write(block(250))
    assert len(output.played) == 600


def test_a_buffer_of_one_period_is_refused() -> None:
    with pytest.raises(UsageError, match="n_periods"):
        PacedOutput(FakeOutput(n_periods=1), HandClock())
