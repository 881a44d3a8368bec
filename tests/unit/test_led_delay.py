"""The delay of a camera, from an LED in its picture: simulated in time, with a delay that is known."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pytest

from device.check.camera_led import measure, verdict_of
from device.check.verdict import GOOD, WARNING
from device.core.errors import CameraError
from device.core.frame import Frame
from device.core.led_delay import LedDelay, led_delay
from device.core.lights import Light
from device.engine.frame_bus import Arrival

HEIGHT, WIDTH = 12, 16


@dataclass
class Scene:
    """An LED and a camera that sees it `delay_s` later, in a time that passes when it is looked.

    The LED lights 2 x 2 pixels by `strength` grey levels, where noise and somebody who waves are, too.
    """

    delay_s: float = 0.040
    fps: float = 60.0
    strength: float = 120.0
    noise: float = 4.0
    waves: bool = False
    exposure_s: float = 0.0
    now_s: float = 1000.0
    changes: list[tuple[float, float]] = field(default_factory=lambda: [(0.0, 0.0)])
    n_frames: int = 0

    def shine(self, brightness: float) -> None:
        self.changes.append((self.now_s, brightness))

    def clock(self) -> float:
        return self.now_s

    def show(self, light: Light) -> None:
        raise AssertionError(f"nobody asked for {light}")

    def close(self) -> None:
        pass

    description = "a simulated LED"

    def watch(self, duration_s: float) -> list[Arrival]:
        self.now_s += duration_s
        arrivals = []
        while (arrival_s := 1000.0 + self.n_frames / self.fps) <= self.now_s:
            arrivals.append(Arrival(Frame(self._picture(arrival_s), arrival_s), arrival_s, self.n_frames))
            self.n_frames += 1
        return arrivals

    def _picture(self, arrival_s: float) -> npt.NDArray[np.uint8]:
        rng = np.random.default_rng(self.n_frames)
        picture = 60.0 + self.noise * rng.standard_normal((HEIGHT, WIDTH))
        picture[4:6, 8:10] += self.strength * self._light(arrival_s - self.delay_s)
        if self.waves:
            picture[:, :6] += 40.0 * np.sin(7.0 * arrival_s + np.arange(6))
        return np.clip(picture, 0, 255).astype(np.uint8)

    def _light(self, end_s: float) -> float:
        """How bright the LED was in the exposure that ended then."""
        times_s = np.linspace(end_s - self.exposure_s, end_s, 32)
        changes_s, levels = np.array(self.changes).T
        return float(levels[np.searchsorted(changes_s, times_s, side="right") - 1].mean())


@pytest.mark.parametrize("delay_s", [0.0, 0.025, 0.120])
@pytest.mark.parametrize("fps", [25.0, 60.0])
def test_the_delay_is_found_and_the_wait_for_the_next_frame_is_part_of_it(delay_s: float, fps: float) -> None:
    scene = Scene(delay_s, fps)
    found = measure(scene, scene, scene.clock)
    assert (found.n_missed, found.n_pixels) == (0, 4)
    assert found.contrast == pytest.approx(scene.strength, abs=5.0)
    assert np.all(found.delays_s >= delay_s - 1e-9)
    assert np.all(found.delays_s <= delay_s + 1.0 / fps + 1e-9)
    assert np.median(found.delays_s) == pytest.approx(delay_s + 0.5 / fps, abs=0.25 / fps)


def test_an_exposure_delays_by_half_of_it() -> None:
    scenes = [Scene(exposure_s=exposure_s, fps=120.0) for exposure_s in (0.0, 0.016)]
    short, long = (np.median(measure(each, each, each.clock).delays_s) for each in scenes)
    assert long - short == pytest.approx(0.008, abs=0.004)


def test_somebody_who_waves_beside_it_is_not_taken_for_the_led() -> None:
    scene = Scene(waves=True)
    found = measure(scene, scene, scene.clock)
    assert (found.n_pixels, found.n_missed) == (4, 0)
    assert found.delays_s.max() < 0.040 + 1.0 / 60.0 + 1e-6


@pytest.mark.parametrize("strength", [0.0, 6.0])
def test_an_led_that_is_not_in_the_picture_is_said(strength: float) -> None:
    scene = Scene(strength=strength)
    with pytest.raises(CameraError, match="not to be seen: hold it close to the lens"):
        measure(scene, scene, scene.clock)


def test_without_frames_it_is_the_camera_that_is_to_be_looked_at() -> None:
    scene = Scene(fps=0.01)
    with pytest.raises(CameraError, match="too few frames"):
        measure(scene, scene, scene.clock)


def test_an_led_that_is_moved_out_of_the_picture_is_said() -> None:
    scene = Scene()
    arrivals = scene.watch(0.4)
    changes_s, is_on = [], np.arange(12) % 2 == 0
    for n, on in enumerate(is_on):
        scene.strength = 120.0 if n < 4 else 0.0
        scene.shine(float(on))
        changes_s.append(scene.now_s)
        arrivals += scene.watch(0.45)
    pictures = np.array([each.frame.grey for each in arrivals])
    times_s = np.array([each.arrival_s for each in arrivals])
    with pytest.raises(CameraError, match="hold it close to the lens and still"):
        led_delay(pictures, times_s, np.array(changes_s), is_on)


def test_an_led_that_is_hidden_for_a_while_is_missed_for_that_while_and_no_more() -> None:
    scene = Scene()
    arrivals, changes_s = scene.watch(0.4), []
    is_on = np.arange(20) % 2 == 0
    for n, on in enumerate(is_on):
        scene.strength = 0.0 if n == 6 else 120.0
        scene.shine(float(on))
        changes_s.append(scene.now_s)
        arrivals += scene.watch(0.45)
    pictures = np.array([each.frame.grey for each in arrivals])
    found = led_delay(pictures, np.array([each.arrival_s for each in arrivals]), np.array(changes_s), is_on)
    assert found.n_missed == 2  # it was neither seen to light up nor, from dark, to go out
    assert found.delays_s.min() >= 0.040


def test_the_led_is_left_dark() -> None:
    scene = Scene()
    measure(scene, scene, scene.clock)
    assert scene.changes[-1][1] == 0.0


def test_a_slow_camera_is_told_what_to_do() -> None:
    quick = verdict_of(LedDelay(np.array([0.02, 0.03, 0.04]), 0, 4, 100.0))
    slow = verdict_of(LedDelay(np.array([0.08, 0.09, 0.1]), 1, 4, 100.0))
    assert (quick.state, quick.figures["p50_ms"], quick.figures["min_ms"]) == (GOOD, 30.0, 20.0)
    assert (slow.state, slow.figures["n_missed"]) == (WARNING, 1)
    assert "raise camera.fps" in slow.remedy
