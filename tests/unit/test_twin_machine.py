"""The machine layer's own reckoning: how well sound follows motion, what is changed in drivers, what an image is of."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.twin.machine import drivers, furniture, image, light_bundle
from tests.twin.machine.drivers import own_irq_sim, small_frames
from tests.twin.machine.follow import FLOOR_DB, STEP_S, Float64, Written, followed, levels_db, motion
from tests.twin.workbench import ROOT, TwinError

SPEEDS = (0, 3, 0, 2, 0, 3, 1, 0, 2, 0)
LOUD_DB = {0: FLOOR_DB, 1: -80.0, 2: -70.0, 3: -60.0}
PHASE_S = 5.0


def danced(late_s: float = 0.0) -> tuple[Float64, Float64]:
    """Motion, and a level that follows it so much later, a value every half second."""
    moves = [(100.0 + PHASE_S * i, speed) for i, speed in enumerate(SPEEDS)]
    times_s = np.arange(moves[0][0], moves[-1][0] + 10.0, STEP_S)
    late = motion(moves, times_s - late_s)
    return motion(moves, times_s), np.array([LOUD_DB[int(speed)] for speed in late])


def test_motion_holds_until_the_next_move_and_there_is_none_before_the_first() -> None:
    found = motion([(10.0, 3), (12.0, 0)], np.array([9.9, 10.0, 11.9, 12.0, 50.0]))
    assert found.tolist() == [0, 3, 3, 0, 0]


@pytest.mark.parametrize("late_s", [0.0, 2.5])
def test_a_sound_that_follows_is_found_however_late_it_is(late_s: float) -> None:
    found = followed(*danced(late_s))
    assert found.correlation > 0.99
    assert found.lag_s == late_s
    assert (found.still_db, found.moving_db) == (FLOOR_DB, -70.0)


def test_a_sound_that_follows_another_dance_is_not_taken_for_one_that_follows() -> None:
    moved, level_db = danced()
    rng = np.random.default_rng(0)
    phases = level_db[: len(SPEEDS) * 10].reshape(len(SPEEDS), 10)
    found = [followed(moved[: phases.size], rng.permutation(phases).ravel()).correlation for _ in range(100)]
    assert np.mean(np.array(found) >= 0.6) < 0.15  # the best of 17 lags, by chance
    assert followed(moved, np.full(len(moved), -60.0)).correlation == 0.0


def test_levels_are_read_off_at_the_times_at_which_the_card_played_them() -> None:
    # A card that played a second of full scale, stood still for two, and played half of that for a second.
    samples = np.concatenate([np.full(48_000, 32767), np.full(48_000, 16384)]).astype(np.int16)
    written = [Written(5.0, 0), Written(6.0, 48_000), Written(8.0, 48_000), Written(9.0, 96_000)]
    found = levels_db(samples, written, np.array([5.0, 6.0, 7.0, 8.0, 9.0]))
    assert found == pytest.approx([0.0, FLOOR_DB, FLOOR_DB, -6.02], abs=0.01)


def test_simulated_interrupts_become_a_part_of_one_module() -> None:
    source = "\thandle_simple_irq(irq_to_desc(irqnum));\n}\nEXPORT_SYMBOL_GPL(irq_domain_create_sim);\n"
    assert own_irq_sim(source) == "\tgeneric_handle_irq(irqnum);\n}\n"
    with pytest.raises(TwinError, match="has changed"):
        own_irq_sim("nothing of it")


def test_the_simulated_cameras_largest_picture_is_small() -> None:
    source = "#define VIMC_FRAME_MAX_WIDTH 4096\n#define VIMC_FRAME_MAX_HEIGHT 2160\n#define VIMC_FRAME_MIN_WIDTH 16\n"
    assert [line.split()[-1] for line in small_frames(source).splitlines()] == ["640", "480", "16"]


def test_an_image_is_another_when_the_program_is_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "checkout"
    for name in ("tests/twin/machine", "systemd"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    here = root / "tests/twin/machine"
    monkeypatch.setattr(image, "ROOT", root)
    monkeypatch.setattr(image, "__file__", str(here / "image.py"))
    for module in (drivers, furniture, light_bundle):
        monkeypatch.setattr(module, "__file__", str(here / Path(module.__file__ or "").name))
    before = image.image_key()
    assert image.image_key() == before
    (root / "systemd/__pycache__").mkdir()
    (root / "systemd/__pycache__/x.pyc").write_bytes(b"compiled")
    assert image.image_key() == before
    (root / "systemd/command").write_text("#!/bin/sh\n")
    changed = image.image_key()
    (here / "furniture.py").write_text("")
    assert len({before, changed, image.image_key()}) == 3
