"""The engine with its real processes, in real time: what is heard when one of them, or what it is given, goes wrong."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from device.core.errors import BundleError, DanceSamplerError, ModelError
from device.edges.audio_wav import read_wav
from device.edges.model import Float32
from tests.bench.whole import family
from tests.in_time import one_of_three
from tests.live_fakes import BAD_RUNS, N_GOOD, PLAYING, RATE_HZ, SETTINGS, Rig, bad_model_main, rig
from tests.media_files import make_video, moving_bar
from tests.tone_bundles import HIGH_HZ, LOW_HZ, SLOW_HZ, make_bundles

ROOT = Path(__file__).parents[2]
QUIET = 1e-4
"""-80 dB: nobody hears it."""
SILENT_S = 0.300
FRAME_S = 1.0 / 60.0
BACK_S = 3.0


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tones")
    make_bundles(folder)
    return folder


def level(sound: Float32) -> float:
    return float(np.sqrt(np.mean(np.square(sound, dtype=np.float64)))) if len(sound) else 0.0


def levels(sound: Float32, window_s: float = 0.02) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """The level of each window, the last part left out."""
    n = round(window_s * RATE_HZ)
    return np.array([level(sound[start : start + n]) for start in range(0, len(sound) - n + 1, n)])


def share(sound: Float32, hz: float) -> float:
    """How much of a sound's power is one tone."""
    window = np.hanning(len(sound))
    spectrum = np.abs(np.fft.rfft(sound * window, 1 << 16)) ** 2
    near = np.abs(np.fft.rfftfreq(1 << 16, 1 / RATE_HZ) - hz) < 60.0
    return float(spectrum[near].sum() / max(spectrum.sum(), 1e-12))


