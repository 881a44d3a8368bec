"""Verdicts of `device check`: what is found, and what is to be done about it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from device.__main__ import COMMANDS
from device.box.status import StatusServer
from device.check import camera, latency, machine, model, panel, sound
from device.check.picture import RAMP, in_blocks, in_letters, meter, stretched
from device.check.verdict import FAILED, GOOD, SKIPPED, WARNING, Context, Verdict, failure, tried
from device.cli import run
from device.commands import check as check_command
from device.config import Config, load_config
from device.core.errors import AudioError, BundleError
from device.core.frame import Frame
from device.core.motiongram import MotionSettings
from device.edges.camera_fake import FakeCamera
from device.edges.panel import OnEdge
from device.edges.panel_fake import FakePanel
from device.edges.panel_none import NoPanel
from device.engine.frame_bus import Arrival
from device.engine.performance import Meter
from tests.hand_clock import HandClock

ABSENT = Path("/nonexistent")


def configured(tmp_path: Path, text: str = "") -> Config:
    file = tmp_path / "box.toml"
    file.write_text(text)
    return load_config(file, system_path=ABSENT)


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(configured(tmp_path), 1.0, False, False, lambda _: None, tmp_path)


def test_what_a_check_raises_is_its_verdict_with_what_to_do(context: Context) -> None:
    def raising(error: Exception) -> Callable[[Context], Verdict]:
        def check(_: Context) -> Verdict:
            raise error

        return check

    verdict = tried(
        "sound", raising(AudioError("sound card 'x' is busy: end what plays on it")), context, needs_devices=True
    )
    assert verdict == Verdict("sound", FAILED, "sound card 'x' is busy: end what plays on it")
    assert tried("sound", raising(OSError(5, "Input/output error", "/dev/x")), context, needs_devices=True).found == (
        "/dev/x: Input/output error"
    )
    missing = tried("model", raising(ModuleNotFoundError("no", name="tflite_runtime")), context, needs_devices=False)
    assert (missing.state, missing.remedy) == (FAILED, "pip install -r requirements-device.txt")


def test_what_a_running_box_holds_is_not_touched_and_the_rest_is_checked(context: Context) -> None:
    running = replace(context, is_running=True)
    verdict = tried("camera", lambda _: pytest.fail("it was opened"), running, needs_devices=True)
    assert (verdict.state, verdict.remedy) == (SKIPPED, "stop it first: systemctl stop dance-sampler")
    assert tried("config", machine.check_configuration, running, needs_devices=False).state == GOOD


def test_an_error_is_one_line() -> None:
    assert failure("x", "it is\nbroken") == Verdict("x", FAILED, "it is broken")


def test_a_verdict_for_people_has_its_remedy_on_a_line_of_its_own() -> None:
    assert Verdict("sound", WARNING, "found", "do this").lines() == [
        "warning  sound      found",
        "                    -> do this",
    ]
    assert len(Verdict("sound", GOOD, "found").lines()) == 1


def test_the_configuration_says_where_it_comes_from(tmp_path: Path, context: Context) -> None:
    assert machine.check_configuration(context).found == "all defaults"
    config = configured(tmp_path, "[audio]\nperiod = 64\nn_periods = 4\n")
    assert (
        machine.check_configuration(replace(context, config=config)).found == f"2 keys set by {tmp_path / 'box.toml'}"
    )


def test_a_state_folder_that_is_missing_or_nearly_full_is_a_warning(tmp_path: Path, context: Context) -> None:
    state = tmp_path / "state"
    config = configured(tmp_path, f'[state]\nfolder = "{state}"\n')
    missing = machine.check_state(replace(context, config=config))
    assert (missing.state, missing.remedy) == (WARNING, "make the folder or mount its partition")
    state.mkdir()
    verdict = machine.check_state(replace(context, config=config))
    assert (verdict.state, verdict.figures["free_bytes"] > 0) == (GOOD, True)
    full = replace(config, store=replace(config.store, reserve_mb=100_000_000))
    verdict = machine.check_state(replace(context, config=full))
    assert (verdict.state, verdict.figures["seconds_left"]) == (WARNING, 0)


def put(root: Path, name: str, text: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)


@pytest.mark.parametrize(
    ("heat", "bits", "state", "remedy"),
    [
        ("55000", "0", GOOD, ""),
        ("85000", "0", WARNING, "let air reach the board, or give it a fan"),
        ("55000", "50000", WARNING, "use the power supply that the board's maker recommends"),
        ("55000", "80008", WARNING, "let air reach the board, or give it a fan"),
    ],
)
def test_heat_and_a_weak_power_supply_are_warnings(
    context: Context, tmp_path: Path, heat: str, bits: str, state: str, remedy: str
) -> None:
    put(tmp_path, "sys/class/thermal/thermal_zone0/type", "cpu-thermal")
    put(tmp_path, "sys/class/thermal/thermal_zone0/temp", heat)
    put(tmp_path, "sys/devices/platform/soc/soc:firmware/get_throttled", bits)
    verdict = machine.check_machine(context)
    assert (verdict.state, verdict.remedy) == (state, remedy)


def test_a_clock_that_no_network_has_set_is_said(context: Context, tmp_path: Path) -> None:
    (tmp_path / "run/systemd/timesync").mkdir(parents=True)
    assert machine.check_machine(context).found.endswith(", not set by the network")
    put(tmp_path, "run/systemd/timesync/synchronized", "")
    assert "not set" not in machine.check_machine(context).found


def arrivals(scene: FakeCamera, age_s: float = 0.0) -> list[Arrival]:
    frames = iter(scene.read, None)
    return [Arrival(frame, frame.time_s + age_s, n) for n, frame in enumerate(frames) if frame is not None]


def test_a_camera_is_summed_up() -> None:
    seen = camera.sum_up(arrivals(FakeCamera("bar", fps=50.0, duration_s=2.0), age_s=0.02), MotionSettings())
    assert (seen.n_frames, round(seen.fps, 3), round(seen.age_ms, 3)) == (100, 50.0, 20.0)
    still = camera.sum_up(arrivals(FakeCamera("still", fps=50.0)), MotionSettings())
    assert (still.motion, still.most_motion) == (0.0, 0.0)
    assert seen.motion > 1.0
    assert camera.sum_up([], MotionSettings()).n_frames == 0


SEEN = camera.Seen(100, 60.0, 110.0, 40.0, 1.0, 3.0, 5.0)


@pytest.mark.parametrize(
    ("changes", "state", "said"),
    [
        ({}, GOOD, ""),
        ({"fps": 30.0}, WARNING, "set camera.fps to 30"),
        ({"brightness": 8.0}, WARNING, "more light"),
        ({"brightness": 250.0}, WARNING, "lower camera.exposure_ms"),
        ({"brightness": 3.0, "contrast": 1.0}, WARNING, "take its cap off"),
        ({"n_frames": 1}, FAILED, "check its cable"),
    ],
)
def test_a_camera_is_judged(changes: dict[str, float], state: str, said: str) -> None:
    found, remedy = camera.judge(replace(SEEN, **changes), 60.0, is_clip=False)  # type: ignore[arg-type]  # one an int
    assert found == state
    assert said in remedy
    assert camera.judge(replace(SEEN, fps=25.0), 60.0, is_clip=True) == (GOOD, "")


def test_a_picture_is_drawn_two_rows_a_line() -> None:
    grey = np.zeros((4, 3), np.uint8)
    grey[0, 0], grey[3] = 255, 255
    lines = in_letters(grey)
    assert [len(line) for line in lines] == [3, 3]
    assert lines[0][1] == RAMP[0]
    assert RAMP.index(lines[1][0]) == len(RAMP) // 2 - 1
    blocks = in_blocks(grey)
    assert (len(blocks), blocks[0].count("▀")) == (2, 3)
    assert blocks[0].startswith("\033[38;5;255;48;5;232m▀")
    assert len(in_blocks(grey[:3])) == 2


def test_a_dark_room_can_be_seen_and_noise_is_not_made_a_picture() -> None:
    dark = (np.arange(128) // 4).reshape(8, 16).astype(np.uint8)
    assert stretched(dark).max() == 255
    assert stretched(dark).min() == 0
    assert np.ptp(stretched((7 + (dark > 16)).astype(np.uint8))) < 32


def test_the_motion_meter_goes_from_nothing_to_full() -> None:
    assert meter(0.0, 4) == "motion   0.0 [....]"
    assert meter(5.0, 4) == "motion   5.0 [##..]"
    assert meter(99.0, 4) == "motion  99.0 [####]"


def fake_panel(monkeypatch: pytest.MonkeyPatch, *, press: bool = False, is_down: bool = False) -> list[FakePanel]:
    """A panel whose button is pressed as soon as its LED has gone dark for the last time."""
    made: list[FakePanel] = []
    monkeypatch.setattr(panel, "BLINK_S", 0.0)

    class Pressed(FakePanel):
        n_dark = 0

        def shine(self, brightness: float) -> None:
            super().shine(brightness)
            self.n_dark += brightness == 0.0
            if press and self.n_dark == panel.N_BLINKS:
                self.press()

    def open_panel(_: object, on_edge: OnEdge) -> FakePanel:
        made.append(Pressed(on_edge, lambda: 0.0, is_down))
        return made[-1]

    monkeypatch.setattr(panel, "open_panel", open_panel)
    return made


def test_the_panel_blinks_and_hears_a_press(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    made, said = fake_panel(monkeypatch, press=True), list[str]()
    verdict = panel.check_panel(replace(context, is_interactive=True, say=said.append))
    assert (verdict.state, verdict.found) == (GOOD, "a fake button and a fake LED; a press was felt")
    assert said == ["press the button, within 15 s"]
    assert made[0].is_closed


def test_nobody_is_waited_for_where_nobody_is(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_panel(monkeypatch)
    assert panel.check_panel(context).found.endswith("the LED blinked 5 times")


def test_a_button_that_is_not_felt_or_held_for_ever_fails(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_panel(monkeypatch)
    monkeypatch.setattr(panel, "PRESS_S", 0.01)
    verdict = panel.check_panel(replace(context, is_interactive=True))
    assert (verdict.state, verdict.remedy) == (FAILED, "check its wires, panel.button and panel.button_pull")
    fake_panel(monkeypatch, is_down=True)
    verdict = panel.check_panel(context)
    assert verdict.state == FAILED
    assert "panel.button_pressed" in verdict.remedy


def test_a_box_without_pins_is_no_failure(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(panel, "open_panel", lambda *_: NoPanel("this is no Raspberry Pi"))
    verdict = panel.check_panel(context)
    assert (verdict.state, verdict.found, verdict.remedy) == (SKIPPED, "no button, no LED", "this is no Raspberry Pi")


def test_every_variant_of_the_model_is_timed_and_the_configured_one_is_named(context: Context) -> None:
    verdict = model.check_model(context)
    assert verdict.state in (GOOD, WARNING)  # the machine may be busy
    timed = {(each["variant"], each["runtime"]) for each in verdict.figures["timings"]}
    assert {variant for variant, _ in timed} == {"f16", "int8"}
    assert all(each["p50_ms"] > 0.0 for each in verdict.figures["timings"] if "error" not in each)
    assert verdict.figures["variant"] == "f16"
    assert "as configured" in verdict.found


def timing(variant: str, p50_ms: float, p99_ms: float) -> dict[str, object]:
    return {"variant": variant, "runtime": "ai-edge-litert", "p50_ms": p50_ms, "p99_ms": p99_ms, "golden_error": 0.0}


@pytest.mark.parametrize(
    ("mine", "other", "state", "said"),
    [
        ((1.0, 2.0), (0.9, 2.0), GOOD, ""),
        ((1.0, 2.0), (0.3, 0.5), GOOD, 'faster: set model.variant = "int8", model.runtime = "ai-edge-litert"'),
        ((9.0, 12.0), (3.0, 4.0), WARNING, 'much of a frame\'s 17 ms: set model.variant = "int8"'),
    ],
)
def test_a_slow_model_is_told_what_is_faster(
    context: Context,
    monkeypatch: pytest.MonkeyPatch,
    mine: tuple[float, float],
    other: tuple[float, float],
    state: str,
    said: str,
) -> None:
    monkeypatch.setattr(model, "measure", lambda *_: [timing("f16", *mine), timing("int8", *other)])
    monkeypatch.setattr(model, "choose_runtime", lambda _: "ai-edge-litert")
    verdict = model.check_model(context)
    assert verdict.state == state
    assert said in verdict.remedy
    assert verdict.figures["fastest"]["variant"] == ("f16" if not said and other[0] > mine[0] else "int8")


def test_a_model_that_does_not_play_fails_and_a_broken_bundle_does(
    context: Context, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def broken(*_: object) -> None:
        raise BundleError("0.5 off its golden outputs: choose the other variant")

    monkeypatch.setattr(model, "run_bundle", broken)
    verdict = model.check_model(context)
    assert verdict.state == FAILED
    assert "off its golden outputs" in verdict.found
    config = configured(tmp_path, f'[model]\nbundle = "{tmp_path}"\n')
    assert tried("model", model.check_model, replace(context, config=config), needs_devices=False).state == FAILED


def counted(n_frames: int, latency_ms: float, **counts: int) -> Meter:
    made = Meter(48_000)
    for _ in range(n_frames):
        made.count_frame(0.001)
        made.count_latency(0.003, latency_ms / 1000.0)
    made.count_block(48_000, 0.01)
    for name, value in counts.items():
        made.set(name, value)
    return made


@pytest.mark.parametrize(
    ("meter_", "is_card_live", "state"),
    [
        (counted(300, 18.0), True, GOOD),
        (counted(300, 60.0), True, WARNING),
        (counted(300, 18.0, n_xruns=1), True, WARNING),
        (counted(300, 18.0, n_xruns=1), False, GOOD),
        (counted(300, 18.0, n_skipped_frames=30), True, WARNING),
        (counted(0, 0.0), True, FAILED),
    ],
)
def test_the_engines_latency_is_judged(meter_: Meter, is_card_live: bool, state: str) -> None:
    assert latency.judge(meter_.performance(), 60.0, is_card_live=is_card_live).state == state


def test_the_simulated_camera_keeps_time_and_always_moves() -> None:
    clock = HandClock()
    eye = latency.FlashCamera(50.0, 48, 64, clock)
    frames = [frame for frame in (eye.read() for _ in range(50)) if isinstance(frame, Frame)]
    assert np.diff([frame.time_s for frame in frames]) == pytest.approx(0.02)
    assert {frame.grey.shape for frame in frames} == {(48, 64)}
    seen = camera.sum_up([Arrival(frame, frame.time_s, n) for n, frame in enumerate(frames)], MotionSettings())
    assert seen.motion > 10.0


@pytest.mark.parametrize(
    ("missing", "state", "remedy"),
    [({}, GOOD, ""), ({"card": "the card is gone: plug it in"}, WARNING, "the card is gone: plug it in")],
)
def test_a_running_box_is_asked_what_it_misses(
    tmp_path: Path, context: Context, missing: dict[str, str], state: str, remedy: str
) -> None:
    config = configured(tmp_path, f'[status]\nsocket = "{tmp_path / "socket"}"\n')
    assert machine.check_box(replace(context, config=config)).state == SKIPPED
    server, is_over = StatusServer(tmp_path / "socket"), threading.Event()
    server.publish({"state": "performing", "n_xruns": 3, "missing": missing})

    def serve() -> None:
        while not is_over.wait(0.01):
            server.serve()

    thread = threading.Thread(target=serve)
    thread.start()
    verdict = machine.check_box(replace(context, config=config, is_running=True))
    is_over.set()
    thread.join()
    server.close()
    assert (verdict.state, verdict.remedy, verdict.found) == (state, remedy, "it runs: performing, 3 underruns so far")


def checked(*argv: str | Path) -> int:
    return run("device", "A test.", COMMANDS, ["check", *map(str, argv)])


def test_the_command_runs_the_checks_that_are_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    configured(tmp_path, '[status]\nsocket = "/nonexistent/socket"\n')
    assert checked("--only", "config,machine", "--config", tmp_path / "box.toml", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["ok"], said["is_running"]) == (True, False)
    assert [each["name"] for each in said["checks"]] == ["config", "machine"]


def test_a_configuration_that_cannot_be_read_fails_and_the_parts_are_checked_all_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "box.toml").write_text(f'[audio]\nperod = 128\n[state]\nfolder = "{tmp_path}"\n')
    assert checked("--only", "config,state", "--config", tmp_path / "box.toml") == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("failed   config     ")
    assert "did you mean audio.period?" in lines[0]
    assert lines[1].split()[:3] == ["ok", "state", f"{tmp_path}:"]


def test_a_running_box_is_seen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    configured(tmp_path, f'[status]\nsocket = "{tmp_path / "socket"}"\n')
    server = StatusServer(tmp_path / "socket")
    try:
        assert checked("--only", "camera,sound", "--config", tmp_path / "box.toml", "--json") == 0
        assert [each["state"] for each in json.loads(capsys.readouterr().out)["checks"]] == [SKIPPED] * 2
        assert checked("--live", "--config", tmp_path / "box.toml") == 2
        assert "stop it first" in capsys.readouterr().err
    finally:
        server.close()


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("--only", "colour"), "there is no check 'colour': choose from config, box"),
        (("--audio", "wav:x"), "give --audio alsa:PCM"),
        (("--audio-in", "x"), "--audio-in"),
        (("--camera", "x"), "there is no camera 'x'"),
        (("--seconds", "0"), "--seconds 0"),
    ],
)
def test_wrong_use_is_one_line(argv: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert checked(*argv) == 2
    printed = capsys.readouterr().err
    assert said in printed
    assert printed.count("\n") == 1


def test_every_check_that_is_named_exists() -> None:
    assert all(callable(check_command._check_of(name)) for name in check_command.NAMES)


PLAYED = sound.Played(5.0, 5.0, 0, 128, 384, "int16")


@pytest.mark.parametrize(
    ("played", "state", "said"),
    [
        (PLAYED, GOOD, ""),
        (replace(PLAYED, n_xruns=3), WARNING, "raise audio.n_periods"),
        (replace(PLAYED, took_s=0.1), WARNING, "name a real card"),
    ],
)
def test_a_sound_card_is_judged(
    context: Context, monkeypatch: pytest.MonkeyPatch, played: sound.Played, state: str, said: str
) -> None:
    monkeypatch.setattr(sound, "Child", lambda *_: SimpleNamespace())
    monkeypatch.setattr(sound, "result_of", lambda *_: played)
    verdict = sound.check_sound(context)
    assert verdict.state == state
    assert said in verdict.remedy


HEARD = sound.Heard(-12.0, -30.0, 0, 0, 48_000)


@pytest.mark.parametrize(
    ("heard", "state", "said"),
    [
        (HEARD, GOOD, ""),
        (replace(HEARD, peak_dbfs=-90.0), WARNING, "turn up the input's gain"),
        (replace(HEARD, peak_dbfs=0.0, n_clipped=4), WARNING, "turn the input's gain down"),
        (replace(HEARD, n_overruns=2), WARNING, "raise capture.buffer_s"),
    ],
)
def test_an_input_is_judged(
    context: Context, monkeypatch: pytest.MonkeyPatch, heard: sound.Heard, state: str, said: str
) -> None:
    monkeypatch.setattr(sound, "Child", lambda *_: SimpleNamespace())
    monkeypatch.setattr(sound, "result_of", lambda *_: heard)
    capture = replace(context.config.capture, audio_in="alsa:hw:1")
    verdict = sound.check_input_level(replace(context, config=replace(context.config, capture=capture)))
    assert verdict.state == state
    assert said in verdict.remedy


def test_a_box_that_records_nothing_needs_no_input(context: Context) -> None:
    capture = replace(context.config.capture, audio_in="")
    without = replace(context, config=replace(context.config, capture=capture))
    assert sound.check_input_level(without).state == SKIPPED
