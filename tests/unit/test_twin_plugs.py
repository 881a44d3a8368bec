"""Pulled plugs without a machine: what it had is promised, what is not there afterwards is told, moments differ."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from device.models.bundles import FACTORY
from tests.twin.machine import plugs
from tests.twin.machine.plugs import Plug
from tests.twin.replay.look import from_json
from tests.twin.replay.real_box import Played

OLD, NEW = "a" * 16, "b" * 16
SUMS = "".join(f"{'12345678' * 8}  0001/{name}\n" for name in ("take.json", "columns.bin", "sound.bin"))
LOST = "take 0002: it is gone"


class FakeGuest:
    """Answers as the system in a machine would."""

    def __init__(self, folder: Path) -> None:
        self._folder, self.n_installed = folder, 0
        self.cut_after = "begun"

    def run(self, command: str) -> str:
        if "sha256sum" in command:
            return SUMS + f"{'0' * 64}  0002/columns.bin\n"
        if "models.py" in command:
            self.n_installed += 1
            return f"begun {OLD}\ndone {OLD}\n"
        return "0001\n0002\n" if command.endswith("/takes") else f"{OLD}\n{NEW}\n"

    def start(self, _: str, log: Path) -> Any:
        log.write_text(f"begun {NEW}\n" + (f"done {NEW}\n" if self.cut_after == "done" else ""))
        return None

    def put(self, path: str, text: str) -> None:
        """Nothing is kept."""

    def wait_for_login(self) -> None:
        """It is there at once."""


class FakeBox:
    """A box that records when it is pressed, a second at each look."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.guest, self.is_on, self._seconds = folder, FakeGuest(folder), True, 0.0
        self.drives = (None, SimpleNamespace(path="state.qcow2"))
        self.work = SimpleNamespace(run=self._run, eventually=lambda holds, *_: holds())

    def _run(self, *command: object, **_: object) -> str:
        return f"{LOST}\n" if "tests.twin.replay.look" in command else ""

    def press(self) -> None:
        """It records from now on."""

    def until(self, _: str, holds: Callable[[dict[str, Any]], object]) -> None:
        while not holds({"take": {"seconds": self._seconds}, "state": "recording"}):
            self._seconds += 1.0

    def performs(self) -> None:
        assert self.is_on

    def switch_on(self) -> None:
        self.is_on = True

    def switch_off(self) -> None:
        self.is_on = False

    @property
    def promised(self) -> Played:
        return from_json((self.folder / "promised.json").read_text())


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeBox:
    monkeypatch.setattr(plugs, "end", lambda _: None)
    return FakeBox(tmp_path)


def pulled(box: Any, seed: int = 1) -> Plug:
    return Plug(box, seed)


def test_whole_takes_and_the_safe_part_of_a_running_one_are_promised(box: FakeBox) -> None:
    pulled(box).pull_while("recording")
    assert [*box.promised.takes] == ["0001"]
    assert box.promised.running is not None
    name, seconds = box.promised.running
    assert name == "0002"
    assert 0.0 < seconds < 12.0 - 1.0
    assert not box.is_on


def test_the_model_that_was_taken_in_last_may_play_and_the_one_that_was_begun(box: FakeBox) -> None:
    plug = pulled(box)
    assert box.guest.n_installed == 2
    plug.pull_while("deploying")
    assert [*box.promised.models] == [OLD, NEW]
    box.guest.cut_after = "done"
    plug.pull_while("switching")
    assert [*box.promised.models] == [NEW], "what is said to be done is no longer open"


def test_before_any_model_came_the_factorys_is_promised(box: FakeBox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeGuest, "run", lambda *_: "")
    pulled(box)._promise_models("")
    assert pulled(box)._promised.models == (FACTORY.name,)


def test_what_is_not_there_is_told_with_its_moment(box: FakeBox) -> None:
    (broken,) = pulled(box).pull_while("saving")
    assert broken.endswith(f"s after the press that saves a take: {LOST}")


def test_moments_differ_by_the_seed_alone(box: FakeBox) -> None:
    plug = pulled(box)
    for _ in range(5):
        plug.pull_while("deploying")
    assert len(set(plug.moments)) > 3
    box.switch_on()
    again = pulled(box)
    again.pull_while("deploying")
    assert again.moments == plug.moments[:1]


def test_a_lost_take_fails_the_check(box: Any) -> None:
    with pytest.raises(AssertionError, match="it is gone"):
        plugs.hold(box, planted=False)
