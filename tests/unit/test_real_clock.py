"""The real clock's parts on a clock that only moves when it is waited on, and its threads on a card that behaves."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest

from device.core.errors import AudioError, CameraError, ModelError, UsageError
from device.core.frame import Frame
from device.core.motiongram import MotionSettings
from device.core.synth import Synth, SynthSettings
from device.edges.audio_fake import FakeOutput
from device.edges.model import Float32
from device.edges.model_fake import FakeModel
from device.engine import Player, PlayerSettings, Voice, run_real
from device.paced import MonotonicClock, PacedCamera, PacedOutput

RATE_HZ = 48_000
SETTINGS = PlayerSettings(MotionSettings(), grid_rate_hz=50.0, segment_s=0.5)


class HandClock:
    """A clock that moves when it is waited on, or by hand."""

    def __init__(self) -> None:
        self.time_s = 1000.0

    def now_s(self) -> float:
        return self.time_s

    def wait(self, duration_s: float) -> None:
        self.time_s += max(0.0, duration_s)


class Clip:
    """A camera that gives random pictures at these times, then ends, or raises."""

    def __init__(self, times_s: list[float], error: Exception | None = None) -> None:
        self._times_s = iter(times_s)
        self._rng = np.random.default_rng(0)
        self._error = error

    def read(self) -> Frame | None:
        time_s = next(self._times_s, None)
        if time_s is None:
            if self._error is not None:
                raise self._error
            return None
        return Frame(self._rng.integers(0, 256, (48, 64), np.uint8), time_s)

    def close(self) -> None:
        pass


class LostModel(FakeModel):
    """A model whose runtime has given up."""

    def run(self, motion: Float32, noise: Float32, position: float) -> Float32:
        raise ModelError(f"the model is gone at {position}, {motion.shape}, {noise.shape}: load it again")


class Gone(FakeOutput):
    """A card that hangs at the first block until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.let_go = threading.Event()

    def write(self, block: Float32) -> None:
        self.let_go.wait()
        super().write(block)


def threads_left() -> set[str]:
    return {thread.name for thread in threading.enumerate()} & {"audio", "model"}


def voice(model: FakeModel | None = None) -> Voice:
    return Voice(Player(SETTINGS, model or FakeModel()), Synth(SynthSettings()))


def test_frames_come_at_their_own_times_and_the_first_at_once() -> None:
    clock = HandClock()
    camera = PacedCamera(Clip([5.0, 5.04, 5.06, 5.06, 5.2]), clock)
    seen = []
    while (frame := camera.read()) is not None:
        seen.append((frame.time_s, clock.now_s()))
    assert [round(time_s - 1000.0, 6) for time_s, _ in seen] == [0.0, 0.04, 0.06, 0.2]
    assert all(abs(time_s - now_s) < 1e-9 for time_s, now_s in seen)


def test_a_late_reader_gets_the_frames_that_are_due_at_once_with_their_own_times() -> None:
    clock = HandClock()
    camera = PacedCamera(Clip([0.0, 0.04, 0.08]), clock)
    assert camera.read() is not None
    clock.time_s += 1.0
    frames = [camera.read(), camera.read()]
    assert [round(frame.time_s - 1000.0, 6) for frame in frames if frame] == [0.04, 0.08]
    assert clock.now_s() == 1001.0


def test_a_paced_file_takes_the_buffer_at_once_and_then_a_period_at_a_time() -> None:
    clock = HandClock()
    paced = PacedOutput(FakeOutput(), clock)
    handed_over_s = []
    for _ in range(6):
        paced.write(np.zeros(128, np.float32))
        handed_over_s.append(round((clock.now_s() - 1000.0) * RATE_HZ))
    assert handed_over_s == [0, 0, 0, 128, 256, 384]
    assert paced.n_xruns == 0


def test_a_late_block_is_an_underrun_and_leaves_silence_where_the_sound_was_missing() -> None:
    clock = HandClock()
    output = FakeOutput()
    paced = PacedOutput(output, clock)
    for _ in range(3):
        paced.write(np.ones(128, np.float32))
    clock.time_s += 1000 / RATE_HZ
    paced.write(np.ones(128, np.float32))
    assert paced.n_xruns == 1
    assert paced.n_lost == 1000 - 384
    assert np.array_equal(np.flatnonzero(output.played == 0.0), np.arange(384, 1000))
    clock.time_s += 100 / RATE_HZ
    paced.write(np.ones(128, np.float32))
    assert paced.n_xruns == 1


