"""The engine under the virtual clock: what is heard when, and what is heard when something goes wrong."""

from __future__ import annotations

import logging
import threading
import tracemalloc
from collections.abc import Iterable

import numpy as np
import pytest

from device.core.errors import CameraError, ConfigError, ModelError, UsageError
from device.core.frame import Frame
from device.core.limiter import PEAK_DB, amplitude
from device.core.motiongram import MotionSettings
from device.core.synth import Synth, SynthSettings
from device.edges.audio_fake import FakeOutput
from device.edges.model import Float32
from device.edges.model_fake import FakeModel
from device.engine.engine import Player, PlayerSettings, Voice, play_virtual, run_virtual

RATE_HZ = 48_000
MOTION = MotionSettings()
SETTINGS = PlayerSettings(MOTION, grid_rate_hz=50.0, segment_s=0.5)
PERIOD_S = 0.04


class BrokenModel(FakeModel):
    """A fake model that gives something else at the given calls."""

    def __init__(self, bad_calls: Iterable[int], bad: float = np.nan, shape: int | None = None) -> None:
        super().__init__()
        self._bad_calls = set(bad_calls)
        self._bad = bad
        self._shape = shape
        self._n_calls = 0

    def run(self, motion: Float32, noise: Float32, position: float) -> Float32:
        spectrum = super().run(motion, noise, position)
        self._n_calls += 1
        if self._n_calls - 1 in self._bad_calls:
            return np.full(self._shape or self.n_bins, self._bad, np.float32)
        return spectrum


class TwoTones(FakeModel):
    """Two steady tones: one in the first half of a segment, one in the second; loud whatever the motion."""

    def run(self, motion: Float32, noise: Float32, position: float) -> Float32:
        spectrum = np.zeros_like(super().run(motion, noise, position))
        spectrum[20 if position < 0.5 else 45] = 0.7
        return spectrum


def play(
    events: Iterable[Frame | tuple[Float32, float]],
    model: FakeModel | None = None,
    mode: str = "stream",
    period: int = 128,
    buffer: int = 384,
    temperature: float = 0.0,
    seed: int = 0,
) -> Float32:
    player = Player(SETTINGS, model or FakeModel(), mode, temperature, seed)
    return play_virtual(player, Synth(SynthSettings()), events, period, buffer)[0]


def pair(player: Player, synth: SynthSettings) -> tuple[Player, Voice]:
    return player, Voice(player.scores, Synth(synth))


def column(level: float) -> Float32:
    return np.full(MOTION.n_features, level, np.float32)


def steady(n: int, level: float = 4.0, period_s: float = PERIOD_S, start_s: float = 0.0) -> list[tuple[Float32, float]]:
    return [(column(level), start_s + index * period_s) for index in range(n)]


def noise_frames(n: int) -> list[Frame]:
    rng = np.random.default_rng(1)
    return [Frame(rng.integers(0, 256, (48, 64), np.uint8), index * PERIOD_S) for index in range(n)]


def level_db(sound: Float32) -> float:
    return float(20 * np.log10(np.sqrt(np.mean(np.square(sound, dtype=np.float64))) + 1e-12))


def largest_click(sound: Float32) -> float:
    """The largest high-frequency jump: second difference, which is small for low tones however loud."""
    return float(np.abs(np.diff(sound.astype(np.float64), 2)).max())


@pytest.mark.parametrize("mode", ["stream", "segment"])
def test_two_plays_give_the_same_bytes(mode: str) -> None:
    first, second = (play(noise_frames(40), mode=mode, temperature=1.0, seed=3) for _ in range(2))
    assert first.any()
    assert first.tobytes() == second.tobytes()


def test_plays_with_another_seed_differ_only_with_temperature() -> None:
    frames = noise_frames(40)
    assert play(frames, temperature=1.0, seed=1).tobytes() != play(frames, temperature=1.0, seed=2).tobytes()
    assert play(frames, seed=1).tobytes() == play(frames, seed=2).tobytes()


@pytest.mark.parametrize("fps", [10.0, 25.0, 59.94, 120.0])
def test_the_sound_lasts_as_long_as_the_clip_and_one_second(fps: float) -> None:
    n_frames = round(2 * fps)
    sound = play(steady(n_frames, period_s=1 / fps))
    assert len(sound) == round((n_frames / fps + 1.0) * RATE_HZ)


