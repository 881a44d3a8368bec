"""The whole box, as a stranger would find it in an exhibition: everything that is pulled, pressed and killed there."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from device.box.status_client import StatusError
from device.models.bundles import FACTORY
from device.models.model_trial import commit
from device.store.store import incomplete_takes, list_takes
from tests.box_process import HOLD_S, LONG_S, WATCHDOG_S, BoxProcess, Settings
from tests.eventually import eventually
from tests.long import long
from tests.media_files import make_sound_file, tone
from tests.pulse_card import PulseCard, pulse_card
from tests.tone_bundles import make_bundles

__all__ = ["pulse_card"]

pytestmark = pytest.mark.timeout(300)

BACK_S = 3.0
"""A camera that has come back is seen within this, says the specification."""


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tone of a quarter of full scale, longer than any test."""
    sound = tone(280.0, 48_000, 440.0, level=0.25)
    return make_sound_file(tmp_path_factory.mktemp("music") / "music.wav", sound, 48_000)


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles")
    make_bundles(folder)
    return folder


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short name, for sockets."""
    path = Path(tempfile.mkdtemp(prefix="box-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def make_box(folder: Path, music: Path, pulse_card: PulseCard) -> Iterator[Callable[..., BoxProcess]]:
    """Make a box with all that it needs, not started; its dance lies beside it."""
    made: list[BoxProcess] = []

    def make(settings: Settings | None = None) -> BoxProcess:
        pulse_card.start()
        dance = folder / "dance.mp4"
        shutil.copyfile(FACTORY.parent / "dance.mp4", dance)
        made.append(BoxProcess(folder, dance, music, pulse_card.environment, settings))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def box(make_box: Callable[..., BoxProcess]) -> BoxProcess:
    return make_box()


def is_running(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False


def record_a_take(box: BoxProcess, duration_s: float = 1.5, rests: str = "performing") -> None:
    box.press()
    box.until(lambda said: said["state"] == "recording" and said["take"] and said["take"]["seconds"] >= duration_s)
    box.press()
    box.until(lambda said: said["state"] == rests)


def test_it_plays_records_and_plays_on(box: BoxProcess, pulse_card: PulseCard) -> None:
    """Started, it tells systemd that it is ready, and is heard; a press records, another saves; SIGTERM ends it."""
    with pulse_card.record() as heard:
        box.start()
        eventually(heard.hears)
        eventually(lambda: "READY=1" in box.told)
        box.press()
        box.until(lambda said: said["take"] and said["take"]["seconds"] > 1.5)
        assert box.status()["light"] == "recording"
        n_before = len(heard.sound)
        eventually(lambda: len(heard.sound) > n_before + 24_000)
        while_recording = heard.sound[n_before : n_before + 24_000, 0]
        box.press()
        said = box.until(lambda said: said["state"] == "performing")
    (take,) = list_takes(box.takes)
    assert take.duration_s > 1.5
    assert not take.facts.cancelled
    assert said["faults"] == []
    assert said["n_restarts"] == {"camera": 0, "sound": 0, "model": 0}
    # The input, and nothing but the input, is heard: one tone.
    spectrum = np.abs(np.fft.rfft(while_recording * np.hanning(24_000)))
    assert np.argmax(spectrum) * 2 == pytest.approx(440, abs=8)
    assert np.square(spectrum[190:250]).sum() > 0.9 * np.square(spectrum[10:]).sum()
    pids = box.status()["pids"].values()
    assert box.stop() == 0
    eventually(lambda: "STOPPING=1" in box.told)
    eventually(lambda: not any(map(is_running, pids)))


def test_a_press_in_the_count_in_and_a_hold_leave_no_take_that_is_learned_from(box: BoxProcess) -> None:
    box.start()
    box.press()
    box.until(lambda said: said["state"] == "recording")
    box.press(HOLD_S + 0.2)
    box.until(lambda said: said["state"] == "performing")
    box.press()
    box.until(lambda said: said["take"] and said["take"]["seconds"] > 0.5)
    box.press(HOLD_S + 0.2)
    box.until(lambda said: said["state"] == "performing")
    assert all(take.facts.cancelled for take in list_takes(box.takes))


def test_held_it_plays_the_next_model_and_the_same_after_a_restart(box: BoxProcess, bundles: Path) -> None:
    """Of three, one sees upright pictures; the factory's is the next after the last."""
    low, turned = install(box, bundles / "low"), install(box, bundles / "turned")
    box.start()
    played = [box.status()["model"]["path"]]
    for _ in range(3):
        box.press(HOLD_S + 0.2)
        said = box.until(lambda said: said["model"]["path"] != played[-1] and said["fps"] > 0)
        played.append(said["model"]["path"])
    assert played == [str(turned), str(FACTORY), str(low), str(turned)]
    assert box.stop() == 0
    box.start()
    assert box.status()["model"]["path"] == str(turned)


