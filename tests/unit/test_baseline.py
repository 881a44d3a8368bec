"""The original's way: what it learns from, when it is heard, and what of it is kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from device.core.errors import TrainingError, UsageError
from device.core.motiongram import MotionSettings
from device.store.store import Take, TakeWriter
from trainer.baseline.material import Material
from trainer.baseline.original import FILE, Baseline, load_baseline, say, train_baseline
from trainer.data.prepare import split
from trainer.evaluating.playing import Span

RATE_HZ = 8000
SETTINGS = MotionSettings(height=4, width=6)
SEGMENT_S = 0.1
N_SEGMENT = 800

Float32 = npt.NDArray[np.float32]


def quantity_at(times_s: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Moves for a second, stands still for a second, and so on."""
    return np.asarray(6.0 * (times_s % 2.0 < 1.0), np.float64)


def make_take(
    takes_dir: Path, sound_of: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]], light: float = 1.0
) -> Take:
    """Ten seconds at 50 fps; the sound begins a second before the motion."""
    times_s = 5.0 + np.arange(501) / 50
    shape = light * np.linspace(0.5, 1.5, SETTINGS.n_features)
    writer = TakeWriter(takes_dir, SETTINGS, RATE_HZ, {"name": "dance"})
    writer.add_columns((quantity_at(times_s)[:, np.newaxis] * shape).astype(np.float32), times_s)
    writer.add_sound(sound_of(4.0 + np.arange(12 * RATE_HZ) / RATE_HZ).astype(np.float32), 4.0)
    return writer.finish()


