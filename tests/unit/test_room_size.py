"""The dancer's size: one far away is played as one who stands near, and nobody is cut off or blown up at once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from device.core.errors import ConfigError
from device.core.frame import Frame
from device.core.motiongram import Motiongram, MotionSettings
from device.core.room import RoomMotiongram
from device.core.room_profile import RoomProfile, RoomSettings
from device.core.room_size import LARGEST_ZOOM, SMALLEST_ZOOM, TYPICAL_SIZE, DancerSize, Zoom, extent_of
from tests.room_films import dance, moved, quantities, seen

SETTINGS = MotionSettings()


def of_size(size: float) -> RoomProfile:
    return RoomProfile(np.zeros((48, 64), np.float32), 0.0, size, True)


def again_and_again(frames: tuple[Frame, ...], times: int) -> list[Frame]:
    """The same dance several times, as one film."""
    length_s = len(frames) / 25
    return [Frame(frame.grey, frame.time_s + turn * length_s) for turn in range(times) for frame in frames]


@pytest.mark.parametrize("size", [0.3, 0.375, 0.5, 0.75, 0.9])
def test_the_height_of_a_dancer_is_found(size: float) -> None:
    room = RoomMotiongram(SETTINGS)
    quantities(room, seen(again_and_again(dance(5, 12.0, 25.0, size=size), 4), 1.0))
    assert room.state.size == pytest.approx(size, rel=0.12)


def spread_px(columns: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """How far up and down the motion of each column reaches: its standard deviation over the rows."""
    rows = columns[:, :48].astype(np.float64)
    rows /= rows.sum(axis=1, keepdims=True) + 1e-9
    places = np.arange(48)
    spread: npt.NDArray[np.float64] = (rows * places**2).sum(axis=1) - (rows * places).sum(axis=1) ** 2
    np.sqrt(np.maximum(spread, 0.0), out=spread)
    return spread


@pytest.mark.parametrize("size", [0.3, 0.375, 0.5])
def test_a_small_dancer_moves_like_one_of_a_usual_size(size: float) -> None:
    """As far up and down, as much, and at the same moments."""
    small, usual = list(dance(seconds=8.0, size=size)), list(dance(seconds=8.0, size=0.6))
    columns = {
        "ours": np.array([motion.column for motion in moved(RoomMotiongram(SETTINGS, of_size(size)), small)]),
        "plain": np.array([motion.column for motion in moved(Motiongram(SETTINGS), small)]),
        "truth": np.array([motion.column for motion in moved(Motiongram(SETTINGS), usual)]),
    }
    total = {name: of.sum() for name, of in columns.items()}
    spread = {name: spread_px(of[60:]).mean() for name, of in columns.items()}
    assert total["plain"] < 0.75 * total["truth"]
    assert total["ours"] == pytest.approx(total["truth"], rel=0.25)
    assert spread["plain"] < 0.9 * spread["truth"]
    assert spread["ours"] == pytest.approx(spread["truth"], rel=0.08)
    assert np.corrcoef(columns["ours"].sum(axis=1), columns["truth"].sum(axis=1))[0, 1] > 0.97


def test_quantity_and_column_of_a_zoomed_motion_agree() -> None:
    for motion in moved(RoomMotiongram(SETTINGS, of_size(0.4)), dance(seconds=3.0, size=0.4))[60:]:
        assert motion.column[:48].mean() == pytest.approx(motion.quantity, rel=1e-3)
        assert motion.column[48:].mean() == pytest.approx(motion.quantity, rel=1e-3)


@pytest.mark.parametrize("zoom", [SMALLEST_ZOOM, 1.5, LARGEST_ZOOM])
@pytest.mark.parametrize("place", [(0, 0), (47, 63), (24, 60), (3, 32)])
def test_no_motion_is_zoomed_out_of_the_picture(zoom: float, place: tuple[int, int]) -> None:
    column = np.zeros(112, np.float32)
    column[place[0]] = column[48 + place[1]] = 3.0
    for centre in ([24.0, 32.0], [10.0, 10.0], [40.0, 50.0]):
        zoomed = Zoom(48, 64).apply(column, zoom, np.array(centre))
        assert zoomed[:48].sum() == pytest.approx(3.0 * zoom**2, rel=1e-4)
        assert zoomed[48:].sum() == pytest.approx(3.0 * zoom**2, rel=1e-4)
        assert zoomed.min() >= 0.0


def test_the_middle_of_a_zoomed_dancer_comes_to_the_middle_of_the_picture() -> None:
    column = np.zeros(112, np.float32)
    column[8:12] = column[48 + 10 : 48 + 14] = 1.0
    zoomed = Zoom(48, 64).apply(column, 2.0, np.array([10.0, 12.0]))
    assert zoomed[:48] @ (np.arange(48) + 0.5) / zoomed[:48].sum() == pytest.approx(24.0, abs=0.1)
    assert zoomed[48:] @ (np.arange(64) + 0.5) / zoomed[48:].sum() == pytest.approx(32.0, abs=0.1)


def test_two_dancers_far_apart_stay_in_the_picture() -> None:
    sides = [dance(number, 12.0, 25.0, size=0.375, shift_x=at, gradient=0.0) for number, at in ((2, 0.15), (7, 0.85))]
    both = tuple(Frame(np.maximum(a.grey, b.grey), a.time_s) for a, b in zip(*sides, strict=True))
    room = RoomMotiongram(SETTINGS)
    columns = np.array([motion.column for motion in moved(room, again_and_again(both, 4))])[-200:]
    assert room.state.size < 0.5
    assert columns[:, [48, -1]].sum() < 0.05 * columns[:, 48:].sum()


def test_a_hand_that_moves_for_a_while_does_not_shrink_a_dancer_much() -> None:
    size = DancerSize(48, 64, 20.0)
    column = np.zeros(112, np.float32)
    column[20:24] = column[70:74] = 2.0
    for n in range(150):
        size.look(column, n / 15)
    assert TYPICAL_SIZE - 0.15 < size.size < TYPICAL_SIZE


def test_nothing_is_learned_while_nobody_moves() -> None:
    size = DancerSize(48, 64, 20.0)
    specks = np.zeros(112, np.float32)
    specks[3] = specks[60] = 0.3
    for n in range(15 * 600):
        size.look(specks, n / 15)
    assert (size.size, size.moved_s) == (TYPICAL_SIZE, 0.0)


def test_noise_of_an_unknown_room_is_not_taken_for_a_tall_dancer() -> None:
    room = RoomMotiongram(SETTINGS)
    quantities(room, seen(dance(5, 12.0, 25.0, size=0.4), 6.0))
    assert room.state.size < TYPICAL_SIZE


def test_a_configured_zoom_holds() -> None:
    frames = list(dance(seconds=3.0, size=0.4))
    fixed = RoomMotiongram(SETTINGS, of_size(0.4), RoomSettings(zoom=1.0))
    np.testing.assert_array_equal(quantities(fixed, frames), quantities(Motiongram(SETTINGS), frames))
    larger = RoomMotiongram(SETTINGS, adapt=RoomSettings(zoom=2.0))
    np.testing.assert_allclose(quantities(larger, frames), 4.0 * quantities(Motiongram(SETTINGS), frames), rtol=1e-5)


@pytest.mark.parametrize("zoom", [0.5, 2.5, -1.0, float("nan"), float("inf")])
def test_a_zoom_out_of_range_is_refused(zoom: float) -> None:
    with pytest.raises(ConfigError, match=r"room.zoom = .* set 0.7 to 2, or 0 to learn it"):
        RoomSettings(zoom=zoom)


def test_the_extent_leaves_lone_specks_out() -> None:
    rows = np.zeros(48, np.float32)
    rows[10:20] = 1.0
    assert extent_of(rows) == (10.0, 20.0)
    rows[47] = 0.3
    assert extent_of(rows) == (10.0, 20.0)