def test_frames_that_stop_are_held_then_silent_in_time_and_heard_again_with_the_first_that_moves(bundles: Path) -> None:
    with rig(bundles / "low", n_periods=3) as it:
        loud = level(it.card.played[-RATE_HZ // 20 :])
        it.stage.show("nothing")
        it.play(0.7)
        last_s = it.stage.last_s
        held = it.card.between(last_s, last_s + PLAYING.hold_s)
        assert levels(held).min() > 0.9 * loud
        assert np.abs(it.card.between(last_s + SILENT_S + it.buffer_s, np.inf)).max() < QUIET
        n = it.stage.n_frames
        it.stage.show("patches")
        it.until(lambda: it.stage.n_frames > n)
        first_s = it.stage.last_s
        # The first frame has none to differ from; the second moves.
        assert it.until_heard(first_s) - first_s < 2 * FRAME_S + it.buffer_s + 0.030
        assert it.live.n_restarts == {"model": 0, "sound": 0, "camera": 0}


def test_the_sound_has_all_that_the_system_allows(bundles: Path) -> None:
    with rig(bundles / "low") as it:
        assert it.card.memory["n_frozen"][0] > 1000
        is_refused = any("real-time priority" in note for note in it.live.notes)
        assert it.card.memory["scheduler"][0] == (os.SCHED_OTHER if is_refused else os.SCHED_FIFO)


@pytest.mark.parametrize("how", ["killed", "stopped", "hangs"])
@one_of_three
def test_a_camera_that_fails_is_back_in_time_and_the_sound_never_stops(bundles: Path, how: str) -> None:
    with rig(bundles / "low") as it:
        if how == "hangs":
            it.stage.show("hangs")
        else:
            os.kill(it.live.pids["camera"], signal.SIGKILL if how == "killed" else signal.SIGSTOP)
        failed_s = it.stage.last_s
        it.until(lambda: it.live.n_restarts["camera"] == 1)
        it.stage.show("patches")
        it.until(lambda: it.stage.n_opened == 2 and it.stage.last_s > failed_s)
        again_s = it.stage.last_s
        assert again_s - failed_s < BACK_S
        assert it.until_heard(again_s) - again_s < 0.25 + it.buffer_s
        assert np.abs(it.card.between(failed_s + SILENT_S + it.buffer_s + 0.02, again_s)).max() < QUIET
        assert it.live.n_restarts == {"model": 0, "sound": 0, "camera": 1}
        assert it.n_xruns == 0
        assert it.card.n_opened == 1


@pytest.mark.parametrize("how", ["killed", "stopped"])
@one_of_three
def test_a_model_that_fails_fades_and_is_heard_again(bundles: Path, how: str) -> None:
    with rig(bundles / "low") as it:
        failed_s = time.monotonic()
        os.kill(it.live.pids["model"], signal.SIGKILL if how == "killed" else signal.SIGSTOP)
        it.until(lambda: it.live.n_restarts["model"] == 1)
        silent_s = failed_s + SILENT_S + FRAME_S + it.buffer_s + 0.02
        again_s = it.until_heard(silent_s)
        assert again_s - failed_s < BACK_S + 0.5
        assert np.abs(it.card.between(silent_s, again_s)).max() < 0.05
        it.play(0.3)
        assert levels(it.card.between(again_s + 0.05, np.inf)).min() > 0.1
        assert it.live.n_restarts == {"model": 1, "sound": 0, "camera": 0}
        assert it.n_xruns == 0


@pytest.mark.parametrize("how", ["killed", "card hangs"])
def test_a_sound_that_fails_is_back(bundles: Path, how: str) -> None:
    with rig(bundles / "low") as it:
        failed_s = time.monotonic()
        if how == "killed":
            os.kill(it.live.pids["sound"], signal.SIGKILL)
        else:
            it.card.stick()
        it.until(lambda: it.card.n_opened == 2)
        again_s = it.until_heard(float(it.card.memory["first_s"][1]))
        assert again_s - failed_s < BACK_S + 0.5
        it.play(0.2)
        assert levels(it.card.between(again_s + 0.05, np.inf)).min() > 0.1
        assert it.live.n_restarts == {"model": 0, "sound": 1, "camera": 0}


def test_no_process_outlives_the_engine(bundles: Path) -> None:
    code = f"from tests.live_fakes import perform_for_ever; perform_for_ever({str(bundles / 'low')!r})"
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "playing\n"
        pids = family(parent.pid)
        assert len(pids) >= 5  # itself, camera, model, sound, and what started them
        handles = [os.pidfd_open(pid) for pid in pids]
        parent.kill()
    try:
        assert not [pid for pid, handle in zip(pids, handles, strict=True) if not has_ended(handle, 5.0)]
    finally:
        for handle in handles:
            os.close(handle)


def has_ended(handle: int, timeout_s: float) -> bool:
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    return bool(poll.poll(1000.0 * timeout_s))


@pytest.mark.parametrize(("name", "hz"), [("high", HIGH_HZ), ("slow", SLOW_HZ)])
@one_of_three
def test_a_change_of_model_is_heard_as_a_cross_fade_and_nothing_else(bundles: Path, name: str, hz: float) -> None:
    with rig(bundles / "low") as it:
        it.play(0.3)
        asked_s = time.monotonic()
        facts = it.live.change_model(bundles / name)
        changed_s = time.monotonic()
        it.play(0.4)
        assert (facts.name, it.live.facts) == (name, facts)
        before, after = it.card.between(asked_s - 0.2, asked_s), it.card.between(changed_s + 0.2, np.inf)
        whole = it.card.between(asked_s - 0.2, changed_s + 0.4)
        assert share(before, LOW_HZ) > 0.99
        assert share(after, hz) > 0.99
        # The old one sounds until the new one does.
        each = levels(whole, 0.01)
        assert each.min() > 0.65 * min(level(before), level(after))
        assert each.max() < 1.5 * max(level(before), level(after))
        steepest = max(np.abs(np.diff(part)).max() for part in (before, after))
        assert np.abs(np.diff(whole)).max() < 1.5 * steepest
        n_mixed = sum(
            max(share(part, LOW_HZ), share(part, hz)) < 0.9 for part in np.array_split(whole, len(whole) // 960)
        )
        assert n_mixed <= 5  # of 20 ms each; the cross-fade lasts 50 ms
        assert it.n_xruns == 0
        assert it.live.n_restarts == {"model": 0, "sound": 0, "camera": 0}


def n_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_models_change_again_and_again_and_leave_nothing_behind(bundles: Path) -> None:
    with rig(bundles / "low") as it:
        it.live.change_model(bundles / "high")
        n_open, n_processes = n_descriptors(), len(family(os.getpid()))
        for name in ("low", "slow", "high"):
            it.live.change_model(bundles / name)
            assert it.live.facts is not None
            assert it.live.facts.name == name
        assert len(family(os.getpid())) == n_processes
        assert n_descriptors() <= n_open
        at_s = it.play(0.3)
        assert share(it.card.between(at_s - 0.2, at_s), HIGH_HZ) > 0.99


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("wrong", BundleError, "golden outputs"),
        ("damaged", BundleError, "damaged"),
        ("turned", BundleError, "camera.width"),
        ("hangs", ModelError, "was not ready within"),
        ("dies", DanceSamplerError, "ended unasked"),
        ("nowhere", BundleError, "nowhere"),
    ],
)
def test_a_bundle_that_does_not_play_is_never_heard_and_the_old_one_goes_on(
    bundles: Path, monkeypatch: pytest.MonkeyPatch, name: str, error: type[Exception], words: str
) -> None:
    if name in ("hangs", "dies") and not (bundles / name).exists():
        shutil.copytree(bundles / "high", bundles / name)
    monkeypatch.setattr("device.engine.crew.model_main", bad_model_main)
    with rig(bundles / "low") as it:
        n_processes, facts = len(family(os.getpid())), it.live.facts
        monkeypatch.setattr("device.engine.live.READY_S", 1.0)
        asked_s = it.play(0.3)
        with pytest.raises(error, match=words):
            it.live.change_model(bundles / name)
        it.play(0.3)
        sound = it.card.between(asked_s - 0.1, np.inf)
        assert share(sound, LOW_HZ) > 0.99
        assert levels(sound).min() > 0.9 * levels(sound).max()
        assert (it.live.facts, len(family(os.getpid()))) == (facts, n_processes)
        # And it can be changed to one that does.
        assert it.live.change_model(bundles / "high").name == "high"


@pytest.mark.parametrize("bad", BAD_RUNS)
def test_a_model_that_goes_wrong_stays_within_limits_and_another_can_take_over(
    bundles: Path, monkeypatch: pytest.MonkeyPatch, bad: str
) -> None:
    if not (bundles / bad).exists():
        shutil.copytree(bundles / "low", bundles / bad)
    monkeypatch.setattr("device.engine.crew.model_main", bad_model_main)
    with rig(bundles / bad) as it:
        if bad in ("raises", "stalls"):
            it.until(lambda: it.live.n_restarts["model"] >= 1)
        elif bad == "negative":  # No magnitude is below zero: that is silence, and no reason to hold.
            it.until(lambda: it.live.meter.count("n_frames") > 3 * N_GOOD)
            assert it.live.meter.count("n_bad_spectra") == 0
        else:
            it.until(lambda: it.live.meter.count("n_bad_spectra") > 20)
        asked_s = time.monotonic()
        facts = it.live.change_model(bundles / "high")
        at_s = it.until_heard(time.monotonic())
        it.play(0.3)
        assert facts.name == "high"
        assert share(it.card.between(at_s + 0.1, np.inf), HIGH_HZ) > 0.99
        assert np.isfinite(it.card.played).all()
        assert np.abs(it.card.played).max() < 0.5
        if bad in ("nan", "shape", "huge"):  # The last good one is held.
            assert levels(it.card.between(asked_s - 0.3, asked_s)).min() > 0.1


@pytest.mark.parametrize(
    ("scene", "counted"),
    [
        ("turned", "n_bad_frames"),
        ("wide numbers", "n_bad_frames"),
        ("no time", "n_bad_frames"),
        ("twice", "n_dropped_frames"),
        ("back", None),
        ("black", None),
    ],
)
def test_frames_that_are_none_are_counted_and_what_is_heard_stays_within_limits(
    bundles: Path, scene: str, counted: str | None
) -> None:
    with rig(bundles / "low") as it:
        it.stage.show(scene)
        n = it.stage.n_frames
        it.until(lambda: it.stage.n_frames > n + 40)
        bad_s = time.monotonic()
        for name in ("n_bad_frames", "n_dropped_frames"):
            assert (it.live.meter.count(name) > 10) == (name == counted), name
        it.stage.show("patches")
        it.play(0.4)
        assert it.until_heard(bad_s + 0.2)
        assert levels(it.card.between(time.monotonic() - 0.1, np.inf)).min() > 0.1
        assert np.abs(it.card.played).max() < 0.5
        assert it.live.n_restarts == {"model": 0, "sound": 0, "camera": 0}


def test_one_frame_a_second_is_heard_as_long_as_it_may(bundles: Path) -> None:
    it = Rig(bundles / "low", fps=1.0)
    try:
        it.live.start()
        it.until(lambda: it.stage.n_frames >= 3, 20.0)
        assert it.live.n_restarts == {"model": 0, "sound": 0, "camera": 0}
        assert it.live.meter.count("n_frames") >= 2
        assert np.abs(it.card.played).max() < 0.5
    finally:
        it.live.close()


def test_where_the_system_allows_nothing_it_says_so_once_and_plays(bundles: Path, tmp_path: Path) -> None:
    clip = make_video(tmp_path / "dance.mkv", moving_bar(20), fps=25)
    command = [sys.executable, "-m", "device", "perform", "--camera", f"file:{clip}", "--audio",
               f"wav:{tmp_path}/a.wav", "--model", str(bundles / "low"), "--clock", "real", "--json"]  # fmt: skip
    unprivileged = ["prlimit", "--rtprio=0:0", "--memlock=0:0"]
    if os.geteuid() == 0:
        without = "-sys_nice,-ipc_lock,-sys_resource"
        unprivileged = ["setpriv", f"--bounding-set={without}", f"--inh-caps={without}", *unprivileged]
    done = subprocess.run([*unprivileged, *command], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    result = json.loads(done.stdout.splitlines()[-1])
    assert [note.partition(" (")[0] for note in result["notes"]] == [
        "real-time priority is not allowed", "memory cannot be locked",
    ]  # fmt: skip
    assert result["n_frames"] == 20
    sound, rate_hz = read_wav(tmp_path / "a.wav")
    assert len(sound) == round(1.8 * rate_hz)
    assert sound.any()


def test_an_engine_that_is_not_patient_raises_what_went_wrong(bundles: Path) -> None:
    with rig(bundles / "low", settings=replace(SETTINGS, is_patient=False)) as it:
        os.kill(it.live.pids["camera"], signal.SIGKILL)
        with pytest.raises(DanceSamplerError, match="camera"):
            it.play(2.0)


def test_a_stop_ends_in_silence(bundles: Path) -> None:
    with rig(bundles / "low") as it:
        it.live.stop()
        assert it.live.is_over
        tail = it.card.played[-round(0.05 * RATE_HZ) :]
        assert np.abs(tail).max() > 0.05
        assert np.abs(tail[-10:]).max() < 1e-3
        assert np.abs(np.diff(tail)).max() < 0.05
