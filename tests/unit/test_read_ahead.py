"""Reading ahead: in order, before it is asked for, and what goes wrong is heard where it is asked for."""

from __future__ import annotations

import threading

import pytest

from trainer.data.read_ahead import ReadAhead

pytestmark = pytest.mark.timeout(30)


def test_all_come_in_their_order() -> None:
    late = threading.Event()

    def make(number: int) -> int:
        if number == 0:
            assert late.wait(10)  # the second is there before the first
        if number == 1:
            late.set()
        return number * number

    assert list(ReadAhead(make).over(range(20))) == [number * number for number in range(20)]


def test_they_are_made_while_the_one_before_is_worked_on() -> None:
    made = threading.Semaphore(0)

    def make(number: int) -> int:
        made.release()
        return number

    numbers = ReadAhead(make, n_ahead=3).over(range(10))
    assert next(numbers) == 0
    for _ in range(4):
        assert made.acquire(timeout=10), "nothing is made before it is asked for"
    assert list(numbers) == list(range(1, 10))


def test_no_more_are_made_than_asked() -> None:
    made: list[int] = []
    numbers = ReadAhead(made.append, n_ahead=2).over(range(100))
    next(numbers)
    numbers.close()
    assert len(made) <= 4


def test_what_goes_wrong_is_raised_where_it_is_asked_for() -> None:
    def make(number: int) -> int:
        if number == 3:
            raise ValueError("the disk is gone")
        return number

    numbers = ReadAhead(make).over(range(10))
    assert [next(numbers) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="the disk is gone"):
        next(numbers)


def test_waiting_is_counted() -> None:
    slow = threading.Event()
    ahead = ReadAhead(lambda _: slow.wait(0.2), n_threads=1)
    assert len(list(ahead.over(range(2)))) == 2
    assert 0.2 < ahead.waited_s < 5
    quick = ReadAhead(lambda number: number)
    assert len(list(quick.over(range(2)))) == 2
    assert quick.waited_s < 0.2
