"""A new model on the box that performs: it plays and stays, or what played before is back; whatever dies on the way."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from device.box.activation import Activation
from device.core.bundle import MODEL_FILES
from device.core.errors import BundleError
from device.core.health import QUIETEST_DBFS
from device.models.bundles import FACTORY
from device.models.model_store import current_bundle, install_bundle, installed_bundles
from device.models.model_trial import last_good, trial_of
from tests.box_process import BoxProcess
from tests.eventually import eventually
from tests.long import long
from tests.media_files import make_restless_dance, make_sound_file, tone
from tests.pulse_card import PulseCard, pulse_card
from tests.tone_bundles import make_bundles
from tests.trial_bundles import make_trial_bundles

__all__ = ["pulse_card"]

pytestmark = pytest.mark.timeout(300)

HEALTH_S = 4.0
# A buffer that outlasts what else this machine does: a box is judged here, not the machine.
SETTINGS: dict[str, dict[str, object]] = {"deploy": {"health_s": HEALTH_S}, "audio": {"n_periods": 16}}


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of tones: 'low' and 'high' play; 'silent' says nothing, 'nan' soon nothing that is a number."""
    folder = tmp_path_factory.mktemp("bundles")
    make_bundles(folder)
    make_trial_bundles(folder)
    return folder


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short name, for sockets."""
    path = Path(tempfile.mkdtemp(prefix="box-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def box(folder: Path, pulse_card: PulseCard) -> Iterator[BoxProcess]:
    """A box that plays a video, not started."""
    pulse_card.start()
    music = make_sound_file(folder / "music.wav", tone(60.0, 48_000, 440.0, level=0.25), 48_000)
    dance = make_restless_dance(folder / "dance.mp4")
    found = BoxProcess(folder, dance, music, pulse_card.environment, SETTINGS)
    try:
        yield found
    finally:
        found.close()


def install(box: BoxProcess, bundle: Path) -> Path:
    return install_bundle(bundle, box.state, allowed_signers=None, require_signature=False).path


def phase_of(said: dict[str, object]) -> object:
    trial = said.get("trial")
    return trial["phase"] if isinstance(trial, dict) else None


def make_good(box: BoxProcess, bundle: Path) -> Path:
    """Let a model play until it is the last good one."""
    path = install(box, bundle)
    said = end_of_trial(box, path)
    assert said["phase"] == "committed", said["reason"]
    return path


def start_with(box: BoxProcess, bundle: Path) -> Path:
    """Start with a model that was installed before: with it the next ones are compared, not with the factory's."""
    path = install(box, bundle)
    box.start()
    box.until(lambda said: phase_of(said) == "committed" and said["levels_dbfs"]["output"] > QUIETEST_DBFS)
    return path


def end_of_trial(box: BoxProcess, path: Path) -> dict[str, Any]:
    """Have a model tried, and wait for what comes of it."""
    box.ask(op="trial", path=str(path))
    said = box.until(lambda said: phase_of(said) in ("committed", "rolled_back"))
    trial: dict[str, Any] = said["trial"]
    assert trial["path"] == str(path)
    return trial


def test_a_good_model_stays_and_the_one_before_it_is_a_step_back(box: BoxProcess, bundles: Path) -> None:
    low = start_with(box, bundles / "low")
    said = box.status()
    assert said["model"]["path"] == str(low)
    assert said["n_restarts"] == {"camera": 0, "sound": 0, "model": 0}
    assert last_good(box.state) == current_bundle(box.state) == low
    high = make_good(box, bundles / "high")
    assert box.ask(op="rollback")["model"] == str(low)
    assert box.status()["n_card_losses"] == 0
    assert box.ask(op="rollback")["model"] == str(FACTORY)
    assert installed_bundles(box.state) == [low, high]
    assert box.stop() == 0
    box.start()
    assert box.status()["model"]["path"] == str(FACTORY)


@pytest.mark.parametrize(("name", "why"), [("silent", "dB quieter"), pytest.param("nan", "not a spectrum", marks=long)])
def test_a_model_that_plays_badly_is_taken_back(box: BoxProcess, bundles: Path, name: str, why: str) -> None:
    low = start_with(box, bundles / "low")
    bad = install(box, bundles / name)
    assert current_bundle(box.state) == bad
    trial = end_of_trial(box, bad)
    assert trial["phase"] == "rolled_back"
    assert why in trial["reason"]
    assert box.until(lambda said: said["model"]["path"] == str(low))["state"] == "performing"
    assert current_bundle(box.state) == last_good(box.state) == low
    assert installed_bundles(box.state) == [low]
    assert trial_of(box.state) is None