@pytest.mark.parametrize("start_s", [0.0, 7.3, 1e6])
@pytest.mark.parametrize("buffer", [256, 384, 2048])
def test_a_motion_is_heard_the_buffer_after_its_frame(buffer: int, start_s: float) -> None:
    events = [(column(8.0 if index >= 15 else 0.0), start_s + index * PERIOD_S) for index in range(30)]
    sound = play(events, buffer=buffer)
    due = round(15 * PERIOD_S * RATE_HZ) + buffer
    assert not sound[:due].any()
    # Within one period and one hop: the block after the frame, the hop after the spectrum.
    assert sound[due : due + 128 + 128].any()


def test_no_block_knows_a_frame_that_has_not_been_seen() -> None:
    settings = SynthSettings()
    for first_moving in (10, 11, 12):
        events = [(column(8.0 if index >= first_moving else 0.0), index / 60) for index in range(30)]
        output = FakeOutput()
        performance = run_virtual(events, *pair(Player(SETTINGS, FakeModel()), settings), output)
        starts = np.flatnonzero(output.played) / RATE_HZ
        assert 0.0 <= starts[0] - (first_moving / 60 + 384 / RATE_HZ) <= 256 / RATE_HZ
        heard = performance.frame_to_sound
        assert heard.percentile_ms(1) + 0.05 >= 384 / 48
        assert heard.max_ms <= (384 + 128) / 48 + 1e-3
        assert heard.n == performance.n_frames == 30


@pytest.mark.parametrize("mode", ["stream", "segment"])
def test_the_block_size_changes_nothing(mode: str) -> None:
    # Frames on a grid of 2048 samples arrive at the edge of a block of any of these sizes; a gap fades and comes back.
    rng = np.random.default_rng(0)
    indices = [*range(30), *range(50, 70)]
    events = [(column(float(rng.uniform(0, 8))), index * 2048 / RATE_HZ) for index in indices]
    sounds = [play(events, mode=mode, period=period, buffer=2048) for period in (64, 128, 256, 512, 1024)]
    assert sounds[0].any()
    assert all(np.array_equal(sound, sounds[0]) for sound in sounds[1:])


def test_without_frames_the_sound_is_held_then_fades_to_silence_without_a_click() -> None:
    sound = play(steady(50), TwoTones())
    last = round(49 * PERIOD_S * RATE_HZ) + 384
    held = sound[last : last + round(0.095 * RATE_HZ)]
    assert abs(level_db(held) - level_db(sound[last - 4800 : last])) < 0.5
    assert not sound[last + round((0.1 + 0.3) * RATE_HZ) :].any()
    assert largest_click(sound[last - 4800 :]) <= 1.05 * largest_click(sound[last - 4800 : last])


