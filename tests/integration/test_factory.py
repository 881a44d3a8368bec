"""What comes with the box: the factory's bundle and the clip of a dance, as they lie in the repository.

They must play on their own, with the very command that `make demo` runs.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import av
import matplotlib.image
import numpy as np
import numpy.typing as npt
import pytest

from device.core.bundle import MODEL_FILES
from device.core.synth import analyse
from device.edges.audio_wav import read_wav
from device.edges.camera_file import CameraFile
from device.edges.model_tflite import installed_runtimes
from device.models.bundles import FACTORY, load_bundle
from device.store.store import Take, allocate
from tests.filmed_salsa import make_dance_video
from trainer.evaluating.command import play_still
from trainer.evaluating.metrics import level_dbfs, still_level_dbfs
from trainer.filming.factory import RATE_HZ, STILL_S, make_clip, make_take
from trainer.filming.film import SALSA, View

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trainer.evaluating.command import Playing

ROOT = Path(__file__).parents[2]
CLIP = FACTORY.parent / "dance.mp4"
STANDS_S = 1.0  # in the clip and in the tests' films the dancer stands before the dance
OTHER_VIEW = View(yaw_deg=15, size=0.6, background=150, contrast=-90, shift_x=0.45, noise=1.0, seed=1)
OTHER_S = 8.0
SOURCE = ("mocap.cs.cmu.edu", "NSF EIA-0196217")

Sound = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Demo:
    """What one run of the demo's command left and printed."""

    wav: Path
    report: Path
    figures: dict[str, Any]


def demo_command(out: Path) -> list[str]:
    """The line of `make demo` that plays, with another folder in place of its own."""
    recipe = (ROOT / "Makefile").read_text().partition("\ndemo:")[2].partition("\n\n")[0]
    (line,) = [line for line in recipe.splitlines() if "device perform" in line]
    words = shlex.split(line.strip().removeprefix("@"))
    assert words[0] == "$(RUN)"
    assert "out/demo" in line
    return [sys.executable, *(word.replace("out/demo", str(out)) for word in words[1:])]


