"""A simulated camera: films recorded bodies (joint positions) as a fixed camera in a room would.

It stands in for dancers before a camera where there are none: for the factory's bundle and for tests. A bone is
drawn as a capsule with soft edges, nearer ones over farther ones; then come the room's light, its flicker and
the sensor's noise.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from device.core.frame import Frame

Float64 = npt.NDArray[np.float64]

SALSA = Path(__file__).parents[1] / "salsa"

BONE_RADIUS_M = {
    "abdomen": 0.11, "chest": 0.12, "neck": 0.10, "head": 0.085, "rCollar": 0.06, "lCollar": 0.06,
    "rShldr": 0.05, "lShldr": 0.05, "rForeArm": 0.045, "lForeArm": 0.045, "rHand": 0.04, "lHand": 0.04,
    "rButtock": 0.09, "lButtock": 0.09, "rThigh": 0.085, "lThigh": 0.085, "rShin": 0.07, "lShin": 0.07,
    "rFoot": 0.05, "lFoot": 0.05, "rFoot_end": 0.04, "lFoot_end": 0.04,
}  # fmt: skip
"""Radius of the bone that ends in a joint, in metres, for bodies 1.3 m tall."""


@dataclass(frozen=True)
class Body:
    """One recorded dance of one dancer.

    Attributes
    ----------
    name : str
    position_m : np.ndarray, shape (n_frames, n_joints, 3), float64
        x to the right, y up, z towards the camera, in metres.
    parents : np.ndarray, shape (n_joints,), int
        The joint at the other end of the bone; -1 at the root.
    joints : list of str
    fps : float
    """

    name: str
    position_m: Float64
    parents: npt.NDArray[np.int64]
    joints: list[str]
    fps: float

    @property
    def duration_s(self) -> float:
        """Time from the first position to the last."""
        return (len(self.position_m) - 1) / self.fps

    def at(self, times_s: Float64) -> Float64:
        """Positions at given times, linear in between: shape (n_times, n_joints, 3), metres."""
        where = np.clip(np.asarray(times_s) * self.fps, 0, len(self.position_m) - 1)
        left = np.minimum(where.astype(np.int64), len(self.position_m) - 2)
        share = (where - left)[:, np.newaxis, np.newaxis]
        position_m: Float64 = self.position_m[left] * (1 - share) + self.position_m[left + 1] * share
        return position_m


def load_body(path: Path) -> Body:
    """Read one recording of `trainer/salsa` (its README says what lies in it)."""
    with np.load(path) as data:
        return Body(path.stem, data["position_mm"] / 1000.0, data["parents"].astype(np.int64),
                    [str(name) for name in data["joints"]], float(data["fps"]))  # fmt: skip


def salsa_bodies() -> list[Body]:
    """All recordings that come with the trainer, in order of name."""
    return [load_body(path) for path in sorted(SALSA.glob("*.npz"))]


@dataclass(frozen=True)
class View:
    """A camera in a room, and what the dancer wears.

    Attributes
    ----------
    yaw_deg, shift_x, size : float
        How far the camera has gone around the dancer; where the middle of the stage lies in the picture (share of
        its width); height of a dancer in the picture (share of its height).
    mirror : bool
    background, contrast, gradient : float
        Grey level of the room; how far clothes lie from it (negative: darker); change of light across the picture.
    noise, flicker : float
        Sensor noise and flicker of the light, standard deviation and amplitude in grey levels.
    speed : float
        Time of the dance against time of the film.
    seed : int
        Of noise and clothes.
    """

    yaw_deg: float = 0.0
    shift_x: float = 0.5
    size: float = 0.75
    mirror: bool = False
    background: float = 60.0
    contrast: float = 110.0
    gradient: float = 20.0
    noise: float = 1.5
    flicker: float = 0.5
    speed: float = 1.0
    seed: int = 0


def random_view(seed: int) -> View:
    """A view as a stranger might set it up: other rooms, sizes, lights, clothes and sides."""
    rng = np.random.default_rng(seed)
    dark = rng.random() < 0.4
    background = rng.uniform(130, 220) if dark else rng.uniform(15, 110)
    return View(
        yaw_deg=rng.uniform(-30, 30),
        shift_x=rng.uniform(0.4, 0.6),
        size=rng.uniform(0.5, 0.92),
        mirror=bool(rng.random() < 0.5),
        background=background,
        contrast=-rng.uniform(60, 120) if dark else rng.uniform(60, 130),
        gradient=rng.uniform(-30, 30),
        noise=rng.uniform(0.5, 2.5),
        flicker=rng.uniform(0, 1.5),
        speed=rng.uniform(0.85, 1.2),
        seed=seed,
    )


def project(position_m: Float64, view: View, height: int, width: int) -> Float64:
    """Where joints lie in the picture.

    Parameters
    ----------
    position_m : np.ndarray, shape (n_frames, n_joints, 3)
    view : View
    height, width : int
        Of the picture, in pixels.

    Returns
    -------
    np.ndarray, shape (n_frames, n_joints, 3), float64
        Column and row in pixels, and depth in metres, larger is nearer.
    """
    yaw = np.deg2rad(view.yaw_deg)
    x = position_m[..., 0] * np.cos(yaw) + position_m[..., 2] * np.sin(yaw)
    depth = position_m[..., 2] * np.cos(yaw) - position_m[..., 0] * np.sin(yaw)
    distance_m = 4.0
    scale = pixels_per_m(view, height) * distance_m / (distance_m - depth)
    column = width * view.shift_x + (-x if view.mirror else x) * scale
    row = height * (0.5 + 0.5 * view.size) - position_m[..., 1] * scale
    return np.stack([column, row, depth], axis=-1)


def pixels_per_m(view: View, height: int) -> float:
    """Size of a metre at the middle of the stage, in pixels, for bodies 1.3 m tall."""
    return view.size * height / 1.3


def film(body: Body, times_s: Float64, view: View, height: int = 48, width: int = 64) -> Iterator[Frame]:
    """Film a dance.

    Parameters
    ----------
    body : Body
    times_s : np.ndarray, shape (n_frames,), float64
        Capture times; the dance runs `view.speed` times as fast.
    view : View
    height, width : int
        Of the picture, in pixels.

    Yields
    ------
    Frame
        uint8 (height, width), at `times_s`.
    """
    rng = np.random.default_rng(view.seed)
    joints = project(body.at(times_s * view.speed), view, height, width)
    bones = np.array([joint for joint, parent in enumerate(body.parents) if parent >= 0])
    radius = np.array([BONE_RADIUS_M[body.joints[joint]] for joint in bones]) * pixels_per_m(view, height)
    room = view.background + view.gradient * (np.arange(width) / width - 0.5)
    clothes = view.background + view.contrast * (1 + 0.25 * rng.uniform(-1, 1, len(bones)))
    for positions, time_s in zip(joints, times_s, strict=True):
        picture = np.tile(room, (height, 1))  # (height, width)
        draw_bones(picture, positions[bones], positions[body.parents[bones]], radius, clothes)
        picture += view.flicker * np.sin(2 * np.pi * 100.3 * time_s)
        picture += view.noise * rng.standard_normal(picture.shape, np.float32)
        yield Frame(np.clip(picture + 0.5, 0, 255).astype(np.uint8), float(time_s))


def draw_bones(picture: Float64, ends: Float64, starts: Float64, radius: Float64, grey: Float64) -> None:
    """Draw capsules into a picture, farther ones first.

    Parameters
    ----------
    picture : np.ndarray, shape (height, width), float64
        Written in place.
    ends, starts : np.ndarray, shape (n_bones, 3)
        Column, row and depth.
    radius, grey : np.ndarray, shape (n_bones,)
        In pixels; in grey levels.
    """
    height, width = picture.shape
    low = np.floor(np.minimum(ends, starts)[:, :2] - radius[:, np.newaxis] - 1).astype(int)
    high = np.ceil(np.maximum(ends, starts)[:, :2] + radius[:, np.newaxis] + 2).astype(int)
    for bone in np.argsort(ends[:, 2] + starts[:, 2]):
        left, top = max(low[bone, 0], 0), max(low[bone, 1], 0)
        right, bottom = min(high[bone, 0], width), min(high[bone, 1], height)
        if left >= right or top >= bottom:
            continue
        column = np.arange(left, right) - starts[bone, 0]
        row = (np.arange(top, bottom) - starts[bone, 1])[:, np.newaxis]
        along_x, along_y = ends[bone, 0] - starts[bone, 0], ends[bone, 1] - starts[bone, 1]
        share = np.clip((column * along_x + row * along_y) / max(along_x**2 + along_y**2, 1e-9), 0, 1)
        distance = np.hypot(column - share * along_x, row - share * along_y)
        cover = np.clip(radius[bone] + 0.5 - distance, 0, 1)
        patch = picture[top:bottom, left:right]
        patch += cover * (grey[bone] - patch)
