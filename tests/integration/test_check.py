"""`device check` on this machine: a sound card in real time, a video as a camera, mock pins, the real engine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import device.check.eye
from device.__main__ import COMMANDS
from device.check import camera_led
from device.check.camera import sum_up
from device.check.children import result_of
from device.check.eye import eye_of
from device.cli import run
from device.core.errors import CameraError
from device.core.motiongram import MotionSettings
from device.engine.process import Child, Part, PartEndedError, run_part
from device.engine.realtime import Urgency
from tests.live_fakes import FPS, HEIGHT, WIDTH, Stage, StageCamera
from tests.pulse_card import PulseCard, pulse_card

ROOT = Path(__file__).parents[2]
CLIP = ROOT / "device" / "factory" / "dance.mp4"
CALM = Urgency(0, lock_memory=False)

__all__ = ["pulse_card"]  # a fixture


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A box whose card is the one that the test plugs in, with a buffer that a busy machine keeps filled."""
    file = tmp_path / "box.toml"
    file.write_text(
        f'[audio]\ndevice = "pulse"\nperiod = 480\nn_periods = 8\n[camera]\nsource = "file:{CLIP}"\n'
        f'[capture]\naudio_in = "alsa:pulse"\n[state]\nfolder = "{tmp_path}"\n'
        f'[status]\nsocket = "{tmp_path / "none"}"\n'
        '[panel]\nfactory = "mock"\nbutton = "17"\nled = "27"\n'
    )
    return file


def check(config: Path, *argv: str) -> tuple[int, dict[str, dict[str, Any]]]:
    command = [sys.executable, "-m", "device", "check", "--json", "--config", str(config), *argv]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    return done.returncode, {each["name"]: each for each in json.loads(done.stdout)["checks"]}


def test_all_parts_of_a_box_are_tried(config: Path, pulse_card: PulseCard) -> None:
    pulse_card.start()
    with pulse_card.record() as recording:
        code, found = check(config, "--seconds", "1.5")
        heard = recording.sound[:, 0]
    assert code == 0, found
    assert list(found) == [
        "config", "box", "state", "machine", "priority", "camera", "sound", "input", "panel", "model", "latency",
    ]  # fmt: skip
    assert found["camera"]["figures"]["fps"] == pytest.approx(50.0, rel=0.1)
    assert found["camera"]["figures"]["contrast"] > 4.0
    assert "silence" in found["input"]["found"]
    assert found["panel"]["found"].startswith("button on 17 and LED on 27")
    latency = found["latency"]["figures"]
    assert latency["is_card_live"]
    assert latency["n_frames"] > 30
    assert latency["frame_to_sound_ms"]["p50"] > 1000.0 * 7 * 480 / 48_000  # what lies in the card's buffer is in it
    # The tone: the loudest of all spectra at its own pitch.
    pieces = heard[: len(heard) // 4800 * 4800].reshape(-1, 4800)
    tones = [int(np.argmax(np.abs(np.fft.rfft(piece)))) * 10 for piece in pieces if np.abs(piece).max() > 0.05]
    assert tones.count(440) >= 5


def test_without_card_and_camera_it_says_so_and_tries_the_rest(config: Path) -> None:
    code, found = check(config, "--camera", "v4l2:/dev/video99", "--only", "camera,sound,latency", "--seconds", "1")
    assert code == 1
    assert (found["camera"]["state"], found["sound"]["state"]) == ("failed", "failed")
    assert "/dev/video99" in found["camera"]["found"]
    assert "sound card 'pulse'" in found["sound"]["found"]
    assert "without a card" in found["latency"]["found"]
    assert found["latency"]["figures"]["n_frames"] > 20


def test_a_coarse_picture_is_shown_until_interrupted(config: Path) -> None:
    command = [sys.executable, "-m", "device", "check", "--live", "--config", str(config)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=dict(os.environ)) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline().rstrip("\n") for _ in range(2 * (HEIGHT // 2 + 1))]
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        assert process.wait(20) == 0
    assert {len(line) for line in lines[: HEIGHT // 2]} == {WIDTH}
    assert len({character for line in lines[: HEIGHT // 2] for character in line}) > 3
    assert lines[HEIGHT // 2].startswith("motion ")


def test_an_led_that_is_not_in_the_picture_is_not_found(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(camera_led, "N_CHANGES", 8)
    monkeypatch.setattr(camera_led, "HOLD_S", (0.4, 0.5))
    code = run("device", "A test.", COMMANDS, ["check", "--camera-led", "--json", "--config", str(config)])
    printed = capsys.readouterr()
    verdict = json.loads(printed.out)
    assert (code, verdict["state"]) == (1, "failed")
    assert "the LED is not to be seen" in verdict["found"]
    assert "hold the LED before the camera" in printed.err


def test_a_camera_is_looked_at_in_its_own_process() -> None:
    stage = Stage()
    with eye_of(partial(StageCamera, stage, FPS), HEIGHT, WIDTH, CALM) as eye:
        seen = sum_up(eye.watch(1.0), MotionSettings())
    assert seen.fps == pytest.approx(FPS, rel=0.2)
    assert seen.most_motion > 10.0


@pytest.mark.parametrize("scene", ["nothing", "hangs"])
def test_a_camera_that_gives_nothing_is_said_and_its_process_ended(scene: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device.check.eye, "SILENT_S", 0.5)
    stage = Stage()
    stage.show(scene)
    with (
        pytest.raises(CameraError, match="gives no frames: check its cable"),
        eye_of(partial(StageCamera, stage, FPS), HEIGHT, WIDTH, CALM),
    ):
        pytest.fail("there was nothing to see")
    begin_s = time.monotonic()
    while list_children("dance-camera"):
        assert time.monotonic() - begin_s < 10.0, "its process goes on"
        time.sleep(0.01)


def list_children(name: str) -> list[str]:
    """Processes of this name that are descended from this one."""
    command = ["ps", "-o", "pid,comm", "--no-headers", "-g", str(os.getpgrp())]
    lines = subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
    return [line for line in lines if line.split()[1] == name]


def hanging_main(part: Part, _: object) -> None:
    run_part("hanging", part, lambda: part.wait_for("never"))


def dying_main(part: Part, _: object) -> None:  # noqa: ARG001 - a process's body is called so
    os._exit(3)


def test_a_device_that_hangs_or_dies_does_not_hold_the_check_up() -> None:
    with pytest.raises(PartEndedError, match=r"did not answer within 0\.5 s"):
        result_of(Child("card", hanging_main, None), 0.5)
    with pytest.raises(PartEndedError, match="ended unasked"):
        result_of(Child("card", dying_main, None), 20.0)