def test_a_file_is_no_longer_than_it_may_be_even_if_its_last_block_is_late() -> None:
    clock = HandClock()
    output = FakeOutput()
    paced = PacedOutput(output, clock)
    paced.n_most = 600
    for _ in range(2):
        paced.write(np.ones(250, np.float32))
        clock.time_s += 550 / RATE_HZ
    paced.write(np.ones(250, np.float32))
    assert len(output.played) == 600


def test_a_buffer_of_one_period_is_refused() -> None:
    with pytest.raises(UsageError, match="n_periods"):
        PacedOutput(FakeOutput(n_periods=1), HandClock())


def test_in_time_the_sound_lasts_as_long_as_the_clip_and_one_second() -> None:
    output = FakeOutput()
    stop = threading.Event()
    clock = MonotonicClock(stop)
    paced = PacedOutput(output, clock)
    camera = PacedCamera(Clip([index * 0.02 for index in range(20)]), clock)
    performance = run_real(camera, voice(), paced, stop=stop, clock=clock)
    assert len(output.played) == round(1.4 * RATE_HZ)
    assert performance.n_frames == 20
    assert output.played.any()
    assert 0.0 < performance.engine.percentile_ms(50) < performance.frame_to_sound.percentile_ms(50)
    assert performance.frame_to_sound.percentile_ms(50) >= 1000 * 256 / RATE_HZ
    assert not threads_left()


def test_time_that_is_lost_does_not_make_the_performance_longer() -> None:
    class Stalling(MonotonicClock):
        n_calls = 0

        def now_s(self) -> float:
            self.n_calls += 1
            return super().now_s() + (0.3 if self.n_calls > 50 else 0.0)

    output, stop = FakeOutput(), threading.Event()
    clock = MonotonicClock(stop)
    paced = PacedOutput(output, Stalling(stop))
    camera = PacedCamera(Clip([index * 0.02 for index in range(20)]), clock)
    performance = run_real(camera, voice(), paced, stop=stop, clock=clock)
    assert performance.n_xruns >= 1
    assert paced.n_lost > 0.2 * RATE_HZ
    assert len(output.played) == round(1.4 * RATE_HZ)


def test_a_card_that_waits_for_nothing_is_held_to_the_time() -> None:
    output = FakeOutput()
    stop = threading.Event()
    clock = MonotonicClock(stop)
    begin_s = clock.now_s()
    run_real(PacedCamera(Clip([0.0, 0.02]), clock), voice(), output, stop=stop, clock=clock)
    assert len(output.played) == round(1.04 * RATE_HZ)
    assert clock.now_s() - begin_s > 0.5


@pytest.mark.parametrize(
    ("error", "make"),
    [
        (CameraError, lambda: (Clip([0.0, 0.02], CameraError("the cable is out: plug it in")), voice(), FakeOutput())),
        (CameraError, lambda: (Clip([]), voice(), FakeOutput())),
        (AudioError, lambda: (Clip([0.0, 0.02]), voice(), FakeOutput(n_blocks=5))),
        (ModelError, lambda: (Clip([0.0, 0.02]), voice(LostModel()), FakeOutput())),
    ],
)
def test_what_goes_wrong_in_a_thread_is_raised_and_no_thread_is_left(
    error: type[Exception], make: Callable[[], tuple[Clip, Voice, FakeOutput]]
) -> None:
    camera, its_voice, output = make()
    with pytest.raises(error):
        run_real(camera, its_voice, output)
    assert not threads_left()


def test_a_card_that_hangs_is_an_error() -> None:
    output = Gone()

    class Ticking(HandClock):
        def now_s(self) -> float:
            self.time_s += 0.2
            return self.time_s

    try:
        with pytest.raises(AudioError, match="no more blocks"):
            run_real(Clip([0.0, 0.02]), voice(), output, clock=Ticking())
    finally:
        output.let_go.set()
