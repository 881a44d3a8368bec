"""What is learned and what is played: takes, divided by time in the same way for every case."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

import numpy as np
import numpy.typing as npt

from device.store.store import Take
from tests.ablations.cases import Training
from trainer.data.augment import Batch
from trainer.data.dataset import Examples
from trainer.data.prepare import Segments, split
from trainer.evaluating.playing import Playing, Span, held_out_spans
from trainer.learning.command import run_settings
from trainer.settings import HOP_S, Preset, RunSettings

Float32 = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]

LONGEST_WINDOW_S = 1.0
"""Held-out spans begin this long after their take does, so that all windows are judged by the same sound."""


@dataclass(frozen=True)
class Material:
    """Takes, and which part of them is kept back.

    Attributes
    ----------
    takes : list of Take
    preset : Preset
        Steps, batch and widths of every training.
    held_out : float
        End of each take that is not learned from, unless whole takes are held out.
    held_out_takes : list of int
    """

    takes: list[Take]
    preset: Preset
    held_out: float
    held_out_takes: list[int]

    def settings(self, training: Training) -> RunSettings:
        """The program's own settings for a training."""
        made = run_settings(
            self.takes,
            self.preset,
            training.segment_s,
            lead_s=training.lead_s,
            n_latent=training.n_latent,
            held_out=self.held_out,
            held_out_takes=self.held_out_takes,
        )
        return made if training.is_drawn else replace(made, loss=replace(made.loss, kl=0.0, tie=0.0, drawn=0.0))

    def playing(self, training: Training) -> Playing:
        """What the engine needs to know."""
        return Playing(self.takes[0].settings, self.settings(training).example)

    def learned(self, training: Training) -> Segments:
        """Segments to learn from: all, or the first minutes of the takes in a shuffled order."""
        segments = self._split(training.segment_s)[0]
        return segments if training.minutes is None else first_minutes(self.takes, segments, training.minutes)

    def spans(self, longest_s: float) -> list[Span]:
        """Held-out time, the same for all windows."""
        return held_out_spans(self.takes, self._split(LONGEST_WINDOW_S)[1], longest_s)

    def held_out_segments(self, training: Training) -> Segments:
        """Held-out segments of a training's own length."""
        return self._split(training.segment_s)[1]

    @property
    def minutes(self) -> float:
        """How much there is to learn from."""
        return sum(_learned_s(take, newest) for take, newest in self._training_columns()) / 60.0

    def _training_columns(self) -> list[tuple[Take, npt.NDArray[np.int32]]]:
        segments = self._split(LONGEST_WINDOW_S)[0]
        return [(take, segments.of_take(index)) for index, take in enumerate(self.takes)]

    def _split(self, segment_s: float) -> tuple[Segments, Segments]:
        return split(self.takes, segment_s, HOP_S, self.held_out, self.held_out_takes)


def _learned_s(take: Take, newest: npt.NDArray[np.int32]) -> float:
    return float(take.times_s[newest[-1]] - take.times_s[0]) if len(newest) else 0.0


def first_minutes(takes: Sequence[Take], segments: Segments, minutes: float) -> Segments:
    """Segments of the first minutes of takes in a shuffled order, so that dancers and views mix; the last is cut."""
    left_s = 60.0 * minutes
    indices, columns = [], []
    for index in np.random.default_rng(0).permutation(len(takes)):
        take, newest = takes[index], segments.of_take(int(index))
        kept = newest[take.times_s[newest] - take.times_s[0] <= left_s]
        left_s -= _learned_s(take, kept)
        indices.append(np.full(len(kept), index, np.int32))
        columns.append(kept)
    return Segments(np.concatenate(indices), np.concatenate(columns))


class SoundExamples(Examples):
    """Examples with the samples around each column, as recorded: what heads other than spectra learn from.

    Parameters
    ----------
    material : Material
    training : Training
    n_samples : int
        Samples around the time of the newest column (and the lead), the same number on both sides.
    """

    def __init__(self, material: Material, training: Training, n_samples: int) -> None:
        settings = material.settings(training).example
        super().__init__(material.takes, settings)
        half = n_samples // 2
        sounds, centres, n_before = [], [], 0
        for take in material.takes:
            # Silence on both sides: no example reaches into another take.
            sounds.append(np.pad(take.sound_at(0, take.n_samples), n_samples))
            at = np.round(take.samples_of(take.times_s + settings.lead_s)).astype(np.int64)
            centres.append(n_before + n_samples + np.clip(at, -half, take.n_samples + half))
            n_before += len(sounds[-1])
        self._around = np.lib.stride_tricks.sliding_window_view(np.concatenate(sounds), n_samples)
        self._first = np.concatenate(centres) - half

    def batch(self, rows: Indices, positions: Float32) -> Batch:
        """Put examples together, all of them at position 1, with their `sound` (n, n_samples)."""
        made = super().batch(rows, np.ones_like(positions))
        return {**made, "sound": self._around[self._first[rows]]}


def silence_where_still(batch: Batch) -> Batch:
    """Take the sound from the examples whose spectra the trainer emptied."""
    if "sound" in batch:
        batch["sound"] = batch["sound"] * batch["spectrum"].any(axis=1, keepdims=True)
    return batch


@contextmanager
def augmentation(training: Training) -> Iterator[None]:
    """Switch the trainer's augmentation of motion off for a training that goes without it."""
    if training.is_varied:
        yield
    else:
        with patch("trainer.data.dataset.vary", lambda *_: None):
            yield


def take_noise_out(model: Any) -> None:
    """Let a model of the program be trained without noise: z is its mean."""
    losses_of = model.losses_of
    model.losses_of = lambda batch, noise, *others: losses_of(batch, 0.0 * noise, *others)
