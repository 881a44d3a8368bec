"""`python -m device calibrate` as a user runs it, and what the factory's bundle says in rooms that are learned."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from device.core.frame import Frame
from device.core.motiongram import Motiongram
from device.core.room import RoomMotiongram
from device.core.room_profile import RoomProfile
from device.core.synth import Synth
from device.engine.engine import Player, play_virtual
from device.models.bundles import FACTORY, Bundle, load_bundle
from device.store.rooms import load_room, save_room
from tests.media_files import make_video
from tests.room_films import (
    Light,
    dance,
    empty,
    furniture,
    hand,
    house_lights,
    mains,
    plain_wall,
    quantities,
    seen,
    switched,
)

ROOT = Path(__file__).parents[2]
RATE_HZ = 48_000
SILENCE_DB = -60.0


def calibrate(*options: object) -> tuple[int, str, str]:
    command = [sys.executable, "-m", "device", "calibrate", *map(str, options)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


def make_clip(path: Path, frames: Iterable[Frame], fps: float = 25.0) -> Path:
    """A video without loss: a codec would smooth the noise away."""
    return make_video(path, (frame.grey for frame in frames), fps=fps, codec="ffv1", pix_fmt="gray")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rooms")
    make_clip(folder / "empty.mkv", seen(empty(plain_wall(), 12, 25), 5.0))
    make_clip(folder / "lamps.mkv", seen(empty(furniture(), 12, 60), 1.0, mains(0.1)), 60.0)
    make_clip(folder / "lights.mkv", seen(empty(furniture(), 12, 25), 1.0, switched(8.0, house_lights)))
    make_clip(folder / "dance.mkv", seen(dance(5, 14.0, 25.0, size=0.4), 5.0))
    rng = np.random.default_rng(0)
    shaken = (np.roll(furniture(), rng.integers(-4, 5, 2), axis=(0, 1)) for _ in range(150))
    make_clip(folder / "shaken.mkv", (Frame(picture.astype(np.uint8), 0.0) for picture in shaken))
    return folder


def found(clips: Path, name: str, room: Path, *options: object) -> dict[str, object]:
    code, out, err = calibrate("--camera", f"file:{clips / name}", "--room", room, "--json", *options)
    assert (code, err) == (0, "")
    result = json.loads(out)
    assert isinstance(result, dict)
    assert result["stored"] == str(room)
    return result


def test_the_noise_of_an_empty_room_is_found_and_stored(clips: Path, tmp_path: Path) -> None:
    room = tmp_path / "room.json"
    code, out, err = calibrate("--camera", f"file:{clips / 'empty.mkv'}", "--room", room)
    assert (code, err) == (0, "")
    assert "enough to be heard in 100% of the picture: it will be left out" in out
    assert "light     steady" in out
    assert "none: the stage was empty" in out
    assert out.splitlines()[-1] == f"stored    {room}"
    stored = load_room(room)
    assert stored is not None
    assert float(np.median(stored.noise)) == pytest.approx(5.0 * np.sqrt(2), rel=0.05)
    assert not stored.has_danced


def test_flicker_and_switched_lights_are_told(clips: Path, tmp_path: Path) -> None:
    lamps = found(clips, "lamps.mkv", tmp_path / "room.json")
    assert lamps["flicker"] == pytest.approx(11.0, abs=4.0)
    assert lamps["n_light_steps"] == 0
    assert found(clips, "lights.mkv", tmp_path / "room.json")["n_light_steps"] == 1
    out = calibrate("--camera", f"file:{clips / 'lights.mkv'}", "--room", tmp_path / "room.json")[1]
    assert "was switched once: such moments stay silent" in out


def test_the_configured_camera_is_looked_through_unless_another_is_named(clips: Path, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(f'[camera]\nsource = "file:{clips / "lights.mkv"}"\n')
    code, out, err = calibrate("--config", config, "--room", tmp_path / "room.json")
    assert (code, err) == (0, "")
    assert "was switched once" in out


def test_a_dancer_is_no_noise_and_dance_learns_the_height(clips: Path, tmp_path: Path) -> None:
    room = tmp_path / "room.json"
    noise = found(clips, "dance.mkv", room)["noise"]
    assert noise == pytest.approx(5.0 * np.sqrt(2), rel=0.08)
    size = found(clips, "dance.mkv", room, "--dance")["size"]
    assert size == pytest.approx(0.4, rel=0.15)
    # Whoever looks at the noise again keeps the dancer's height.
    found(clips, "empty.mkv", room)
    stored = load_room(room)
    assert stored is not None
    assert stored.size == pytest.approx(size, abs=0.001)
    assert stored.has_danced
    assert "times as large" in calibrate("--camera", f"file:{clips / 'dance.mkv'}", "--room", room, "--dance")[1]


@pytest.mark.parametrize(
    ("clip", "options", "said"),
    [
        ("shaken.mkv", [], "no part of the picture was quiet for 2 s, nothing was stored"),
        ("empty.mkv", ["--dance"], "nobody danced for 5 s, nothing was stored"),
    ],
)
def test_what_cannot_be_learned_leaves_what_was_stored(
    clips: Path, tmp_path: Path, clip: str, options: list[str], said: str
) -> None:
    room = tmp_path / "room.json"
    save_room(room, RoomProfile(np.ones((48, 64), np.float32), 0.0, 0.5, True))
    before = room.read_bytes()
    code, out, err = calibrate("--camera", f"file:{clips / clip}", "--room", room, *options)
    assert (code, err) == (1, "")
    assert said in out.splitlines()[-1]
    assert room.read_bytes() == before


def test_a_damaged_profile_is_replaced(clips: Path, tmp_path: Path) -> None:
    (tmp_path / "room.json").write_text("{")
    found(clips, "empty.mkv", tmp_path / "room.json", "--seconds", 6)
    assert load_room(tmp_path / "room.json") is not None


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--camera", "v4l2:/dev/video99"], 1, "there is no camera /dev/video99"),
        (["--camera", "film:x"], 2, "there is no camera 'film:x'"),
        (["--camera", "file:absent.mkv"], 1, "there is no video absent.mkv"),
        (["--camera", "file:x", "--seconds", "0"], 2, "--seconds 0 is no length"),
        (["--camera", "file:x", "--model", "absent"], 1, "absent"),
    ],
)
def test_wrong_use_is_one_line(tmp_path: Path, options: list[str], code: int, said: str) -> None:
    given, out, err = calibrate("--room", tmp_path / "room.json", *options)
    assert (given, out) == (code, "")
    assert said in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_one_line(clips: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, _, err = calibrate("--camera", f"file:{clips / 'empty.mkv'}", "--room", tmp_path / "file" / "room.json")
    assert (code, err.count("\n")) == (2, 1)
    assert "cannot be written" in err


@pytest.fixture(scope="module")
def factory() -> Bundle:
    return load_bundle(FACTORY)


def sound(bundle: Bundle, frames: Iterable[Frame], motiongram: Motiongram) -> npt.NDArray[np.float32]:
    manifest = bundle.manifest
    player = Player(manifest, bundle.model, "stream", manifest.temperature, 0, motiongram=motiongram)
    return play_virtual(player, Synth(manifest.synth, 0), frames)[0]


def level_db(samples: npt.NDArray[np.float32]) -> float:
    return float(20 * np.log10(np.sqrt(np.mean(np.square(samples, dtype=np.float64))) + 1e-9))


def between(samples: npt.NDArray[np.float32], from_s: float, to_s: float) -> npt.NDArray[np.float32]:
    return samples[round(from_s * RATE_HZ) : round(to_s * RATE_HZ)]


@pytest.mark.parametrize(("noise", "light"), [(4.0, None), (8.0, None), (2.0, mains(0.1))])
def test_an_empty_room_sounds_of_nothing_and_a_small_gesture_of_something(
    factory: Bundle, noise: float, light: Light | None
) -> None:
    """A hand of 3 x 3 pixels waves from 6 s on."""
    frames = list(seen(hand(9, 60, 110, from_s=6.0), noise, light))
    heard = sound(factory, frames, RoomMotiongram(factory.manifest.motion))
    clean = sound(factory, hand(9, 60, 110, from_s=6.0), Motiongram(factory.manifest.motion))
    assert level_db(between(heard, 4.5, 5.9)) <= SILENCE_DB
    assert level_db(between(heard, 6.3, 9.0)) == pytest.approx(level_db(between(clean, 6.3, 9.0)), abs=6.0)
    if noise == 8.0:
        plain = sound(factory, frames, Motiongram(factory.manifest.motion))
        assert level_db(between(plain, 4.5, 5.9)) > SILENCE_DB + 20


def test_switching_the_lights_on_is_silent_in_an_empty_room(factory: Bundle) -> None:
    frames = list(seen(empty(furniture(), 6, 60), 1.5, switched(4.0, house_lights)))
    assert level_db(between(sound(factory, frames, Motiongram(factory.manifest.motion)), 4.0, 4.5)) > -40
    assert level_db(sound(factory, frames, RoomMotiongram(factory.manifest.motion))) <= SILENCE_DB


def test_a_dancer_of_half_the_height_sounds_about_as_loud_and_follows_as_well(factory: Bundle) -> None:
    motion = factory.manifest.motion
    tall = sound(factory, seen(dance(seconds=12.0, size=0.75), 1.0), Motiongram(motion))
    room = RoomMotiongram(motion)
    before = dance(5, 12.0, 25.0, size=0.375)
    for turn in range(4):
        quantities(room, seen((Frame(frame.grey, frame.time_s + 12.0 * turn) for frame in before), 1.0))
    room.reset()
    small = sound(factory, seen(dance(seconds=12.0, size=0.375), 1.0), room)
    unlearned = sound(factory, seen(dance(seconds=12.0, size=0.375), 1.0), Motiongram(motion))
    assert level_db(small) == pytest.approx(level_db(tall), abs=3.0)
    assert level_db(unlearned) < level_db(tall) - 6.0
    assert follows(small, tall) > max(0.8, follows(unlearned, tall) + 0.05)


def follows(one: npt.NDArray[np.float32], other: npt.NDArray[np.float32]) -> float:
    """Rank correlation of the loudness of two performances."""
    first, second = (np.argsort(np.argsort(loudness(samples))) for samples in (one, other))
    return float(np.corrcoef(first, second)[0, 1])


def loudness(samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    n = RATE_HZ // 20
    power = np.square(samples[: len(samples) // n * n], dtype=np.float64).reshape(-1, n).mean(axis=1)
    return np.asarray(power, np.float64)
