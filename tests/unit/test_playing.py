"""Held-out spans, played by a model that can be computed by hand: what follows, what does not, what draws do."""

from __future__ import annotations

import numpy as np
import pytest

from device.core.errors import UsageError
from device.core.motiongram import MotionSettings
from device.core.synth import SynthSettings
from device.edges.model_fake import FakeModel
from device.store.store import Take, TakeWriter
from tests.sounds import Sound
from trainer.data.prepare import split
from trainer.evaluating.command import evaluate_null, evaluate_real
from trainer.evaluating.draws import agreements, evaluate_draws
from trainer.evaluating.playing import Playing, Span, held_out_spans, moves_of, play_spans, real_sound, shuffled_columns
from trainer.evaluating.reference import Reference
from trainer.settings import ExampleSettings

RATE_HZ = 48000
MOTION = MotionSettings()
PLAYING = Playing(MOTION, ExampleSettings(0.5, 50.0, 0.0, 0, 0, SynthSettings()))
MODEL = FakeModel()
LENGTHS_S = (9.0, 7.0)


@pytest.fixture(scope="module")
def spans(tmp_path_factory: pytest.TempPathFactory) -> list[Span]:
    """Two takes of motion that wanders in quantity and height; the sound is what the fake itself plays to them."""
    folder = tmp_path_factory.mktemp("takes")
    for seed, length_s in enumerate(LENGTHS_S):
        rng = np.random.default_rng(seed)
        times_s = np.arange(int(length_s * 50)) / 50
        knots_s = np.arange(0, length_s + 1, 0.25)
        quantity, height = (np.interp(times_s, knots_s, rng.random(len(knots_s))) for _ in range(2))
        rows = np.exp(-(((np.arange(48) - 47 * height[:, np.newaxis]) / 5) ** 2)) * quantity[:, np.newaxis] * 20
        columns = np.concatenate([rows, np.ones((len(rows), 64)) * rows.mean(axis=1, keepdims=True)], axis=1)
        sound = np.repeat(quantity, RATE_HZ // 50) * np.sin(np.arange(len(times_s) * RATE_HZ // 50) * 0.06)
        writer = TakeWriter(folder, MOTION, RATE_HZ, {"name": f"take {seed}"})
        writer.add_columns(columns.astype(np.float32), times_s)
        writer.add_sound((0.3 * sound).astype(np.float32), 0.0)
        writer.finish()
    takes = [Take.open(path) for path in sorted(folder.glob("[0-9]*"))]
    _, held_out = split(takes, 0.5, 0.02, 0.0, [take.number for take in takes])
    return held_out_spans(takes, held_out)


@pytest.fixture(scope="module")
def played(spans: list[Span]) -> dict[str, Sound]:
    """What the fake plays to them as they were, and in another order."""
    return {
        "as it was": play_spans(PLAYING, MODEL, spans),
        "shuffled": play_spans(PLAYING, MODEL, spans, columns=shuffled_columns(spans)),
    }


def test_moves_are_on_the_clock_of_the_sound(spans: list[Span]) -> None:
    moves, real = moves_of(spans), real_sound(spans)
    assert moves.duration_s == pytest.approx(len(real) / RATE_HZ)
    assert len(moves.times_s) == sum(len(span.times_s) for span in spans)
    assert (np.diff(moves.times_s) >= 0).all()
    np.testing.assert_allclose(moves.joins_s, [len(spans[0].sound()) / RATE_HZ])
    # The sound is as loud as the motion is much: on one clock they go together, also behind the join.
    found = evaluate_real(PLAYING, spans)
    assert found.loudness_link is not None
    assert found.loudness_link > 0.95


def test_height_is_1_at_the_top_of_the_picture(spans: list[Span]) -> None:
    moves = moves_of(spans)
    rows = spans[0].columns[:, :48]
    top = rows[:, :10].sum(axis=1) > 0.9 * rows.sum(axis=1)
    assert top.any()
    assert moves.height[: len(rows)][top].min() > 0.8
    assert moves.quantity[0] == pytest.approx(float(rows[0].mean()), rel=1e-5)


def test_shuffled_columns_are_the_same_in_another_order(spans: list[Span]) -> None:
    shuffled = shuffled_columns(spans)
    assert [len(each) for each in shuffled] == [len(span.times_s) for span in spans]
    before, after = np.concatenate([span.columns for span in spans]), np.concatenate(shuffled)
    np.testing.assert_array_equal(np.sort(before[:, 20]), np.sort(after[:, 20]))
    # No second stays where it was, and within a second nothing changes.
    moved = (before != after).any(axis=1)
    assert moved.mean() > 0.99
    place = {column.tobytes(): index for index, column in enumerate(before)}
    steps = np.diff([place[column.tobytes()] for column in after])
    assert 1 - (steps == 1).mean() == pytest.approx(1 / 50, abs=0.01)


@pytest.mark.parametrize("seed", range(20))
def test_no_piece_stays_whatever_the_seed(spans: list[Span], seed: int) -> None:
    before, after = spans[0].columns, shuffled_columns(spans[:1], seed)[0]
    assert (before != after).any(axis=1).mean() > 0.99


def test_played_by_shuffled_motion_the_link_is_gone(spans: list[Span], played: dict[str, Sound]) -> None:
    reference = Reference.of(PLAYING, spans)
    linked, shuffled = (reference.figures(sound) for sound in played.values())
    assert linked.loudness_link is not None
    assert shuffled.loudness_link is not None
    assert linked.loudness_link > 0.9
    assert abs(shuffled.loudness_link) < 0.35
    assert linked.loudness_rank_correlation > 0.9
    assert abs(shuffled.loudness_rank_correlation) < 0.35
    assert reference.shuffled(MODEL) == shuffled


def test_null_is_sound_and_motion_of_other_times(spans: list[Span], played: dict[str, Sound]) -> None:
    null = evaluate_null(PLAYING, spans, played["as it was"])
    assert null.loudness_link is not None
    assert abs(null.loudness_link) < 0.35
    assert abs(null.loudness_rank_correlation) < 0.35


def test_spans_that_were_moved_fit_each_other(spans: list[Span]) -> None:
    """The null moves sound and motion by the same: the real sound stays linked to the motion of its own time."""
    shifted = Reference.of(PLAYING, spans).shifted(0.37)
    link = shifted.itself().loudness_link
    assert link is not None
    assert link > 0.9


def test_draws_differ_and_agree_as_far_as_they_do(spans: list[Span]) -> None:
    draws = evaluate_draws(PLAYING, MODEL, spans[1:], 3, 1.0)
    assert len(draws.draws) == 3
    assert draws.least_agreement is not None
    assert draws.mean_agreement is not None
    assert 0.99 < draws.least_agreement <= draws.mean_agreement <= 1
    # The fake's noise bends its pitch and nothing else: every draw is as loud as their mean, no two are alike.
    assert len({draw.brightness_rank_correlation for draw in draws.draws}) == 3
    again = evaluate_draws(PLAYING, MODEL, spans[1:], 3, 1.0)
    assert again == draws
    assert draws.format().splitlines()[-1].startswith("loudness rank correlation of two draws: least ")
    assert draws.format().splitlines()[0].split() == ["mean", "draw", "1", "draw", "2", "draw", "3"]


def test_one_draw_agrees_with_nothing_and_none_is_refused(spans: list[Span]) -> None:
    assert evaluate_draws(PLAYING, MODEL, spans[1:], 1, 1.0).least_agreement is None
    for n, temperature in ((0, 1.0), (3, 0.0)):
        with pytest.raises(UsageError, match="give 1 or more"):
            evaluate_draws(PLAYING, MODEL, spans, n, temperature)


def test_agreement_is_of_every_pair(played: dict[str, Sound]) -> None:
    sound, other = played.values()
    pairs = agreements([sound, 0.5 * sound, other, np.zeros_like(sound)], RATE_HZ)
    assert len(pairs) == 6
    assert pairs[0] == pytest.approx(1)
    assert abs(pairs[1]) < 0.35
    np.testing.assert_array_equal(pairs[[2, 4, 5]], 0)
