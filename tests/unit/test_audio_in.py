"""What comes in: a card's bytes as mono sound with its times, a file's in time, and what goes wrong with either."""

from __future__ import annotations

import errno
import os
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from device.core.errors import AudioError, UsageError
from device.core.pcm import PcmDecoder, PcmEncoder, SampleFormat
from device.edges.audio_in_alsa import AlsaInput
from device.edges.audio_in_wav import WavInput
from device.engine.openers import check_input
from device.engine.paced import PacedInput
from tests.hand_clock import HandClock

RATE_HZ = 48_000


class RefusalError(Exception):
    """What pyalsaaudio raises."""


class CardPcm:
    """A card's input, by a hand clock: a period is there when its time has come; it overruns or goes when told."""

    def __init__(self, alsa: FakeAlsa, **asked: Any) -> None:
        self._alsa = alsa
        self.asked = asked
        self.closed = False
        self._begun_s: float | None = None
        self._n_read = 0

    def info(self) -> dict[str, Any]:
        asked = self.asked
        return {
            "rate": self._alsa.rate_hz or asked["rate"],
            "channels": self._alsa.n_channels,
            "period_size": asked["periodsize"],
            "buffer_size": asked["periodsize"] * asked["periods"],
            "format_name": "S16_LE",
        }

    def getformats(self) -> dict[str, int]:
        return {"S16_LE": 2}

    def polldescriptors(self) -> list[tuple[int, int]]:
        return [(self._alsa.eye, 1)]

    def polldescriptors_revents(self, ready: list[tuple[int, int]]) -> int:
        if self._begun_s is None:  # A card that stands still, as after an overrun, wakes nobody.
            self._alsa.clock.wait(1.0)
        return ready[0][1]

    def avail(self) -> int:
        if self._begun_s is None:
            return 0
        n = int((self._alsa.clock.time_s - self._begun_s) * self.info()["rate"] + 1e-6)
        period = int(self.asked["periodsize"])
        return n // period * period - self._n_read

    def read(self) -> tuple[int, bytes]:
        if self._alsa.trouble:
            trouble = self._alsa.trouble.popleft()
            if trouble == "overrun":
                self._begun_s, self._n_read = None, 0
                return -errno.EPIPE, b""
            if trouble == "gone":
                raise RefusalError(f"{os.strerror(errno.ENODEV)} [card]")
        if self._begun_s is None:
            self._begun_s = self._alsa.clock.time_s
        n = min(self.avail(), self.asked["periodsize"])
        if n <= 0:
            return 0, b""
        index = self._n_read + np.arange(n)
        channels = np.stack([1000 * (channel + 1) + index for channel in range(self._alsa.n_channels)], axis=1)
        self._n_read += n
        return n, channels.astype("<i2").tobytes()

    def drop(self) -> None:
        """Nothing is held."""

    def close(self) -> None:
        self.closed = True


class FakeAlsa:
    """pyalsaaudio with one card; waiting for it lets the clock's time pass."""

    PCM_CAPTURE, PCM_NONBLOCK = 1, 2
    PCM_FORMAT_S32_LE, PCM_FORMAT_S16_LE = 10, 2
    ALSAAudioError = RefusalError

    def __init__(self, n_channels: int = 2, rate_hz: int | None = None) -> None:
        self.clock = HandClock()
        self.n_channels, self.rate_hz = n_channels, rate_hz
        self.trouble: deque[str] = deque()
        self.pcms: list[CardPcm] = []
        self.eye, writer = os.pipe()
        os.write(writer, b"x")  # Always ready, as some plugins are.
        os.close(writer)

    def PCM(self, **asked: Any) -> CardPcm:  # noqa: N802 - pyalsaaudio calls it so
        self.pcms.append(CardPcm(self, **asked))
        return self.pcms[-1]

    def cards(self) -> list[str]:
        return ["Device"]


