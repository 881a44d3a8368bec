"""`python -m device perform`, run as a user runs it, with a bundle from disk and videos that are decoded."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from device.edges.audio_wav import read_wav
from device.models.bundles import write_bundle
from tests.media_files import make_text_file, make_truncated, make_video, moving_bar
from tests.tiny_model import SYNTH, TinyModel, tiny_manifest

ROOT = Path(__file__).parents[2]
CLIP_S = 2.0
FPS = 25
KEYS = {"engine", "frame_to_sound"}


@pytest.fixture(scope="module")
def bundle(tiny_model: TinyModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundle") / "tiny"
    write_bundle(path, tiny_manifest(tiny_model.golden()), tiny_model.files)
    return path


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_video(tmp_path_factory.mktemp("clip") / "dance.mp4", moving_bar(round(CLIP_S * FPS)), fps=FPS)


def start(*options: object, stderr: int = subprocess.PIPE, largest_file: int | None = None) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "device", "perform", *map(str, options)]
    if largest_file is not None:
        command = ["prlimit", f"--fsize={largest_file}", *command]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=stderr, text=True)


def perform(*options: object) -> tuple[int, str, str]:
    process = start(*options)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def figures(*options: object) -> dict[str, object]:
    code, out, err = perform(*options, "--json")
    assert (code, err) == (0, "")
    result = json.loads(out.splitlines()[-1])
    assert isinstance(result, dict)
    return result


@pytest.mark.parametrize("mode", ["stream", "segment"])
def test_a_clip_becomes_the_same_wav_each_time(bundle: Path, clip: Path, tmp_path: Path, mode: str) -> None:
    for name in ("first", "second"):
        options = ["--mode", mode, "--temperature", "1", "--seed", "5"]
        figures("--camera", f"file:{clip}", "--audio", f"wav:{tmp_path}/{name}.wav", "--model", bundle, *options)
    assert (tmp_path / "first.wav").read_bytes() == (tmp_path / "second.wav").read_bytes()
    sound, rate_hz = read_wav(tmp_path / "first.wav")
    assert rate_hz == SYNTH.rate_hz
    assert len(sound) == round((CLIP_S + 1.0) * rate_hz)
    assert sound.any()
    assert not sound[-rate_hz // 4 :].any()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first.wav", "second.wav"]


def test_the_figures_and_the_report(bundle: Path, clip: Path, tmp_path: Path) -> None:
    wav, report = tmp_path / "out" / "dance.wav", tmp_path / "report"
    result = figures("--camera", f"file:{clip}", "--audio", f"wav:{wav}", "--model", bundle, "--report", report)
    latency_ms = result["latency_ms"]
    assert isinstance(latency_ms, dict)
    assert latency_ms.keys() == KEYS
    for each in latency_ms.values():
        assert 0.0 < each["p50"] <= each["p99"] <= each["max"]
    buffer_ms = 1000 * 384 / SYNTH.rate_hz
    assert buffer_ms - 0.05 <= latency_ms["frame_to_sound"]["p50"] <= buffer_ms + 1000 * 128 / SYNTH.rate_hz + 0.05
    assert result["n_frames"] == round(CLIP_S * FPS)
    assert result["n_blocks"] == round((CLIP_S + 1.0) * SYNTH.rate_hz / 128)
    assert (result["n_xruns"], result["model"], result["variant"]) == (0, "tiny", "f16")
    assert isinstance(result["rtf"], float)
    assert 0.0 < result["rtf"] < 1.0
    assert result["runtime"] in ("tflite-runtime", "ai-edge-litert")
    assert json.loads((report / "summary.json").read_text()) == result
    png = (report / "performance.png").read_bytes()
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    assert int.from_bytes(png[16:20], "big") == 1600
    assert sorted(path.name for path in report.iterdir()) == ["performance.png", "summary.json"]


def test_int8_is_played_when_asked_for_and_seconds_cut_the_clip(bundle: Path, clip: Path, tmp_path: Path) -> None:
    wav = tmp_path / "dance.wav"
    options = ["--variant", "int8", "--seconds", "0.5"]
    result = figures("--camera", f"file:{clip}", "--audio", f"wav:{wav}", "--model", bundle, *options)
    assert result["variant"] == "int8"
    assert len(read_wav(wav)[0]) == round(1.5 * SYNTH.rate_hz)


def test_without_json_a_few_lines_say_how_it_went(bundle: Path, clip: Path, tmp_path: Path) -> None:
    wav = tmp_path / "dance.wav"
    code, out, err = perform("--camera", f"file:{clip}", "--audio", f"wav:{wav}", "--model", bundle)
    assert (code, err) == (0, "")
    assert 4 <= len(out.splitlines()) <= 7
    assert str(wav) in out
    assert "p99" in out


def test_on_a_terminal_progress_is_shown(bundle: Path, clip: Path, tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    try:
        process = start(
            "--camera", f"file:{clip}", "--audio", f"wav:{tmp_path}/a.wav", "--model", bundle, stderr=theirs
        )
        process.communicate(timeout=60)
        assert select.select([ours], [], [], 0)[0]
        assert b"played" in os.read(ours, 65536)
    finally:
        os.close(ours)
        os.close(theirs)


def test_in_time_the_sound_is_as_long_and_the_figures_are_real(bundle: Path, clip: Path, tmp_path: Path) -> None:
    wav = tmp_path / "dance.wav"
    begin_s = time.monotonic()
    result = figures("--camera", f"file:{clip}", "--audio", f"wav:{wav}", "--model", bundle, "--clock", "real")
    assert time.monotonic() - begin_s > CLIP_S
    sound, rate_hz = read_wav(wav)
    assert len(sound) == round((CLIP_S + 1.0) * rate_hz)
    assert sound.any()
    assert result["n_frames"] == round(CLIP_S * FPS)
    latency_ms = result["latency_ms"]
    assert isinstance(latency_ms, dict)
    assert latency_ms["frame_to_sound"]["p50"] > 1000 * 256 / rate_hz
    assert latency_ms["engine"]["p50"] < latency_ms["frame_to_sound"]["p50"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_its_wav_whole(bundle: Path, tmp_path: Path, number: signal.Signals) -> None:
    clip = make_video(tmp_path / "long.mkv", moving_bar(1000), fps=FPS)
    wav = tmp_path / "sound" / "dance.wav"
    process = start("--camera", f"file:{clip}", "--audio", f"wav:{wav}", "--model", bundle, "--clock", "real", "--json")
    wait_for(lambda: any(part.stat().st_size > 8000 for part in wav.parent.glob(".*.part")), process)
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, "")
    sound, rate_hz = read_wav(wav)
    assert 4000 <= len(sound) < 20 * rate_hz
    assert abs(sound[-1]) < 1e-3
    assert json.loads(out)["n_frames"] > 0
    assert [path.name for path in wav.parent.iterdir()] == ["dance.wav"]


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Wait until something is so, while a process runs; its end or a minute is a failure."""
    give_up_s = time.monotonic() + 60.0
    while not condition():
        assert time.monotonic() < give_up_s
        try:
            process.wait(0.02)
        except subprocess.TimeoutExpired:
            continue
        pytest.fail(f"ended early with {process.returncode}")


