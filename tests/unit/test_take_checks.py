"""Bad takes are found, and good ones are left alone: salsa with its own sound, shifted by known times, and without."""

from __future__ import annotations

import json
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from device.core.motiongram import Motiongram, MotionSettings
from device.store.store import Take, TakeWriter
from tests.theremin import body_times, play_theremin
from tests.tiny_runs import RATE_HZ, command, tone, write_take
from trainer.checking.take_checks import check_take
from trainer.checking.take_pictures import draw
from trainer.filming.film import SALSA, View, film, load_body

FPS = 50.0
STILL_S = 1.0
DANCES = ("60_01", "61_07")
"""The first fits the sound of the second best 1.6 s later, and clearly: only its quarters do not agree on that."""
Sound = npt.NDArray[np.float32]


@cache
def columns_of(name: str) -> npt.NDArray[np.float32]:
    """A dance before a simulated camera."""
    body, motiongram = load_body(SALSA / f"{name}.npz"), Motiongram(MotionSettings())
    times_s = np.arange(int((body.duration_s + 2 * STILL_S) * FPS)) / FPS
    return np.array([motiongram.push(frame).column for frame in film(body, times_s - STILL_S, View(noise=1.0))])


@cache
def sound_of(name: str) -> Sound:
    """The sound that follows it."""
    body = load_body(SALSA / f"{name}.npz")
    duration_s = body.duration_s + 2 * STILL_S
    return play_theremin(body, body_times(duration_s, STILL_S), round(duration_s * RATE_HZ), RATE_HZ)


def take_of(folder: Path, columns: npt.NDArray[np.float32], sound: Sound, late_s: float = 0.0) -> Take:
    """A take whose sound comes late by a time, or early."""
    writer = TakeWriter(folder, MotionSettings(), RATE_HZ, {"name": "salsa"})
    writer.add_columns(columns, np.arange(len(columns)) / FPS)
    writer.add_sound(sound, late_s)
    writer.finish()
    return Take.open(writer.path)


@pytest.mark.parametrize(("name", "late_s"), list(product(DANCES, (0.0, 0.2, -0.2, 1.0))))
def test_a_shift_of_a_dance_and_its_sound_is_found_and_none_where_there_is_none(
    tmp_path: Path, name: str, late_s: float
) -> None:
    check = check_take(take_of(tmp_path, columns_of(name), sound_of(name), late_s))
    assert check.figures.sound_late_s == pytest.approx(late_s, abs=0.04)
    assert len(check.marks) == (late_s != 0.0)
    if late_s:
        assert ("after" if late_s > 0 else "before") in check.marks[0]


@pytest.mark.parametrize(("dance", "music"), [(a, b) for a, b in product(DANCES, DANCES) if a[3:] != b[3:]])
def test_a_dance_to_the_music_of_another_is_not_called_shifted(tmp_path: Path, dance: str, music: str) -> None:
    check = check_take(take_of(tmp_path, columns_of(dance), sound_of(music)))
    assert check.figures.sound_late_s is None
    assert check.marks == []


def accented(times_s: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Two beats a second, the first of every three a little stronger."""
    accent = np.where(np.floor(2 * times_s) % 3 == 0, 1.25, 1.0)
    return np.asarray(accent * np.clip(np.sin(2 * np.pi * 2 * times_s), 0, 1))


@pytest.mark.parametrize("late_s", [0.1, 0.25, 0.5])
def test_a_beat_that_the_dancer_keeps_at_some_phase_is_not_called_shifted(tmp_path: Path, late_s: float) -> None:
    """Hands are fastest between the beats, most on the first of a bar: that is dancing, and all bars agree on it."""
    times_s = np.arange(1500) / FPS
    quantity, beat = (accented(times_s), accented(times_s - late_s) ** 4)
    check = check_take(Take.open(write_take(tmp_path, quantity, tone(beat, times_s))))
    assert check.figures.sound_late_s is None
    assert check.marks == []


def test_silence_clipping_rest_and_a_covered_camera_are_told_apart(tmp_path: Path) -> None:
    times_s = np.arange(1000) / FPS
    quantity = np.random.default_rng(1).uniform(0.2, 1, 1000)
    good = tone(quantity, times_s)
    half = len(good) * 6 // 10
    silent, clipped = good.copy(), np.clip(good * 8, -1, 1)
    silent[:half] = 0.0
    still, covered = quantity.copy(), quantity.copy()
    still[:700] = 0.0
    covered[200:] = 0.0
    covered[200] = 5.0  # a hand comes before the lens: all of the picture changes
    found = {
        name: check_take(Take.open(write_take(tmp_path / name, moves, sound)))
        for name, moves, sound in (
            ("good", quantity, good),
            ("silent", quantity, silent),
            ("clipped", quantity, clipped),
            ("still", still, good),
            ("covered", covered, good),
        )
    }
    assert {name: len(check.marks) for name, check in found.items()} == {
        "good": 0, "silent": 1, "clipped": 1, "still": 1, "covered": 1,
    }  # fmt: skip
    assert found["silent"].marks == ["silent 60% of its time"]
    assert found["clipped"].marks[0].startswith("clipped")
    assert found["still"].marks == ["nobody moving 70% of its time"]
    assert "covered" in found["covered"].marks[0]
    assert found["covered"].figures.covered_share == pytest.approx(0.8, abs=0.06)
    assert draw(list(found.values())).startswith(b"\x89PNG")


def test_sound_that_only_touches_full_scale_is_not_clipped(tmp_path: Path) -> None:
    """Music that was made as loud as it may be: its peaks are single samples."""
    times_s = np.arange(500) / FPS
    sound = tone(np.ones(500), times_s) / 0.3 * 0.9
    sound[::700] = 1.0
    assert check_take(Take.open(write_take(tmp_path, np.ones(500), sound))).marks == []


def test_the_command_names_the_bad_takes_and_draws_them(tmp_path: Path) -> None:
    times_s = np.arange(500) / FPS
    quantity = np.random.default_rng(1).uniform(0.2, 1, 500)
    write_take(tmp_path / "takes", quantity, tone(quantity, times_s))
    write_take(tmp_path / "takes", quantity, np.zeros(10 * RATE_HZ), seed=1)
    done = command("check", "--takes", tmp_path / "takes", "--picture", tmp_path / "bad.png")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0].endswith("fine")
    assert "silent 100% of its time" in done.stdout.splitlines()[1]
    assert done.stdout.splitlines()[-1].endswith("--leave-out 2")
    assert (tmp_path / "bad.png").read_bytes().startswith(b"\x89PNG")
    told = json.loads(command("check", "--takes", tmp_path / "takes", "--json").stdout)
    assert [take["silent_share"] for take in told["takes"]] == [0.0, 1.0]
