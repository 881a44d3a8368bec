"""Takes carried away: the copy is the take, or there is none."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
import tarfile
import wave
from pathlib import Path

import numpy as np
import pytest

from device.__main__ import COMMANDS
from device.cli import run
from device.core.errors import TakeError
from device.core.motiongram import MotionSettings
from device.store.store import Take, TakeWriter, list_takes
from device.store.take_export import export_take

RATE_HZ, FPS = 8000, 50.0


def record(takes_dir: Path, seed: int = 1, n_columns: int = 100) -> Take:
    rng = np.random.default_rng(seed)
    writer = TakeWriter(takes_dir, MotionSettings(height=4, width=6), RATE_HZ, {"seed": seed})
    writer.add_columns(rng.random((n_columns, 10), dtype=np.float32), 7.0 + np.arange(n_columns) / FPS)
    writer.add_sound(rng.integers(-32768, 32768, n_columns * 160).astype(np.int16), 7.0)
    return writer.finish()


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def takes(*arguments: str | Path) -> int:
    return run("device", "A test.", COMMANDS, ["takes", *map(str, arguments)])


def test_copies_are_equal_and_what_is_there_is_left_alone(tmp_path: Path) -> None:
    take = record(tmp_path / "takes")
    done = export_take(take, tmp_path / "a" / "b")
    assert (done.path, done.is_new) == (tmp_path / "a" / "b" / "0001", True)
    assert contents(done.path) == contents(take.path)
    assert done.n_bytes == sum(map(len, contents(take.path).values()))
    before = {path: path.stat().st_mtime_ns for path in done.path.iterdir()}
    assert not export_take(take, tmp_path / "a" / "b").is_new
    assert {path: path.stat().st_mtime_ns for path in done.path.iterdir()} == before
    assert len(list_takes(tmp_path / "a" / "b")) == 1


@pytest.mark.parametrize("name", ["columns.bin", "sound.bin", "take.json"])
def test_another_take_of_the_same_number_is_not_written_over(tmp_path: Path, name: str) -> None:
    take = record(tmp_path / "takes")
    path = export_take(take, tmp_path / "out").path
    data = bytearray((path / name).read_bytes())
    data[-3] ^= 1
    (path / name).write_bytes(data)
    before = contents(path)
    with pytest.raises(TakeError, match="is another take: choose another folder"):
        export_take(take, tmp_path / "out")
    assert contents(path) == before


def test_a_copy_that_is_not_equal_is_told_and_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stick that is full of nothing takes all that is written to it."""
    take = record(tmp_path / "takes")
    real = os.write
    monkeypatch.setattr("device.store.files.os.write", lambda file, data: real(file, bytes(len(data))))
    with pytest.raises(TakeError, match="is not equal: check that disk"):
        export_take(take, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_disk_that_is_full_is_told_and_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    take = record(tmp_path / "takes")

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("device.store.files.os.write", full)
    with pytest.raises(TakeError, match=r"No space left on device.*free some space"):
        export_take(take, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_what_an_interrupted_copy_left_is_replaced(tmp_path: Path) -> None:
    take = record(tmp_path / "takes")
    left = tmp_path / "out" / ".new-0001"
    left.mkdir(parents=True)
    (left / "columns.bin").write_bytes(b"half")
    assert contents(export_take(take, tmp_path / "out").path) == contents(take.path)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["0001"]


def test_tables_are_what_other_programs_read(tmp_path: Path) -> None:
    take = record(tmp_path / "takes", n_columns=5000)
    folder = export_take(take, tmp_path / "out", tables=True).path
    with wave.open(str(folder / "sound.wav")) as wav:
        assert (wav.getnchannels(), wav.getsampwidth(), wav.getframerate()) == (1, 2, RATE_HZ)
        sound = np.frombuffer(wav.readframes(take.n_samples + 1), "<i2")
    assert np.array_equal(sound / 32768, take.sound_at(0, take.n_samples))
    assert np.array_equal(np.load(folder / "columns.npy"), take.columns)
    with (folder / "frames.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 5000
    assert float(rows[4321]["time_s"]) == pytest.approx(take.times_s[4321], abs=1e-6)
    assert float(rows[4321]["sample"]) == pytest.approx(take.sample_of(take.times_s[4321]), abs=0.1)
    assert float(rows[4321]["quantity_of_motion"]) == pytest.approx(take.columns[4321, :4].mean(), abs=1e-4)
    assert np.array_equal(Take.open(folder).columns, take.columns)
    assert not export_take(take, tmp_path / "out").is_new


def test_the_command_carries_what_it_can_and_tells_of_the_rest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, damaged, third = (record(tmp_path / "takes", seed) for seed in (1, 2, 3))
    (damaged.path / "sound.bin").write_bytes(b"")
    assert takes("export", first.path, damaged.path, third.path, "--to", tmp_path / "out") == 1
    said = capsys.readouterr()
    assert [path.name for path in sorted((tmp_path / "out").iterdir())] == ["0001", "0003"]
    assert f"{tmp_path / 'out' / '0003'}  0.0 MB" in said.out
    assert str(damaged.path) in said.err
    assert takes("export", first.path, "--to", tmp_path / "out") == 0
    assert "is there already" in capsys.readouterr().out
    assert takes("export", first.path) == 2
    assert takes("export", first.path, "--tar", tmp_path / "a.tar", "--tables") == 2


def test_a_tar_file_holds_the_takes_and_their_sums(tmp_path: Path) -> None:
    first, second = record(tmp_path / "takes", 1), record(tmp_path / "takes", 2)
    assert takes("export", first.path, second.path, "--tar", tmp_path / "all.tar") == 0
    check_tar(tmp_path / "all.tar", tmp_path)
    assert [path.name for path in tmp_path.glob("*.part")] == []


def test_a_pipe_gets_the_tar_and_nothing_else(tmp_path: Path) -> None:
    first, second = record(tmp_path / "takes", 1), record(tmp_path / "takes", 2)
    command = [sys.executable, "-m", "device", "takes", "export", str(first.path), str(second.path), "--tar", "-"]
    done = subprocess.run(command, capture_output=True, check=True)
    assert b"0001" in done.stderr
    (tmp_path / "piped.tar").write_bytes(done.stdout)
    check_tar(tmp_path / "piped.tar", tmp_path)


def check_tar(tar: Path, tmp_path: Path) -> None:
    folder = tmp_path / "unpacked"
    with tarfile.open(tar) as file:
        for member in file:
            assert member.isfile()
            (folder / member.name).parent.mkdir(parents=True, exist_ok=True)
            source = file.extractfile(member)
            assert source is not None
            with (folder / member.name).open("wb") as out:
                shutil.copyfileobj(source, out)
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=folder, check=True)
    for name in ("0001", "0002"):
        assert contents(folder / name) == contents(tmp_path / "takes" / name)
