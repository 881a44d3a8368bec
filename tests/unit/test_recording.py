"""Takes as they are recorded: one span of time of frames and sound, whatever clocks, disk and rings do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from device.capture.intake import MICROPHONE, Intake
from device.capture.recording import GRACE_S, Recording, TakeSettings
from device.core.errors import TakeError
from device.core.frame import Frame
from device.core.motiongram import Motiongram, MotionSettings
from device.core.take import SAMPLES_PER_CHUNK
from device.edges.audio_in import Piece
from device.engine.frame_bus import N_FRAMES, FrameBus
from device.engine.shared import SharedArrays
from device.engine.sound_ring import KEPT_S, SoundRing
from device.store.store import Take

RATE_HZ, BLOCK, FPS = 8000, 100, 50
MOTION = MotionSettings(height=8, width=12, difference_time_s=0.0)
DARK, BRIGHT = np.full((8, 12), 30, np.uint8), np.full((8, 12), 200, np.uint8)
DARK[:, ::2] = 60
BRIGHT[:, ::2] = 120


class Room:
    """Two rings, filled as camera and microphone would: sample i of all has the value i, in steps of 16 bits."""

    def __init__(self, begin_s: float = 1000.0) -> None:
        self.frames, self.ring = FrameBus(8, 12, ()), SoundRing(RATE_HZ, BLOCK)
        self.begin_s = begin_s
        self.frame_s = begin_s

    def hear(self, until_s: float) -> None:
        """Let sound come up to a time."""
        while (time_s := self.begin_s + self.ring.n_blocks * BLOCK / RATE_HZ) + BLOCK / RATE_HZ <= until_s + 1e-9:
            index = self.ring.n_blocks * BLOCK + np.arange(BLOCK)
            self.ring.put((index % 30_000 / 32768).astype(np.float32), time_s)

    def see(self, until_s: float) -> None:
        """Let frames come up to before a time, dark and bright by turns."""
        while self.frame_s < until_s - 1e-9:
            self.frames.put(Frame(BRIGHT if self.frames.n_put % 2 else DARK, self.frame_s), self.frame_s + 0.02)
            self.frame_s = self.begin_s + self.frames.n_put / FPS

    def go_on(self, until_s: float) -> None:
        self.hear(until_s)
        self.see(until_s)

    def record(self, folder: Path, begin_s: float) -> Recording:
        return Recording(self.frames, self.ring, TakeSettings(folder, MOTION, 60.0, 0, {"name": "test"}), begin_s)


def numbers(take: Take) -> npt.NDArray[np.int64]:
    """Number of each sample, as the room gave it."""
    whole: npt.NDArray[np.int64] = np.rint(take.sound_at(0, take.n_samples) * 32768).astype(np.int64)
    return whole


@pytest.mark.parametrize("begin_s", [1002.0, 1001.003, 1004.5])
def test_frames_and_sound_are_of_the_same_span_whether_it_begins_before_or_after_now(
    tmp_path: Path, begin_s: float
) -> None:
    room = Room()
    room.go_on(1003.0)
    recording = room.record(tmp_path, begin_s)
    for now_s in np.arange(1003.0, 1007.0, 0.3):
        room.go_on(now_s)
        recording.step()
    recording.end_s = 1007.0
    room.go_on(1007.3)
    recording.step()
    assert recording.is_complete(1007.3)
    take = recording.finish(cancelled=False)
    first, last = np.ceil((begin_s - 1000.0) * FPS - 1e-6), 7 * FPS - 1
    np.testing.assert_allclose(take.times_s, 1000.0 + np.arange(first, last + 1) / FPS)
    assert take.n_samples == pytest.approx((1007.0 - begin_s) * RATE_HZ, abs=1)
    n_before = round((begin_s - 1000.0) * RATE_HZ)
    np.testing.assert_array_equal(numbers(take), (n_before + np.arange(take.n_samples)) % 30_000)
    assert take.time_of(0) == pytest.approx(begin_s, abs=1 / RATE_HZ)


def test_the_first_column_is_compared_with_a_frame_from_before_the_take(tmp_path: Path) -> None:
    room = Room()
    room.go_on(1003.0)
    recording = room.record(tmp_path, 1002.0)
    recording.step()
    recording.end_s = 1002.5
    recording.step()
    take = recording.finish(cancelled=False)
    motiongram = Motiongram(MOTION)
    motiongram.push(Frame(DARK, 0.0))
    expected = motiongram.push(Frame(BRIGHT, 0.02)).column
    assert expected.all()
    np.testing.assert_array_equal(take.columns, np.repeat(expected[None], take.n_columns, axis=0))


def test_it_waits_for_what_is_on_its_way_but_not_for_ever(tmp_path: Path) -> None:
    room = Room()
    room.go_on(1002.0)
    recording = room.record(tmp_path, 1001.0)
    recording.step()
    assert not recording.is_complete(1e9)
    recording.end_s = 1002.0
    room.see(1002.1)
    recording.step()
    assert recording.is_complete(1002.1)  # its sound had come before
    recording.abandon()
    room = Room()
    other = room.record(tmp_path, 1001.0)
    room.hear(1003.0)
    room.see(1001.5)
    other.step()
    other.end_s = 1002.0
    assert not other.is_complete(1002.0 + GRACE_S - 0.01)
    assert other.is_complete(1002.0 + GRACE_S + 0.01)
    other.abandon()


def test_a_disk_that_stalls_costs_nothing_while_the_rings_hold(tmp_path: Path) -> None:
    room = Room()
    room.go_on(1001.0)
    recording = room.record(tmp_path, 1001.0)
    recording.step()
    room.go_on(1001.0 + N_FRAMES / FPS - 0.1)  # 10 s at 50 fps, 4 s at 120
    recording.step()
    recording.end_s = 1005.0
    recording.step()
    take = recording.finish(cancelled=False)
    np.testing.assert_allclose(np.diff(take.times_s), 1 / FPS)
    assert (np.diff(numbers(take)) % 30_000 == 1).all()
    assert take.facts.notes["n_lost_frames"] == take.facts.notes["n_lost_samples"] == 0


def test_what_the_rings_could_not_hold_is_counted_and_what_comes_after_is_in_its_place(tmp_path: Path) -> None:
    room = Room()
    room.go_on(1001.0)
    recording = room.record(tmp_path, 1000.5)
    recording.step()
    end_s = 1001.0 + KEPT_S + 5.0
    room.go_on(end_s)
    recording.step()
    recording.end_s = end_s
    recording.step()
    take = recording.finish(cancelled=False)
    notes = take.facts.notes
    assert notes["n_lost_frames"] == round((end_s - 1001.0) * FPS) - (N_FRAMES - 1)
    assert notes["n_lost_samples"] == pytest.approx(5.0 * RATE_HZ, abs=2 * BLOCK)
    assert {"frames lost", "sound lost"} <= set(str(notes["marks"]).split(", "))
    assert take.n_samples == pytest.approx((end_s - 1000.5) * RATE_HZ, abs=1)
    late = 1001.0 + KEPT_S
    assert numbers(take)[round(take.sample_of(late))] == pytest.approx(round((late - 1000) * RATE_HZ) % 30_000, abs=2)
    np.testing.assert_allclose(np.diff(take.times_s)[-N_FRAMES + 2 :], 1 / FPS)


def test_a_take_without_sound_or_motion_is_an_error_that_says_so(tmp_path: Path) -> None:
    room = Room()
    room.see(1003.0)
    recording = room.record(tmp_path, 1001.0)
    recording.step()
    with pytest.raises(TakeError, match="no sound was recorded"):
        recording.finish(cancelled=False)
    recording.abandon()
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []


def test_what_was_noticed_and_that_it_was_cancelled_stands_in_the_take(tmp_path: Path) -> None:
    room = Room()
    room.go_on(1003.0)
    recording = room.record(tmp_path, 1001.0)
    recording.end_s = 1002.5
    recording.step()
    take = recording.finish(cancelled=True, n_filled_samples=6000, n_dropped_frames=3)
    facts = Take.open(take.path).facts
    assert facts.cancelled
    assert facts.source == {"name": "test"}
    assert (facts.notes["n_dropped_frames"], facts.notes["n_lost_samples"]) == (3, 6000)
    assert "sound lost" in str(facts.notes["marks"])


def test_frames_whose_time_does_not_go_on_are_left_out(tmp_path: Path) -> None:
    room = Room()
    room.hear(1003.0)
    for time_s in (1001.0, 1001.02, 1001.02, 1000.5, 1001.04):
        room.frames.put(Frame(DARK, time_s), time_s)
    recording = room.record(tmp_path, 1001.0)
    recording.end_s = 1002.0
    recording.step()
    take = recording.finish(cancelled=False)
    np.testing.assert_allclose(take.times_s, [1001.0, 1001.02, 1001.04])
    assert take.facts.notes["n_lost_frames"] == 2


PPM = 100.0
HOUR_S = 3600.0
EVERY_S = 60.0
BEEP_S = 0.05


class Studio:
    """A camera at 5 fps, and a card whose clock is fast, in a room with a flash and a beep once a minute."""

    def __init__(self, ppm: float, seed: int) -> None:
        self.frames, self.ring = FrameBus(8, 12, ()), SoundRing(RATE_HZ, 400)
        self._intake = Intake(self.ring, SharedArrays(MICROPHONE))
        self._random = np.random.default_rng(seed)
        self._card_hz = RATE_HZ * (1.0 + 1e-6 * ppm)
        self._n_samples = self._n_frames = 0

    def until(self, now_s: float) -> None:
        """Let frames and pieces come up to a time."""
        while (time_s := self._n_frames / 5) <= now_s:
            is_flash = time_s % EVERY_S < BEEP_S and time_s > 1.0
            self.frames.put(Frame(BRIGHT if is_flash else DARK, time_s), time_s)
            self._n_frames += 1
        n = 800
        while (end_s := (self._n_samples + n) / self._card_hz) <= now_s:
            sounded_s = (self._n_samples + np.arange(n)) / self._card_hz
            beep = 0.5 * ((sounded_s % EVERY_S < BEEP_S) & (sounded_s > 1.0))
            # Pieces are late by some milliseconds, and by many when the machine is busy.
            late_s = self._random.exponential(0.002) + (0.05 if self._random.random() < 0.02 else 0.0)
            piece = Piece(beep.astype(np.float32), float(sounded_s[0]) + late_s, 0, self._n_samples > 0)
            self._intake.take(piece, RATE_HZ, end_s)
            self._n_samples += n


def test_flash_and_beep_line_up_for_an_hour_on_clocks_that_drift(tmp_path: Path) -> None:
    studio = Studio(PPM, seed=1)
    studio.until(5.0)
    recording = Recording(studio.frames, studio.ring, TakeSettings(tmp_path, MOTION), 5.0)
    for now_s in np.arange(5.0, HOUR_S, 2.5):
        studio.until(now_s)
        recording.step()
    recording.end_s = HOUR_S
    recording.step()
    take = recording.finish(cancelled=False)
    flashes_s = [float(time_s) for time_s in flashes(take)]
    beeps = list(beeps_of(take))
    assert len(flashes_s) == len(beeps) == 59
    apart_ms = [1000.0 * (take.time_of(beep) - flash_s) for flash_s, beep in zip(flashes_s, beeps, strict=True)]
    print(f"{PPM:+.0f} ppm: beeps {min(apart_ms):+.2f} to {max(apart_ms):+.2f} ms from their flashes")
    assert max(map(abs, apart_ms)) < 5.0
    # Counting samples alone would be far off: the take's clock does it.
    assert abs((beeps[-1] - beeps[0]) / RATE_HZ - (flashes_s[-1] - flashes_s[0])) > 0.3


def flashes(take: Take) -> Iterator[float]:
    """Times of the frames that are brighter than the one before."""
    moved = take.columns.any(axis=1)
    yield from take.times_s[moved][::2]  # it goes on, then off


def beeps_of(take: Take) -> Iterator[int]:
    """First sample of each beep."""
    for start in range(0, take.n_samples, SAMPLES_PER_CHUNK):
        sound = take.sound_at(start - 1, min(start + SAMPLES_PER_CHUNK, take.n_samples)) > 0.25
        yield from (start + int(index) for index in np.flatnonzero(sound[1:] & ~sound[:-1]))
