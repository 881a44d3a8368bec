"""A variational autoencoder in earnest: its latents speak, its prior sounds, its draws differ and follow."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from device.core.synth import analyse
from device.edges.model_tflite import TfliteModel, installed_runtimes, preload
from device.models import read_bundle
from device.store import Take
from tests.road import Road
from trainer.evaluate import Playing, Recorded, Span, held_out_spans, play_span
from trainer.metrics import loudness_rank_correlation, pitch_within_semitone
from trainer.prepare import load_takes, split
from trainer.run_folder import load_run
from trainer.settings import HOP_S, RunSettings

pytestmark = [pytest.mark.timeout(1200), pytest.mark.xdist_group("road")]

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Trained:
    """A finished run, and a held-out dance with its windows and spectra."""

    settings: RunSettings
    model: Any
    playing: Playing
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
    from trainer.dataset import Examples

    settings, _, model = load_run(road.run)
    takes: list[Take] = load_takes(road.takes)
    _, held_out = split(takes, settings.example.segment_s, HOP_S, 0.0, settings.held_out_takes)
    playing = Playing(takes[0].settings, settings.example)
    span = held_out_spans(takes, held_out)[0]
    examples = Examples([span.take], settings.example)
    batch = examples.batch(np.arange(span.start, span.stop), np.ones(span.stop - span.start, np.float32))
    return Trained(settings, model, playing, span, batch["window"], batch["spectrum"])


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


def test_ten_draws_of_one_dance_differ_and_each_follows_it(road: Road, trained: Trained) -> None:
    model = TfliteModel(read_bundle(road.bundle).models["f16"], installed_runtimes()[0], "f16")
    real, rate_hz = trained.span.sound(), trained.playing.synth.rate_hz
    plays = [play_span(trained.playing, model, trained.span, temperature=1.0, seed=seed) for seed in range(10)]
    follows = [loudness_rank_correlation(real, play, rate_hz) for play in plays]
    assert min(follows) > 0.9
    # Of what is heard, not of the samples: those differ by their phases alone.
    centres = np.arange(0, len(real), 960)
    spectra = [analyse(play, centres, trained.playing.synth) for play in plays]
    for first, second in pairwise(spectra):
        assert np.square(first - second).mean() > 0.01 * first.var()


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
