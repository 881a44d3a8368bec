from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.box import Box
from deploy.errors import BoxError
from deploy.fleet.watch import GONE_S, LOOK_S, Soaks, Watch, check_runs, find_problem, plays
from deploy.ssh import Ssh

MODEL = "0123456789abcdef"
GOOD: dict[str, Any] = {
    "running": True,
    "state": "performing",
    "model": {"path": f"/var/lib/dance-sampler/models/{MODEL}", "name": "spring", "version": 8},
    "trial": {"path": f"/var/lib/dance-sampler/models/{MODEL}", "phase": "committed"},
    "uptime_s": 100.0,
    "n_restarts": {"model": 0, "sound": 0, "camera": 0},
    "n_bad_spectra": 0,
    "n_xruns": 3,
    "missing": {},
}
WAITING = {**GOOD, "state": "recording", "model": {"path": "/old"}, "trial": {**GOOD["trial"], "phase": "waiting"}}
ON_TRIAL = {**GOOD, "trial": {**GOOD["trial"], "phase": "trial"}}
BACK = {**GOOD, "model": {"path": "/old"}, "trial": {**GOOD["trial"], "phase": "rolled_back", "reason": "it is quiet"}}


class Answers(Ssh):
    """A box that says one thing after another, the last for ever; what is no answer is raised."""

    def __init__(self, *answers: dict[str, Any] | BoxError) -> None:
        super().__init__("box", asks=False)
        self._answers: Iterator[dict[str, Any] | BoxError] = iter(answers)
        self._last: dict[str, Any] | BoxError = answers[0]
        self.asked: list[str] = []

    def run(self, line: str, timeout_s: float) -> tuple[int, bytes]:  # noqa: ARG002 - it answers at once
        self.asked.append(line)
        if line == "rollback":
            return 0, json.dumps({"ok": True, "name": "winter", "version": 7}).encode()
        self._last = next(self._answers, self._last)
        if isinstance(self._last, BoxError):
            raise self._last
        return 0, json.dumps(self._last).encode()


