"""`device takes`: what a folder of recordings holds, and what is wrong with it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from device.__main__ import COMMANDS
from device.cli import run
from device.core.motiongram import MotionSettings
from device.store.store import TakeWriter

RATE_HZ = 8000


def record(takes_dir: Path, *, finish: bool = True) -> Path:
    writer = TakeWriter(takes_dir, MotionSettings(), RATE_HZ, {"video": "a.mp4"})
    times_s = np.arange(600) / 50.0
    writer.add_columns(np.ones((600, 112), np.float32), times_s)
    for second in range(12):
        writer.add_sound(np.zeros(RATE_HZ, np.float32), float(second))
    if finish:
        writer.finish()
    else:
        writer.close()
    return writer.path


def takes(*argv: str | Path) -> int:
    return run("device", "A test.", COMMANDS, ["takes", *map(str, argv)])


def test_takes_are_listed_by_number(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = record(tmp_path), record(tmp_path)
    assert takes("list", "--takes", tmp_path) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines] == [str(first), str(second)]
    assert "600 columns  8000 Hz" in lines[0]


def test_as_json_a_take_says_where_it_is_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(tmp_path)
    assert takes("list", "--takes", tmp_path, "--json") == 0
    (row,) = json.loads(capsys.readouterr().out)["takes"]
    assert row["source"] == {"video": "a.mp4"}
    assert (row["state"], row["n_columns"], row["n_samples"], row["salvaged"]) == ("whole", 600, 12 * RATE_HZ, False)
    assert row["duration_s"] == pytest.approx(12.0, abs=0.05)


def test_a_damaged_take_fails_the_check_and_does_not_hide_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged, whole = record(tmp_path), record(tmp_path)
    sound = bytearray((damaged / "sound.bin").read_bytes())
    sound[len(sound) // 2] ^= 1
    (damaged / "sound.bin").write_bytes(sound)
    assert takes("verify", "--takes", tmp_path) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{damaged}  damaged: ")
    assert lines[1].startswith(f"{whole}  11.98 s")
    assert lines[2] == "every checksum compared: 1 of 2 takes is whole"


def test_whole_takes_pass_the_check_which_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(tmp_path)
    record(tmp_path)
    assert takes("verify", "--takes", tmp_path) == 0
    assert capsys.readouterr().out.endswith("\nevery checksum compared: 2 of 2 takes are whole\n")


def test_what_was_cut_short_is_named_and_can_be_salvaged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = record(tmp_path, finish=False)
    assert takes("list", "--takes", tmp_path) == 0
    line = capsys.readouterr().out
    assert f"{path}  incomplete: was cut short or is being recorded" in line
    assert f"run python -m device takes salvage {path}" in line
    assert takes("verify", "--takes", tmp_path) == 1
    assert takes("salvage", path) == 0
    assert "salvaged" in capsys.readouterr().out
    assert takes("verify", "--takes", tmp_path) == 0


@pytest.mark.parametrize("action", ["list", "verify"])
def test_what_cannot_be_salvaged_is_to_be_deleted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], action: str
) -> None:
    path = record(tmp_path, finish=False)
    (path / "take.json.part").unlink()
    takes(action, "--takes", tmp_path)
    line = capsys.readouterr().out
    assert f"{path}  incomplete: " in line
    assert "delete it, nothing in it can be salvaged\n" in line
    assert takes("salvage", path) == 1
    assert "nothing can be salvaged: delete it" in capsys.readouterr().err


def test_what_is_being_recorded_is_no_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    writer = TakeWriter(tmp_path, MotionSettings(), RATE_HZ, {})
    assert takes("verify", "--takes", tmp_path) == 0
    assert capsys.readouterr().out == f"{writer.path}  recording: it is being recorded\n"
    assert takes("salvage", writer.path) == 1
    assert "is being recorded: stop the recording" in capsys.readouterr().err
    writer.close()
    assert takes("verify", "--takes", tmp_path) == 1


def test_a_cancelled_take_is_marked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = record(tmp_path, finish=False)
    (path / "take.json.part").unlink()
    writer = TakeWriter(tmp_path, MotionSettings(), RATE_HZ, {})
    writer.add_columns(np.ones((10, 112), np.float32), np.arange(10) / 50.0)
    writer.add_sound(np.zeros(1000, np.int16), 0.0)
    writer.finish(cancelled=True, level_dbfs=-20.5)
    takes("list", "--takes", tmp_path)
    assert capsys.readouterr().out.splitlines()[1].endswith("  cancelled")
    takes("list", "--takes", tmp_path, "--json")
    row = json.loads(capsys.readouterr().out)["takes"][1]
    assert (row["cancelled"], row["notes"]) == (True, {"level_dbfs": -20.5})


def test_the_boxs_own_takes_are_meant_when_no_folder_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config.toml"
    config.write_text(f'[state]\nfolder = "{tmp_path}"\n')
    assert takes("list", "--config", config) == 0
    assert capsys.readouterr().out == f"no takes in {tmp_path / 'takes'}\n"
    path = record(tmp_path / "takes")
    assert takes("list", "--config", config) == 0
    assert str(path) in capsys.readouterr().out
    assert takes("export", "--config", config, "--to", tmp_path / "copy") == 0
    assert (tmp_path / "copy" / "0001" / "take.json").exists()


def test_no_takes_is_no_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert takes("list", "--takes", tmp_path) == 0
    assert capsys.readouterr().out == f"no takes in {tmp_path}\n"


def test_a_folder_that_is_not_there_is_wrong_use(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(tmp_path)
    assert takes("list", "--takes", tmp_path) == 2
    assert "is not a folder; name the folder that holds the takes" in capsys.readouterr().err
