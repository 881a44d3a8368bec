"""The sound card in real time: what is played is heard, late blocks are mended, and a card may go and come back."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import numpy as np
import pytest

from device.core.errors import AudioError
from device.edges.audio import AudioOutput
from device.edges.audio_alsa import AlsaOutput
from device.edges.model import Float32
from device.engine.paced import MonotonicClock
from device.engine.steady import SteadyOutput
from tests.eventually import eventually
from tests.pulse_card import PCM, PulseCard, Sound, pulse_card

__all__ = ["pulse_card"]

RATE_HZ, PERIOD, N_PERIODS = 48_000, 480, 4
BUFFER = PERIOD * N_PERIODS


def noise(n_samples: int) -> Float32:
    """Steps of 16-bit sound, none of them silence, so that they are found again."""
    steps = np.random.default_rng(0).integers(1, 2**13, n_samples)
    return (steps / 2**15).astype(np.float32)


def open_pulse(rate_hz: int = RATE_HZ) -> AlsaOutput:
    return AlsaOutput(PCM, rate_hz, PERIOD, N_PERIODS)


def play(output: AudioOutput, sound: Float32) -> None:
    for first in range(0, len(sound), PERIOD):
        output.wait()
        output.write(sound[first : first + PERIOD])


def heard_of(sound: Sound) -> Float32:
    """Leave out the silence, and one channel: both play the same."""
    np.testing.assert_array_equal(sound[:, 0], sound[:, 1])
    heard: Float32 = sound[sound[:, 0] != 0.0, 0]
    return heard


def gaps_in(sound: Sound) -> list[int]:
    """Lengths of the silences between sounds, in samples."""
    at = np.flatnonzero(sound[:, 0])
    return [int(step) - 1 for step in np.diff(at) if step > 1]


@contextmanager
def playing(output: AudioOutput) -> Iterator[list[int]]:
    """Play in a thread as the engine does; gives the list that holds the samples played so far."""
    n_played, stop = [0], threading.Event()
    block = np.full(output.period, 0.25, np.float32)

    def loop() -> None:
        while not stop.is_set():
            output.wait()
            output.write(block)
            n_played[0] += len(block)

    thread = threading.Thread(target=loop, name="plays")
    thread.start()
    try:
        yield n_played
    finally:
        stop.set()
        thread.join()


def test_what_is_played_is_heard_bit_by_bit_and_in_its_time(pulse_card: PulseCard) -> None:
    pulse_card.start()
    sound = noise(2 * RATE_HZ)
    wait_s, write_s = [], []
    with pulse_card.record() as recording, closing(open_pulse()) as output:
        assert (output.rate_hz, output.period, output.buffer) == (RATE_HZ, PERIOD, BUFFER)
        begin_s = time.monotonic()
        for first in range(0, len(sound), PERIOD):
            before_s = time.monotonic()
            output.wait()
            ready_s = time.monotonic()
            output.write(sound[first : first + PERIOD])
            wait_s.append(ready_s - before_s)
            write_s.append(time.monotonic() - ready_s)
        # What was written first of all, a buffer, took no time; who is interrupted takes longer, never shorter.
        rate_hz = (len(sound) - PERIOD) / (time.monotonic() - begin_s)
        assert 0.8 * RATE_HZ < rate_hz < 1.03 * RATE_HZ
        # The time passes in the wait, before the block is made, not in the write.
        assert np.median(write_s) < 0.2 * np.median(wait_s)
        output.write(np.zeros(BUFFER, np.float32))
        eventually(lambda: len(heard_of(recording.sound)) >= len(sound))
    np.testing.assert_array_equal(heard_of(recording.sound), sound)
    assert len(gaps_in(recording.sound)) == output.n_xruns


def test_a_late_block_is_counted_once_and_its_write_plays_on(pulse_card: PulseCard) -> None:
    pulse_card.start()
    sound = noise(RATE_HZ)
    half = RATE_HZ // 2
    with pulse_card.record() as recording, closing(open_pulse()) as output:
        play(output, sound[:half])
        before = output.n_xruns
        eventually(lambda: len(heard_of(recording.sound)) >= half)
        eventually(lambda: output._pcm.avail() < 0)
        play(output, sound[half : half + PERIOD])
        assert output.n_xruns == before + 1
        assert output._pcm.state() == output._alsa.PCM_STATE_RUNNING
        play(output, sound[half + PERIOD :])
        output.write(np.zeros(BUFFER, np.float32))
        eventually(lambda: len(heard_of(recording.sound)) >= len(sound))
    np.testing.assert_array_equal(heard_of(recording.sound), sound)
    # The lead of silence with which the card starts anew is heard too.
    assert max(gaps_in(recording.sound)) >= BUFFER - PERIOD


@pytest.mark.parametrize("rate_hz", [44_100])
def test_another_rate_than_the_servers_plays_too(pulse_card: PulseCard, rate_hz: int) -> None:
    pulse_card.start()
    tone = (0.5 * np.sin(2 * np.pi * 1000.0 * np.arange(rate_hz) / rate_hz)).astype(np.float32)
    with pulse_card.record() as recording, closing(open_pulse(rate_hz)) as output:
        assert output.rate_hz == rate_hz
        play(output, tone)
        eventually(lambda: len(recording.sound) > 0 and bool(recording.sound[-RATE_HZ // 4 :].any()))
    heard = heard_of(recording.sound)[-RATE_HZ // 4 :]
    assert np.argmax(np.abs(np.fft.rfft(heard * np.hanning(len(heard))))) * RATE_HZ / len(heard) == pytest.approx(
        1000, abs=8
    )


def test_taken_away_it_is_an_error_in_one_line(pulse_card: PulseCard) -> None:
    pulse_card.start()
    with closing(open_pulse()) as output:
        play(output, noise(RATE_HZ // 10))
        pulse_card.stop()
        with pytest.raises(AudioError, match=r"'pulse' is gone .*: plug it in again"):
            play(output, noise(RATE_HZ))
    with pytest.raises(AudioError, match=r"'pulse' cannot be used .*: choose another"):
        open_pulse()


def test_absent_at_first_then_taken_away_it_is_heard_again_within_two_seconds(pulse_card: PulseCard) -> None:
    steady = SteadyOutput(open_pulse, RATE_HZ, PERIOD, N_PERIODS, MonotonicClock())
    with closing(steady), playing(steady) as n_played:
        goes_on(n_played)
        assert not steady.is_live
        for n_lost in range(2):
            pulse_card.start()
            with pulse_card.record() as recording:
                assert eventually(lambda: steady.is_live) < 2.0
                eventually(recording.hears)
                pulse_card.stop()
                eventually(lambda: not steady.is_live)
            assert steady.n_lost == n_lost + 1
            goes_on(n_played)


def goes_on(n_played: list[int]) -> None:
    """See half a second go by in its time: not faster, and even on a busy machine not much slower."""
    n_before, begin_s = n_played[0], time.monotonic()
    eventually(lambda: n_played[0] - n_before > BUFFER + RATE_HZ // 2)
    assert 0.45 < time.monotonic() - begin_s < 5.0
