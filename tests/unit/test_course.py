"""When a run ends, and how fast its learning rate falls until then; the clock is a test's."""

from __future__ import annotations

import threading
from contextlib import suppress

import pytest

from device.core.errors import UsageError
from trainer.learning.course import Course, Limits, Over, Watch, gave_up_after
from trainer.settings import Preset

PRESET = Preset(n_steps=1000, n_epochs=10)


class Bar:
    """Stands in for tqdm."""

    def __init__(self) -> None:
        self.n, self.total = 0, PRESET.n_steps

    def update(self, n: int) -> None:
        self.n += n

    def clear(self) -> None:
        pass


class Clock:
    """Goes on by a given time with each look."""

    def __init__(self, step_s: float) -> None:
        self.now_s, self.step_s = 0.0, step_s

    def __call__(self) -> float:
        self.now_s += self.step_s
        return self.now_s


@pytest.mark.parametrize(
    ("errors", "patience", "expected"),
    [
        ([3, 2, 1], 2, None),
        ([1, 2, 2], 2, 3),
        ([1, 2, 0.5, 2, 2, 2], 3, 6),
        ([1, 2, 2, 0.1], 2, 3),  # what came after it does not take it back
        ([1, 1, 1], 2, 3),  # no worse is no better
        ([2, 2, 2], None, None),
        ([], 1, None),
    ],
)
def test_patience_ends_after_so_many_epochs_that_brought_nothing(
    errors: list[float], patience: int | None, expected: int | None
) -> None:
    assert gave_up_after(errors, patience) == expected


def test_without_limits_nothing_is_hastened() -> None:
    course = Course(Limits(), PRESET, clock=Clock(1e6))
    assert [course.share(n) for n in (0, 500, 1000)] == [0.0, 0.0, 0.0]
    assert course.why_ended == ""


def test_the_share_of_the_time_is_the_least_share_of_the_schedule_and_goes_on_after_an_interruption() -> None:
    clock = Clock(0.0)
    course = Course(Limits(minutes=2), PRESET, spent_s=30.0, clock=clock)
    clock.now_s = -500.0
    assert course.share(0) == 0.25, "nothing is counted before the first step"
    clock.now_s = 0.0
    course.begin()
    course.begin()
    shares = []
    for clock.now_s in (0.0, 30.0, 90.0, 900.0):
        shares.append(course.share(1))
    assert shares == [0.25, 0.5, 1.0, 1.0]
    assert course.why_ended == "its time was over (--minutes 2)"


def test_when_patience_has_ended_the_schedule_is_gone_through_within_as_many_epochs() -> None:
    course = Course(Limits(patience=2), PRESET, errors=[1.0, 2.0, 2.0])
    assert course.share(300) == pytest.approx(0.3)
    assert course.share(400) == pytest.approx(0.65)
    assert course.share(500) == 1.0
    assert course.steps_left(400, 1.0) == 100


def test_a_watched_run_is_hastened_to_the_end_of_its_time_and_no_further() -> None:
    shares: list[float] = []
    course = Course(Limits(minutes=1), PRESET, clock=Clock(0.1))
    bar = Bar()
    watch = Watch(course, bar, 0, shares.append, threading.Event())
    with suppress(Over):
        for _ in range(PRESET.n_steps):
            watch.update(1)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert course.is_over
    assert 300 < watch.n_steps == bar.n < PRESET.n_steps
    assert abs(bar.total - bar.n) < 50, "the time left was estimated"


def test_a_run_that_is_to_stop_says_so_once_and_how_long_it_takes(capsys: pytest.CaptureFixture[str]) -> None:
    stop = threading.Event()
    watch = Watch(Course(Limits(), PRESET, clock=Clock(0.5)), Bar(), 0, lambda _: None, stop)
    watch.update(1)
    stop.set()
    for _ in range(50):
        watch.update(1)
    said = capsys.readouterr().err
    assert said.count("stopping at the end of this epoch, in about") == said.count("\n") == 1


@pytest.mark.parametrize("words", [{"minutes": 0.0}, {"minutes": float("nan")}, {"patience": 0}])
def test_limits_that_limit_nothing_are_refused(words: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="cannot be used"):
        Limits(**words)  # type: ignore[arg-type] # they come from the command line
