"""Recording with real processes: takes begin and end, are cut short by a kill and salvaged, and the input is heard."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile

from device.capture.microphone import Microphone
from device.capture.recorder import Recorder
from device.capture.recording import TakeSettings
from device.core.motiongram import MotionSettings
from device.edges.model import Float32
from device.engine.sound_process import ListeningPlan
from device.engine.sound_ring import SoundRing
from device.models.bundles import FACTORY
from device.store.store import Take, incomplete_takes, list_takes, salvage
from tests.capture_fakes import BLOCK, CALM, FPS, RATE_HZ, WHISTLE_HZ, Feed, open_whistle
from tests.eventually import eventually
from tests.live_fakes import HEIGHT, WIDTH, Rig
from tests.media_files import make_video, moving_bar
from tests.pulse_card import PulseCard, pulse_card

__all__ = ["pulse_card"]

ROOT = Path(__file__).parents[2]


def assert_whole(take: Take, shortest_s: float) -> None:
    """Nothing is missing within it, and its frames and its sound are of the same span."""
    sound_s = take.n_samples / RATE_HZ
    assert sound_s > shortest_s
    assert take.duration_s == pytest.approx(sound_s, abs=0.15)
    np.testing.assert_allclose(np.diff(take.times_s), 1 / FPS, atol=1e-6)
    assert take.time_of(0) == pytest.approx(float(take.times_s[0]), abs=0.03)
    heard = take.sound_at(0, take.n_samples)
    # Each sample of a sine follows from the two before: one that is missing, or too many, does not fit in.
    expected = 2.0 * np.cos(2 * np.pi * WHISTLE_HZ / RATE_HZ) * heard[1:-1] - heard[:-2]
    assert np.abs(heard[2:] - expected).max() < 4 / 32768


def test_a_take_is_recorded_saved_and_followed_by_another(tmp_path: Path) -> None:
    with Feed(tmp_path) as feed:
        for number in (1, 2):
            begin_s = time.monotonic() + 0.3
            feed.recorder.start(begin_s)
            assert feed.until_heard("started").path == tmp_path / f"{number:04d}"
            assert feed.recorder.is_taking
            feed.play(0.3 + 0.8)
            end_s = time.monotonic()
            feed.recorder.stop()
            saved = feed.until_heard("saved")
            assert not feed.recorder.is_taking
            assert saved.path == tmp_path / f"{number:04d}"
            take = Take.open(saved.path)
            assert_whole(take, 0.7)
            assert 0.0 <= take.times_s[0] - begin_s < 1.5 / FPS
            assert take.times_s[-1] < end_s
            assert not take.facts.cancelled
            assert saved.facts["marks"] == take.facts.notes["marks"] == ""
            assert saved.facts["duration_s"] == pytest.approx(take.duration_s, abs=0.001)
        assert feed.news == []


def test_a_cancelled_take_is_kept_and_marked_and_one_that_never_began_is_not_there(tmp_path: Path) -> None:
    with Feed(tmp_path) as feed:
        feed.recorder.start(time.monotonic() - 0.1)
        feed.until_heard("started")
        feed.play(0.5)
        feed.recorder.cancel()
        saved = feed.until_heard("saved")
        assert saved.facts["cancelled"]
        assert Take.open(tmp_path / "0001").facts.cancelled
        feed.recorder.start(time.monotonic() + 60.0)
        feed.until_heard("started")
        feed.recorder.cancel()
        assert feed.until_heard("saved").path is None
        assert [take.number for take in list_takes(tmp_path)] == [1]
        assert incomplete_takes(tmp_path) == []


@pytest.mark.parametrize("missing", ["frames", "sound"])
def test_what_is_missing_at_the_end_does_not_keep_a_take_from_ending(tmp_path: Path, missing: str) -> None:
    with Feed(tmp_path) as feed:
        feed.recorder.start(time.monotonic())
        feed.until_heard("started")
        feed.play(0.5)
        feed.sees, feed.hears = missing != "frames", missing != "sound"
        feed.play(0.3)
        feed.recorder.stop()
        assert feed.until_heard("saved").facts["salvaged"] is False


def test_a_take_that_is_long_enough_must_stop_and_goes_on_until_it_is_told(tmp_path: Path) -> None:
    with Feed(tmp_path, longest_s=0.5) as feed:
        feed.recorder.start(time.monotonic())
        must_stop = feed.until_heard("must_stop")
        assert (must_stop.path, must_stop.is_full) == (tmp_path / "0001", False)
        feed.play(0.3)
        assert [each.word for each in feed.news] == ["started"]
        feed.recorder.stop()
        assert float(str(feed.until_heard("saved").facts["duration_s"])) > 0.7


def test_a_card_that_is_full_is_not_recorded_on(tmp_path: Path) -> None:
    with Feed(tmp_path / "takes", reserve_bytes=1 << 60) as feed:
        feed.recorder.start(time.monotonic())
        failed = feed.until_heard("failed")
        assert failed.is_full
        assert "full but for its reserve" in failed.reason
        assert not feed.recorder.is_taking
        assert not list(tmp_path.rglob("*.bin"))


@pytest.mark.parametrize("missing", ["frames", "sound"])
def test_no_take_begins_without_frames_or_sound(tmp_path: Path, missing: str) -> None:
    with Feed(tmp_path) as feed:
        feed.sees, feed.hears = missing != "frames", missing != "sound"
        feed.play(2.3)
        feed.recorder.start(time.monotonic())
        failed = feed.until_heard("failed")
        assert ("camera" if missing == "frames" else "sound card's input") in failed.reason
        feed.sees = feed.hears = True
        feed.play(0.3)
        feed.recorder.start(time.monotonic())
        feed.until_heard("started")


def test_a_recorder_that_is_killed_is_started_again_and_salvages_the_take(tmp_path: Path) -> None:
    with Feed(tmp_path) as feed:
        feed.recorder.start(time.monotonic())
        feed.until_heard("started")
        feed.play(2.5)
        os.kill(feed.recorder.pids["recorder"], signal.SIGKILL)
        saved = feed.until_heard("saved")
        assert saved.facts["salvaged"]
        take = Take.open(tmp_path / "0001")
        assert take.facts.salvaged
        assert take.duration_s > 1.0  # the last second may be lost, and what the machine was late with
        assert_whole(take, 1.0)
        assert feed.recorder.n_restarts == 1
        feed.recorder.start(time.monotonic())
        assert feed.until_heard("started").path == tmp_path / "0002"


def test_a_recorder_that_hangs_is_abandoned_and_its_take_is_salvaged_without_a_word(tmp_path: Path) -> None:
    with Feed(tmp_path) as feed:
        feed.recorder.start(time.monotonic())
        feed.until_heard("started")
        feed.play(2.0)
        os.kill(feed.recorder.pids["recorder"], signal.SIGSTOP)
        feed.recorder.stop()
        feed.recorder.abandon()
        assert not feed.recorder.is_taking
        feed.until(lambda: len(list_takes(tmp_path)) == 1)
        feed.play(0.2)
        assert feed.news == []
        feed.recorder.start(time.monotonic())
        assert feed.until_heard("started").path == tmp_path / "0002"


def test_a_recorder_that_stands_still_for_seconds_loses_nothing(tmp_path: Path) -> None:
    with Feed(tmp_path) as feed:
        feed.recorder.start(time.monotonic())
        feed.until_heard("started")
        feed.play(0.5)
        os.kill(feed.recorder.pids["recorder"], signal.SIGSTOP)
        feed.play(4.0)
        os.kill(feed.recorder.pids["recorder"], signal.SIGCONT)
        feed.play(0.3)
        feed.recorder.stop()
        saved = feed.until_heard("saved")
        assert (saved.facts["n_lost_frames"], saved.facts["n_lost_samples"], saved.facts["marks"]) == (0, 0, "")
        assert_whole(Take.open(tmp_path / "0001"), 4.5)


def test_a_microphone_s_process_that_is_killed_leaves_silence_and_its_sound_comes_back() -> None:
    ring = SoundRing(RATE_HZ, BLOCK)
    microphone = Microphone(partial(open_whistle, 0.5), ring, CALM)
    microphone.start()
    try:

        def until(is_so: object) -> None:
            eventually(lambda: (microphone.watch(), is_so())[1])  # type: ignore[func-returns-value, operator]  # both

        until(lambda: microphone.is_live and microphone.level_dbfs > -7.0)
        killed_s, n_blocks = time.monotonic(), ring.n_blocks
        os.kill(microphone.pids["microphone"], signal.SIGKILL)
        until(lambda: microphone.n_restarts == 1)
        assert not microphone.is_live
        until(lambda: microphone.is_live and ring.n_blocks > n_blocks + 200)
        heard = ring.read_from(n_blocks - 10, 10_000)
        assert heard is not None
        np.testing.assert_allclose(np.diff(heard.times_s), BLOCK / RATE_HZ, atol=0.001)
        assert heard.times_s[-1] == pytest.approx(time.monotonic(), abs=1.0)
        silent = np.flatnonzero(heard.samples == 0.0)
        assert len(silent) > 0.4 * RATE_HZ
        assert heard.times_s[silent[0] // BLOCK] >= killed_s - 0.5
        assert microphone.counts["n_filled_samples"] == pytest.approx(len(silent), abs=2000)
        assert np.abs(heard.samples[-1000:]).max() > 0.4
    finally:
        microphone.close()


def share(sound: Float32, hz: float) -> float:
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), 1 << 16)) ** 2
    near = np.abs(np.fft.rfftfreq(1 << 16, 1 / RATE_HZ) - hz) < 60.0
    return float(spectrum[near].sum() / max(spectrum.sum(), 1e-12))


def test_while_a_take_is_recorded_the_input_is_heard_and_the_model_before_and_after(tmp_path: Path) -> None:
    ring = SoundRing(RATE_HZ, BLOCK)
    microphone = Microphone(partial(open_whistle, 0.4), ring, CALM)
    it = Rig(FACTORY, listening=ListeningPlan(ring, 1.0, 0.04))
    recorder = Recorder(it.live.frames, microphone, TakeSettings(tmp_path / "takes", MotionSettings(HEIGHT, WIDTH)))
    try:
        microphone.start()
        recorder.open()
        it.live.start()
        it.until_heard(0.0)
        begin_s = it.play(0.5)
        assert share(it.card.between(begin_s - 0.3, begin_s), WHISTLE_HZ) < 0.5
        it.live.listen(on=True)
        recorder.start(begin_s)
        it.play(1.5)
        end_s = it.play(0.5)
        assert share(it.card.between(end_s - 0.7, end_s - 0.2), WHISTLE_HZ) > 0.99
        it.live.listen(on=False)
        recorder.stop()
        words: list[str] = []
        it.until(lambda: (words.extend(each.word for each in recorder.watch()), "saved" in words)[1])  # type: ignore[func-returns-value]
        last_s = it.play(0.5)
        model = it.card.between(last_s - 0.3, last_s - 0.1)
        assert np.abs(model).max() > 0.01
        assert share(model, WHISTLE_HZ) < 0.5
        assert it.live.meter.level_dbfs("output_peak") > -20.0
        (take,) = list_takes(tmp_path / "takes")
        assert take.duration_s > 1.5
        assert share(take.sound_at(0, take.n_samples), WHISTLE_HZ) > 0.99
        # A sound's process that has to be started again hears what it should.
        it.live.listen(on=True)
        os.kill(it.live.pids["sound"], signal.SIGKILL)
        it.until(lambda: it.card.n_opened == 2)
        last_s = it.play(1.0)
        assert share(it.card.between(last_s - 0.5, last_s - 0.2), WHISTLE_HZ) > 0.99
    finally:
        recorder.close()
        microphone.close()
        it.live.close()


def capture(*options: object) -> list[str]:
    return [sys.executable, "-m", "device", "capture", *map(str, options)]


def run(*options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(capture(*options), cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


FLASH_S, FLASHES = 0.04, (0.8, 1.6, 2.4)


def test_a_video_and_its_sound_from_a_file_line_up(tmp_path: Path) -> None:
    pictures = [
        np.full((48, 64), 200 if any(abs(k / 25 - s) < 0.01 for s in FLASHES) else 20, np.uint8) for k in range(75)
    ]
    clip = make_video(tmp_path / "flashes.mkv", pictures, fps=25)
    sound = np.random.default_rng(0).normal(0, 0.001, round(3.2 * 44_100)).astype(np.float32)
    for flash_s in FLASHES:
        sound[round(flash_s * 44_100) : round((flash_s + FLASH_S) * 44_100)] = 0.5
    soundfile.write(tmp_path / "beeps.wav", sound, 44_100)
    done = run("--camera", f"file:{clip}", "--audio-in", f"wav:{tmp_path / 'beeps.wav'}", "--takes", tmp_path, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    said = json.loads(done.stdout)
    take = Take.open(Path(said["take"]))
    assert take.n_columns == 75
    assert take.rate_hz == 48_000
    assert take.n_samples == pytest.approx(3.0 * 48_000, abs=0.1 * 48_000)
    moved_s = take.times_s[take.columns.any(axis=1)]
    heard = take.sound_at(0, take.n_samples) > 0.25
    beeps = np.flatnonzero(heard[1:] & ~heard[:-1]) + 1
    assert len(beeps) == len(FLASHES)
    for flash_s, beep in zip(FLASHES, beeps, strict=True):
        seen_s = moved_s[np.argmin(np.abs(moved_s - take.times_s[0] - flash_s))]
        assert seen_s - take.times_s[0] == pytest.approx(flash_s, abs=1e-3)
        assert take.time_of(int(beep)) == pytest.approx(seen_s, abs=0.005)
    assert "covered camera" in said["marks"]  # the pictures are all of one grey
    assert take.facts.source["camera"] == f"file:{clip}"


def test_a_sound_card_and_a_video_become_a_take(tmp_path: Path, pulse_card: PulseCard) -> None:
    pulse_card.start()
    steps = np.random.default_rng(1).integers(-8000, 8000, 12 * 48_000).astype(np.int16)
    soundfile.write(tmp_path / "noise.wav", np.repeat(steps[:, None], 2, axis=1), 48_000)
    clip = make_video(tmp_path / "dance.mkv", moving_bar(75), fps=25)
    with pulse_card.record() as recording, pulse_card.play(tmp_path / "noise.wav"):
        eventually(recording.hears)
        done = run("--camera", f"file:{clip}", "--audio-in", "alsa:pulse", "--takes", tmp_path / "takes", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    said = json.loads(done.stdout)
    take = Take.open(Path(said["take"]))
    assert 2.0 < take.duration_s <= 3.0
    heard = np.rint(take.sound_at(0, take.n_samples) * 32768)
    piece = heard[4800:14_400]
    power = np.fft.irfft(np.fft.rfft(steps, 1 << 20) * np.conj(np.fft.rfft(piece, 1 << 20)))
    place = int(np.argmax(power))
    # To the bit, as long as the machine lets the server keep up.
    assert np.mean(piece == steps[place : place + len(piece)]) > 0.9
    n = len(heard) - 4800
    assert np.mean(heard[4800:] == steps[place : place + n]) > 0.5 or said["n_lost_samples"] > 0
    assert said["marks"] in ("", "sound lost")


def test_an_interrupt_ends_the_take_and_saves_it_and_a_kill_leaves_one_to_be_salvaged(tmp_path: Path) -> None:
    clip = make_video(tmp_path / "dance.mkv", moving_bar(1500), fps=25)
    soundfile.write(tmp_path / "tone.wav", np.full(48_000 * 60, 0.1, np.float32), 48_000)
    command = capture("--camera", f"file:{clip}", "--audio-in", f"wav:{tmp_path / 'tone.wav'}", "--takes", tmp_path)
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        eventually(lambda: _has_begun(tmp_path / "0001"))
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert said.startswith(str(tmp_path / "0001"))
    assert Take.open(tmp_path / "0001").duration_s > 0.2
    with subprocess.Popen(command, cwd=ROOT, text=True) as killed:
        eventually(lambda: _has_begun(tmp_path / "0002"))
        killed.kill()
    eventually(lambda: _salvages(tmp_path / "0002"))
    take = Take.open(tmp_path / "0002")
    assert take.facts.salvaged
    assert take.duration_s > 0.2


def test_a_card_that_is_pulled_out_ends_the_take_which_is_saved_and_said_to_be_why(
    tmp_path: Path, pulse_card: PulseCard
) -> None:
    pulse_card.start()
    clip = make_video(tmp_path / "dance.mkv", moving_bar(1500), fps=25)
    command = capture("--camera", f"file:{clip}", "--audio-in", "alsa:pulse", "--takes", tmp_path)
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        eventually(lambda: _has_begun(tmp_path / "0001"))
        pulse_card.stop()
        said, complaint = process.communicate(timeout=30)
    assert (process.returncode, said) == (1, "")
    assert "plug it in again" in complaint
    assert len(complaint.splitlines()) == 1
    assert Take.open(tmp_path / "0001").duration_s > 0.2


def _has_begun(path: Path) -> bool:
    """Whether some columns and a second of sound are there."""
    sound, columns = path / "sound.bin", path / "columns.bin"
    return columns.exists() and columns.stat().st_size > 5000 and sound.stat().st_size > 96_000


def _salvages(path: Path) -> bool:
    """Salvage, as soon as the process that wrote it is gone."""
    try:
        salvage(path)
    except (OSError, ValueError):
        return False
    return True


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--camera", "file:none.mp4", "--audio-in", "alsa:null", "--takes", "TMP"), 1, "there is no video none.mp4"),
        (("--camera", "eye", "--audio-in", "alsa:null", "--takes", "TMP"), 2, "there is no camera 'eye'"),
        (("--camera", "file:CLIP", "--audio-in", "mic", "--takes", "TMP"), 2, "--audio-in alsa:PCM or wav:FILE"),
        (("--camera", "file:CLIP", "--audio-in", "wav:none.wav", "--takes", "TMP"), 1, "no sound file none.wav"),
        (
            ("--camera", "file:CLIP", "--audio-in", "alsa:null", "--takes", "CLIP"),
            2,
            "is a file: give --takes a folder",
        ),
        (("--camera", "file:CLIP", "--audio-in", "alsa:null"), 2, "--takes"),
    ],
)
def test_what_cannot_be_recorded_is_said_in_one_line(
    tmp_path: Path, options: tuple[str, ...], code: int, words: str
) -> None:
    clip = make_video(tmp_path / "dance.mkv", moving_bar(100), fps=25)
    done = run(*(each.replace("TMP", str(tmp_path / "takes")).replace("CLIP", str(clip)) for each in options))
    assert (done.returncode, done.stdout) == (code, "")
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not list((tmp_path).rglob("take.json*"))
