from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deploy.box import Box
from deploy.errors import BoxError, CutError
from deploy.pull import bring_all, remote_takes
from device.core.errors import TakeError
from tests.fake_box import FakeSsh

TAKE = {"columns.bin": bytes(range(256)) * 20, "sound.bin": b"sound" * 3000, "take.json": b'{"take": 1}\n'}
N_BYTES = sum(map(len, TAKE.values()))


@pytest.fixture
def ssh() -> FakeSsh:
    fake = FakeSsh()
    fake.takes = {1: dict(TAKE), 12: {name: data[::-1] for name, data in TAKE.items()}}
    return fake


def pull(ssh: FakeSsh, folder: Path) -> list[str]:
    box = Box(ssh)
    takes, _ = remote_takes(box.name, box.listed())
    return [path.name for path, _ in bring_all(box, takes, folder)]


def held(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_takes_come_whole_and_only_once(ssh: FakeSsh, tmp_path: Path) -> None:
    assert pull(ssh, tmp_path) == ["0001", "0012"]
    assert held(tmp_path / "0001") == TAKE
    assert held(tmp_path / "0012") == ssh.takes[12]
    ssh.takes[13] = dict(TAKE)
    ssh.n_passed = 0
    assert pull(ssh, tmp_path) == ["0013"]
    assert ssh.n_passed == N_BYTES
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0001", "0012", "0013"]


def test_a_cut_at_any_byte_leaves_whole_takes_only_and_is_gone_on_from(ssh: FakeSsh, tmp_path: Path) -> None:
    places = [0, len(TAKE["columns.bin"]), N_BYTES, *np.random.default_rng(6).choice(2 * N_BYTES, 20).tolist()]
    for n, place in enumerate(places):
        folder = tmp_path / str(n)
        ssh.left, ssh.n_passed = place, 0
        with pytest.raises(CutError, match="goes on from there"):
            pull(ssh, folder)
        for path in folder.glob("[0-9]*"):
            assert held(path) == ssh.takes[int(path.name)]
        ssh.left = None
        pull(ssh, folder)
        assert ssh.n_passed == 2 * N_BYTES  # no byte came twice
        assert {path.name: held(path) for path in folder.iterdir()} == {"0001": TAKE, "0012": ssh.takes[12]}


def test_what_is_damaged_here_comes_again(ssh: FakeSsh, tmp_path: Path) -> None:
    part = tmp_path / ".part-0001"
    part.mkdir()
    (part / "columns.bin").write_bytes(b"of another take")
    (part / "sound.bin").write_bytes(b"longer than it can be" * 10_000)
    (part / "stray").write_bytes(b"")
    pull(ssh, tmp_path)
    assert held(tmp_path / "0001") == TAKE


def test_a_box_that_sends_other_bytes_than_it_says_gives_no_take(ssh: FakeSsh, tmp_path: Path) -> None:
    said = Box(ssh).listed()
    ssh.takes[1]["sound.bin"] = b"other" * 3000
    ssh.listed = said
    with pytest.raises(BoxError, match=r"sound.bin of take 0001 came damaged, twice"):
        pull(ssh, tmp_path)
    assert list(tmp_path.glob("[0-9]*")) == []


def test_another_take_of_the_number_is_not_overwritten(ssh: FakeSsh, tmp_path: Path) -> None:
    (tmp_path / "0001").mkdir()
    (tmp_path / "0001" / "take.json").write_bytes(b"another box's")
    with pytest.raises(TakeError, match="is another take: choose another folder, one for each box"):
        pull(ssh, tmp_path)
    assert held(tmp_path / "0001") == {"take.json": b"another box's"}


def test_a_take_that_went_meanwhile_leaves_nothing_of_its_refusal(ssh: FakeSsh, tmp_path: Path) -> None:
    said = Box(ssh).listed()
    del ssh.takes[1]
    ssh.listed = said
    with pytest.raises(BoxError, match="no such take: list them again"):
        pull(ssh, tmp_path)
    assert held(tmp_path / ".part-0001") == {"columns.bin": b""}


@pytest.mark.parametrize(
    "broken",
    [
        {"takes": None},
        {"takes": [{}]},
        {"takes": [{"number": 1, "files": {}}]},
        {"takes": [{"number": "../1", "files": {}}]},
        {},
    ],
)
def test_a_list_that_is_none_is_refused(ssh: FakeSsh, tmp_path: Path, broken: dict[str, object]) -> None:
    ssh.listed = broken
    with pytest.raises(BoxError, match="list of takes cannot be read"):
        pull(ssh, tmp_path)


def test_one_that_is_damaged_there_does_not_keep_the_others(ssh: FakeSsh, tmp_path: Path) -> None:
    ssh.listed = Box(ssh).listed()
    ssh.listed["takes"][0] = {"number": 1, "error": "it is damaged: salvage it"}
    assert remote_takes("box", ssh.listed)[1] == {"1": "it is damaged: salvage it"}
    assert pull(ssh, tmp_path) == ["0012"]


@pytest.mark.parametrize("number", ["../../etc", -1, 0, 1.5, True, 10**12])
def test_a_number_from_a_box_is_never_a_path(ssh: FakeSsh, tmp_path: Path, number: object) -> None:
    said = Box(ssh).listed()
    said["takes"][0]["number"] = number
    ssh.listed = said
    with pytest.raises(BoxError, match="list of takes cannot be read"):
        pull(ssh, tmp_path / "takes")
    assert list(tmp_path.iterdir()) == []