def opened(alsa: FakeAlsa, **how: Any) -> AlsaInput:
    return AlsaInput("stage", alsa=alsa, monotonic_s=alsa.clock.now_s, sleep=alsa.clock.wait, **how)


@pytest.mark.parametrize(("channel", "expected"), [(0, 1500), (1, 1000), (2, 2000)])
def test_channels_are_mixed_or_one_is_chosen(channel: int, expected: int) -> None:
    source = opened(FakeAlsa(), channel=channel)
    heard = np.concatenate([source.read().samples for _ in range(3)]) * 32768
    np.testing.assert_allclose(heard, expected + np.arange(384))


def test_a_piece_has_the_time_of_its_first_sample_however_late_it_is_read() -> None:
    alsa = FakeAlsa()
    source = opened(alsa)
    begin_s = alsa.clock.time_s
    n = 0
    for late_s in (0.0, 0.0, 0.050, 0.0, 0.100, 0.0, 0.0, 0.001):
        alsa.clock.wait(late_s)
        piece = source.read()
        # The card counts by periods, and a waiting program wakes a little late.
        assert piece.time_s - begin_s == pytest.approx(n / RATE_HZ, abs=128 / RATE_HZ)
        assert piece.follows == (n > 0)
        n += len(piece.samples)
    assert source.n_overruns == 0


def test_the_card_is_asked_to_hold_what_the_configuration_says_and_never_to_wait() -> None:
    alsa = FakeAlsa()
    opened(alsa, period=128, buffer_s=0.2, channels=2)
    asked = alsa.pcms[-1].asked
    assert (asked["type"], asked["mode"]) == (alsa.PCM_CAPTURE, alsa.PCM_NONBLOCK)
    assert asked["periodsize"] * asked["periods"] == pytest.approx(0.2 * RATE_HZ, rel=0.01)


def test_an_overrun_is_counted_and_what_comes_next_does_not_follow() -> None:
    alsa = FakeAlsa()
    source = opened(alsa)
    assert [source.read().follows for _ in range(2)] == [False, True]
    alsa.clock.wait(0.5)
    alsa.trouble.append("overrun")
    piece = source.read()
    assert (piece.follows, source.n_overruns) == (False, 1)
    assert piece.time_s == pytest.approx(alsa.clock.time_s, abs=2 * 128 / RATE_HZ)
    assert source.read().follows


def test_a_card_that_is_pulled_out_is_an_error_that_says_what_to_do() -> None:
    alsa = FakeAlsa()
    source = opened(alsa)
    source.read()
    alsa.trouble.append("gone")
    with pytest.raises(AudioError, match="plug it in again"):
        source.read()
    source.close()
    source.close()
    assert alsa.pcms[-1].closed
    with pytest.raises(AudioError, match="closed"):
        source.read()


def test_a_card_that_gives_nothing_is_given_up() -> None:
    alsa = FakeAlsa(rate_hz=1)  # its first period comes in two minutes
    source = opened(alsa)
    with pytest.raises(AudioError, match="gives no sound"):
        source.read()
    assert 1.0 < alsa.clock.time_s - 1000.0 < 130.0


def test_a_card_of_another_rate_is_taken_as_it_is_and_a_channel_that_it_lacks_refused() -> None:
    assert opened(FakeAlsa(rate_hz=44_100)).rate_hz == 44_100
    alsa = FakeAlsa(n_channels=1)
    with pytest.raises(AudioError, match=r"has no input channel 2, only 1: set capture\.channel"):
        opened(alsa, channel=2)
    assert alsa.pcms[-1].closed


@pytest.mark.parametrize("sample_format", ["int16", "int24", "int24in32", "int32", "float32"])
@pytest.mark.parametrize("n_channels", [1, 2, 5])
def test_what_was_encoded_is_decoded(sample_format: SampleFormat, n_channels: int) -> None:
    sound = (np.random.default_rng(0).integers(-(2**15), 2**15 - 1, 500) / 2**15).astype(np.float32)
    data = bytes(PcmEncoder(sample_format, n_channels, 500).encode(sound))
    for channel in (0, n_channels):
        heard, n_clipped = PcmDecoder(sample_format, n_channels, channel).decode(data)
        np.testing.assert_array_equal(heard, sound)
        assert n_clipped == np.count_nonzero(np.abs(sound) >= 1 - 2**-15)


