from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

from deploy.box import Box
from deploy.errors import BoxError
from deploy.fleet.program import ROOT, pack_program
from deploy.fleet.pull import pull_all
from deploy.fleet.takes import ORIGIN, TrainingSet, read_origin
from device.core.motiongram import MotionSettings
from device.store.locks import FolderLock
from device.store.store import TakeWriter, list_takes
from tests.fake_box import FakeSsh

ONE = {"columns.bin": bytes(range(256)) * 20, "sound.bin": b"sound" * 3000, "take.json": b'{"take": 1}\n'}
OTHER = {name: data[::-1] for name, data in ONE.items()}


def box_with(*takes: dict[str, bytes]) -> FakeSsh:
    ssh = FakeSsh()
    ssh.takes = dict(enumerate(takes, 1))
    return ssh


def pull(folder: Path, **boxes: FakeSsh) -> dict[str, dict[str, str]]:
    """Pull from each box, and give the new numbers of its takes."""
    pulled = pull_all({host: Box(ssh) for host, ssh in boxes.items()}, TrainingSet(folder), is_quiet=True)
    assert [each.error for each in pulled.values()] == [None] * len(boxes)
    return {host: each.new for host, each in pulled.items()}


def held(folder: Path) -> dict[str, dict[str, bytes]]:
    """What each take in a training set holds, by its number."""
    return {
        path.name: {file.name: file.read_bytes() for file in path.iterdir() if file.name != ORIGIN}
        for path in folder.glob("[0-9]*")
    }


def test_takes_of_the_same_number_on_two_boxes_are_two_takes_with_their_origin(tmp_path: Path) -> None:
    new = pull(tmp_path, hall=box_with(ONE), stage=box_with(OTHER))
    assert sorted(number for takes in new.values() for number in takes.values()) == ["0001", "0002"]
    for host, take in (("hall", ONE), ("stage", OTHER)):
        path = tmp_path / new[host]["0001"]
        assert held(tmp_path)[path.name] == take
        origin = read_origin(path)
        assert origin is not None
        assert (origin["box"], origin["number"]) == (host, 1)


def test_the_same_take_is_here_once_however_often_and_from_wherever_it_is_pulled(tmp_path: Path) -> None:
    hall = box_with(ONE, OTHER)
    assert pull(tmp_path, hall=hall) == {"hall": {"0001": "0001", "0002": "0002"}}
    hall.n_passed = 0
    assert pull(tmp_path, hall=hall) == {"hall": {}}
    assert hall.n_passed == 0
    assert pull(tmp_path, copied=box_with(OTHER), renamed=hall) == {"copied": {}, "renamed": {}}
    assert len(held(tmp_path)) == 2


def test_of_one_take_on_several_boxes_at_once_one_comes(tmp_path: Path) -> None:
    new = pull(tmp_path, **{f"box{n}": box_with(ONE, OTHER) for n in range(4)})
    assert sum(map(len, new.values())) == 2
    assert sorted(held(tmp_path)) == ["0001", "0002"]


def test_takes_that_lie_here_already_keep_their_numbers_and_are_known(tmp_path: Path) -> None:
    (tmp_path / "0007").mkdir(parents=True)
    for name, data in ONE.items():
        (tmp_path / "0007" / name).write_bytes(data)
    assert pull(tmp_path, hall=box_with(ONE, OTHER)) == {"hall": {"0002": "0008"}}


def test_a_box_that_was_set_up_anew_and_counts_from_one_again_loses_nothing(tmp_path: Path) -> None:
    pull(tmp_path, hall=box_with(ONE))
    assert pull(tmp_path, hall=box_with(OTHER)) == {"hall": {"0001": "0002"}}
    assert held(tmp_path) == {"0001": ONE, "0002": OTHER}


def test_a_number_is_given_once_only(tmp_path: Path) -> None:
    pull(tmp_path, hall=box_with(ONE))
    for file in (tmp_path / "0001").iterdir():
        file.unlink()
    (tmp_path / "0001").rmdir()
    assert pull(tmp_path, stage=box_with(OTHER)) == {"stage": {"0001": "0002"}}


def test_a_cut_connection_keeps_no_other_box_and_is_gone_on_from(tmp_path: Path) -> None:
    hall, stage = box_with(ONE), box_with(OTHER)
    hall.left = 7000
    pulled = pull_all({"hall": Box(hall), "stage": Box(stage)}, TrainingSet(tmp_path), is_quiet=True)
    assert "goes on from there" in str(pulled["hall"].error)
    assert held(tmp_path) == {"0001": OTHER}
    hall.left, hall.n_passed = None, 0
    assert pull(tmp_path, another_name=hall) == {"another_name": {"0001": "0002"}}
    assert hall.n_passed == sum(map(len, ONE.values())) - 7000
    assert held(tmp_path)["0002"] == ONE


def test_two_pulls_at_once_do_not_write_one_take_both(tmp_path: Path) -> None:
    hall = box_with(ONE)
    hall.left = 100
    pull_all({"hall": Box(hall)}, TrainingSet(tmp_path), is_quiet=True)
    hall.left = None
    (part,) = tmp_path.glob(".part-*")
    lock = FolderLock(part)
    pulled = pull_all({"hall": Box(hall)}, TrainingSet(tmp_path), is_quiet=True)
    lock.release()
    assert pulled["hall"].error == "another pull brings its takes now: wait until that is done"
    assert pull(tmp_path, hall=hall) == {"hall": {"0001": "0001"}}


def test_what_is_pulled_is_a_training_set(tmp_path: Path) -> None:
    writer = TakeWriter(tmp_path / "box", MotionSettings(), 8000, {})
    writer.add_columns(np.ones((50, 112), np.float32), np.arange(50) / 50.0)
    writer.add_sound(np.ones(8000, np.int16), 0.0)
    take = writer.finish().path
    pull(tmp_path / "takes", hall=box_with({file.name: file.read_bytes() for file in take.iterdir()}))
    (found,) = list_takes(tmp_path / "takes")
    assert (found.number, found.n_samples) == (1, 8000)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"format": 9}', "\x00"])
def test_an_origin_that_is_none_is_nobodys_fault(tmp_path: Path, text: str) -> None:
    (tmp_path / ORIGIN).write_text(text)
    assert read_origin(tmp_path) is None


def test_the_program_is_packed_as_the_installer_installs_it(tmp_path: Path) -> None:
    data = pack_program(ROOT)
    assert data == pack_program(ROOT)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        entries = {entry.name: entry for entry in tar.getmembers()}
        tar.extractall(tmp_path, filter="data")
    assert {name.split("/")[0] for name in entries} == {
        "device", "deploy", "systemd", "dance_sampler.dist-info", "requirements-device.txt", "README.md", "LICENSE",
    }  # fmt: skip
    assert entries["deploy/install.sh"].mode == 0o755
    assert not [name for name in entries if "__pycache__" in name]
    assert (tmp_path / "device/default.toml").read_bytes() == (ROOT / "device/default.toml").read_bytes()
    (tmp_path / "device/default.toml").write_text("changed")
    assert pack_program(tmp_path) != data


def test_a_box_without_a_list_is_told_of(tmp_path: Path) -> None:
    ssh = box_with(ONE)
    ssh.listed = json.loads('{"takes": 3}')
    pulled = pull_all({"hall": Box(ssh)}, TrainingSet(tmp_path), is_quiet=True)
    assert "list of takes cannot be read" in str(pulled["hall"].error)
    with pytest.raises(BoxError):
        Box(ssh).log(1)
