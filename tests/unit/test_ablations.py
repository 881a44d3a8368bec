"""What we are compared with works as it should: transforms give back what they took, choices are real spectra."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from device.core.motiongram import MotionSettings
from device.core.synth import SynthSettings
from device.store.store import Take, TakeWriter
from tests.ablations.blocks import Listener, play_blocks
from tests.ablations.cases import Training
from tests.ablations.categorical import CategoricalHead, Chooser, code_book, shapes_of
from tests.ablations.material import (
    Material,
    SoundExamples,
    augmentation,
    first_minutes,
    silence_where_still,
    take_noise_out,
)
from tests.ablations.mdct import Mdct, MdctHead
from tests.ablations.multiband import MultibandHead
from tests.ablations.pqmf import analyse_bands, filters, join_bands
from trainer.evaluating.playing import Playing, Span, play_span, play_still
from trainer.settings import PRESETS, ExampleSettings

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

RATE_HZ = 24000
MOTION = MotionSettings(height=6, width=8)
SYNTH = SynthSettings(rate_hz=RATE_HZ, n_fft=512)
PLAYING = Playing(MOTION, ExampleSettings(0.2, 50.0, 0.0, 4, 16, SYNTH))


class Network:
    """A network that was not trained: what it says is given, or made of the newest column."""

    runtime, variant = "none", "f16"
    n_columns, n_features, n_latent = 10, 14, 3

    def __init__(self, values: Float32) -> None:
        self.n_bins = len(values)
        self._values = values

    def run(self, motion: Float32, noise: Float32, position: float) -> Float32:
        """The same values, as loud as the newest column."""
        assert not noise.any()
        assert position == 1.0
        return np.asarray(self._values * motion[-1, 0], np.float32)


def make_take(folder: Path, duration_s: float = 8.0, seed: int = 0) -> Take:
    """Random motion; a sound whose samples tell their own time."""
    times_s = np.arange(int(duration_s * 50)) / 50
    rng = np.random.default_rng(seed)
    writer = TakeWriter(folder, MOTION, RATE_HZ, {"name": "test"})
    writer.add_columns(rng.random((len(times_s), 14)).astype(np.float32), times_s)
    n_samples = int(duration_s * RATE_HZ)
    writer.add_sound((0.1 + np.arange(n_samples) / (2 * n_samples)).astype(np.float32), 0.0)
    return writer.finish()


@pytest.mark.parametrize("n", [64, 512])
def test_the_mdct_gives_back_what_it_took(n: int) -> None:
    sound = np.random.default_rng(0).standard_normal(10 * n)
    mdct, back = Mdct(n), np.zeros(10 * n)
    for start in range(0, 9 * n, n):
        back[start : start + 2 * n] += sound[start : start + 2 * n] @ mdct.analysis @ mdct.synthesis
    np.testing.assert_allclose(back[n:-n], sound[n:-n], atol=1e-12)


def test_the_head_of_the_mdct_plays_true_sizes_and_signs_as_they_are() -> None:
    head = MdctHead(256)
    seconds = np.arange(6 * 256) / RATE_HZ
    sound = 0.5 * np.sin(2 * np.pi * 440 * seconds)
    back = np.zeros(6 * 256)
    for start in range(0, 5 * 256, 256):
        true = sound[start : start + 512] @ Mdct(256).analysis
        values = np.concatenate([np.abs(true) ** 0.3, true]).astype(np.float32)
        back[start : start + 512] += head.block(values, back[start : start + 256], 0.0, np.random.default_rng(0))
    back *= np.dot(back, sound) / np.dot(back, back)  # sizes are raised, as means under a power want it
    assert np.abs(back - sound)[256:-256].max() < 1e-4


def test_tossed_signs_follow_their_odds() -> None:
    head, rng = MdctHead(256), np.random.default_rng(0)
    values = np.concatenate([np.ones(256), np.full(256, np.log(3.0))]).astype(np.float32)
    tossed = np.stack([head.block(values, np.zeros(256), 1.0, rng) @ Mdct(256).analysis for _ in range(200)])
    assert abs(float((tossed > 0).mean()) - 0.75) < 0.01
    likelier = head.block(values, np.zeros(256), 0.0, rng) @ Mdct(256).analysis
    assert (likelier > 0).all()


@pytest.mark.parametrize("n_bands", [4, 8])
def test_bands_give_back_the_sound_60_db_above_their_error(n_bands: int) -> None:
    sound = np.random.default_rng(0).standard_normal(4096)
    bank = filters(n_bands)
    error = (join_bands(analyse_bands(sound, bank), bank) - sound)[256:-256]
    assert 10 * np.log10(np.square(error).mean() / np.square(sound).mean()) < -60.0


def test_each_band_holds_its_own_part_of_the_spectrum() -> None:
    bank = filters(8)
    for band in range(8):
        tone = np.cos(np.pi * (band + 0.5) / 8 * np.arange(4096))
        energies = np.square(analyse_bands(tone, bank)[64:-64]).sum(axis=0)
        assert energies.argmax() == band
        assert energies[band] > 0.999 * energies.sum()


def test_blocks_of_a_tone_go_on_where_the_last_one_ended() -> None:
    """Each block begins at another phase; shifted, they make one tone whose level stays."""
    head = MultibandHead(2048)
    out = np.zeros(40 * head.hop)
    for number in range(38):
        start = number * head.hop
        values = np.sin(2 * np.pi * (np.arange(2048) / 128 + 0.37 * number)).astype(np.float32)
        out[start : start + 2 * head.hop] += head.block(
            values, out[start : start + head.hop].copy(), 0.0, np.random.default_rng(0)
        )
    middle = out[2 * head.hop : -4 * head.hop].reshape(-1, 128)  # a period each
    levels = np.sqrt(2 * np.square(middle).mean(axis=1))
    assert levels.min() > 0.95
    assert levels.max() < 1.05


def test_a_block_goes_on_where_it_is_likest_not_where_it_is_loudest() -> None:
    head, rng = MultibandHead(2048), np.random.default_rng(0)
    values = rng.standard_normal(2048).astype(np.float32)
    tail = values[100 : 100 + head.hop].astype(np.float64)
    values[1200:1280] *= 200.0
    played = head.block(values, tail, 0.0, rng)
    assert np.abs(played).argmax() in range(1200 - 100, 1280 - 100)


def test_a_code_book_is_of_spectra_that_were_measured() -> None:
    spectra = np.random.default_rng(0).random((300, 20)).astype(np.float32)
    spectra[::7] = 0.0
    codes = code_book(spectra, 16)
    shapes = shapes_of(spectra)
    assert np.allclose(np.linalg.norm(codes, axis=1), 1.0)
    assert ((codes[:, np.newaxis] == shapes).all(axis=2)).any(axis=1).all()


def test_a_code_book_covers_what_there_is() -> None:
    """Three kinds of spectra, one of them rare: each gets a code."""
    rng = np.random.default_rng(1)
    kinds = np.eye(3, 30, dtype=np.float32)
    spectra = np.repeat(kinds, [200, 150, 8], axis=0) + 0.01 * rng.random((358, 30)).astype(np.float32)
    codes = code_book(spectra, 12)
    assert set((codes @ kinds.T).argmax(axis=1)) == {0, 1, 2}


def test_a_head_that_chooses_is_told_how_often_it_is_right() -> None:
    head = CategoricalHead(3)
    head.codes = np.eye(3, 4, dtype=np.float32)
    spectra = np.array([[5, 1, 0, 0], [0, 0, 0, 0], [0, 0.01, 0, 0], [0, 0, 2, 1]], np.float32)
    values = np.array([[5, 1, 0, 0], [0, 9, 0, 0], [0, 0, 1, 0], [2, 0, 1, 0]], np.float32)
    assert head.notes(values, {"spectrum": spectra}) == {"codes_right": pytest.approx(2 / 3)}


def chooser(n_codes: int = 6) -> tuple[Chooser, Float32]:
    codes = np.eye(n_codes, 9, dtype=np.float32)
    logits = np.log([0.4, 0.2, 0.1, 0.1, 0.1, 0.1])
    return Chooser(Network(np.concatenate([[2.0], logits]).astype(np.float32)), codes), codes


MOVING = np.ones((10, 14), np.float32)


def test_without_noise_the_likeliest_code_is_played_and_stillness_is_silent() -> None:
    model, codes = chooser()
    np.testing.assert_array_equal(model.run(MOVING, np.zeros(6, np.float32), 1.0), 2.0 * codes[0])
    assert not model.run(np.zeros((10, 14), np.float32), np.zeros(6, np.float32), 1.0).any()


def test_codes_are_drawn_as_often_as_the_network_says() -> None:
    model, codes = chooser()
    noise = np.random.default_rng(0).standard_normal((20000, 6)).astype(np.float32)
    drawn = np.stack([model.run(MOVING, each, 1.0) for each in noise])
    np.testing.assert_allclose((drawn @ codes.T / 2.0).mean(axis=0), [0.4, 0.2, 0.1, 0.1, 0.1, 0.1], atol=0.015)
    assert set(np.unique(drawn)) == {0.0, 2.0}


def test_a_drawn_code_lasts() -> None:
    """With the engine's noise a choice changes a few times a second, not at every frame."""
    from device.core.noise import SlowNoise

    model, _ = chooser()
    noise = SlowNoise(6, 1.0, 0.5, seed=0)
    chosen = [int(model.run(MOVING, noise.step(0.02), 1.0).argmax()) for _ in range(3000)]
    changes_per_s = np.count_nonzero(np.diff(chosen)) / 60.0
    assert 0.5 < changes_per_s < 12.0
    assert len(set(chosen)) == 6


