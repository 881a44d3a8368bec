"""Presses: bounces are no presses, and what a finger meant is told whatever the contact did."""

from __future__ import annotations

import random

import pytest

from device.core.errors import ConfigError
from device.core.presses import Press, Presses, PressSettings

Edges = list[tuple[float, bool]]
BEGIN_S = 50.0


def bounced(random_: random.Random, edges: Edges, longest_s: float = 0.02) -> Edges:
    """Let each edge bounce for up to 20 ms: any number of times, and end as it should."""
    given: Edges = []
    for time_s, is_down in edges:
        n_bounces = random_.randrange(0, 6)
        times_s = sorted(time_s + random_.uniform(0.0, longest_s) for _ in range(2 * n_bounces))
        given.append((time_s, is_down))
        given += [(at_s, is_down if index % 2 else not is_down) for index, at_s in enumerate(times_s)]
    return given


def heard(presses: Presses, edges: Edges, until_s: float) -> list[tuple[float, Press]]:
    """Give each press and when it was told, with time passed whenever that was due."""
    given: list[tuple[float, Press]] = []

    def pass_until(time_s: float) -> None:
        while presses.due_s is not None and presses.due_s < time_s:
            due_s = presses.due_s
            given.extend((due_s, press) for press in presses.pass_time(due_s))
            assert presses.due_s is None or presses.due_s > due_s

    for time_s, is_down in edges:
        pass_until(time_s)
        given.extend((time_s, press) for press in presses.edge(is_down, time_s))
    pass_until(until_s)
    return given


def quiet(settings: PressSettings | None = None) -> Presses:
    """A button that has been up for long."""
    presses = Presses(settings or PressSettings())
    presses.pass_time(BEGIN_S - 10.0)
    return presses


@pytest.mark.parametrize(
    ("held_s", "press", "told_after_s"),
    [
        (0.03, Press.SHORT, 0.055),
        (2.99, Press.SHORT, 3.015),
        (3.0, Press.HOLD, 3.025),
        (7.99, Press.HOLD, 8.015),
        (8.0, Press.LONG, 8.0),
        (60.0, Press.LONG, 8.0),
    ],
)
def test_a_press_is_told_by_its_length_at_its_end_and_a_long_one_at_once(
    held_s: float, press: Press, told_after_s: float
) -> None:
    ((time_s, given),) = heard(quiet(), [(BEGIN_S, True), (BEGIN_S + held_s, False)], BEGIN_S + 100.0)
    assert given is press
    assert time_s == pytest.approx(BEGIN_S + told_after_s)


def test_without_long_presses_a_hold_may_last_for_ever() -> None:
    presses = quiet(PressSettings(long_s=None))
    ((time_s, given),) = heard(presses, [(BEGIN_S, True), (BEGIN_S + 600.0, False)], BEGIN_S + 700.0)
    assert given is Press.HOLD
    assert time_s > BEGIN_S + 600.0


def test_a_button_let_go_of_just_before_it_is_long_is_a_hold_although_it_bounces_past_that_time() -> None:
    edges = [(BEGIN_S, True), (BEGIN_S + 7.995, False), (BEGIN_S + 8.003, True), (BEGIN_S + 8.006, False)]
    assert [press for _, press in heard(quiet(), edges, BEGIN_S + 20.0)] == [Press.HOLD]


def test_a_button_that_is_wiped_while_it_is_down_is_one_press() -> None:
    wiped = [(BEGIN_S + at_s, at_s in (0.0, 1.01, 2.02)) for at_s in (0.0, 1.0, 1.01, 2.0, 2.02, 4.0)]
    assert [press for _, press in heard(quiet(), wiped, BEGIN_S + 20.0)] == [Press.HOLD]