@pytest.mark.parametrize("how", ["kill", pytest.param("stop", marks=long)])
def test_a_box_that_ends_in_a_trial(box: BoxProcess, bundles: Path, how: str) -> None:
    """Cut off, it starts with the last good model; stopped in order, it tries the new one again."""
    low = start_with(box, bundles / "low")
    high = install(box, bundles / "high")
    box.ask(op="trial", path=str(high))
    pids = box.until(lambda said: phase_of(said) == "trial")["pids"].values()
    if how == "kill":
        box.kill()
        eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))
    else:
        assert box.stop() == 0
    box.start()
    if how == "kill":
        assert box.status()["model"]["path"] == str(low)
        assert installed_bundles(box.state) == [low]
        assert "cut short" in box.until(lambda said: phase_of(said) == "rolled_back")["trial"]["reason"]
    else:
        assert box.until(lambda said: phase_of(said) == "committed")["model"]["path"] == str(high)


def test_a_box_that_does_not_run_tries_the_model_when_it_starts(box: BoxProcess, bundles: Path) -> None:
    install(box, bundles / "low")
    nan = install(box, bundles / "nan")
    box.start()
    assert box.status()["model"]["path"] == str(nan)
    said = box.until(lambda said: phase_of(said) == "rolled_back")
    assert "not a spectrum" in said["trial"]["reason"]
    assert box.status()["model"]["path"] == str(FACTORY)


def test_a_model_that_was_damaged_before_its_trial_is_said_to_be_taken_back(folder: Path, bundles: Path) -> None:
    path = install_bundle(bundles / "low", folder, allowed_signers=None, require_signature=False).path
    with (path / MODEL_FILES["f16"]).open("r+b") as file:
        file.write(b"spoilt")
    activation = Activation(folder, HEALTH_S, is_fixed=False)
    assert activation.bundle_at_start() == FACTORY
    said = activation.said(0.0)
    assert said is not None
    assert (said["path"], said["phase"]) == (str(path), "rolled_back")
    assert "changed or damaged" in said["reason"]
    assert trial_of(folder) is None


def test_a_trial_that_cannot_be_counted_is_not_begun_which_is_said(
    folder: Path, bundles: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = install_bundle(bundles / "low", folder, allowed_signers=None, require_signature=False).path

    def fail(_: Path) -> None:
        raise BundleError("the card cannot be written")

    with monkeypatch.context() as patched:
        patched.setattr("device.models.model_trial.begin", fail)
        activation = Activation(folder, HEALTH_S, is_fixed=False)
        assert activation.bundle_at_start() == FACTORY
    said = activation.said(0.0)
    assert said is not None
    assert (said["path"], "cannot be written down" in said["reason"]) == (str(path), True)
    assert Activation(folder, HEALTH_S, is_fixed=False).bundle_at_start() == path  # the next time


@long
def test_without_camera_and_card_a_model_is_not_blamed(box: BoxProcess, bundles: Path, pulse_card: PulseCard) -> None:
    pulse_card.stop()
    (box.folder / "dance.mp4").unlink()
    box.start(until="fault")
    assert make_good(box, bundles / "low") == last_good(box.state)


@pytest.mark.parametrize("part", ["model", pytest.param("sound", marks=long)])
def test_a_model_whose_process_dies_is_taken_back(box: BoxProcess, bundles: Path, part: str) -> None:
    box.start()
    high = install(box, bundles / "high")
    box.ask(op="trial", path=str(high))
    said = box.until(lambda said: phase_of(said) == "trial" and said["model"]["path"] == str(high))
    box.until(lambda said: said["trial"]["seconds"] > 1.5)
    os.kill(said["pids"][part], signal.SIGKILL)
    said = box.until(lambda said: phase_of(said) == "rolled_back")
    assert "started again" in said["trial"]["reason"]
    assert said["model"]["path"] == str(FACTORY)


@long
def test_the_button_ends_a_trial(box: BoxProcess, bundles: Path) -> None:
    low, high = start_with(box, bundles / "low"), install(box, bundles / "high")
    box.ask(op="trial", path=str(high))
    box.until(lambda said: phase_of(said) == "trial" and said["model"]["path"] == str(high))
    box.press(0.7)
    said = box.until(lambda said: phase_of(said) == "rolled_back")
    assert "button" in said["trial"]["reason"]
    assert said["model"]["path"] == str(FACTORY)
    assert last_good(box.state) == low