def test_whoever_may_open_the_socket_can_change_the_model(box: BoxProcess, bundles: Path) -> None:
    path = install(box, bundles / "high")
    box.start()
    assert box.ask(op="change_model", path=str(FACTORY)) == {"ok": True, "model": str(FACTORY)}
    assert box.ask(op="change_model", path=str(path))["ok"]
    for odd in ("/etc/passwd", "", 3, None, str(path / "..")):
        with pytest.raises(StatusError, match="is no installed model"):
            box.ask(op="change_model", path=odd)
    assert box.until(lambda said: said["model"]["path"] == str(path))["n_restarts"]["sound"] == 0
    assert box.ask(op="stick", phase="busy", what="copying")["ok"]
    assert box.until(lambda said: said["light"] == "copying")["state"] == "performing"
    with pytest.raises(StatusError, match="there is no 'format' to ask for"):
        box.ask(op="format", path="/")


def test_outside_of_its_opening_hours_it_is_silent(folder: Path, music: Path, pulse_card: PulseCard) -> None:
    pulse_card.start()
    closed = {"hours": {"closed": ["2020-01-01..2099-12-31"], "fade_s": 0.1}}
    box = BoxProcess(folder, FACTORY.parent / "dance.mp4", music, pulse_card.environment, closed)
    try:
        with pulse_card.record() as heard:
            box.start()
            box.until(lambda said: said["n_blocks"] > 200 and said["fps"] > 0)
            assert not heard.hears()
        assert box.status()["hours"]["is_open"] is False
    finally:
        box.close()


def test_a_camera_is_lost_and_comes_back(box: BoxProcess) -> None:
    box.start()
    dance = box.folder / "dance.mp4"
    dance.rename(box.folder / "away.mp4")
    os.kill(box.status()["pids"]["camera"], signal.SIGKILL)
    said = box.until(lambda said: said["state"] == "fault")
    assert "camera" in said["missing"]
    assert said["light"] == "fault"
    box.press()
    assert box.until(lambda said: said["notes"])["light"] == "refused"
    (box.folder / "away.mp4").rename(dance)
    back_s = time.monotonic()
    box.until(lambda said: said["state"] == "performing" and said["fps"] > 0)
    assert time.monotonic() - back_s < BACK_S + 2.0
    assert box.status()["missing"] == {}
    assert box.stop() == 0


def test_a_card_is_lost_and_comes_back(box: BoxProcess, pulse_card: PulseCard) -> None:
    box.start()
    pulse_card.stop()
    assert "card" in box.until(lambda said: said["state"] == "fault")["missing"]
    pulse_card.start()
    with pulse_card.record() as heard:
        box.until(lambda said: said["state"] == "performing")
        eventually(heard.hears)
    assert box.status()["n_card_losses"] >= 1


def test_without_camera_and_card_it_starts_and_waits_for_both(box: BoxProcess, pulse_card: PulseCard) -> None:
    pulse_card.stop()
    dance = box.folder / "dance.mp4"
    dance.rename(box.folder / "away.mp4")
    box.start(until="fault")
    eventually(lambda: "READY=1" in box.told)
    box.until(lambda said: {"camera", "card"} <= set(said["missing"]))
    (box.folder / "away.mp4").rename(dance)
    pulse_card.start()
    box.until(lambda said: said["state"] == "performing")