@pytest.mark.parametrize("is_down", [True, False])
def test_a_spike_shorter_than_the_debounce_time_never_was(is_down: bool) -> None:
    edges = [(BEGIN_S, True)] if not is_down else []
    spike = [(BEGIN_S + 1.0, is_down), (BEGIN_S + 1.02, not is_down)]
    presses = quiet(PressSettings(long_s=None))
    assert heard(presses, edges + spike, BEGIN_S + 100.0) == []
    assert presses.is_holding is not is_down


def test_a_level_that_is_told_again_and_again_counts_from_when_it_began() -> None:
    told = [(BEGIN_S + 0.01 * index, True) for index in range(290)] + [(BEGIN_S + 3.1, False)]
    assert [press for _, press in heard(quiet(), told, BEGIN_S + 20.0)] == [Press.HOLD]


def test_edges_that_are_heard_late_are_judged_by_their_own_times() -> None:
    presses = quiet()
    presses.pass_time(BEGIN_S + 0.7)  # The driver was late: this has happened already.
    assert presses.edge(True, BEGIN_S) == []
    assert presses.edge(False, BEGIN_S + 0.2) == []
    assert presses.pass_time(BEGIN_S + 0.7) == [Press.SHORT]


def test_the_way_to_a_longer_press_is_seen_and_does_nothing() -> None:
    presses = quiet()
    assert heard(presses, [(BEGIN_S, True)], BEGIN_S + 2.99) == []
    assert not presses.is_holding
    assert heard(presses, [], BEGIN_S + 7.99) == []
    assert presses.is_holding
    assert [press for _, press in heard(presses, [], BEGIN_S + 8.01)] == [Press.LONG]
    assert not presses.is_holding
    assert heard(presses, [(BEGIN_S + 9.0, False)], BEGIN_S + 20.0) == []


@pytest.mark.parametrize(("held_s", "given"), [(0.9, []), (1.1, [Press.AT_START]), (30.0, [Press.AT_START])])
def test_a_press_at_the_start_is_meant_for_the_start_alone(held_s: float, given: list[Press]) -> None:
    edges = [(BEGIN_S, True), (BEGIN_S + held_s, False)]
    presses = Presses(PressSettings())
    assert [press for _, press in heard(presses, edges, BEGIN_S + 60.0)] == given
    later = [(BEGIN_S + 61.0, True), (BEGIN_S + 61.2, False)]
    assert [press for _, press in heard(presses, later, BEGIN_S + 62.0)] == [Press.SHORT]


def test_a_press_two_seconds_after_the_start_is_an_ordinary_one() -> None:
    presses = Presses(PressSettings())
    presses.pass_time(BEGIN_S - 2.0)
    assert [press for _, press in heard(presses, [(BEGIN_S, True)], BEGIN_S + 60.0)] == [Press.LONG]


@pytest.mark.parametrize(
    "settings",
    [{"hold_s": 8.0, "long_s": 3.0}, {"debounce_s": 4.0}, {"debounce_s": 0.0}, {"hold_s": 0.01}, {"long_s": 3.0}],
)
def test_times_that_cannot_be_told_apart_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="make debounce, hold and power-off times grow"):
        PressSettings(**settings)


def test_ten_thousand_patterns_of_presses_with_bounces_are_heard_as_they_were_meant() -> None:
    random_ = random.Random(5)  # noqa: S311 - patterns, no secrets
    kinds = {Press.SHORT: (0.06, 2.95), Press.HOLD: (3.05, 7.999), Press.LONG: (8.05, 12.0)}
    for _ in range(10_000):
        meant = random_.choices(list(kinds), weights=(6, 2, 1), k=random_.randrange(1, 5))
        edges: Edges = []
        time_s = BEGIN_S
        for press in meant:
            held_s = random_.uniform(*kinds[press])
            edges += [(time_s, True), (time_s + held_s, False)]
            time_s += held_s + random_.uniform(0.08, 2.0)
        given = heard(quiet(), bounced(random_, edges), time_s + 10.0)
        assert [press for _, press in given] == meant