def run(command: list[str]) -> dict[str, Any]:
    done = subprocess.run([*command, "--json"], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return cast("dict[str, Any]", json.loads(done.stdout.splitlines()[-1]))


def play_demo(out: Path) -> Demo:
    figures = run(demo_command(out))
    return Demo(out / "performance.wav", out, figures)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    return play_demo(tmp_path_factory.mktemp("demo"))


def clip_s() -> float:
    with av.open(str(CLIP)) as video:
        stream = video.streams.video[0]
        times = [frame.time for frame in video.decode(stream)]
        return times[-1] - times[0] + 1 / float(stream.average_rate or 1)


def test_bundle_and_clip_are_small(demo: Demo) -> None:
    assert sum(path.stat().st_size for path in FACTORY.iterdir()) <= 2_000_000
    assert CLIP.stat().st_size <= 500_000
    assert 19.5 <= clip_s() <= 20.5
    assert demo.figures["camera"] == f"file:{CLIP.relative_to(ROOT)}"


@pytest.mark.parametrize("runtime", installed_runtimes())
@pytest.mark.parametrize("variant", MODEL_FILES)
def test_both_variants_repeat_their_golden_outputs_on_every_runtime(variant: str, runtime: str) -> None:
    bundle = load_bundle(FACTORY, variant, runtime)
    expected, tolerance = bundle.manifest.golden.expected(variant, runtime)
    assert (bundle.model.variant, bundle.model.runtime) == (variant, runtime)
    assert bundle.golden_error <= tolerance <= 0.1 * float(np.abs(expected).max())


def test_the_demo_leaves_a_wav_a_picture_and_figures(demo: Demo) -> None:
    assert {path.name for path in demo.report.iterdir()} == {"performance.wav", "performance.png", "summary.json"}
    assert json.loads((demo.report / "summary.json").read_text()) == demo.figures
    assert (demo.figures["n_dropped_frames"], demo.figures["n_bad_spectra"], demo.figures["n_xruns"]) == (0, 0, 0)
    assert demo.figures["model"] == load_bundle(FACTORY).manifest.name
    assert (demo.report / "performance.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    picture = matplotlib.image.imread(demo.report / "performance.png")
    assert picture.shape[1] >= 1000
    assert picture[..., :3].std() > 0.05


def test_the_demo_is_silent_until_the_dance_begins_and_as_long_as_the_clip(demo: Demo) -> None:
    sound, rate_hz = read_wav(demo.wav)
    assert len(sound) == pytest.approx((clip_s() + 1.0) * rate_hz, abs=rate_hz / 100)
    assert still_level_dbfs(sound[: rate_hz // 2], rate_hz) < -60.0
    dance = sound[round((STANDS_S + 0.5) * rate_hz) : round(19.5 * rate_hz)]
    seconds = dance[: len(dance) // rate_hz * rate_hz].reshape(-1, rate_hz)
    assert level_dbfs(dance) > -35.0
    assert np.median([level_dbfs(second) for second in seconds]) > -35.0
    assert np.abs(sound).max() < 32767 / 32768
    assert level_dbfs(sound[-rate_hz // 4 :]) < -60.0


def test_the_demo_sounds_the_same_each_time(demo: Demo, tmp_path: Path) -> None:
    assert play_demo(tmp_path).wav.read_bytes() == demo.wav.read_bytes()


@pytest.mark.parametrize("variant", MODEL_FILES)
def test_nobody_moving_is_silence(variant: str) -> None:
    bundle = load_bundle(FACTORY, variant)
    sound = play_still(cast("Playing", bundle.manifest), bundle.model)
    assert len(sound) >= 5 * bundle.manifest.rate_hz
    assert still_level_dbfs(sound, bundle.manifest.rate_hz) < -60.0


def test_another_dance_sounds_too_and_otherwise(demo: Demo, tmp_path: Path) -> None:
    first, rate_hz = read_wav(demo.wav)
    second = play_other(tmp_path, "60_05")
    assert level_dbfs(second[round(STANDS_S * rate_hz) : round(OTHER_S * rate_hz)]) > -40.0
    assert still_level_dbfs(second[: rate_hz // 2], rate_hz) < -60.0
    assert likeness(first, second, rate_hz) < 0.6
    # That is the dance's doing, not the room's: the demo's own dance, filmed as the other one, stays more like it.
    again = play_other(tmp_path, "61_09")
    assert likeness(first, again, rate_hz) > likeness(first, second, rate_hz) + 0.1


def play_other(folder: Path, recording: str) -> Sound:
    """Film a recording in a room, light and size unlike the clip's, and play it with the factory's bundle."""
    video = make_dance_video(folder / f"{recording}.mp4", SALSA / f"{recording}.npz", OTHER_VIEW, OTHER_S, 30, None)
    wav = folder / f"{recording}.wav"
    run([sys.executable, "-m", "device", "perform", "--camera", f"file:{video}", "--audio", f"wav:{wav}"])
    return read_wav(wav)[0]


def likeness(one: Sound, other: Sound, rate_hz: int) -> float:
    """Mean correlation of two sounds' spectra of the same times, without the spectrum that all have in common."""
    centres = np.arange(1.5 * rate_hz, OTHER_S * rate_hz, rate_hz / 10).astype(np.int64)
    synth = load_bundle(FACTORY).manifest.synth
    spectra = analyse(one, centres, synth), analyse(other, centres, synth)
    common = np.mean(spectra, axis=(0, 1))
    return float(np.mean([np.corrcoef(a - common, b - common)[0, 1] for a, b in zip(*spectra, strict=True)]))


@pytest.mark.parametrize("readme", [ROOT / "README.md", FACTORY.parent / "README.md"])
def test_the_source_of_the_dance_is_acknowledged(readme: Path) -> None:
    text = " ".join(readme.read_text().split())
    for words in SOURCE:
        assert words in text
    assert "python -m trainer factory --work DIR" in text


def test_the_clip_can_be_made_anew(tmp_path: Path) -> None:
    make_clip(tmp_path / "anew.mp4")
    for anew, kept in zip(pictures(tmp_path / "anew.mp4"), pictures(CLIP), strict=True):
        assert np.abs(anew - kept).mean() < 2.0


def test_a_take_of_the_factory_is_still_first_and_then_sounds_as_it_moves(tmp_path: Path) -> None:
    folder = allocate(tmp_path)
    make_take((SALSA / "61_10.npz", 3, tmp_path, folder))
    take = Take.open(folder)
    quantity = take.columns[:, :48].mean(1)
    starts = np.round(take.samples_of(take.times_s)).astype(int)
    powers = np.array([np.square(take.sound_at(start, start + RATE_HZ // 10)).mean() for start in starts])
    is_still = take.times_s < STILL_S - 0.2
    assert np.max(powers, where=is_still, initial=0.0) == 0.0
    assert np.corrcoef(quantity[~is_still], np.sqrt(powers)[~is_still])[0, 1] > 0.5


def pictures(video: Path) -> Iterator[npt.NDArray[np.float32]]:
    """Frames of a video as a camera would see them, float32."""
    camera = CameraFile(video)
    while (frame := camera.read()) is not None:
        yield frame.grey.astype(np.float32)
    camera.close()