def test_what_lies_in_the_fourth_byte_of_24_bits_is_not_heard() -> None:
    data = np.array([0x7F000100, 0x55FFFF00 | 0xFF], "<u4").view("<i4").tobytes()
    heard, _ = PcmDecoder("int24in32", 1).decode(data)
    np.testing.assert_allclose(heard, [0x000100 / 2**23, -1 / 2**23])


def test_one_channel_at_full_scale_is_counted_though_the_mean_is_not() -> None:
    both = np.array([[32767, 0], [-32768, 0], [32766, 32766], [100, 32767]], "<i2")
    heard, n_clipped = PcmDecoder("int16", 2).decode(both.tobytes())
    assert np.abs(heard[[0, 1, 3]]).max() < 0.6
    assert n_clipped == 3
    assert PcmDecoder("int16", 2, channel=2).decode(both.tobytes())[1] == 1


def test_floats_that_are_none_are_silence() -> None:
    data = np.array([np.nan, np.inf, 0.5, -3.0], "<f4").tobytes()
    heard, n_clipped = PcmDecoder("float32", 1).decode(data)
    np.testing.assert_array_equal(heard, np.array([0.0, 1.0, 0.5, -3.0], np.float32))
    assert n_clipped == 2


@pytest.fixture
def stereo(tmp_path: Path) -> Path:
    path = tmp_path / "music.wav"
    left = np.linspace(-1.0, 0.9, 1000)
    soundfile.write(path, np.stack([left, np.zeros(1000)], axis=1), 8000, subtype="PCM_24")
    return path


def test_a_file_is_heard_to_its_end_with_the_times_of_its_samples(stereo: Path) -> None:
    source = WavInput(stereo, begin_s=50.0, period=128)
    pieces = list(iter(source.read, None))
    np.testing.assert_allclose(
        np.concatenate([piece.samples for piece in pieces]), np.linspace(-1.0, 0.9, 1000) / 2, atol=1e-6
    )
    np.testing.assert_allclose([piece.time_s for piece in pieces], 50.0 + 128 / 8000 * np.arange(8))
    assert [piece.follows for piece in pieces] == [False] + 7 * [True]
    assert sum(piece.n_clipped for piece in pieces) == 1
    source.close()
    assert source.read() is None
    one = WavInput(stereo, channel=2).read()
    assert one is not None
    assert not one.samples.any()


def test_a_paced_file_gives_each_piece_when_it_has_been_heard(stereo: Path) -> None:
    clock = HandClock(50.0)
    source = PacedInput(WavInput(stereo, begin_s=50.5, period=100), clock)
    ends_s = []
    while source.read() is not None:
        ends_s.append(clock.time_s)
    np.testing.assert_allclose(ends_s, 50.5 + (np.arange(10) + 1) * 100 / 8000)


def test_a_file_that_is_no_sound_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="there is no sound file"):
        WavInput(tmp_path / "none.wav")
    with pytest.raises(AudioError, match="is not a sound file"):
        WavInput(Path(__file__))


def test_a_file_without_that_channel_is_refused(stereo: Path) -> None:
    with pytest.raises(AudioError, match=r"has no channel 3, only 2"):
        WavInput(stereo, channel=3)


@pytest.mark.parametrize("source", ["", "alsa:", "wav", "mic:1", "hw:0"])
def test_an_input_that_is_none_is_wrong_use(source: str) -> None:
    with pytest.raises(UsageError, match=r"--audio-in alsa:PCM or wav:FILE"):
        check_input(source, "--audio-in")
