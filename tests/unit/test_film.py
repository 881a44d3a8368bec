"""The simulated camera and the factory's instrument: bodies that move are seen and heard, bodies that stand are not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from device.core.motiongram import Motiongram, MotionSettings
from trainer.evaluating.metrics import level_dbfs
from trainer.filming.film import SALSA, Body, View, film, load_body, random_view, salsa_bodies
from trainer.filming.instrument import gesture, play

RATE_HZ = 48000


@pytest.fixture(scope="module")
def body() -> Body:
    return load_body(SALSA / "61_05.npz")


def test_all_recordings_are_there() -> None:
    bodies = salsa_bodies()
    assert len(bodies) == 20
    assert sum(body.duration_s for body in bodies) == pytest.approx(324, abs=1)


@pytest.mark.parametrize("seed", range(6))
def test_the_body_stands_in_the_picture_whatever_the_view(body: Body, seed: int) -> None:
    view = replace(random_view(seed), noise=0.0, flicker=0.0)
    empty = replace(view, contrast=0.0)
    seen = next(film(body, np.array([3.0]), view)).grey.astype(int)
    room = next(film(body, np.array([3.0]), empty)).grey.astype(int)
    rows, columns = np.nonzero(np.abs(seen - room) > 20)
    height = (rows.max() - rows.min() + 1) / 48
    assert 0.5 * view.size < height < 1.25 * view.size
    assert columns.max() > columns.min() + 3


def test_a_mirrored_view_is_the_mirror_image(body: Body) -> None:
    view = View(noise=0.0, flicker=0.0, gradient=0.0)
    straight, mirrored = (next(film(body, np.array([3.0]), v)).grey for v in (view, replace(view, mirror=True)))
    # Half a pixel lies between the middle of the stage and that of the pixels.
    assert np.abs(straight[:, ::-1].astype(int)[:, :-1] - mirrored.astype(int)[:, 1:]).mean() < 2


def test_nobody_moves_before_the_dance(body: Body) -> None:
    motiongram = Motiongram(MotionSettings())
    times_s = np.arange(250) / 50
    quantity = np.array([motiongram.push(frame).quantity for frame in film(body, times_s - 1.5, View())])
    assert quantity[5:70].max() == 0.0
    assert quantity[80:].max() > 0.2


def test_a_faster_dance_has_more_energy(body: Body) -> None:
    times_s = np.arange(240) / 120
    slow, fast = (gesture(body, times_s + 2, speed).energy.mean() for speed in (0.5, 1.0))
    assert fast > 1.3 * slow


def test_the_instrument_is_silent_when_the_body_is_still_and_sounds_when_it_moves(body: Body) -> None:
    sound = play(body, 5.0, RATE_HZ, start_s=-1.0)
    assert len(sound) == 5 * RATE_HZ
    assert not sound[: int(0.9 * RATE_HZ)].any()
    assert level_dbfs(sound[3 * RATE_HZ :]) > -30
    assert np.abs(sound).max() < 0.9


def test_the_instrument_plays_the_same_twice(body: Body) -> None:
    np.testing.assert_array_equal(play(body, 2.0, RATE_HZ, seed=3), play(body, 2.0, RATE_HZ, seed=3))