class Clock:
    """Time that passes when somebody waits."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, duration_s: float) -> None:
        self.now_s += duration_s


def watch(ssh: Answers) -> tuple[Watch, Clock]:
    clock = Clock()
    return Watch(Box(ssh), MODEL, "spring 8", clock, clock.sleep), clock


def test_a_box_that_records_is_waited_for() -> None:
    ssh = Answers(WAITING, WAITING, ON_TRIAL, GOOD)
    watched, clock = watch(ssh)
    watched.settle(900.0)
    assert clock.now_s == 3 * LOOK_S


def test_a_box_that_records_for_too_long_is_told_of() -> None:
    watched, clock = watch(Answers(WAITING))
    with pytest.raises(
        BoxError, match="box: it has spring 8 and does not play it yet: it is recording: run this again"
    ):
        watched.settle(900.0)
    assert clock.now_s == 900.0


def test_a_model_that_was_not_kept_is_told_of_with_its_reason() -> None:
    with pytest.raises(BoxError, match="spring 8 was not kept, the model before it plays: it is quiet"):
        watch(Answers(ON_TRIAL, BACK))[0].settle(900.0)


def test_a_model_that_plays_well_is_left_alone() -> None:
    ssh = Answers(GOOD)
    watched, clock = watch(ssh)
    watched.soak(62.0)
    assert clock.now_s == 62.0
    assert set(ssh.asked) == {"status"}
    assert len(ssh.asked) == 1 + 13


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        ({"n_restarts": {"model": 1, "sound": 0}}, "its model process had to be started anew"),
        ({"n_restarts": {"model": 0, "sound": 1}}, "its sound process had to be started anew"),
        ({"uptime_s": 2.0}, "the box's service was started anew"),
        ({"n_bad_spectra": 1}, "it gave spectra that are none"),
        ({"n_xruns": 14}, "11 underruns"),
        ({"missing": {"model": "no \x1b model"}}, "no model"),
    ],
)
def test_one_that_goes_wrong_later_is_taken_back(trouble: dict[str, Any], said: str) -> None:
    ssh = Answers(GOOD, GOOD, {**GOOD, **trouble})
    with pytest.raises(BoxError, match=rf"box: spring 8 went wrong after 10 s: {said}; winter 7 plays again"):
        watch(ssh)[0].soak(300.0)
    assert ssh.asked[-1] == "rollback"


@pytest.mark.parametrize(
    "news",
    [
        {"missing": {"camera": "no camera: plug it in"}},
        {"n_xruns": 13},
        {"n_restarts": {"model": 0, "sound": 0, "camera": 5}},
        {"n_restarts": None, "missing": 3, "n_xruns": "x"},
        {"uptime_s": 105.0},
    ],
)
def test_what_is_none_of_the_models_business_takes_nothing_back(news: dict[str, Any]) -> None:
    assert find_problem(GOOD, {**GOOD, **news}, 10.0) == ""


def test_a_box_that_stumbles_anyway_blames_no_model() -> None:
    first = {**GOOD, "n_xruns": 300}  # three a second, all the time
    assert find_problem(first, {**first, "n_xruns": 300 + 60}, 10.0) == ""
    assert find_problem(first, {**first, "n_xruns": 300 + 80}, 10.0) == "80 underruns"


def test_a_network_that_is_away_for_a_moment_is_waited_for() -> None:
    gone = BoxError("box: it cannot be reached")
    watched, clock = watch(Answers(GOOD, gone, gone, GOOD))
    watched.soak(60.0)
    assert clock.now_s == 60.0
    watched, clock = watch(Answers(GOOD, gone))
    with pytest.raises(BoxError, match="it cannot be reached"):
        watched.soak(600.0)
    assert clock.now_s == LOOK_S + GONE_S


def test_a_model_that_somebody_chose_meanwhile_is_left() -> None:
    other = {**GOOD, "model": {"path": "/var/x", "name": "winter", "version": 7}}
    ssh = Answers(GOOD, other)
    with pytest.raises(BoxError, match="it plays winter 7 now, which somebody chose there"):
        watch(ssh)[0].soak(60.0)
    assert "rollback" not in ssh.asked


@pytest.mark.parametrize(
    ("answer", "is_so"),
    [
        (GOOD, True),
        ({**GOOD, "trial": None}, True),
        ({**GOOD, "trial": {"path": "/another", "phase": "trial"}}, True),
        (ON_TRIAL, False),
        (WAITING, False),
        (BACK, False),
        ({}, False),
        ({"model": "x", "trial": "y"}, False),
    ],
)
def test_a_model_plays_when_its_trial_is_over(answer: dict[str, Any], *, is_so: bool) -> None:
    assert plays(answer, MODEL) == is_so


@pytest.mark.parametrize(
    ("answer", "said"),
    [({"running": False}, "does not run"), ({}, "does not run"), ({**GOOD, "safe": True}, "in safe mode")],
)
def test_a_box_that_can_try_nothing_is_refused(answer: dict[str, Any], said: str) -> None:
    with pytest.raises(BoxError, match=said):
        check_runs(Box(Answers(GOOD)), answer)


def test_a_soak_is_remembered_for_its_box_and_model(tmp_path: Path) -> None:
    soaks = Soaks(tmp_path)
    assert soaks.longest_s("../box", MODEL) == 0.0
    soaks.remember("../box", MODEL, 300.0)
    soaks.remember("../box", MODEL, 0.0)
    assert Soaks(tmp_path).longest_s("../box", MODEL) == 300.0
    assert Soaks(tmp_path).longest_s("another", MODEL) == 0.0
    assert Soaks(tmp_path).longest_s("../box", "fedcba9876543210") == 0.0
    (tmp_path / "file").write_text("")
    Soaks(tmp_path / "file").remember("box", MODEL, 300.0)  # as on a full disk
