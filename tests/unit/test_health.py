"""Each criterion by itself: what fails a model on trial, and what must not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from device.core.health import Reading, Span, find_problems, sum_up

FPS, BLOCKS_PER_S = 60, 375


def readings(n: int = 20, **changes: float | bool | None) -> list[Reading]:
    """Give one reading a second of a model that plays well; each change holds per second, or at each of them."""
    per_s: dict[str, float] = {
        "n_frames": FPS, "n_skipped_frames": 1, "n_bad_spectra": 0, "n_blocks": BLOCKS_PER_S, "n_xruns": 0,
        "motion": 0.5 * FPS, "n_restarts": 0,
    }  # fmt: skip
    always: dict[str, float | bool | None] = {"latency_ms": 4.0, "peak": 0.2, "has_camera": True, "has_card": True}
    for key, value in changes.items():
        if key in per_s:
            assert isinstance(value, (int, float))
            per_s[key] = value
        else:
            always[key] = value
    counted = [{key: type(value)(value * i) for key, value in per_s.items()} for i in range(n)]
    return [Reading(time_s=float(i), **counted[i], **always) for i in range(n)]  # type: ignore[arg-type]


def span(**changes: float | bool | None) -> Span:
    return sum_up(readings(20, **changes))


BEFORE = span()


def test_a_model_like_the_one_before_is_well() -> None:
    assert find_problems(BEFORE, span()) == []
    assert find_problems(None, span()) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"n_frames": 30}, "30.0 frames a second, not 60.0"),
        ({"n_frames": 0, "motion": 0.0, "latency_ms": None}, "0.0 frames a second"),
        ({"n_skipped_frames": 20}, "too slow for 33% of the frames"),
        ({"n_blocks": 300}, "300 blocks a second, not 375"),
        ({"n_blocks": 0}, "0 blocks a second"),
        ({"n_xruns": 1}, "stumbled 19 times"),
        ({"latency_ms": 15.0}, "15.0 ms from a frame to its sound, not 9.0"),
        ({"peak": 0.01}, "26 dB quieter"),
        ({"peak": 0.0}, "dB quieter"),
        ({"n_bad_spectra": 1}, "19 times what is not a spectrum"),
        ({"n_restarts": 1}, "started again, 19 times"),
    ],
)
def test_each_criterion_fails_alone(changes: dict[str, float | None], words: str) -> None:
    (problem,) = find_problems(BEFORE, span(**changes))
    assert words in problem


def test_one_that_shouts_fails_where_the_one_before_whispered() -> None:
    (problem,) = find_problems(span(peak=0.05), span(peak=0.9))
    assert "25 dB louder" in problem


@pytest.mark.parametrize(
    "changes",
    [
        {"n_frames": 50, "motion": 25.0},  # a darker room
        {"latency_ms": 8.5},
        {"peak": 0.03},
        {"peak": 0.0, "motion": 0.0},  # nobody dances
        {"peak": 0.0, "motion": 0.1 * FPS},  # hardly anybody
        {"n_xruns": 0.15},  # two stumbles of a busy machine
    ],
)
def test_what_does_not_fail_a_model(changes: dict[str, float]) -> None:
    assert find_problems(BEFORE, span(**changes)) == []


def test_without_anything_before_only_what_is_certain_fails() -> None:
    assert find_problems(None, span(latency_ms=50.0, peak=0.0, n_frames=10, motion=5.0)) == []
    for changes in ({"latency_ms": 150.0}, {"n_frames": 0}, {"n_blocks": 0}, {"n_bad_spectra": 1}, {"n_restarts": 1}):
        assert find_problems(None, span(**changes)) != [], changes
    silence = sum_up([])
    assert find_problems(silence, span()) == []
    assert find_problems(BEFORE, silence) == []


def test_a_missing_camera_or_card_fails_nothing_but_what_is_there_is_judged() -> None:
    blind = span(has_camera=False, n_frames=0, motion=0.0, latency_ms=None, peak=0.0)
    assert find_problems(BEFORE, blind) == []
    assert find_problems(BEFORE, replace(blind, n_xruns=40)) != []
    deaf = span(has_card=False, n_blocks=0, n_xruns=9, peak=0.0)
    assert find_problems(BEFORE, deaf) == []
    assert find_problems(BEFORE, span(has_card=False, n_blocks=0, n_frames=10)) != []


def test_a_camera_that_goes_away_in_between_is_judged_by_the_time_that_it_was_there() -> None:
    there, away = readings(10), readings(20)[9:]
    gone = [
        replace(each, n_frames=there[-1].n_frames, motion=there[-1].motion, has_camera=False, latency_ms=None)
        for each in away
    ]
    found = sum_up([*there, *gone])
    assert found.camera_s == 9.0
    assert found.frames_per_s == pytest.approx(FPS)
    assert find_problems(BEFORE, found) == []


def test_a_count_that_begins_anew_is_no_problem() -> None:
    """The model before had bad spectra; the new one's process counts from zero."""
    first, *rest = readings()
    assert sum_up([replace(first, n_bad_spectra=500, n_restarts=3), *rest]).n_bad_spectra == 0
    assert sum_up([replace(first, n_bad_spectra=500, n_restarts=3), *rest]).n_restarts == 0


def test_a_model_that_is_no_worse_than_a_bad_one_may_stay() -> None:
    assert find_problems(span(n_bad_spectra=2), span(n_bad_spectra=1)) == []
    assert find_problems(span(n_xruns=1), span(n_xruns=1)) == []
