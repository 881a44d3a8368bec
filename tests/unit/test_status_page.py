"""The page of `device status`, and the command on a box that answers and on one that does not."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from device.__main__ import COMMANDS
from device.box.status import StatusServer
from device.box.status_page import duration, page
from device.cli import run

ROOT = Path(__file__).parents[2]
SNAPSHOT: dict[str, Any] = {
    "state": "recording",
    "light": "count-in",
    "since_s": 75.2,
    "mode": "stream",
    "safe": False,
    "model": {"name": "salsa", "version": 3, "digest": "0123456789abcdef", "variant": "f16", "runtime": "tflite"},
    "trial": {"path": "/x/models/89abcdef01234567", "phase": "trial", "of_s": 60.0, "seconds": 12.3, "reason": ""},
    "uptime_s": 100_000.0,
    "fps": 59.94,
    "latency_ms": {"engine": {"p50": 1.5, "p99": 3.0, "max": 9.9}, "frame_to_sound": {"p50": 17.9, "p99": 27.1}},
    "missing": {"card": "the sound card is gone: plug it in again"},
    "n_frames": 3000,
    "n_blocks": 40_000,
    "n_bad_spectra": 0,
    "pids": {"camera": 12, "sound": 13},
    "n_xruns": 2,
    "n_dropped_frames": 4,
    "n_card_losses": 1,
    "n_restarts": {"camera": 3, "sound": 0, "model": 0},
    "levels_dbfs": {"output": -120.0, "input": -12.3},
    "take": {"number": 7, "seconds": 65.0, "level": -30.0},
    "disk": {"free_bytes": 12.5e9, "reserve_bytes": 0.5e9, "seconds_left": 90_000},
    "temperature_c": 61.2,
    "throttled": ["under-voltage since the start"],
    "faults": [{"time": "2026-11-23T02:00:00+00:00", "age_s": 3700.0, "what": "camera: check its cable"}],
    "notes": ["real-time priority is not allowed"],
    "rtf": 0.0312,
    "memory_bytes": 201e6,
    "hours": {"is_open": True, "next_change": "2026-11-23T18:00+01:00"},
    "colour": {"of the light": "green"},
}


@pytest.mark.parametrize(
    "line",
    [
        "state      recording, for 1 min 15 s",
        "           running for 1 d 3 h",
        "           the LED says: count-in",
        "model      salsa 3, f16 on tflite, stream, 0123456789ab",
        "missing    the sound card is gone: plug it in again",
        "trial      89abcdef0123 is on trial, 12 of 60 s",
        "camera     59.9 frames a second, 3000 frames, 4 dropped",
        "sound      output silent, input -12 dBFS",
        "           40000 blocks, 2 underruns, 0 bad spectra, 1 times without a card",
        "latency    frame to sound 17.9 ms p50, 27.1 ms p99",
        "           engine alone   1.5 ms p50, 3.0 ms p99, 9.9 ms max",
        "take       0007, 1 min 5 s, input -30 dBFS [##########..........]",
        "load       3.1% of one core, 201 MB, camera started again 3 times",
        "           processes camera 12, sound 13",
        "disk       12.5 GB free, 0.5 GB of it kept free, 1 d 1 h of takes",
        "machine    61 °C, under-voltage since the start",
        "hours      open, until 2026-11-23 18:00+01:00",
        "faults     2026-11-23T02:00:00+00:00  1 h 1 min ago  camera: check its cable",
        "notes      real-time priority is not allowed",
        "colour     of the light green",
    ],
)
def test_all_that_a_box_says_can_be_read(line: str) -> None:
    assert line in page(SNAPSHOT).splitlines()


def test_what_a_box_does_not_know_is_left_out() -> None:
    unknown = SNAPSHOT | dict.fromkeys(
        ("take", "temperature_c", "throttled", "fps", "n_frames", "n_dropped_frames"), None
    )
    titles = [line.split()[0] for line in page(unknown | {"faults": [], "notes": []}).splitlines()]
    assert not {"take", "machine", "camera", "faults", "notes"} & set(titles)
    assert page({}) == ""


def test_what_became_of_a_trial_is_said() -> None:
    trial = {**SNAPSHOT["trial"], "phase": "rolled_back", "seconds": None, "reason": "12 dB quieter"}
    assert "trial      89abcdef0123 was taken back: 12 dB quieter" in page(SNAPSHOT | {"trial": trial}).splitlines()
    assert "trial" not in page(SNAPSHOT | {"trial": None})


def test_latencies_that_were_never_measured_are_not_said_to_be_none() -> None:
    none = {"p50": 0.0, "p99": 0.0, "max": 0.0}
    assert "latency" not in page(SNAPSHOT | {"latency_ms": {"engine": none, "frame_to_sound": none}})


def test_safe_mode_and_a_full_card_are_said_loudly() -> None:
    full = {"disk": {"free_bytes": 1e8, "reserve_bytes": 5e8, "seconds_left": 0}}
    said = page(SNAPSHOT | {"safe": True} | full)
    assert "SAFE MODE: the factory's model" in said
    assert "FULL, copy takes" in said


@pytest.mark.parametrize("strange", [3, "x", [1, {"a": None}], {"a": [1.5]}, True])
def test_a_newer_box_may_say_things_in_another_form(strange: object) -> None:
    for key in SNAPSHOT:
        assert page(SNAPSHOT | {key: strange})


@pytest.mark.parametrize(
    ("seconds", "said"), [(0, "0 s"), (59.9, "59 s"), (60, "1 min 0 s"), (7200, "2 h 0 min"), (-5, "0 s")]
)
def test_durations_are_said_as_people_do(seconds: float, said: str) -> None:
    assert duration(seconds) == said


class Box:
    """A box that answers."""

    def __init__(self, path: Path) -> None:
        self.path, self.server = path, StatusServer(path)
        self.server.publish(SNAPSHOT)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def end(self) -> None:
        self._is_over.set()
        self._thread.join()
        self.server.close()

    def _serve(self) -> None:
        while not self._is_over.wait(0.01):
            self.server.serve()


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    made = Box(tmp_path / "status")
    yield made
    made.end()


def status(*argv: str | Path) -> int:
    return run("device", "A test.", COMMANDS, ["status", *map(str, argv)])


def test_the_command_prints_the_page_or_the_snapshot_as_it_is(box: Box, capsys: pytest.CaptureFixture[str]) -> None:
    assert status("--socket", box.path) == 0
    assert capsys.readouterr().out == page(SNAPSHOT) + "\n"
    assert status("--socket", box.path, "--json") == 0
    assert json.loads(capsys.readouterr().out) == SNAPSHOT


def test_the_socket_is_the_configured_one(box: Box, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.toml").write_text(f'[status]\nsocket = "{box.path}"\n')
    assert status("--config", tmp_path / "mine.toml") == 0
    assert "recording" in capsys.readouterr().out


def test_a_mistake_in_the_configuration_does_not_hide_the_status(
    box: Box, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.toml").write_text(f'[status]\nsocket = "{box.path}"\n[audio]\nperod = 1\n')
    assert status("--config", tmp_path / "mine.toml") == 0
    assert "recording" in capsys.readouterr().out


def test_a_box_that_does_not_run_is_one_line_and_a_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert status("--socket", tmp_path / "none") == 1
    said = capsys.readouterr()
    assert (said.out, said.err) == (
        "",
        "device: the box does not run: start it with systemctl start dance-sampler\n",
    )


@contextlib.contextmanager
def following(path: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "device", "status", "--follow", "--socket", str(path), *options]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True, env=dict(os.environ)) as process:
        try:
            yield process
        finally:
            process.kill()


def test_following_prints_a_line_for_every_snapshot_and_ends_when_interrupted(box: Box) -> None:
    with following(box.path, "--json") as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline()) == SNAPSHOT
        box.server.publish({"n": 1})
        assert json.loads(process.stdout.readline()) == {"n": 1}
        process.send_signal(signal.SIGINT)
        assert (process.wait(10), process.communicate()[1]) == (0, "")


def test_following_says_when_the_box_has_ended(box: Box) -> None:
    with following(box.path) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("state      recording")
        box.end()
        assert (process.wait(10), process.communicate()[1]) == (1, "the box has ended\n")
