"""Levels: what the synth makes of the decoder's spectra is measured on what was learned, and put right in the decoder.

A mean spectrum has less energy than the sounds that it is the mean of, most of all where they are noise, and the synth
adds what it adds. So dances that were learned are played through the engine itself, and the decoder's last layer is
scaled, third-octave by third-octave, until each has the energy that it has in the music.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from device.store.store import Take
from trainer.data.dataset import Examples
from trainer.data.prepare import Segments
from trainer.evaluating.hearing import BAND_EDGES_HZ, Float64, Sound, band_power, window_spectra
from trainer.evaluating.playing import Playing, Recorded, Span, held_out_spans, play_span
from trainer.learning.model import DanceVAE

Float32 = npt.NDArray[np.float32]

LARGEST_GAIN_DB = 6.0
RANGE_DB = 80.0
"""Bands of the music that are softer than this below its loudest are left alone."""


def equalise(model: DanceVAE, examples: Examples, takes: list[Take], learned: Segments) -> Float64:
    """Scale the decoder's last layer so that learned dances, played, have the music's energy in every third-octave.

    Parameters
    ----------
    model : DanceVAE
        Changed in place.
    examples : Examples
        Of `takes`.
    takes : list of Take
    learned : Segments
        From the training part.

    Returns
    -------
    np.ndarray, shape (n_bands,)
        Gains in dB, in the bands of `BAND_EDGES_HZ`.
    """
    playing = Playing(takes[0].settings, examples.settings)
    real, played = [], []
    for span in held_out_spans(takes, learned):
        played.append(play_trained(model, examples, takes, playing, span))
        real.append(span.sound())
    synth = playing.synth
    gains_db = band_gains_db(np.concatenate(real), np.concatenate(played), synth.rate_hz)
    bins_hz = np.linspace(0.0, synth.rate_hz / 2, synth.n_bins)
    scale_head(model, 10 ** (at_bins(gains_db, bins_hz) / 20.0 * synth.power))
    return gains_db


def play_trained(model: DanceVAE, examples: Examples, takes: list[Take], playing: Playing, span: Span) -> Sound:
    """What a model plays to a span of one of the takes, at temperature 0, before it is exported."""
    columns = np.arange(span.start, span.stop, dtype=np.int32)
    rows = examples.rows(Segments(np.full(len(columns), takes.index(span.take), np.int32), columns))
    batch = examples.batch(rows, np.ones(len(rows), np.float32))
    noise = np.zeros((len(rows), model.settings.n_latent), np.float32)
    spectra = np.asarray(model.predict_on_batch((batch["window"], noise, batch["position"])))
    return play_span(playing, Recorded(playing, spectra), span)


def band_gains_db(real: Sound, played: Sound, rate_hz: float) -> Float64:
    """By how much each third-octave of a played sound is to be raised to have the real one's energy.

    Returns
    -------
    np.ndarray, shape (n_bands,)
        dB, within `LARGEST_GAIN_DB`; 0 where one of the two is silent.
    """
    energies = []
    for sound in (real, played):
        spectra = window_spectra(sound, rate_hz)
        energies.append(band_power(spectra, np.linspace(0.0, rate_hz / 2, spectra.shape[1])).sum(axis=0))
    is_heard = np.all([energy > energy.max() * 10 ** (-RANGE_DB / 10) for energy in energies], axis=0)
    gains_db = np.zeros(len(is_heard))
    gains_db[is_heard] = 10 * np.log10(energies[0][is_heard] / energies[1][is_heard])
    return np.clip(gains_db, -LARGEST_GAIN_DB, LARGEST_GAIN_DB)


def at_bins(gains_db: Float64, bins_hz: Float64) -> Float64:
    """Gains of third-octaves at given frequencies, smooth over their logarithm; beyond the ends as at the ends."""
    centres_hz = np.sqrt(BAND_EDGES_HZ[:-1] * BAND_EDGES_HZ[1:])[: len(gains_db)]
    return np.interp(np.log(np.maximum(bins_hz, 1.0)), np.log(centres_hz), gains_db)


def scale_head(model: DanceVAE, factors: Float64) -> None:
    """Multiply each bin that the sound decoder says by a factor above 0: a ReLU lets it pass."""
    head = model.sound_decoder.layers[-1]
    kernel, bias = head.get_weights()
    head.set_weights([kernel * factors, bias * factors])