def tone(times_s: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """As loud as the motion."""
    return np.asarray(0.05 * quantity_at(times_s) * np.sin(2 * np.pi * 300 * times_s))


def trained(take: Take, n_steps: int = 5, seed: int = 0, segment_s: float = SEGMENT_S) -> Baseline:
    training, _ = split([take], segment_s, 0.02, 0.0)
    return train_baseline([take], training, segment_s, duration_s=None, n_steps=n_steps, seed=seed)


def whole(take: Take) -> Span:
    return Span(take, 0, take.n_columns)


def level_db(sound: Float32) -> float:
    return float(10 * np.log10(np.mean(np.square(sound, dtype=np.float64))))


@pytest.fixture(scope="module")
def take(tmp_path_factory: pytest.TempPathFactory) -> Take:
    return make_take(tmp_path_factory.mktemp("takes"), tone)


@pytest.fixture(scope="module")
def baseline(take: Take) -> Baseline:
    """Trained for some seconds."""
    return trained(take, n_steps=200)


def test_what_moves_is_heard_and_as_loud_as_the_music(baseline: Baseline, take: Take) -> None:
    played = baseline.play(whole(take)).reshape(-1, N_SEGMENT)  # a segment late: row k hears the motion of row k - 1
    still = quantity_at(5.0 + SEGMENT_S * (np.arange(len(played)) - 0.5)) == 0.0
    moving, unmoved = played[1:][~still[1:]], played[1:][still[1:]]
    assert level_db(moving) > level_db(unmoved) + 6
    assert level_db(played) == pytest.approx(level_db(whole(take).sound()), abs=3)


def test_a_segment_is_heard_when_its_motion_has_ended_and_for_as_long(baseline: Baseline, take: Take) -> None:
    span = whole(take)
    columns = span.columns
    as_it_was = baseline.play_columns(columns, span.times_s, 80000)
    changed = 62  # within the segment that ends with column 65: 1.3 s after the first
    columns[changed] += 20.0
    differs = np.flatnonzero(baseline.play_columns(columns, span.times_s, 80000) != as_it_was)
    assert 13 * N_SEGMENT <= differs.min() < 13 * N_SEGMENT + 10
    assert 14 * N_SEGMENT - 10 <= differs.max() < 14 * N_SEGMENT


@pytest.mark.parametrize(("start", "stop"), [(0, 501), (7, 104), (0, 3)])
def test_it_is_as_long_as_the_real_sound_and_silent_at_first(
    baseline: Baseline, take: Take, start: int, stop: int
) -> None:
    span = Span(take, start, stop)
    played = baseline.play(span)
    assert played.dtype == np.float32
    assert len(played) == len(span.sound())
    assert not played[:N_SEGMENT].any()
    assert stop < 10 or np.count_nonzero(played[N_SEGMENT:]) > 0.9 * (len(played) - N_SEGMENT)


def test_what_is_played_is_what_was_learned(baseline: Baseline, take: Take) -> None:
    training, _ = split([take], SEGMENT_S, SEGMENT_S, 0.0)
    material = Material([take], training, SEGMENT_S)
    index = np.flatnonzero(training.column_index == 5)[0] + np.arange(20)
    alone = baseline._gain * say(baseline._player, material.motion(index), np.zeros((20, 32), np.float32))
    np.testing.assert_allclose(baseline.play(whole(take))[N_SEGMENT : 21 * N_SEGMENT], alone.ravel(), atol=1e-6)


def test_the_sound_of_a_segment_ends_with_its_motion(tmp_path: Path) -> None:
    ramps = [
        make_take(tmp_path, lambda times_s, start=start: start + (times_s - 4.0) / 40)  # type: ignore[misc]
        for start in (-0.5, 0.1)
    ]
    training, _ = split(ramps, SEGMENT_S, 0.02, 0.0)
    material = Material(ramps, training, SEGMENT_S)
    ends_s = np.array([ramps[t].times_s[c] for t, c in zip(training.take_index, training.column_index, strict=True)])
    wanted = np.where(training.take_index == 0, -0.5, 0.1) + (ends_s - 4.0) / 40
    heard = material.sound(np.arange(len(material)))
    assert heard.shape == (len(training), N_SEGMENT)
    per_sample = 1 / 40 / RATE_HZ
    np.testing.assert_allclose(heard[:, -1], wanted - per_sample, atol=2e-5)  # 16 bits
    np.testing.assert_allclose(heard[:, 0], wanted - N_SEGMENT * per_sample, atol=2e-5)


def test_every_take_keeps_its_own_motion(tmp_path: Path) -> None:
    lit = [make_take(tmp_path, tone, light) for light in (1.0, 4.0)]
    training, _ = split(lit, SEGMENT_S, 0.02, 0.0)
    material = Material(lit, training, SEGMENT_S)
    index = np.arange(len(material))
    roots = material.motion(index) * material.deviation + np.tile(material.mean, material.n_columns)
    first, second = roots[training.take_index == 0], roots[training.take_index == 1]
    assert first.max() > 1.0
    np.testing.assert_allclose(second, 2.0 * first, atol=1e-4)


def test_motion_is_standardised_in_training(take: Take) -> None:
    training, _ = split([take], SEGMENT_S, 0.02, 0.0)
    motion = Material([take], training, SEGMENT_S).motion(np.arange(len(training)))
    assert abs(float(motion.mean())) < 0.05
    assert float(motion.std()) == pytest.approx(1.0, abs=0.1)


def test_motion_alone_plays(baseline: Baseline, take: Take, tmp_path: Path) -> None:
    other = make_take(tmp_path, lambda times_s: 0.3 * np.sin(2 * np.pi * 1000 * times_s))
    np.testing.assert_array_equal(baseline.play(whole(other)), baseline.play(whole(take)))


def test_the_sound_is_encoded_with_the_motion() -> None:
    from trainer.backend import tf
    from trainer.baseline.model import BaselineSettings, Networks

    networks = Networks(BaselineSettings(SEGMENT_S, RATE_HZ, 5, 10))
    sound, noise = tf.random.stateless_normal((8, N_SEGMENT), [0, 0]), tf.zeros((8, 32))
    motion = tf.zeros((8, 50))
    with tf.GradientTape() as tape:
        tape.watch(sound)
        rebuilt = networks.losses_of(motion, sound, noise)["motion"]
    assert float(tf.reduce_max(tf.abs(tape.gradient(rebuilt, sound)))) > 0.0


def test_draws_differ_by_their_seed_and_the_mean_does_not(baseline: Baseline, take: Take) -> None:
    span = Span(take, 0, 101)
    draws = [baseline.play(span, 1.0, seed) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert np.abs(draws[0] - draws[2])[N_SEGMENT:].max() > 1e-4
    np.testing.assert_array_equal(baseline.play(span, 0.0, 1), baseline.play(span, 0.0, 2))
    drawn = draws[0].reshape(-1, N_SEGMENT)[1:6] - baseline.play(span).reshape(-1, N_SEGMENT)[1:6]
    assert not np.allclose(drawn[1], drawn[2], atol=1e-5)  # the motion is the same: each segment is drawn anew


def test_the_longest_segment_of_the_original_is_played(take: Take) -> None:
    played = trained(take, n_steps=3, segment_s=0.5).play(whole(take))
    assert not played[:4000].any()
    assert played[4000:].any()


def test_equal_trainings_are_equal_and_others_are_not(take: Take) -> None:
    one, same, other = (trained(take, seed=seed).play(whole(take)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_it_trains_for_the_time_that_it_is_given(take: Take) -> None:
    training, _ = split([take], SEGMENT_S, 0.02, 0.0)
    shares: list[float] = []
    seconds = iter(range(100, 200))
    train_baseline(
        [take], training, SEGMENT_S, duration_s=4.0, n_steps=None, progress=shares.append, clock=lambda: next(seconds)
    )
    assert shares == [0.25, 0.5, 0.75, 1.0]


@pytest.mark.parametrize(("duration_s", "n_steps"), [(None, None), (1.0, 1)])
def test_time_or_steps(take: Take, duration_s: float | None, n_steps: int | None) -> None:
    training, _ = split([take], SEGMENT_S, 0.02, 0.0)
    with pytest.raises(UsageError, match="one of the two"):
        train_baseline([take], training, SEGMENT_S, duration_s=duration_s, n_steps=n_steps)


def test_silent_takes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="silent"):
        trained(make_take(tmp_path, np.zeros_like))


def test_nothing_to_learn_from_is_refused(take: Take) -> None:
    nothing, _ = split([take], SEGMENT_S, 0.02, held_out_takes=[take.number])
    with pytest.raises(TrainingError, match="no segment"):
        train_baseline([take], nothing, SEGMENT_S, duration_s=None, n_steps=1)


def test_what_is_saved_plays_the_same(baseline: Baseline, take: Take, tmp_path: Path) -> None:
    folder = tmp_path / "a" / "run"
    trained(take).save(folder)
    baseline.save(folder)
    assert [path.name for path in folder.iterdir()] == [FILE]
    again = load_baseline(folder)
    assert again.settings == baseline.settings
    for temperature in (0.0, 1.0):
        np.testing.assert_array_equal(again.play(whole(take), temperature), baseline.play(whole(take), temperature))


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_baseline_cut_short_is_refused(baseline: Baseline, tmp_path: Path, share: float) -> None:
    baseline.save(tmp_path)
    data = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(data[: int(share * len(data))])
    with pytest.raises(TrainingError, match="damaged"):
        load_baseline(tmp_path)


def test_a_changed_weight_is_refused(baseline: Baseline, tmp_path: Path) -> None:
    baseline.save(tmp_path)
    data = bytearray((tmp_path / FILE).read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / FILE).write_bytes(data)
    with pytest.raises(TrainingError, match="damaged"):
        load_baseline(tmp_path)


def test_a_folder_without_a_baseline_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="trainer baseline"):
        load_baseline(tmp_path)