class Step:
    """A head that needs its values only: a block is one hop of what the network says, and one of silence."""

    hop = 240

    def block(self, values: Float32, tail: Float64, temperature: float, rng: np.random.Generator) -> Float64:  # noqa: ARG002
        """So many samples of the first value."""
        return np.repeat([float(values[0]), 0.0], self.hop)


def test_blocks_are_heard_when_a_card_would_have_asked_for_them() -> None:
    times_s = np.arange(10) / 50
    columns = np.zeros((10, 14), np.float32)
    columns[5:, 0] = 0.5  # from 0.1 s on
    network = Network(np.ones(1, np.float32))
    played = play_blocks(Step(), network, PLAYING, zip(columns, times_s, strict=True), 4800)
    assert len(played) == 4800
    first = int(np.flatnonzero(played)[0])
    # The buffer of 384 samples, then the next block.
    assert first == 2880
    assert np.all(played[first:] == np.float32(0.5))


class Drawing(Network):
    """A network that says what it was given to draw with."""

    def run(self, motion: Float32, noise: Float32, position: float) -> Float32:  # noqa: ARG002 - noise alone is said
        """The first of the noise."""
        return np.asarray(noise[:1] / 10.0, np.float32)


def test_two_draws_differ_and_without_temperature_there_is_one() -> None:
    events = [(np.zeros(14, np.float32), i / 50) for i in range(10)]
    network = Drawing(np.ones(1, np.float32))
    first, again, other = (play_blocks(Step(), network, PLAYING, events, 4800, 1.0, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.count_nonzero(first != other) > 4000
    assert not play_blocks(Step(), network, PLAYING, events, 4800, 0.0, 1).any()


def test_a_listener_sees_every_column_and_is_silent(tmp_path: Path) -> None:
    take, listener = make_take(tmp_path), Listener(PLAYING)
    assert not play_span(PLAYING, listener, Span(take, 20, 90)).any()
    np.testing.assert_array_equal(listener.columns, take.columns_at(20, 90))
    still = Listener(PLAYING)
    play_still(PLAYING, still)
    assert len(still.columns) == 360


def material(folder: Path, n_takes: int = 3) -> Material:
    takes = [make_take(folder, 8.0 + number, number) for number in range(n_takes)]
    return Material(takes, PRESETS["quick"], 0.25, [])


def test_sound_lies_around_its_column(tmp_path: Path) -> None:
    made = material(tmp_path)
    training = Training(segment_s=0.3, lead_s=0.04)
    examples = SoundExamples(made, training, 64)
    rows = examples.rows(made.learned(training))[5:-5:9]
    sound = examples.batch(rows, np.zeros(len(rows), np.float32))["sound"]
    ends = np.cumsum([take.n_columns for take in made.takes])
    for row, heard in zip(rows, sound, strict=True):
        number = int(np.searchsorted(ends, row, side="right"))
        take = made.takes[number]
        time_s = take.times_s[row - (ends[number] - take.n_columns)] + 0.04
        np.testing.assert_array_equal(heard, take.sound_at(round(time_s * RATE_HZ) - 32, round(time_s * RATE_HZ) + 32))


def test_sound_never_reaches_into_another_take(tmp_path: Path) -> None:
    made = material(tmp_path, 2)
    examples = SoundExamples(made, Training(segment_s=0.3), 2000)
    first_of_second = np.array([made.takes[0].n_columns])
    sound = examples.batch(first_of_second, np.ones(1, np.float32))["sound"][0]
    assert not sound[:1000].any()
    assert sound[1000:].all()


def test_an_emptied_stage_is_silent(tmp_path: Path) -> None:
    made = material(tmp_path, 1)
    examples = SoundExamples(made, Training(segment_s=0.3), 64)
    rows = examples.rows(made.learned(Training(segment_s=0.3)))
    n_emptied = 0
    for raw in examples.batches(rows, 64, np.random.default_rng(0)):
        batch = silence_where_still(raw)
        empty = ~batch["spectrum"].any(axis=1)
        assert not batch["sound"][empty].any()
        assert batch["sound"][~empty].any(axis=1).all()
        n_emptied += int(empty.sum())
    assert n_emptied > 0


def test_the_first_minutes_are_as_long_as_they_say(tmp_path: Path) -> None:
    made = material(tmp_path)
    training = Training(segment_s=0.3)
    everything = made.learned(training)
    some = first_minutes(made.takes, everything, 0.2)
    assert set(zip(some.take_index, some.column_index, strict=True)) < set(
        zip(everything.take_index, everything.column_index, strict=True)
    )
    lengths_s = [
        made.takes[index].times_s[some.of_take(index)[-1]] if len(some.of_take(index)) else 0.0 for index in range(3)
    ]
    assert sum(lengths_s) == pytest.approx(12.0, abs=0.1)


def test_little_data_takes_nothing_of_what_is_held_out(tmp_path: Path) -> None:
    made = material(tmp_path)
    played = {(span.take.number, row) for span in made.spans(60.0) for row in range(span.start, span.stop)}
    for minutes in (0.2, None):
        learned = made.learned(Training(segment_s=0.3, minutes=minutes))
        numbers = [made.takes[index].number for index in learned.take_index]
        assert not played & set(zip(numbers, learned.column_index.tolist(), strict=True))


def test_augmentation_can_be_switched_off(tmp_path: Path) -> None:
    made = material(tmp_path, 1)
    examples = SoundExamples(made, Training(segment_s=0.3), 8)
    rows = examples.rows(made.learned(Training(segment_s=0.3)))[:64]
    true = examples.batch(np.sort(rows), np.ones(64, np.float32))["window"]
    for is_varied in (False, True):
        with augmentation(Training(is_varied=is_varied)):
            (batch,) = examples.batches(rows, 64, np.random.default_rng(0))
        kept = batch["window"][batch["spectrum"].any(axis=1)]
        known = [(np.abs(true - window).max(axis=(1, 2)) == 0.0).any() for window in kept]
        assert (0.3 < np.mean(known) < 0.7) if is_varied else all(known)


def test_a_deterministic_model_has_no_prior(tmp_path: Path) -> None:
    made = material(tmp_path, 1)
    drawn, plain = (made.settings(Training(is_drawn=is_drawn)).loss for is_drawn in (True, False))
    assert min(drawn.kl, drawn.tie, drawn.drawn) > 0.0
    assert plain.kl == plain.tie == plain.drawn == 0.0
    assert plain.joint == drawn.joint


class Noisy:
    """What stands for the program's model."""

    def losses_of(self, batch: Float32, noise: Float32, variance: float) -> Float32:
        """Something that noise moves."""
        return batch + variance * noise


def test_a_deterministic_model_is_trained_without_noise() -> None:
    model = Noisy()
    take_noise_out(model)
    batch, noise = np.arange(3.0, dtype=np.float32), np.ones(3, np.float32)
    np.testing.assert_array_equal(model.losses_of(batch, noise, 2.0), batch)
