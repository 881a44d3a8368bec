"""What all outputs promise of `wait`: afterwards there is room for a period, so that the newest sound can be made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from device.core.errors import AudioError
from device.edges.audio_fake import FakeOutput
from device.edges.audio_wav import WavOutput
from device.engine.paced import LONGEST_WAIT_S, PacedOutput
from tests.hand_clock import HandClock

RATE_HZ = 48_000


def block(n: int = 128) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.ones(n, np.float32)


def test_a_paced_output_waits_before_the_block_is_made_and_not_again_to_write_it() -> None:
    clock = HandClock()
    output = PacedOutput(FakeOutput(), clock)
    ready, written = [], []
    for _ in range(7):
        output.wait()
        ready.append(clock.n_samples(RATE_HZ))
        output.write(block())
        written.append(clock.n_samples(RATE_HZ))
    assert ready == [0, 0, 0, 128, 256, 384, 512]
    assert written == ready
    assert output.n_xruns == 0


def test_waiting_does_not_start_a_paced_output() -> None:
    clock = HandClock()
    output = PacedOutput(FakeOutput(), clock)
    output.wait()
    clock.time_s += 1.0
    output.wait()
    output.write(block())
    assert (output.n_xruns, output.n_lost) == (0, 0)


def test_a_paced_output_that_has_run_empty_waits_for_nothing() -> None:
    clock = HandClock()
    output = PacedOutput(FakeOutput(), clock)
    for _ in range(3):
        output.write(block())
    clock.time_s += 1000 / RATE_HZ
    output.wait()
    assert clock.n_samples(RATE_HZ) == 1000
    output.write(block())
    assert output.n_xruns == 1


def test_a_paced_output_is_waited_for_a_tenth_of_a_second_at_most() -> None:
    clock = HandClock()
    output = PacedOutput(FakeOutput(period=24_000, n_periods=2), clock)
    for _ in range(2):
        output.write(block(24_000))
    for n_waits in range(1, 6):
        output.wait()
        assert clock.time_s - 1000.0 == pytest.approx(min(n_waits * LONGEST_WAIT_S, 0.5))


def test_a_file_is_always_ready_and_a_fake_until_it_is_gone(tmp_path: Path) -> None:
    file = WavOutput(tmp_path / "dance.wav")
    for _ in range(1000):
        file.wait()
        file.write(block())
    file.close()
    fake = FakeOutput(n_blocks=1)
    paced = PacedOutput(fake, HandClock())
    paced.wait()
    paced.write(block())
    for output in (fake, paced):
        with pytest.raises(AudioError, match="is gone: plug it in again"):
            output.wait()
    fake.close()
    with pytest.raises(AudioError, match="is closed"):
        fake.wait()
