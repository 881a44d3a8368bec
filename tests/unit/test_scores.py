"""Scores on their way to the sound: by reference or through shared memory, the same is heard."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from device.engine.scores import (
    N_NEWS,
    N_SCORES_SEGMENT,
    N_SCORES_STREAM,
    LocalScores,
    Scores,
    SharedScores,
    score_layout,
)
from device.engine.shared import SharedArrays
from tests.hand_clock import HandClock

N_BINS, STEPS_PER_S, N_STEPS = 5, 50.0, 4
Ends = tuple[Scores, Scores]


def local(_n_steps: int) -> Ends:
    scores = LocalScores(N_BINS, STEPS_PER_S, HandClock(7.0).now_s)
    return scores, scores


def shared(n_steps: int) -> Ends:
    memory = SharedArrays(score_layout(N_BINS, n_steps))
    return SharedScores(memory, STEPS_PER_S, HandClock(7.0).now_s), SharedScores(memory, STEPS_PER_S)


def spectrum(value: float) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.full(N_BINS, value, np.float32)


def say(scores: Scores, value: float) -> None:
    score = scores.begin(1, value)
    score.append(spectrum(value))
    scores.publish(score, 10.0 + value, 0.25)


both = pytest.mark.parametrize("make", [local, shared])


@both
def test_there_is_silence_until_there_are_news(make: Callable[[int], Ends]) -> None:
    _, reader = make(1)
    assert reader.news is None
    assert reader.rest.n_ready == 1
    assert not reader.rest.spectra.any()


@both
def test_what_was_said_last_is_heard_with_all_that_is_known_of_it(make: Callable[[int], Ends]) -> None:
    writer, reader = make(1)
    for value in (1.0, 2.0):
        say(writer, value)
        news = reader.news
        assert news is not None
        assert (news.arrival_s, news.hold_s, news.published_s, news.score.begins_s) == (10.0 + value, 0.25, 7.0, value)
        assert (news.score.n_ready, news.score.steps_per_s) == (1, STEPS_PER_S)
        assert news.score.spectra.tolist() == [spectrum(value).tolist()]
        assert reader.news is news  # Nothing new: the same object.


@both
def test_a_segment_grows_while_it_is_played_and_stays_the_same_score(make: Callable[[int], Ends]) -> None:
    writer, reader = make(N_STEPS)
    for segment in range(5):
        score = writer.begin(N_STEPS, float(segment))
        score.append(spectrum(10 * segment))
        writer.publish(score, 1.0, 0.1)
        first = reader.news
        assert first is not None
        assert first.score.n_ready == 1
        for step in range(1, N_STEPS):
            score.append(spectrum(10 * segment + step))
            assert first.score.n_ready == step + 1
        assert first.score.spectra[:, 0].tolist() == [10 * segment + step for step in range(N_STEPS)]
        writer.publish(score, 2.0, 0.1)
        again = reader.news
        assert again is not None
        assert again is not first
        assert again.score is first.score  # It goes on, and does not begin again.


@both
def test_before_the_first_segment_is_whole_there_is_silence(make: Callable[[int], Ends]) -> None:
    writer, reader = make(N_STEPS)
    writer.publish(writer.rest, 1.0, 0.1)
    news = reader.news
    assert news is not None
    assert news.score is reader.rest
    score = writer.begin(N_STEPS, 3.0)
    score.append(spectrum(1.0))
    writer.publish(score, 2.0, 0.1)
    news = reader.news
    assert news is not None
    assert news.score.spectra[0, 0] == 1.0


@both
@pytest.mark.parametrize("n_missed", [1, N_NEWS - 1, N_NEWS, N_NEWS + 1, 100])
def test_a_reader_that_was_held_up_finds_the_newest(make: Callable[[int], Ends], n_missed: int) -> None:
    writer, reader = make(1)
    say(writer, 0.0)
    assert reader.news is not None
    for value in range(1, n_missed + 1):
        say(writer, float(value))
    news = reader.news
    assert news is not None
    assert news.score.spectra[0, 0] == news.score.begins_s == n_missed


@both
@pytest.mark.parametrize(("n_steps", "n_later"), [(1, N_SCORES_STREAM - 1), (N_STEPS, N_SCORES_SEGMENT - 1)])
def test_what_is_being_played_is_not_written_to_for_a_while(
    make: Callable[[int], Ends], n_steps: int, n_later: int
) -> None:
    writer, reader = make(n_steps)
    say(writer, 1.0)
    news = reader.news
    assert news is not None
    for _ in range(n_later):
        say(writer, 9.0)
    assert (news.score.spectra[: news.score.n_ready] == 1.0).all()


def test_the_other_end_may_be_opened_late_and_again() -> None:
    memory = SharedArrays(score_layout(N_BINS, 1))
    writer = SharedScores(memory, STEPS_PER_S)
    for value in range(20):
        say(writer, float(value))
    for _ in range(2):  # as when the sound's process is started again
        news = SharedScores(memory, STEPS_PER_S).news
        assert news is not None
        assert news.score.spectra[0, 0] == 19.0
