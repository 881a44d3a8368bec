"""Lights: each is told from every other, by an LED that can be dimmed and by one that cannot."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from device.core.lights import PATTERNS, SEEN, STEP_S, Light, brightness, lights_markdown, period_s, until_change_s
from device.core.panel_table import State

ROOT = Path(__file__).parents[2]
WATCHED_S, GRAIN_S = 12.0, 0.02


def watched(light: Light, is_dimmed: bool) -> npt.NDArray[np.float64]:
    """Brightness over 12 s, shape (600,)."""
    values = np.array([brightness(light, index * GRAIN_S) for index in range(round(WATCHED_S / GRAIN_S))])
    return values if is_dimmed else (values >= 0.5).astype(np.float64)


def difference(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> float:
    """Mean difference when they are laid over each other as well as can be: nobody knows when a light began."""
    return min(float(np.abs(one - np.roll(other, shift)).mean()) for shift in range(0, len(one), 2))


@pytest.mark.parametrize("is_dimmed", [True, False])
def test_no_light_is_taken_for_another_whenever_one_looks(is_dimmed: bool) -> None:
    seen = {light: watched(light, is_dimmed) for light in Light}
    alike = [
        (one.value, other.value)
        for one, other in itertools.combinations(Light, 2)
        if difference(seen[one], seen[other]) < 0.05
    ]
    assert alike == []


def stretches(light: Light) -> list[tuple[bool, float]]:
    """One period as who looks sees it: for how long it is on and off by turns, beginning with on."""
    grains = watched(light, is_dimmed=False)[: round(min(period_s(light), WATCHED_S) / GRAIN_S)] > 0.5
    turns = [(is_on, len(list(group)) * GRAIN_S) for is_on, group in itertools.groupby(grains)]
    if len(turns) > 1 and turns[0][0] == turns[-1][0]:  # It goes round.
        turns = [(turns[0][0], turns[0][1] + turns.pop()[1]), *turns[1:]]
    return turns if turns[0][0] or len(turns) == 1 else turns[1:] + turns[:1]


def test_no_two_lights_differ_by_a_little_haste_alone() -> None:
    for one, other in itertools.combinations(Light, 2):
        turns, others = stretches(one), stretches(other)
        if len(turns) == len(others) and turns[0][0] == others[0][0]:
            ratios = [ours[1] / theirs[1] for ours, theirs in zip(turns, others, strict=True)]
            assert max(*ratios, 1.0 / min(ratios)) > 1.6, (one, other)


def test_every_state_has_a_light_of_its_own_and_every_light_is_explained() -> None:
    assert {Light(state.value) for state in State} < set(Light)
    assert set(SEEN) == set(PATTERNS) == set(Light)
    assert len({seen.looks for seen in SEEN.values()}) == len(Light)
    assert all(f"| {seen.looks} | {seen.means} |" in lights_markdown() for seen in SEEN.values())


@pytest.mark.parametrize("page", ["systemd/README.md", "device/core/PANEL.md"])
def test_what_people_read_about_the_led_is_what_it_does(page: str) -> None:
    assert lights_markdown() in (ROOT / page).read_text(encoding="utf-8")


@pytest.mark.parametrize("light", list(Light))
def test_an_led_that_is_set_when_it_must_be_shows_the_pattern(light: Light) -> None:
    elapsed_s, n_set = 0.0, 0
    while elapsed_s < WATCHED_S:
        level = brightness(light, elapsed_s)
        assert 0.0 <= level <= 1.0
        left_s = until_change_s(light, elapsed_s)
        assert left_s >= 0.0
        if left_s > 1e-6:  # Between two settings the pattern moves by no more than a step of its steepest slope.
            middle_s = elapsed_s + min(left_s, WATCHED_S) / 2.0
            assert brightness(light, middle_s) == pytest.approx(level, abs=STEP_S)
        elapsed_s += max(left_s, 1e-6)
        n_set += 1
    assert n_set <= WATCHED_S / STEP_S + WATCHED_S / 0.03


@pytest.mark.parametrize("light", [light for light in Light if math.isfinite(period_s(light))])
def test_a_light_repeats_for_months(light: Light) -> None:
    for elapsed_s in (0.01, 0.17, 0.71, 1.93):
        months_s = period_s(light) * 2**23
        assert brightness(light, months_s + elapsed_s) == pytest.approx(brightness(light, elapsed_s), abs=1e-3)
