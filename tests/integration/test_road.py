"""From videos of dances to an instrument: what it must show, on filmed salsa with a sound that follows the body.

First what is heard; then that the model is a variational autoencoder in earnest: its latents speak, its prior sounds,
its draws differ and follow. All in one file, because all of it looks at one road, which takes minutes to go.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import soundfile

from device.core.synth import analyse
from device.edges.model_tflite import TfliteModel, installed_runtimes, preload
from device.models.bundles import read_bundle
from device.store.store import Take
from tests.filmed_salsa import RATE_HZ, STILL_S, VIEWS, make_dance_video
from tests.long import long
from tests.road import Road, command, last_object
from trainer.data.prepare import load_takes, split
from trainer.evaluating.draws import evaluate_draws
from trainer.evaluating.hearing import level_dbfs
from trainer.evaluating.metrics import pitch_within_semitone
from trainer.evaluating.playing import Playing, Recorded, Span, held_out_spans, play_span, play_spans
from trainer.evaluating.reference import Reference
from trainer.filming.film import SALSA
from trainer.runs.folder import load_run
from trainer.settings import HOP_S, RunSettings

pytestmark = pytest.mark.timeout(1200)

LARGEST_BUNDLE = 2_000_000
LONGEST_TRAINING_S = 300


@long
def test_preset_quick_trains_within_five_minutes(road: Road) -> None:
    assert road.training_s <= LONGEST_TRAINING_S


@pytest.mark.parametrize("variant", ["f16", "int8"])
def test_sound_follows_held_out_dances(road: Road, variant: str) -> None:
    played = road.figures[variant]
    assert played["loudness_rank_correlation"] >= 0.95
    assert played["pitch_within_semitone"] >= 0.88
    assert played["brightness_rank_correlation"] >= 0.85
    assert played["band_rank_correlation"] >= 0.82
    assert abs(played["excess_above_8k_db"]) <= 2.5
    assert 0.85 <= played["liveliness"] <= 1.15
    assert played["lag_ms"] <= 45
    assert played["still_level_dbfs"] <= -60


def test_the_figures_are_no_gift(road: Road) -> None:
    """The sound of another dance is far from them, and true spectra through the synth are near to perfect."""
    null, ceiling = road.figures["null"], road.figures["ceiling"]
    for figure in ("loudness_rank_correlation", "brightness_rank_correlation", "band_rank_correlation"):
        assert null[figure] < 0.6
        assert ceiling[figure] > 0.95
    assert null["pitch_within_semitone"] < 0.5 < 0.95 < ceiling["pitch_within_semitone"]


def test_the_bundle_is_small_and_knows_its_figures(road: Road) -> None:
    assert sum(path.stat().st_size for path in road.bundle.iterdir()) <= LARGEST_BUNDLE
    figures = json.loads((road.bundle / "manifest.json").read_text())["figures"]
    for variant in ("f16", "int8"):
        assert figures[variant]["loudness_rank_correlation"] > 0.9


def perform(bundle: Path, video: Path, wav: Path, *options: object) -> dict[str, object]:
    output = command(
        "device", "perform", "--model", bundle, "--camera", f"file:{video}", "--audio", f"wav:{wav}", "--json", *options
    )
    summary: dict[str, object] = last_object(output)
    return summary


def test_a_dance_is_played_the_same_twice(road: Road, tmp_path: Path) -> None:
    video = road.videos[road.held_out_takes[0] - 1]
    first, second = tmp_path / "1.wav", tmp_path / "2.wav"
    for wav in (first, second):
        perform(road.bundle, video, wav, "--temperature", "1", "--seed", "3")
    assert hashlib.sha256(first.read_bytes()).digest() == hashlib.sha256(second.read_bytes()).digest()


def test_segment_mode_plays_the_same_bundle(road: Road, tmp_path: Path) -> None:
    wav = tmp_path / "segment.wav"
    perform(road.bundle, road.videos[0], wav, "--mode", "segment")
    sound, _ = soundfile.read(wav)
    assert level_dbfs(sound) > -40


def test_the_same_dance_sounds_as_loud_at_any_frame_rate(road: Road, tmp_path: Path) -> None:
    recording = SALSA / "60_05.npz"
    levels_db = []
    for fps in (25, 50, 60, 120):
        video = make_dance_video(tmp_path / f"{fps}.mp4", recording, VIEWS[0], 12.0, fps, None)
        wav = tmp_path / f"{fps}.wav"
        perform(road.bundle, video, wav)
        sound, rate_hz = soundfile.read(wav)
        assert rate_hz == RATE_HZ
        levels_db.append(level_dbfs(sound[int(STILL_S * rate_hz) : 12 * rate_hz]))
    assert max(levels_db) - min(levels_db) <= 1.0, levels_db


Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Trained:
    """A finished run, and a held-out dance with its windows and spectra."""

    settings: RunSettings
    model: Any
    playing: Playing
    spans: list[Span]
    span: Span
    window: Float32
    spectra: Float32

    def decode(self, z: Float32) -> Float32:
        from trainer.backend import tf

        now = tf.ones((len(z), 1))
        spectra: Float32 = np.asarray(self.model.sound_decoder([tf.constant(z, tf.float32), now]))
        return spectra

    def play(self, spectra: Float32) -> Float32:
        return play_span(self.playing, Recorded(self.playing, spectra), self.span)


@pytest.fixture(scope="module")
def trained(road: Road) -> Trained:
    preload()
    from trainer.data.dataset import Examples

    settings, _, model = load_run(road.run)
    takes: list[Take] = load_takes(road.takes)
    _, held_out = split(takes, settings.example.segment_s, HOP_S, 0.0, settings.held_out_takes)
    playing = Playing(takes[0].settings, settings.example)
    spans = held_out_spans(takes, held_out, 60.0)
    span = held_out_spans(takes, held_out)[0]
    examples = Examples([span.take], settings.example)
    batch = examples.batch(np.arange(span.start, span.stop), np.ones(span.stop - span.start, np.float32))
    return Trained(settings, model, playing, spans, span, batch["window"], batch["spectrum"])


def latents(trained: Trained) -> tuple[Float32, Float32]:
    mean, deviation = trained.model.encode(trained.window)
    return np.asarray(mean), np.asarray(deviation)


def test_at_least_four_latents_speak(trained: Trained) -> None:
    mean, deviation = latents(trained)
    nats = 0.5 * (deviation**2 + mean**2 - 1 - 2 * np.log(deviation + 1e-6)).mean(0)
    assert (nats > 0.1).sum() >= 4


def test_the_latents_carry_the_pitch(trained: Trained) -> None:
    """Played from the mean the pitch is right; with z at zero it is gone."""
    real, rate_hz = trained.span.sound(), trained.playing.synth.rate_hz
    mean, _ = latents(trained)
    played, silenced = trained.play(trained.decode(mean)), trained.play(trained.decode(np.zeros_like(mean)))
    right, wrong = (pitch_within_semitone(real, sound, rate_hz) for sound in (played, silenced))
    assert right is not None
    assert wrong is not None
    assert right > 0.8
    assert wrong < 0.5


def test_draws_from_the_prior_are_sounds(trained: Trained) -> None:
    """Decoded from noise alone, spectra lie within twice the distance that real ones have from each other."""
    rng = np.random.default_rng(0)
    drawn = trained.decode(rng.standard_normal((200, trained.settings.model.n_latent)).astype(np.float32))
    loud = trained.spectra[np.square(trained.spectra).sum(1) > 0.1 * np.square(trained.spectra).sum(1).max()]
    some, others = rng.permutation(loud)[:200], rng.permutation(loud)[:200]
    among_real = np.linalg.norm(some - others, axis=1).mean()
    from_drawn = np.linalg.norm(drawn[:, np.newaxis] - some[np.newaxis], axis=2)
    assert from_drawn.mean() <= 2 * among_real
    assert np.percentile(from_drawn.min(1), 95) <= 2 * among_real
    assert drawn.std(0).mean() > 0.2 * some.std(0).mean()


@pytest.fixture(scope="module")
def exported(road: Road) -> TfliteModel:
    return TfliteModel(read_bundle(road.bundle).models["f16"], installed_runtimes()[0], "f16")


def test_ten_draws_of_one_dance_differ_and_each_follows_it(trained: Trained, exported: TfliteModel) -> None:
    drawn = evaluate_draws(trained.playing, exported, [trained.span], 10, 1.0)
    assert drawn.least_agreement is not None
    assert drawn.least_agreement > 0.9
    mean = drawn.mean
    for draw in drawn.draws:
        assert draw.loudness_rank_correlation > mean.loudness_rank_correlation - 0.04
        assert draw.band_rank_correlation > mean.band_rank_correlation - 0.12
        assert 0.85 < draw.liveliness < 1.2
        assert draw.lag_ms <= 45
    # A single draw of a network trained this shortly may stray in its bands; ten together may not.
    bands = np.mean([draw.band_rank_correlation for draw in drawn.draws])
    assert bands > mean.band_rank_correlation - 0.08
    # Of what is heard, not of the samples: those differ by their phases alone.
    plays = [play_span(trained.playing, exported, trained.span, temperature=1.0, seed=seed) for seed in (1, 2)]
    centres = np.arange(0, len(plays[0]), 960)
    first, second = (analyse(play, centres, trained.playing.synth) for play in plays)
    assert np.square(first - second).mean() > 0.01 * first.var()


def test_played_by_shuffled_motion_the_link_to_the_dance_is_gone(trained: Trained, exported: TfliteModel) -> None:
    spans, playing = trained.spans, trained.playing
    reference = Reference.of(playing, spans)
    own = reference.figures(play_spans(playing, exported, spans, temperature=1.0))
    shuffled = reference.shuffled(exported, temperature=1.0)
    for figures_, low, high in ((own, 0.9, 1.0), (shuffled, -0.3, 0.3)):
        assert figures_.loudness_link is not None
        assert low <= figures_.loudness_link <= high
        assert low <= figures_.loudness_rank_correlation <= high


def test_two_motions_of_one_energy_sound_different_when_one_is_high_and_one_is_low(
    trained: Trained, exported: TfliteModel
) -> None:
    """A held-out dance, five rows higher in the picture and five lower: nearly an octave between them, and as loud."""
    n_rows, power = trained.settings.model.n_rows, trained.playing.synth.power
    moving = trained.window[trained.window[:, -5:].mean((1, 2)) > 1.0][::4]
    assert len(moving) > 50
    noise = np.zeros(trained.settings.model.n_latent, np.float32)
    f0_bins, levels_db = [], []
    for n_up in (5, -5):
        moved = moving.copy()
        moved[:, :, :n_rows] = np.roll(moving[:, :, :n_rows], -n_up, axis=2)
        spectra = np.stack([exported.run(window, noise, 1.0).copy() for window in moved])
        f0_bins.append(np.argmax(spectra[:, :30], axis=1))
        levels_db.append(10 * np.log10(np.sum(spectra.astype(np.float64) ** (2 / power), axis=1)))
    assert np.median(f0_bins[0] / f0_bins[1]) > 1.4
    assert np.mean(f0_bins[0] > f0_bins[1]) > 0.9
    assert np.abs(levels_db[0] - levels_db[1]).mean() < 5


def test_what_is_exported_says_what_was_trained(road: Road, trained: Trained) -> None:
    """Keras against both files in both runtimes, on a held-out dance: rms error in units of the spectrum."""
    mean, _ = latents(trained)
    wanted = trained.decode(mean)
    files = read_bundle(road.bundle).models
    noise = np.zeros(trained.settings.model.n_latent, np.float32)
    for variant, bound in (("f16", 0.001), ("int8", 0.01)):
        for runtime in installed_runtimes():
            model = TfliteModel(files[variant], runtime, variant)
            got = np.stack([model.run(window, noise, 1.0).copy() for window in trained.window])
            assert np.sqrt(np.square(got - wanted).mean()) < bound, (variant, runtime)


@long
def test_a_run_alone_is_reported_on(road: Road, tmp_path: Path) -> None:
    """Its takes are found, a bundle is made of it for the page and of the page alone, its curves are drawn."""
    before = sorted(road.run.iterdir())
    command("trainer", "report", "--run", road.run, "--out", tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.count("data:audio/flac;base64,") == 3 * 3  # scenes, and real, ceiling and ours in each
    assert "held_out" not in page.partition('id="training"')[2].partition("</section>")[0]
    assert page.count("<figcaption") > 6  # curves, and two maps
    assert len(page) < 15_000_000
    assert sorted(road.run.iterdir()) == before
    assert list(tmp_path.iterdir()) == [tmp_path / "report.html"]
