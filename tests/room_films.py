"""Rooms before a simulated camera: noise, lamps and people, for tests of what a motiongram makes of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cache

import numpy as np
import numpy.typing as npt

from device.core.frame import Frame
from device.core.motiongram import Motion, Motiongram, MotionSettings
from trainer.filming.film import View, film, salsa_bodies

Picture = npt.NDArray[np.float64]
Light = Callable[[Picture, float], Picture]

HEIGHT, WIDTH = 48, 64
ROWS = np.arange(HEIGHT)[:, np.newaxis]
READOUT_S = 1 / 60
MAINS_HZ = 100.3  # twice the mains, beating with every frame rate


def plain_wall() -> Picture:
    """A grey wall, a little darker to the left."""
    return np.tile(60 + 20 * (np.arange(WIDTH) / WIDTH - 0.5), (HEIGHT, 1))


def furniture() -> Picture:
    """Things of every brightness from 30 to 180."""
    return np.kron(30 + 150 * np.random.default_rng(5).random((6, 8)), np.ones((8, 8)))


def empty(picture: Picture, seconds: float, fps: float, start_s: float = 0.0) -> list[Frame]:
    """An empty room without noise."""
    grey = picture.round().astype(np.uint8)
    return [Frame(grey, start_s + n / fps) for n in range(round(seconds * fps))]


@cache
def dance(number: int = 2, seconds: float = 10.0, fps: float = 60.0, **view: float) -> tuple[Frame, ...]:
    """A dance without noise or flicker."""
    options = {"noise": 0.0, "flicker": 0.0, **view}
    body = salsa_bodies()[number]
    return tuple(film(body, np.arange(int(seconds * fps)) / fps, View(**options)))  # type: ignore[arg-type] # floats only


def seen(
    frames: Iterable[Frame],
    noise: float | Callable[[Picture], Picture] = 1.0,
    light: Light | None = None,
    seed: int = 0,
) -> Iterator[Frame]:
    """What a camera sees of it: under this light, with this noise (standard deviation in grey levels)."""
    rng = np.random.default_rng(seed)
    for frame in frames:
        picture = frame.grey.astype(np.float64)
        if light is not None:
            picture = light(picture, frame.time_s)
        deviation = noise(picture) if callable(noise) else noise
        picture = picture + deviation * rng.standard_normal(picture.shape, np.float32)
        yield Frame(np.clip(picture + 0.5, 0, 255).astype(np.uint8), frame.time_s)


def mains(depth: float) -> Light:
    """Lamps that flicker with the mains, seen by a sensor that reads row by row."""
    return lambda picture, time_s: (
        picture * (1 + depth * np.sin(2 * np.pi * MAINS_HZ * (time_s + ROWS / HEIGHT * READOUT_S)))
    )


def switched(at_s: float, after: Callable[[Picture], Picture]) -> Light:
    """Light that is another from some time on."""
    return lambda picture, time_s: after(picture) if time_s >= at_s else picture


def house_lights(picture: Picture) -> Picture:
    """The room's own lamps as well, with shadows."""
    shadows = np.kron(0.3 + 0.7 * np.random.default_rng(3).random((6, 8)), np.ones((8, 8)))
    return picture + 80 * shadows


def hand(seconds: float, fps: float, contrast: float, from_s: float = 0.0) -> list[Frame]:
    """A hand of 3 x 3 pixels that waves before a wall from some time on, without noise."""
    frames = []
    columns = np.arange(WIDTH)
    for n in range(round(seconds * fps)):
        picture = plain_wall()
        if n / fps >= from_s:
            left = 30 + 8 * np.sin(2 * np.pi * 1.5 * n / fps)
            cover = np.clip(np.minimum(columns + 1, left + 3) - np.maximum(columns, left), 0, 1)
            picture[20:23] += contrast * cover
        frames.append(Frame(np.clip(picture + 0.5, 0, 255).astype(np.uint8), n / fps))
    return frames


def crowd(n_people: int, seconds: float, fps: float) -> list[Frame]:
    """People all over the picture, of all sizes, at different heights, who dance all the time."""
    rng = np.random.default_rng(1)
    pictures = np.full((round(seconds * fps), HEIGHT, WIDTH), 60, np.int16)
    for person in range(n_people):
        view = {
            "size": rng.uniform(0.3, 0.55), "shift_x": rng.uniform(0, 1), "contrast": rng.uniform(60, 130),
            "yaw_deg": rng.uniform(-180, 180), "gradient": 0.0,
        }  # fmt: skip
        down = int(rng.integers(-18, 19))
        for n, frame in enumerate(dance(person, seconds, fps, **view)):
            moved = np.roll(frame.grey, down, axis=0)
            pictures[n][moved != 60] = moved[moved != 60]
    return [Frame(picture.astype(np.uint8), n / fps) for n, picture in enumerate(pictures)]


def moved(motiongram: Motiongram, frames: Iterable[Frame]) -> list[Motion]:
    """Motion of each frame."""
    return [motiongram.push(frame) for frame in frames]


def quantities(motiongram: Motiongram, frames: Iterable[Frame]) -> npt.NDArray[np.float64]:
    """Quantity of motion of each frame."""
    return np.array([motion.quantity for motion in moved(motiongram, frames)])


def true_quantities(frames: Iterable[Frame]) -> npt.NDArray[np.float64]:
    """Quantity of motion of frames without noise, as the plain motiongram gives it."""
    return quantities(Motiongram(MotionSettings()), frames)
