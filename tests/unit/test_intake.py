"""From pieces to the ring: samples keep their places in time, whatever the card does."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pytest

from device.capture.intake import MICROPHONE, Intake
from device.capture.microphone import Hearing, MicrophoneSetup
from device.core.continuity import TOLERANCE_S, WINDOW_S
from device.core.errors import AudioError
from device.core.level import PeakLevel, to_dbfs
from device.edges.audio_in import AudioInput, Piece
from device.engine.realtime import Urgency
from device.engine.shared import SharedArrays
from device.engine.sound_ring import KEPT_S, SoundRing
from tests.hand_clock import HandClock

RATE_HZ, BLOCK, TONE_HZ = 8000, 64, 100.0
Floats = npt.NDArray[np.float32]


def sounds_at(times_s: npt.NDArray[np.float64]) -> Floats:
    """A sound that tells its time: a ramp that begins anew every second."""
    return (0.1 + 0.5 * (times_s % 1.0)).astype(np.float32)


def piece(time_s: float, n: int = 80, late_s: float = 0.0, follows: bool = True) -> Piece:
    return Piece(sounds_at(time_s + np.arange(n) / RATE_HZ), time_s + late_s, 0, follows)


class Desk:
    """An intake with its ring."""

    def __init__(self, ring: SoundRing | None = None) -> None:
        self.ring = ring or SoundRing(RATE_HZ, BLOCK)
        self.said = SharedArrays(MICROPHONE)
        self.told: list[str] = []
        self.intake = Intake(self.ring, self.said)

    def take(self, pieces: Iterable[Piece], rate_hz: int = RATE_HZ) -> None:
        for each in pieces:
            self.intake.take(each, rate_hz, each.time_s)

    def heard(self) -> tuple[npt.NDArray[np.float64], Floats]:
        """All samples with the times that the ring gives them."""
        samples, times_s = [], []
        serial = self.ring.oldest
        while (heard := self.ring.read_from(serial)) is not None:
            samples.append(heard.samples)
            times_s.append((heard.times_s[:, None] + np.arange(BLOCK) / RATE_HZ).reshape(-1))
            serial = heard.serial + len(heard.times_s)
        return np.concatenate(times_s), np.concatenate(samples)


def steady(n: int, first: int = 0, **how: float) -> Iterable[Piece]:
    return (piece(100.0 + index * 80 / RATE_HZ, follows=index > 0, **how) for index in range(first, first + n))  # type: ignore[arg-type]


def test_pieces_of_any_length_become_blocks_without_a_gap() -> None:
    desk = Desk()
    time_s = 100.0
    for n in (1, 80, 63, 64, 65, 200, 7, 1000):
        desk.take([piece(time_s, n, follows=time_s > 100.0)])
        time_s += n / RATE_HZ
    times_s, samples = desk.heard()
    np.testing.assert_allclose(times_s, 100.0 + np.arange(len(samples)) / RATE_HZ, atol=1e-9)
    np.testing.assert_allclose(samples, sounds_at(times_s + 1e-9), atol=1e-3)
    assert desk.said["n_filled"][0] == 0


def test_jitter_does_not_get_into_the_times() -> None:
    desk, random = Desk(), np.random.default_rng(0)
    late_s = random.exponential(0.003, 1000) + 0.2 * (random.random(1000) < 0.02)
    desk.take(piece(100.0 + index * 80 / RATE_HZ, 80, late_s[index], index > 0) for index in range(1000))
    times_s, samples = desk.heard()
    late_s = times_s - (100.0 + np.arange(len(samples)) / RATE_HZ)
    assert np.abs(late_s[RATE_HZ:]).max() < 0.001  # of 3 ms, and 200 now and then
    assert desk.said["n_filled"][0] == 0


@pytest.mark.parametrize("lost_s", [0.004, 0.5, 12.0])
def test_what_a_card_says_it_lost_is_silence_of_that_length(lost_s: float) -> None:
    desk = Desk()
    desk.take(steady(100))
    resumed_s = 101.0 + lost_s
    desk.take(piece(resumed_s + index * 80 / RATE_HZ, follows=index > 0) for index in range(100))
    times_s, samples = desk.heard()
    is_silent = samples == 0.0
    assert np.count_nonzero(is_silent) == desk.said["n_filled"][0] == round(lost_s * RATE_HZ)
    np.testing.assert_allclose(samples[~is_silent], sounds_at(times_s[~is_silent] + 1e-9), atol=1e-3)
    np.testing.assert_allclose(np.diff(times_s), 1 / RATE_HZ, atol=1e-6)


def test_a_loss_that_nobody_told_of_is_found_and_later_samples_are_in_their_places() -> None:
    desk = Desk()
    desk.take(steady(150))
    desk.take(steady(450, first=200))  # half a second is missing
    times_s, samples = desk.heard()
    assert desk.said["n_filled"][0] == pytest.approx(0.5 * RATE_HZ, abs=RATE_HZ * TOLERANCE_S)
    late = times_s > 100.0 + 200 * 80 / RATE_HZ + 2 * WINDOW_S
    assert np.median(np.abs(samples[late] - sounds_at(times_s[late]))) < 0.5 * TOLERANCE_S


def test_a_machine_that_was_busy_has_lost_nothing() -> None:
    desk = Desk()
    desk.take(steady(150))
    # Everything of half a second comes at once, at its end; then all is as before.
    desk.take(piece(101.5 + index * 80 / RATE_HZ, 80, late_s=0.5 - index * 80 / RATE_HZ) for index in range(50))
    desk.take(steady(300, first=200))
    times_s, samples = desk.heard()
    assert desk.said["n_filled"][0] == 0
    np.testing.assert_allclose(times_s, 100.0 + np.arange(len(samples)) / RATE_HZ, atol=1e-3)


@pytest.mark.parametrize("ppm", [-200.0, 200.0])
def test_a_clock_that_drifts_is_followed_and_never_taken_for_a_loss(ppm: float) -> None:
    desk = Desk()
    card_hz = RATE_HZ * (1 + 1e-6 * ppm)
    desk.take(Piece(np.ones(800, np.float32), 100.0 + index * 800 / card_hz, 0, index > 0) for index in range(6000))
    assert desk.said["n_filled"][0] == 0
    assert desk.ring.n_blocks == 6000 * 800 // BLOCK
    last_s = desk.ring.time_s(desk.ring.n_blocks - 1)
    assert last_s == pytest.approx(100.0 + (6000 * 800 - BLOCK) / card_hz, abs=0.002)


def test_a_process_that_begins_anew_goes_on_in_the_same_ring() -> None:
    before = Desk()
    before.take(steady(100))
    desk = Desk(before.ring)
    desk.take([piece(104.0, follows=False)])
    times_s, samples = desk.heard()
    np.testing.assert_allclose(np.diff(times_s), 1 / RATE_HZ, atol=1e-6)
    # What did not fill a block has died with the process before.
    assert desk.said["n_filled"][0] == pytest.approx(3.0 * RATE_HZ, abs=BLOCK)
    heard = samples[times_s >= 104.0]
    np.testing.assert_allclose(heard, sounds_at(times_s[times_s >= 104.0] + 1e-9), atol=1e-3)


def test_a_silence_longer_than_the_ring_is_counted_and_not_written() -> None:
    desk = Desk()
    desk.take(steady(10))
    desk.intake.pass_silently(100_000.0)
    assert desk.ring.n_blocks == pytest.approx((100_000.0 - 100.0) * RATE_HZ / BLOCK, abs=2)
    assert desk.ring.time_s(desk.ring.n_blocks - 1) == pytest.approx(100_000.0, abs=2 * BLOCK / RATE_HZ)
    samples = desk.heard()[1]
    assert len(samples) > (KEPT_S - 1) * RATE_HZ
    assert not samples.any()


@pytest.mark.parametrize("rate_hz", [44_100, 48_000, 96_000])
def test_another_rate_is_converted_and_stays_in_time(rate_hz: int) -> None:
    desk = Desk()
    n, n_pieces = 441, 300
    for index in range(n_pieces):
        first = index * n
        sounded_s = (first + np.arange(n)) / rate_hz
        tone = (0.5 * np.sin(2 * np.pi * TONE_HZ * sounded_s)).astype(np.float32)
        desk.take([Piece(tone, 100.0 + first / rate_hz, 0, index > 0)], rate_hz)
    times_s, samples = desk.heard()
    inner = slice(1000, len(samples) - 100)
    expected = 0.5 * np.sin(2 * np.pi * TONE_HZ * (times_s[inner] - 100.0))
    np.testing.assert_allclose(samples[inner], expected, atol=0.5 * 2 * np.pi * TONE_HZ * 0.00025)
    assert len(samples) / RATE_HZ == pytest.approx(n_pieces * n / rate_hz, abs=0.1)
    assert desk.said["n_filled"][0] == 0


def test_clipping_stays_with_its_block_and_the_level_is_said() -> None:
    desk = Desk()
    desk.take([piece(100.0, 64, follows=False)])
    desk.take([Piece(np.full(64, 0.9, np.float32), 100.0 + 64 / RATE_HZ, 5)])
    heard = desk.ring.read_from(0)
    assert heard is not None
    assert heard.n_clipped.tolist() == [0, 5]
    assert desk.said["peak"][0] == pytest.approx(0.9)
    assert desk.said["last_clipped_s"][0] == pytest.approx(100.0 + 64 / RATE_HZ)


def test_a_level_rises_at_once_and_falls_by_20_db_a_second() -> None:
    level = PeakLevel(RATE_HZ)
    assert to_dbfs(level.see(np.array([0.0, -0.5], np.float32))) == pytest.approx(-6.02, abs=0.01)
    for _ in range(80):
        peak = level.see(np.zeros(100, np.float32))
    assert to_dbfs(peak) == pytest.approx(-26.02, abs=0.01)
    assert to_dbfs(0.0) == to_dbfs(1e-30) == -120.0


class Script:
    """An input that gives pieces by the clock, and goes when its time has come."""

    def __init__(self, clock: HandClock, until_s: float, *, is_last: bool = False) -> None:
        self.rate_hz, self.n_overruns = RATE_HZ, 0
        self._clock, self._until_s, self._is_last = clock, until_s, is_last
        self._follows = False

    def read(self) -> Piece | None:
        if self._clock.time_s >= self._until_s:
            if self._is_last:
                return None
            raise AudioError("the card is gone: plug it in again")
        time_s = self._clock.time_s
        self._clock.wait(80 / RATE_HZ)
        follows, self._follows = self._follows, True
        return piece(time_s, follows=follows)

    def close(self) -> None:
        """Nothing is held."""


def hear(inputs: list[object], clock: HandClock, is_patient: bool = True) -> Desk:
    """Open one input after another; what is no input is an error."""
    desk, left = Desk(), deque(inputs)

    def open_input(_begin_s: float) -> AudioInput:
        found = left.popleft()
        if isinstance(found, Exception):
            raise found
        return found  # type: ignore[return-value]  # the rest are

    setup = MicrophoneSetup(open_input, desk.ring, desk.said, None, is_patient, Urgency(0, lock_memory=False))
    Hearing(setup, clock, clock.time_s, desk.told.append).run()
    return desk


def test_a_card_that_goes_and_comes_back_leaves_silence_in_between_and_the_time_goes_on() -> None:
    clock = HandClock(100.0)
    absent = AudioError("there is no such card")
    desk = hear([Script(clock, 103.0), absent, absent, Script(clock, 106.0, is_last=True)], clock)
    times_s, samples = desk.heard()
    is_silent = (times_s > 103.02) & (times_s < 104.48)
    assert not samples[is_silent].any()
    is_heard = (times_s < 102.98) | (times_s > 104.52)
    np.testing.assert_allclose(samples[is_heard], sounds_at(times_s[is_heard] + 1e-9), atol=1e-3)
    assert times_s[-1] == pytest.approx(106.0, abs=BLOCK / RATE_HZ + 0.02)
    assert desk.said["n_losses"][0] == 1
    assert desk.told == ["the card is gone: plug it in again", "there is no such card"]  # once each
    assert desk.said["n_filled"][0] == pytest.approx(1.5 * RATE_HZ, rel=0.05)


def test_a_card_that_is_absent_at_first_is_waited_for_and_one_that_must_be_there_is_not() -> None:
    clock = HandClock(100.0)
    desk = hear([AudioError("none"), Script(clock, 102.0, is_last=True)], clock)
    assert desk.ring.time_s(0) == pytest.approx(100.5)  # nothing is filled in before there was anything
    with pytest.raises(AudioError, match="none"):
        hear([AudioError("none")], clock, is_patient=False)


def test_a_device_that_waits_for_nothing_is_held_to_the_time() -> None:
    clock = HandClock(100.0)

    class Null(Script):
        n = 0

        def read(self) -> Piece | None:
            self.n += 1
            return piece(clock.time_s, follows=self.n > 1) if self.n <= 400 else None

    hear([Null(clock, 0.0)], clock)
    assert clock.time_s - 100.0 == pytest.approx(400 * 80 / RATE_HZ - 0.5, abs=0.05)