@pytest.mark.parametrize(
    ("part", "number"),
    [
        ("sound", signal.SIGKILL),
        ("recorder", signal.SIGKILL),
        ("camera", signal.SIGSTOP),
        ("model", signal.SIGSTOP),
        pytest.param("camera", signal.SIGKILL, marks=long),
        pytest.param("model", signal.SIGKILL, marks=long),
        pytest.param("microphone", signal.SIGKILL, marks=long),
        pytest.param("sound", signal.SIGSTOP, marks=long),
        pytest.param("microphone", signal.SIGSTOP, marks=long),
    ],
)
def test_a_process_that_dies_or_hangs_is_started_again(box: BoxProcess, part: str, number: signal.Signals) -> None:
    """A recorder that hangs is seen when it is asked for something: see the take that is never saved."""
    box.start()
    pid = box.status()["pids"][part]
    os.kill(pid, number)
    box.until(lambda said: said["pids"].get(part, pid) != pid)
    box.until(lambda said: said["state"] == "performing" and said["missing"] == {} and said["fps"] > 0)
    record_a_take(box, 0.6)
    assert len(list_takes(box.takes)) == 1


def test_the_plug_is_pulled_while_it_records(box: BoxProcess) -> None:
    """What was recorded up to a second before is there after the next start, marked; its number is not given again."""
    box.start()
    box.press()
    said = box.until(lambda said: said["take"] and said["take"]["seconds"] > 3.0)
    pids = list(said["pids"].values())
    box.kill()
    eventually(lambda: not any(map(is_running, pids)))
    assert len(incomplete_takes(box.takes)) == 1
    box.start()
    eventually(lambda: not incomplete_takes(box.takes))
    (take,) = list_takes(box.takes)
    assert take.facts.salvaged
    assert take.duration_s > said["take"]["seconds"] - 1.5
    record_a_take(box)
    assert [take.path.name for take in list_takes(box.takes)] == ["0001", "0002"]


def test_a_take_that_is_never_saved_is_salvaged_and_the_show_goes_on(make_box: Callable[..., BoxProcess]) -> None:
    box = make_box({"panel": {"saving_limit_s": 2.0}})
    box.start()
    box.press()
    said = box.until(lambda said: said["take"] and said["take"]["seconds"] > 2.5)
    os.kill(said["pids"]["recorder"], signal.SIGSTOP)
    box.press()
    box.until(lambda said: said["state"] == "saving")
    said = box.until(lambda said: said["state"] == "performing")
    assert said["light"] == "refused"
    assert any("was not saved within 2 s" in note for note in said["notes"])
    eventually(lambda: bool(list_takes(box.takes)))
    (take,) = list_takes(box.takes)
    assert take.facts.salvaged
    assert take.duration_s > 1.0
    record_a_take(box, 0.6)
    assert len(list_takes(box.takes)) == 2


def test_a_camera_that_stays_away_ends_the_take_which_is_kept_and_somebody_is_told(
    make_box: Callable[..., BoxProcess], folder: Path
) -> None:
    told = folder / "told"
    box = make_box({"panel": {"fault_patience_s": 1.0}, "faults": {"command": f"tee {told}"}})
    box.start()
    box.press()
    said = box.until(lambda said: said["take"] and said["take"]["seconds"] > 1.0)
    (folder / "dance.mp4").unlink()
    os.kill(said["pids"]["camera"], signal.SIGKILL)
    assert box.until(lambda said: said["light"] == "fault")["state"] in ("recording", "fault")
    said = box.until(lambda said: said["state"] == "fault")
    assert any("the take was ended: camera missing" in note for note in said["notes"])
    (take,) = list_takes(box.takes)
    assert not take.facts.salvaged
    eventually(lambda: told.exists() and "camera" in told.read_text())


def test_a_supervisor_that_hangs_is_seen_by_systemd_while_the_sound_goes_on(
    box: BoxProcess, pulse_card: PulseCard
) -> None:
    box.start()
    eventually(lambda: box.told.count("WATCHDOG=1") >= 2)
    pids = box.status()["pids"].values()
    os.kill(box.pid, signal.SIGSTOP)
    with pulse_card.record() as heard:
        eventually(lambda: time.monotonic() - box.sign_of_life_s > WATCHDOG_S)
        assert heard.sound[-48_000:].any()
    box.kill()
    eventually(lambda: not any(map(is_running, pids)))
    box.start()


