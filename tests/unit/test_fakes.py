"""The fakes keep to their interfaces: what is tried on them holds for the real ones."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from device.core.errors import AudioError
from device.core.frame import Frame
from device.edges.audio import AudioOutput
from device.edges.audio_fake import FakeOutput
from device.edges.camera import Camera
from device.edges.camera_fake import FakeCamera, Scene


def frames_of(camera: Camera) -> list[Frame]:
    frames = list(iter(camera.read, None))
    assert camera.read() is None
    return [frame for frame in frames if frame is not None]


@pytest.mark.parametrize("scene", ["bar", "still", "noise"])
def test_frames_have_the_size_and_times_that_were_asked(scene: Scene) -> None:
    frames = frames_of(FakeCamera(scene, fps=50, duration_s=0.5, height=24, width=32))
    assert [frame.time_s for frame in frames] == [index / 50 for index in range(25)]
    assert {(frame.grey.shape, frame.grey.dtype.name) for frame in frames} == {((24, 32), "uint8")}


def test_times_can_be_given() -> None:
    times_s = [3.0, 3.01, 3.5]
    assert [frame.time_s for frame in frames_of(FakeCamera(times_s=times_s))] == times_s


def test_bar_moves_alike_at_every_rate_noise_always_and_still_never() -> None:
    slow, fast = frames_of(FakeCamera(fps=25)), frames_of(FakeCamera(fps=50))
    for frame, twin in zip(slow, fast[::2], strict=True):
        np.testing.assert_array_equal(frame.grey, twin.grey)
    assert len({frame.grey.tobytes() for frame in slow}) == len(slow)
    assert len({frame.grey.tobytes() for frame in frames_of(FakeCamera("still"))}) == 1
    noise = [frame.grey.tobytes() for frame in frames_of(FakeCamera("noise"))]
    assert len(set(noise)) == len(noise)
    assert noise == [frame.grey.tobytes() for frame in frames_of(FakeCamera("noise"))]


def test_camera_without_an_end_ends_at_close() -> None:
    camera = FakeCamera(duration_s=None)
    assert len(list(islice(iter(camera.read, None), 500))) == 500
    camera.close()
    camera.close()
    assert camera.read() is None


def test_output_keeps_what_is_heard() -> None:
    output: AudioOutput = FakeOutput(period=2, n_periods=3)
    assert (output.period, output.buffer, output.n_xruns) == (2, 6, 0)
    output.write(np.array([0.5, 2.0], np.float32))
    output.write(np.array([np.nan, -np.inf, 0.25], np.float32))
    assert isinstance(output, FakeOutput)
    assert output.played.tolist() == [0.5, 1.0, 0.0, -1.0, 0.25]
    assert output.n_blocks == 2


def test_output_keeps_a_copy() -> None:
    output = FakeOutput()
    block = np.zeros(4, np.float32)
    output.write(block)
    block[:] = 1
    assert not output.played.any()


def test_output_refuses_after_close_and_when_pulled_out() -> None:
    output = FakeOutput(n_blocks=1)
    output.write(np.zeros(4, np.float32))
    with pytest.raises(AudioError, match="is gone: plug it in again"):
        output.write(np.zeros(4, np.float32))
    output.close()
    output.close()
    with pytest.raises(AudioError, match="is closed"):
        output.write(np.zeros(4, np.float32))
    assert len(output.played) == 4