@pytest.mark.parametrize("clock", ["virtual", "real"])
def test_a_card_that_takes_everything_is_played_on(bundle: Path, clip: Path, clock: str) -> None:
    options = ["--clock", clock, "--seconds", "0.2"]
    result = figures("--camera", f"file:{clip}", "--audio", "alsa:null", "--model", bundle, *options)
    assert result["duration_s"] == 1.2


def test_a_clip_that_is_cut_off_is_played_as_far_as_it_goes(bundle: Path, tmp_path: Path) -> None:
    whole = make_video(tmp_path / "whole.mkv", moving_bar(100), fps=FPS, options={"g": "10"})
    cut = make_truncated(whole, tmp_path / "cut.mkv")
    code, _, _ = perform("--camera", f"file:{cut}", "--audio", f"wav:{tmp_path}/a.wav", "--model", bundle)
    assert code == 0
    assert 1.0 < len(read_wav(tmp_path / "a.wav")[0]) / SYNTH.rate_hz < 5.0


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--camera", "v4l2:/dev/video99"], 1, "there is no camera /dev/video99"),
        (["--camera", "v4l2:/dev/null"], 1, "/dev/null is no camera"),
        (["--camera", "gst:videotestsrc", "--clock", "virtual"], 2, "--clock virtual"),
        (["--camera", "magic:1"], 2, "no camera"),
        (["--camera", "file:"], 2, "no camera"),
        (["--camera", "file:missing.mp4"], 1, "missing.mp4"),
        (["--camera", "file:TEXT"], 1, "not a video"),
        (["--audio", "mp3:a.mp3"], 2, "wav:FILE"),
        (["--audio", "wav:"], 2, "wav:FILE"),
        (["--audio", "wav:FOLDER"], 1, "folder"),
        (["--audio", "alsa:nowhere"], 1, "nowhere"),
        (["--seconds", "0"], 2, "seconds"),
        (["--seconds", "nan"], 2, "seconds"),
        (["--temperature", "-1"], 2, "temperature"),
        (["--seed", "-1"], 2, "seed"),
        (["--report", "TEXT"], 2, "folder"),
        (["--model", "nowhere"], 1, "nowhere"),
        (["--config", "nowhere.toml"], 2, "nowhere.toml"),
        (["--mode", "loop"], 2, "loop"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_leaves_nothing(
    bundle: Path, clip: Path, tmp_path: Path, options: list[str], code: int, words: str
) -> None:
    text = make_text_file(tmp_path / "list.mp4")
    folder = tmp_path / "folder"
    folder.mkdir()
    options = [option.replace("TEXT", str(text)).replace("FOLDER", str(folder)) for option in options]
    given = ["--camera", f"file:{clip}", "--audio", f"wav:{folder}/a.wav", "--model", str(bundle)]
    got, out, err = perform(*given, *options)
    assert got == code
    assert out == ""
    assert len(err.splitlines()) == 1
    assert words in err
    assert not list(folder.iterdir())


def test_a_wav_that_was_there_stays_when_the_performance_fails(bundle: Path, tmp_path: Path) -> None:
    wav = tmp_path / "dance.wav"
    soundfile.write(wav, np.zeros(100), 8000)
    before = wav.read_bytes()
    code, _, _ = perform("--camera", "file:missing.mp4", "--audio", f"wav:{wav}", "--model", bundle)
    assert code == 1
    assert wav.read_bytes() == before
    assert np.array_equal([path.name for path in tmp_path.iterdir()], ["dance.wav"])


@pytest.mark.parametrize("name", ["dance.mp4", "link.mp4", "folder/../dance.mp4", "other.mp4", "device"])
def test_no_file_that_is_not_a_wav_is_written_over(bundle: Path, clip: Path, tmp_path: Path, name: str) -> None:
    dance = Path(shutil.copy(clip, tmp_path / "dance.mp4"))
    make_text_file(tmp_path / "other.mp4")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link.mp4").symlink_to(dance)
    (tmp_path / "device").symlink_to("/dev/null")
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    target = tmp_path / name
    code, out, err = perform("--camera", f"file:{dance}", "--audio", f"wav:{target}", "--model", bundle)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    what = "not a WAV" if name in ("other.mp4", "device") else "the dance itself"
    assert f"{target} is {what}: it would be lost; give another name" in err
    assert {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before
    assert (tmp_path / "device").is_symlink()


def test_a_wav_or_an_empty_file_that_was_there_is_replaced(bundle: Path, clip: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "before.wav", np.zeros(100), 8000)
    (tmp_path / "empty").touch()
    for wav in (tmp_path / "before.wav", tmp_path / "empty"):
        figures("--camera", f"file:{clip}", "--audio", f"wav:{wav}", "--model", bundle, "--seconds", "0.2")
        assert len(read_wav(wav)[0]) == round(1.2 * SYNTH.rate_hz)


def test_a_performance_that_fails_half_way_leaves_no_wav(bundle: Path, clip: Path, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text("[audio]\nperiod = 4096\nn_periods = 16\n")
    folder = tmp_path / "sound"
    options = ["--audio", f"wav:{folder}/a.wav", "--model", bundle, "--config", config]
    code, _, err = perform("--camera", f"file:{clip}", *options)
    assert code == 2
    assert "audio.n_periods" in err
    assert not list(folder.iterdir())


def test_a_full_disk_is_one_line_and_leaves_no_wav(bundle: Path, clip: Path, tmp_path: Path) -> None:
    options = ["--camera", f"file:{clip}", "--audio", f"wav:{tmp_path}/a.wav", "--model", bundle]
    process = start(*options, largest_file=30_000)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert len(err.splitlines()) == 1
    assert "a.wav" in err
    assert not list(tmp_path.iterdir())
