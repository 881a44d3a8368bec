"""A simulated camera, in real time, whose scene changes at random moments: what goes in when latency is measured.

The scene changes at a moment of its own; the camera, at its own pace, shows it as it is when a frame is taken. So the
age of the frame is in what is measured, as it is for a dancer. Motion is texture, drawn anew for each frame in a part
of the picture; elsewhere the texture stands still. There is as much of it as in a lively dance: see `SIGMA`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from device.core.frame import Frame
from device.edges.camera import Camera
from device.engine.paced import Clock, MonotonicClock
from device.engine.performance import Memory
from device.engine.shared import Layout, SharedArrays

GREY = 110.0
SIGMA = 30.0
"""Grey levels of the texture: full motion then is a quantity of some 7 grey levels, as in a lively dance (4 to 8)."""
PATCH_PX = 3
"""Size of the texture's patches: what moves by itself in each pixel is a camera's noise, and is learned as such."""
ZOOM = 1.0
"""What moves is no body, whose size could be learned."""

REGIONS: dict[str, tuple[float, float, float, float]] = {
    "full": (0.2, 0.9, 0.35, 0.6),
    "low": (0.7, 0.95, 0.2, 0.8),
    "high": (0.05, 0.3, 0.2, 0.8),
    "left": (0.2, 0.9, 0.03, 0.22),
    "right": (0.2, 0.9, 0.78, 0.97),
}
"""Scene -> what moves in it: from the top, to the bottom, from the left, to the right, as parts of the picture."""
STILL = "still"
"""The scene in which nothing moves."""


@dataclass(frozen=True)
class StimulusPlan:
    """What the camera shows.

    Attributes
    ----------
    fps : float
    scenes : tuple of str
        They take turns, each until the next change: `STILL` or one of `REGIONS`.
    holds_s : tuple of float
        How long they last, in turn, and up to one frame longer, at random: so a change meets a frame at any phase.
    n_changes : int
    lead_s : float
        Of the first scene, before the first change.
    seed : int
    height, width : int
        Of the pictures.
    """

    fps: float
    scenes: tuple[str, ...]
    holds_s: tuple[float, ...]
    n_changes: int
    lead_s: float = 1.0
    seed: int = 0
    height: int = 48
    width: int = 64

    def changes_s(self) -> npt.NDArray[np.float64]:
        """When the scene changes, in seconds from the first frame, shape (n_changes,)."""
        rng = np.random.default_rng(self.seed)
        holds_s = [self.holds_s[i % len(self.holds_s)] for i in range(1, self.n_changes)]
        steps_s = np.array([0.0, *holds_s]) + rng.random(self.n_changes) / self.fps
        changes_s: npt.NDArray[np.float64] = self.lead_s + np.cumsum(steps_s)
        return changes_s

    def scene_after(self, n_changes: int) -> str:
        """Which scene there is after so many changes."""
        return self.scenes[n_changes % len(self.scenes)]

    @property
    def duration_s(self) -> float:
        """From the first frame until the last scene has lasted its time."""
        return float(self.changes_s()[-1]) + self.holds_s[self.n_changes % len(self.holds_s)]

    def ages_s(self) -> npt.NDArray[np.float64]:
        """How long after each change the first frame that shows it is taken, shape (n_changes,)."""
        frames = self.changes_s() * self.fps
        ages_s: npt.NDArray[np.float64] = (np.ceil(frames) - frames) / self.fps
        return ages_s


def region_of(scene: str, height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns that move in a scene."""
    top, bottom, left, right = REGIONS[scene]
    return slice(round(top * height), round(bottom * height)), slice(round(left * width), round(right * width))


def stimulus_layout() -> Layout:
    """What the camera tells: the time of its first frame on CLOCK_MONOTONIC, 0 before; and frames that were taken."""
    return {"start_s": ((1,), "f8"), "n_frames": ((1,), "i8")}


class StimulusCamera:
    """Shows a plan in real time, and goes on with its last scene until it is closed.

    Parameters
    ----------
    plan : StimulusPlan
    told : Memory
        Of `stimulus_layout`.
    clock : Clock
    """

    def __init__(self, plan: StimulusPlan, told: Memory, clock: Clock) -> None:
        self._plan = plan
        self._told = told
        self._clock = clock
        self._changes_s = plan.changes_s()
        self._rng = np.random.default_rng(plan.seed + 1)
        self._grey = self._texture(plan.height, plan.width)
        self._n_frames = 0
        self._start_s = 0.0

    def read(self) -> Frame | None:
        """Wait until the next frame is due. It is drawn before, so that drawing delays nothing."""
        if self._n_frames == 0:
            self._start_s = self._clock.now_s()
            self._told["start_s"][0] = self._start_s
        time_s = self._n_frames / self._plan.fps
        grey = self._draw(time_s)
        self._n_frames += 1
        self._told["n_frames"][0] = self._n_frames
        self._clock.wait(self._start_s + time_s - self._clock.now_s())
        return Frame(grey, self._start_s + time_s)

    def close(self) -> None:
        """Nothing is held."""

    def _draw(self, time_s: float) -> npt.NDArray[np.uint8]:
        n_changes = int(np.searchsorted(self._changes_s, time_s, side="right"))
        scene = self._plan.scene_after(n_changes)
        if scene != STILL:
            part = self._grey[region_of(scene, *self._grey.shape)]
            part[:] = self._texture(*part.shape)
        return self._grey.copy()

    def _texture(self, height: int, width: int) -> npt.NDArray[np.uint8]:
        patches = self._rng.standard_normal((-(-height // PATCH_PX), -(-width // PATCH_PX)))
        grey = GREY + SIGMA * np.kron(patches, np.ones((PATCH_PX, PATCH_PX)))[:height, :width]
        return np.clip(grey, 0.0, 255.0).astype(np.uint8)


def open_stimulus(plan: StimulusPlan, told: SharedArrays) -> Camera:
    """Open the camera, in the camera's process."""
    return StimulusCamera(plan, told, MonotonicClock())