@pytest.mark.parametrize("fps", [10, 15, 25, 60])
def test_a_missing_frame_is_not_heard(fps: int) -> None:
    events = [event for index, event in enumerate(steady(2 * fps, period_s=1 / fps)) if index != fps]
    sound = play(events, TwoTones())[RATE_HZ // 4 : 2 * RATE_HZ - RATE_HZ // fps]
    blocks = sound[: len(sound) // 480 * 480].reshape(-1, 480)
    assert np.ptp([level_db(block) for block in blocks]) < 0.7


def test_frames_that_come_back_are_heard_within_one_frame_without_a_click() -> None:
    gap_end_s = 2.5
    sound = play([*steady(25), *steady(25, start_s=gap_end_s)], TwoTones())
    back = round(gap_end_s * RATE_HZ) + 384
    assert not sound[back - 4800 : back].any()
    assert level_db(sound[back + 720 : back + 1920]) > -40
    steady_part = sound[RATE_HZ // 2 : RATE_HZ]
    assert largest_click(sound[back - 480 : back + 4800]) <= 1.5 * largest_click(steady_part)


@pytest.mark.parametrize("gap_s", [0.18, 0.21, 0.24, 0.27])
def test_frames_that_come_back_while_it_fades_are_heard_without_a_click(gap_s: float) -> None:
    sound = play([*steady(25), *steady(25, start_s=0.96 + gap_s)], TwoTones())
    back = round((0.96 + gap_s) * RATE_HZ) + 384
    assert largest_click(sound[back - 9600 : back + 9600]) <= 1.2 * largest_click(sound[RATE_HZ // 2 : RATE_HZ])


def test_nothing_of_the_old_sound_is_heard_after_it_has_faded() -> None:
    sound = play([*steady(25), *steady(25, level=0.0, start_s=2.5)])
    assert sound[RATE_HZ // 2 : RATE_HZ].any()
    assert not sound[round(2.4 * RATE_HZ) :].any()


def test_one_frame_a_second_sounds_and_fades_each_time() -> None:
    sound = play(steady(5, period_s=1.0), TwoTones())
    assert len(sound) == 6 * RATE_HZ
    for second in range(1, 5):
        start = second * RATE_HZ + 384
        assert level_db(sound[start + 960 : start + 4800]) > -40
        assert not sound[start - 960 : start].any()


def test_a_gap_starts_the_window_anew() -> None:
    before = [(column(8.0), index * PERIOD_S) for index in range(10)]
    after = [(column(0.0), 5.0 + index * PERIOD_S) for index in range(10)]
    windows: list[Float32] = []

    class Listening(FakeModel):
        def run(self, motion: Float32, noise: Float32, position: float) -> Float32:
            windows.append(motion.copy())
            return super().run(motion, noise, position)

    play(before + after, Listening())
    assert windows[9].any()
    assert not windows[10].any()


def test_a_spectrum_that_is_none_is_held_over_counted_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    good = play(steady(50))
    for bad in (np.nan, np.inf, 1e30):
        caplog.clear()
        player = Player(SETTINGS, BrokenModel(range(20, 30), bad))
        with caplog.at_level(logging.WARNING):
            sound, performance = play_virtual(player, Synth(SynthSettings()), steady(50))
        # The motion is steady: holding the last good spectrum is the same sound.
        assert np.array_equal(sound, good)
        assert performance.n_bad_spectra == 10
        assert len(caplog.records) == 1


def test_a_model_that_never_gives_a_spectrum_is_silent() -> None:
    assert not play(steady(50), BrokenModel(range(50))).any()
    assert not play(steady(50), BrokenModel(range(50), 0.5, shape=7)).any()


def test_nothing_is_louder_than_the_peak() -> None:
    sound = play(steady(50), BrokenModel(range(50), 20.0))
    assert 0.99 * amplitude(PEAK_DB) < np.abs(sound).max() <= amplitude(PEAK_DB)


@pytest.mark.parametrize("bad_s", [0.4, 0.39, 0.0, float("nan"), float("inf"), float("-inf")])
def test_frames_out_of_place_are_dropped(bad_s: float) -> None:
    events = steady(25)
    good = play(events)
    player = Player(SETTINGS, FakeModel())
    sound, performance = play_virtual(
        player, Synth(SynthSettings()), [*events[:11], (column(200.0), bad_s), *events[11:]]
    )
    assert performance.n_dropped_frames == 1
    assert np.array_equal(sound, good)


def test_a_clock_that_was_set_back_does_not_stop_the_sound() -> None:
    sound = play([*steady(25, start_s=100.0), *steady(25)])
    assert np.array_equal(sound, play(steady(50)))


def test_still_pictures_are_silent_and_wild_ones_are_not() -> None:
    for grey in (0, 255):
        frames = [Frame(np.full((48, 64), grey, np.uint8), index * PERIOD_S) for index in range(30)]
        assert not play(frames).any()
    assert play(noise_frames(30)).any()


def test_one_frame_is_a_performance_and_no_frame_is_an_error() -> None:
    assert len(play(steady(1))) == round((PERIOD_S + 1.0) * RATE_HZ)
    with pytest.raises(CameraError, match="no frame"):
        play([])


def test_seconds_cut_the_clip() -> None:
    output, longer = FakeOutput(), FakeOutput()
    run_virtual(steady(50), *pair(Player(SETTINGS, FakeModel()), SynthSettings()), output, seconds=1.0)
    assert np.array_equal(output.played, play(steady(25)))
    run_virtual(steady(50), *pair(Player(SETTINGS, FakeModel()), SynthSettings()), longer, seconds=9.0)
    assert np.array_equal(longer.played, play(steady(50)))


def test_a_stop_ends_with_a_short_fade() -> None:
    stop = threading.Event()

    def events() -> Iterable[tuple[Float32, float]]:
        for event in steady(10_000):
            if event[1] > 1.0:
                stop.set()
            yield event

    output = FakeOutput()
    run_virtual(events(), *pair(Player(SETTINGS, TwoTones()), SynthSettings()), output, stop=stop)
    sound = output.played
    assert 0.9 * RATE_HZ < len(sound) < 1.2 * RATE_HZ
    assert sound[-2000:].any()
    assert abs(sound[-1]) < 1e-3
    assert largest_click(sound[-4800:]) <= 1.05 * largest_click(sound[-24000:-4800])


def test_a_segment_is_played_while_the_next_is_gathered() -> None:
    # Motion in the first segment only: nothing is heard while it is gathered, it is heard while the second is.
    events = [(column(8.0 if index < 25 else 0.0), index * 0.02) for index in range(100)]
    sound = play(events, mode="segment")
    start = round(0.5 * RATE_HZ) + 384
    assert not sound[:start].any()
    assert level_db(sound[start + 960 : start + round(0.45 * RATE_HZ)]) > -40
    assert not sound[start + round(0.55 * RATE_HZ) :].any()


def test_a_segment_moves_from_its_beginning_to_its_end_in_its_own_time() -> None:
    sound = play(steady(150, period_s=0.02), TwoTones(), mode="segment")
    start = round(0.5 * RATE_HZ) + 384
    low_hz, high_hz = 20 * RATE_HZ / 2048, 45 * RATE_HZ / 2048
    for segment in range(4):
        for half, expected_hz in ((0, low_hz), (1, high_hz)):
            from_s = 0.5 * segment + 0.25 * half + 0.08
            part = sound[start + round(from_s * RATE_HZ) :][: RATE_HZ // 8]
            spectrum = np.abs(np.fft.rfft(part * np.hanning(len(part))))
            assert abs(np.argmax(spectrum) * RATE_HZ / len(part) - expected_hz) < 16


def test_no_click_at_the_edges_of_segments() -> None:
    sound = play(steady(150, period_s=0.02), TwoTones(), mode="segment")
    begin = round(0.6 * RATE_HZ)
    inside = sound[begin : begin + 4800]  # low tone only
    upper = largest_click(sound[round(0.85 * RATE_HZ) : round(0.95 * RATE_HZ)])  # high tone only
    edges = sound[begin : round(2.9 * RATE_HZ)]
    assert largest_click(inside) < upper
    assert largest_click(edges) < 1.5 * upper


def test_latencies_are_reported() -> None:
    _, performance = play_virtual(Player(SETTINGS, FakeModel()), Synth(SynthSettings()), noise_frames(50))
    figures = performance.engine.figures()
    assert 0.0 < figures["p50"] <= figures["p99"] <= figures["max"]
    assert performance.engine.n == 50
    assert performance.n_xruns == 0
    assert performance.n_blocks == -(-performance.n_samples // 128)
    assert 0.0 < performance.rtf < 1.0


def test_in_segment_mode_the_wait_for_the_segment_is_counted() -> None:
    player = Player(SETTINGS, FakeModel(), "segment")
    _, performance = play_virtual(player, Synth(SynthSettings()), steady(100, period_s=0.02))
    assert performance.frame_to_sound.n == 3
    assert performance.frame_to_sound.percentile_ms(50) == pytest.approx(23 * 20 + 384 / 48, abs=3.0)


def test_wrong_use_is_refused() -> None:
    with pytest.raises(UsageError, match="stream or segment"):
        Player(SETTINGS, FakeModel(), "loop")
    with pytest.raises(UsageError, match="temperature"):
        Player(SETTINGS, FakeModel(), temperature=float("nan"))
    with pytest.raises(ModelError, match="columns"):
        Player(SETTINGS, FakeModel(height=10))
    with pytest.raises(ConfigError, match="buffer"):
        play(steady(5), buffer=RATE_HZ)


def test_memory_does_not_grow() -> None:
    player = Player(SETTINGS, FakeModel())
    _, voice = pair(player, SynthSettings())
    block = np.zeros(128, np.float32)

    def play_on(n_blocks: int, start_s: float) -> None:
        for index in range(n_blocks):
            if index % 6 == 0:
                player.on_column(column(1.0 + index % 5), start_s + index * 128 / RATE_HZ)
            voice.fill(block)

    tracemalloc.start()
    try:
        play_on(500, 0.0)
        before, _ = tracemalloc.get_traced_memory()
        play_on(2000, 100.0)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 10_000
