"""Segments: whole, on their hop, and never shared between what is learned and what is held out."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from device.core.errors import TakeError, UsageError
from device.core.motiongram import MotionSettings
from device.store.store import Take, TakeWriter
from trainer.data.prepare import Segments, add_arguments, describe, main, split

SETTINGS = MotionSettings(height=4, width=6)
RATE_HZ = 8000


def make_take(
    takes_dir: Path,
    times_s: npt.NDArray[np.float64],
    sound_s: tuple[float, float] | None = None,
    settings: MotionSettings = SETTINGS,
    level: float = 0.5,
) -> Take:
    start_s, stop_s = sound_s or (float(times_s[0]), float(times_s[-1]) + 0.1)
    writer = TakeWriter(takes_dir, settings, RATE_HZ, {"name": "dance"})
    writer.add_columns(np.full((len(times_s), settings.n_features), 2.0, np.float32), times_s)
    writer.add_sound(np.full(round((stop_s - start_s) * RATE_HZ), level, np.float32), start_s)
    return writer.finish()


@pytest.fixture
def take(tmp_path: Path) -> Take:
    """Twenty seconds at 50 fps."""
    return make_take(tmp_path, 3.0 + np.arange(1001) / 50)


@pytest.mark.parametrize("segment_s", [0.05, 0.1, 0.5, 2.0])
@pytest.mark.parametrize("hop_s", [0.02, 0.1, 1.0])
def test_parts_share_no_column_and_no_sound(take: Take, segment_s: float, hop_s: float) -> None:
    training, held_out = split([take], segment_s, hop_s)
    assert len(training) > 0
    assert len(held_out) > 0
    last_learned_s = take.times_s[training.column_index].max()
    first_held_s = take.times_s[held_out.column_index].min() - segment_s
    assert first_held_s - last_learned_s >= segment_s + 0.05 - 1e-9


@pytest.mark.parametrize("hop_s", [0.02, 0.1, 1.0])
def test_segments_are_a_hop_apart_and_none_is_missing(take: Take, hop_s: float) -> None:
    training, nothing = split([take], 0.5, hop_s, held_out=0.0)
    assert len(nothing) == 0
    assert len(training) == int(19.5 / hop_s + 1e-6) + 1
    assert np.diff(take.times_s[training.column_index]) == pytest.approx(hop_s)
    assert take.times_s[training.column_index[0]] == pytest.approx(3.5)


def test_about_the_asked_part_is_held_out(take: Take) -> None:
    training, held_out = split([take], 0.1, 0.02, held_out=0.5)
    assert len(training) / len(held_out) == pytest.approx(1.0, abs=0.06)


def test_a_hop_shorter_than_a_frame_uses_each_column_once(take: Take) -> None:
    training, _ = split([take], 0.5, 0.001, held_out=0.0)
    assert np.array_equal(training.column_index, np.arange(25, 1001))


def test_segments_lie_within_the_sound(tmp_path: Path) -> None:
    take = make_take(tmp_path, np.arange(501) / 50, sound_s=(2.0, 7.0))
    training, _ = split([take], 0.5, 0.02, held_out=0.0)
    ends_s = take.times_s[training.column_index]
    assert ends_s.min() == pytest.approx(2.5, abs=0.021)
    assert ends_s.max() == pytest.approx(7.0, abs=0.021)


def test_no_segment_lies_across_a_pause(tmp_path: Path) -> None:
    times_s = np.concatenate([np.arange(0.0, 4.0, 0.02), np.arange(6.0, 10.0, 0.02)])
    take = make_take(tmp_path, times_s)
    training, _ = split([take], 0.5, 0.02, held_out=0.0)
    ends_s = take.times_s[training.column_index]
    assert not np.any((ends_s > 3.99) & (ends_s < 6.5 - 1e-6))
    assert np.any(ends_s > 6.5 - 1e-6)


def test_every_take_gives_its_part(tmp_path: Path) -> None:
    takes = [make_take(tmp_path, np.arange(n) / 25) for n in (200, 300, 5)]
    training, held_out = split(takes, 0.5, 0.04)
    for segments in (training, held_out):
        assert segments.take_index.dtype == segments.column_index.dtype == np.int32
        assert set(segments.take_index.tolist()) == {0, 1}
    for index, take in enumerate(takes):
        assert np.all(training.of_take(index) < take.n_columns)


def test_whole_takes_can_be_held_out(tmp_path: Path) -> None:
    takes = [make_take(tmp_path, np.arange(200) / 25) for _ in range(3)]
    training, held_out = split(takes, 0.5, 0.04, held_out_takes=[2])
    assert set(training.take_index.tolist()) == {0, 2}
    assert set(held_out.take_index.tolist()) == {1}
    assert len(held_out) == len(split(takes[1:2], 0.5, 0.04, held_out=0.0)[0])


def test_the_list_is_the_same_each_time(take: Take) -> None:
    first, second = split([take], 0.3, 0.03), split([Take.open(take.path)], 0.3, 0.03)
    for once, again in zip(first, second, strict=True):
        assert np.array_equal(once.column_index, again.column_index)


@pytest.mark.parametrize(
    ("segment_s", "hop_s", "held_out", "numbers"),
    [
        (0.04, 0.02, 0.2, []),
        (2.1, 0.02, 0.2, []),
        (float("nan"), 0.02, 0.2, []),
        (0.5, 0.0, 0.2, []),
        (0.5, 1e-9, 0.2, []),
        (0.5, 0.0009, 0.2, []),
        (0.5, -1.0, 0.2, []),
        (0.5, float("nan"), 0.2, []),
        (0.5, 0.02, 1.0, []),
        (0.5, 0.02, -0.1, []),
        (0.5, 0.02, 0.2, [7]),
    ],
)
def test_wrong_use_is_told(take: Take, segment_s: float, hop_s: float, held_out: float, numbers: list[int]) -> None:
    with pytest.raises(UsageError):
        split([take], segment_s, hop_s, held_out, numbers)


def test_takes_that_do_not_fit_together_are_refused(tmp_path: Path) -> None:
    times_s = np.arange(200) / 25
    takes = [make_take(tmp_path, times_s), make_take(tmp_path, times_s, settings=MotionSettings(4, 6, threshold=0.1))]
    with pytest.raises(TakeError, match="differ"):
        split(takes, 0.5, 0.02)


def test_a_take_is_described_in_units(tmp_path: Path) -> None:
    described = describe(make_take(tmp_path, np.arange(251) / 25))
    assert described["duration_s"] == pytest.approx(10.0)
    assert described["fps"] == pytest.approx(25.0)
    assert described["quantity"] == pytest.approx(2.0)
    assert described["level_dbfs"] == pytest.approx(-6.0, abs=0.05)
    assert describe(make_take(tmp_path, np.arange(9) / 25, level=0.0))["level_dbfs"] == -120.0


def run_main(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return main(parser.parse_args(arguments))


def test_prepare_prints_a_line_for_each_take(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        make_take(tmp_path, np.arange(200) / 25)
    assert run_main("--takes", str(tmp_path)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line[:4] for line in lines[:2]] == ["0001", "0002"]
    assert "segments of 0.5 s" in lines[2]


def test_prepare_prints_one_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        make_take(tmp_path, np.arange(200) / 25)
    assert run_main("--takes", str(tmp_path), "--json", "--segment-s", "0.1", "--held-out-takes", "2") == 0
    printed = json.loads(capsys.readouterr().out)
    assert [take["n_held_out"] > 0 for take in printed["takes"]] == [False, True]
    assert printed["n_held_out"] == printed["takes"][1]["n_held_out"]


def test_nothing_to_learn_from_is_told(tmp_path: Path) -> None:
    with pytest.raises(TakeError, match="no takes"):
        run_main("--takes", str(tmp_path))
    make_take(tmp_path, np.arange(5) / 25)
    with pytest.raises(TakeError, match="no segment"):
        run_main("--takes", str(tmp_path))


def cut_short(takes_dir: Path, n_columns: int = 200) -> Path:
    writer = TakeWriter(takes_dir, SETTINGS, RATE_HZ, {})
    writer.add_columns(np.ones((n_columns, SETTINGS.n_features), np.float32), np.arange(n_columns) / 25)
    writer.add_sound(np.zeros(RATE_HZ, np.float32), 0.0)
    writer.close()
    return writer.path


def test_a_take_that_was_cut_short_is_left_out_with_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_take(tmp_path, np.arange(200) / 25)
    saveable, lost = cut_short(tmp_path), cut_short(tmp_path)
    (lost / "take.json.part").unlink()
    assert run_main("--takes", str(tmp_path)) == 0
    first, second = capsys.readouterr().err.splitlines()
    assert f"left out: {saveable} was cut short" in first
    assert f"run python -m device takes salvage {saveable}" in first
    assert f"left out: {lost} was cut short" in second
    assert "delete it, nothing in it can be salvaged" in second
    assert "takes salvage" not in second


@pytest.mark.parametrize(("n_takes", "advice"), [(1, "takes salvage {}/0001"), (3, "takes list --takes {}")])
def test_takes_that_were_all_cut_short_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], n_takes: int, advice: str
) -> None:
    for _ in range(n_takes):
        cut_short(tmp_path)
    with pytest.raises(TakeError, match="no whole take") as caught:
        run_main("--takes", str(tmp_path))
    assert str(caught.value).endswith(advice.format(tmp_path))
    assert capsys.readouterr().err == ""


def test_no_takes_give_no_segments() -> None:
    training, held_out = split([], 0.5, 0.02)
    assert len(training) == len(held_out) == 0
    assert isinstance(training, Segments)
