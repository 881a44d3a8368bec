"""Live cameras through the whole engine: GStreamer's test picture, and cameras that come and go."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from device.core.errors import CameraError
from device.core.exposure import GAMMA, STEP
from device.core.frame import Frame
from device.core.motiongram import Motiongram
from device.core.room import RoomMotiongram
from device.core.synth import Synth
from device.edges import camera_gstreamer
from device.edges.audio_fake import FakeOutput
from device.edges.camera_gstreamer import CameraGStreamer
from device.edges.model import Float32
from device.engine.engine import Player, Voice, run_virtual
from device.engine.live import Live
from device.engine.process import Child, wait_for_any
from device.models.bundles import load_bundle
from tests.fake_v4l2 import open_plugged
from tests.live_fakes import RATE_HZ, SETTINGS, Card, Rig, open_card
from tests.room_films import dance, empty, furniture
from tests.stuck_camera import stuck_main, stuck_setup
from tests.tone_bundles import make_bundles

ROOT = Path(__file__).parents[2]
LIVE = "videotestsrc is-live=true"
BACK_S = 3.0
QUIET = 1e-4
"""-80 dB: nobody hears it."""


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tones")
    make_bundles(folder)
    return folder


@pytest.mark.parametrize("size", ["width=640,height=480", "width=1280,height=720", "width=70,height=50"])
def test_gstreamer_gives_the_whole_picture_small_and_grey(size: str) -> None:
    camera = CameraGStreamer(f"{LIVE} pattern=gradient ! video/x-raw,format=I420,{size}", 48, 64)
    frame = camera.read()
    camera.close()
    assert frame is not None
    assert frame.grey.shape == (48, 64)
    assert frame.grey.dtype == np.uint8
    rows = frame.grey.mean(axis=1)  # black above, white below
    assert np.ptp(frame.grey, axis=1).max() <= 1
    assert np.abs(rows - np.linspace(0, 255, 97)[1::2]).max() < 8.0


@pytest.mark.parametrize(
    "source", ["format=I420", "format=NV12,colorimetry=bt709", "format=BGRx", "format=RGB,width=64 ! jpegenc ! jpegdec"]
)
def test_white_is_white_whatever_the_range_and_in_rows_that_are_padded(source: str) -> None:
    camera = CameraGStreamer(f"{LIVE} pattern=white ! video/x-raw,{source}", 31, 33)
    frame = camera.read()
    camera.close()
    assert frame is not None
    assert frame.grey.shape == (31, 33)
    assert (frame.grey >= 253).all()


def test_small_patterns_are_averaged_and_not_picked_out() -> None:
    camera = CameraGStreamer(f"{LIVE} pattern=checkers-1 ! video/x-raw,format=BGRx,width=640,height=480", 48, 64)
    frame = camera.read()
    camera.close()
    assert frame is not None
    assert np.ptp(frame.grey) < 8
    assert frame.grey.mean() == pytest.approx(113.0, abs=3.0)  # of red, 76, and green, 150


def test_times_are_when_pictures_were_taken() -> None:
    camera = CameraGStreamer(f"{LIVE} ! video/x-raw,framerate=50/1 ! identity sleep-time=5000", 48, 64)
    frames = [camera.read() for _ in range(20)]
    now_s = time.monotonic()
    camera.close()
    times_s = np.array([frame.time_s for frame in frames if frame is not None])
    assert len(times_s) == 20
    assert 0.004 < now_s - times_s[-1] < 1.0  # before the element that takes its time
    steps = np.diff(times_s) * 50.0
    # Whole frames apart, some of them passed over on a busy machine: the source's times, not those of arrival.
    assert np.abs(steps - np.rint(steps)).max() < 0.1
    assert (np.rint(steps) >= 1).all()


def test_it_is_the_newest_picture() -> None:
    camera = CameraGStreamer(f"{LIVE} ! video/x-raw,framerate=100/1", 48, 64)
    camera.read()
    began_s = time.monotonic()
    while time.monotonic() - began_s < 0.3:  # somebody was busy with something else
        pass
    frame = camera.read()
    arrived_s = time.monotonic()
    camera.close()
    assert frame is not None
    assert frame.time_s > began_s + 0.1
    assert frame.time_s <= arrived_s


def test_a_pipeline_that_ends_gives_no_more() -> None:
    camera = CameraGStreamer("videotestsrc num-buffers=3", 48, 64)
    n_frames = 0
    while camera.read() is not None:
        n_frames += 1
    assert 1 <= n_frames <= 3
    camera.close()
    camera.close()
    assert camera.read() is None


@pytest.mark.parametrize(
    ("pipeline", "words"),
    [
        ("nosuchelement", "cannot make this camera's pipeline .*nosuchelement"),
        ("videotestsrc ! ! fakesink", "cannot make this camera's pipeline"),
        ("v4l2src device=/dev/video99", "pipeline .*/dev/video99"),
        ("videotestsrc num-buffers=0", "has no picture"),
        (f"{LIVE} ! video/x-raw,framerate=30/1 ! identity error-after=1", "has failed"),
    ],
)
def test_what_is_wrong_with_a_pipeline_is_one_line(pipeline: str, words: str) -> None:
    with pytest.raises(CameraError, match=words) as raised:
        CameraGStreamer(pipeline, 48, 64)
    assert "\n" not in str(raised.value)


def test_a_source_that_fails_or_stops_while_it_plays_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    camera = CameraGStreamer(f"{LIVE} ! video/x-raw,framerate=30/1 ! identity error-after=6", 48, 64)
    with pytest.raises(CameraError, match="has failed"):
        list(iter(camera.read, None))
    camera.close()
    monkeypatch.setattr(camera_gstreamer, "READ_S", 0.3)
    camera = CameraGStreamer(f"{LIVE} ! video/x-raw,framerate=30/1", 48, 64)
    pipeline = camera._pipeline
    assert pipeline is not None
    monkeypatch.setattr(pipeline, "pull", lambda *_: None)
    camera.read()  # the first, that had come
    with pytest.raises(CameraError, match="gives no frames"):
        camera.read()
    monkeypatch.undo()
    camera.close()


def test_a_live_camera_is_performed_in_time(bundles: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "device", "perform", "--camera", f"gst:{LIVE} pattern=ball", "--audio",
               f"wav:{tmp_path}/a.wav", "--model", str(bundles / "low"), "--seconds", "1.5", "--json"]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["camera"] == f"gst:{LIVE} pattern=ball"
    assert result["clock"] == "real"
    assert result["n_frames"] > 10
    assert 1.5 <= result["duration_s"] < 3.0


def test_a_driver_that_is_stuck_while_it_opens_the_camera_does_not_stick_the_process(tmp_path: Path) -> None:
    child = Child("camera", stuck_main, (stuck_setup(), tmp_path / "log"))
    try:
        wait_for_any([child], 30.0)
        assert [word for word, _ in child.heard()] == ["gone"]
    finally:
        child.end()
    assert "open_for_ever" in (tmp_path / "log").read_text()  # the log says where it was


def sound_of(bundle_path: Path, frames: Iterable[Frame], motion: type[Motiongram] = RoomMotiongram) -> Float32:
    """Play frames through all that makes sound of them."""
    bundle = load_bundle(bundle_path, "f16")
    manifest = bundle.manifest
    player = Player(manifest, bundle.model, "stream", 0.0, 0, motiongram=motion(manifest.motion))
    output = FakeOutput(manifest.rate_hz)
    run_virtual(frames, player, Voice(player.scores, Synth(manifest.synth, 0), 0.18), output)
    return output.played


def exposed(exposures: Callable[[float], float], film: Iterable[Frame]) -> Iterator[Frame]:
    """Give a film as a camera shows it whose exposure changes, and which is a little noisy."""
    rng = np.random.default_rng(0)
    for frame in film:
        grey = frame.grey * exposures(frame.time_s) ** (1 / GAMMA) + rng.standard_normal(frame.grey.shape)
        yield Frame(np.clip(grey + 0.5, 0, 255).astype(np.uint8), frame.time_s)


def stepping(time_s: float) -> float:
    """Eight steps up and eight down, twice a second: many times as many as there are."""
    n_steps = int(2 * time_s) % 16
    return STEP ** min(n_steps, 16 - n_steps)


def test_no_sound_comes_of_exposure_that_steps_and_a_dance_sounds_as_before(bundles: Path) -> None:
    room = empty(furniture(), 16.0, 60.0)
    assert not sound_of(bundles / "low", exposed(stepping, room)).any()
    # That is what is heard, of larger ones, by what knows nothing of light.
    assert sound_of(bundles / "low", exposed(lambda time_s: 1.6 ** int(time_s * 4 % 2), room[:240]), Motiongram).any()
    before, during = (
        np.abs(sound_of(bundles / "low", exposed(exposures, dance(2, 8.0)))).reshape(-1, 480).max(axis=1)
        for exposures in (lambda _: 1.0, stepping)
    )
    assert before.max() > 0.003  # a small dancer, and a tone as loud as there is motion
    assert np.corrcoef(before, during)[0, 1] > 0.95
    assert during.mean() == pytest.approx(before.mean(), rel=0.15)


class PluggedRig(Rig):
    """The engine with a USB camera, plugged in while a file exists, behind the real driver edge."""

    def __init__(self, bundle: Path, socket: Path) -> None:
        self.socket = socket
        self.card = Card()
        self.buffer_s = 128 * 32 / RATE_HZ
        self.live = Live(partial(open_plugged, socket), partial(open_card, self.card, 128, 32), bundle, SETTINGS)


def test_a_camera_that_is_absent_at_first_pulled_out_and_plugged_in_again_is_heard_within_three_seconds(
    bundles: Path, tmp_path: Path
) -> None:
    it = PluggedRig(bundles / "low", tmp_path / "socket")
    try:
        it.live.start()
        it.until(lambda: it.live.n_restarts["camera"] >= 2)  # it is looked for again and again
        assert not it.card.played.any()
        it.count_from_now()
        for _ in range(2):
            plugged_s = time.monotonic()
            it.socket.touch()
            assert it.until_heard(plugged_s) - plugged_s < BACK_S
            it.socket.unlink()
            pulled_s = time.monotonic()
            it.until(lambda: "camera" not in it.live.pids)
            it.play(0.8)
            tail = it.card.between(pulled_s + 0.5 + it.buffer_s, np.inf)
            assert len(tail)
            assert np.abs(tail).max() < QUIET
        assert it.live.n_restarts["model"] == it.live.n_restarts["sound"] == 0
        assert it.n_xruns == 0
    finally:
        it.live.close()