def test_a_state_that_is_read_only_costs_the_recording_but_not_the_show(box: BoxProcess) -> None:
    if (
        os.geteuid() != 0
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "ro", "state", str(box.state)], check=False, capture_output=True
        ).returncode
    ):
        pytest.skip("this machine does not let us mount a disk")
    try:
        box.start()
        box.press()
        said = box.until(lambda said: said["light"] == "refused")
        assert said["state"] == "performing"
        assert any("is read-only" in note for note in said["notes"])
        assert "is read-only" in box.log.read_text().partition("start_take")[2], "the log says why"
        assert box.stop() == 0
    finally:
        subprocess.run(["umount", "--lazy", str(box.state)], check=True)


def test_in_an_installation_visitors_may_press(make_box: Callable[..., BoxProcess]) -> None:
    box = make_box({"panel": {"mode": "installation"}})
    box.start()
    played = box.status()["model"]["path"]
    for duration_s in (0.1, HOLD_S + 0.2, LONG_S + 0.2):
        box.press(duration_s)
    pressed_s = box.status()["uptime_s"]
    said = box.until(lambda said: said["uptime_s"] > pressed_s + 1.0)
    assert (said["state"], said["take"], said["model"]["path"]) == ("performing", None, played)
    assert not (box.run_dir / "power-off").exists()
    assert list_takes(box.takes) == []


def test_sigterm_while_it_records_saves_the_take_first(box: BoxProcess) -> None:
    box.start()
    box.press()
    box.until(lambda said: said["take"] and said["take"]["seconds"] > 1.0)
    assert box.stop() == 0
    (take,) = list_takes(box.takes)
    assert not take.facts.salvaged


def test_a_card_that_is_full_refuses_to_record_and_plays_on(folder: Path, music: Path, pulse_card: PulseCard) -> None:
    free = shutil.disk_usage(folder).free // 1_000_000
    if free > 99_000:
        pytest.skip("the largest reserve that can be configured is free on this disk")
    pulse_card.start()
    dance = FACTORY.parent / "dance.mp4"
    box = BoxProcess(folder, dance, music, pulse_card.environment, {"store": {"reserve_mb": free + 500}})
    try:
        box.start()
        box.press()
        assert box.until(lambda said: said["light"] == "full")["state"] == "performing"
        assert list_takes(box.takes) == []
    finally:
        box.close()


def test_held_for_long_it_saves_the_take_and_asks_for_power_off(box: BoxProcess) -> None:
    box.start()
    box.press()
    box.until(lambda said: said["take"] and said["take"]["seconds"] > 0.5)
    box.press(LONG_S + 0.3)
    eventually((box.run_dir / "power-off").exists)
    assert len(list_takes(box.takes)) == 1
    assert box.stop() == 0


def test_held_at_start_it_is_in_safe_mode_until_a_press(box: BoxProcess, bundles: Path) -> None:
    install(box, bundles / "low")
    box.start(until="safe", hold_button=True)
    box.button("up")
    assert box.status()["model"]["path"] == str(FACTORY)
    box.press()
    said = box.until(lambda said: said["state"] == "performing")
    assert said["model"]["path"] != str(FACTORY)


def test_three_starts_that_fail_end_in_safe_mode(box: BoxProcess) -> None:
    for _ in range(2):
        box.start()
        box.kill()
    box.start(until="safe")
    assert box.stop() == 0
    box.start()


def test_a_mistake_in_the_configuration_is_said_and_the_rest_of_it_holds(box: BoxProcess) -> None:
    box.config.write_text(box.config.read_text() + "\n[engine]\nhold_seconds = 3\n")
    box.start(until="fault")
    said = box.status()
    assert "there is no engine.hold_seconds; did you mean engine.hold_s" in said["missing"]["configuration"]
    eventually(lambda: box.status()["fps"] > 0)


def test_a_damaged_model_gives_way_to_the_factorys(box: BoxProcess, bundles: Path) -> None:
    path = install(box, bundles / "low")
    commit(box.state, path)  # its trial is over
    for model in path.glob("*.tflite"):
        model.write_bytes(model.read_bytes()[:-100] + bytes(100))
    box.start(until="fault")
    said = box.until(lambda said: said["fps"] > 0)
    assert said["model"]["path"] == str(FACTORY)
    assert "the factory's model plays instead of the installed one" in said["missing"]["model"]
    record_a_take(box, 0.6, rests="fault")
    assert len(list_takes(box.takes)) == 1


def install(box: BoxProcess, bundle: Path) -> Path:
    from device.models.model_store import install_bundle

    return install_bundle(bundle, box.state, allowed_signers=None, require_signature=False).path
