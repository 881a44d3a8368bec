"""Training a case, and hearing it: the program's own model through its own loop, the other heads through theirs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from device.edges.model import SpectrumModel
from device.edges.model_tflite import TfliteModel, installed_runtimes
from tests.ablations.blocks import BlockHead, Listener, play_blocks
from tests.ablations.cases import Training
from tests.ablations.categorical import CategoricalHead, Chooser
from tests.ablations.heads import Head, deployed, to_f16, train_head
from tests.ablations.material import Material, SoundExamples, augmentation, take_noise_out
from tests.ablations.mdct import MdctHead
from tests.ablations.multiband import MultibandHead
from trainer.data.dataset import Examples
from trainer.evaluating.playing import Playing, Span, play_spans, play_still
from trainer.exporting import export
from trainer.learning.levels import equalise
from trainer.learning.loop import Loop
from trainer.settings import RunSettings

Float32 = npt.NDArray[np.float32]

HEADS: dict[str, Callable[[], Any]] = {
    "categorical": CategoricalHead,
    "mdct": MdctHead,
    "multiband": MultibandHead,
}
N_CALIBRATION = 400
N_NOTED = 1024
STILL_FPS = 60.0
"""Of the frames in `play_still`."""


@dataclass
class Trained:
    """A trained network, and what it cost.

    Attributes
    ----------
    playing : Playing
    head : Head or None
        None: spectra.
    files : dict
        Variant to the bytes of its TFLite file.
    n_parameters : int
        Of what a box would have.
    training_s : float
    notes : dict
        What the head says beside the figures.
    """

    playing: Playing
    head: Any
    files: dict[str, bytes]
    n_parameters: int
    training_s: float
    notes: dict[str, float] = field(default_factory=dict)

    def model(self, variant: str) -> SpectrumModel:
        """What runs on the box: the network, or the chooser around it."""
        network = TfliteModel(self.files[variant], installed_runtimes()[0], variant)
        return Chooser(network, self.head.codes) if isinstance(self.head, CategoricalHead) else network

    @property
    def runs_per_s(self) -> float | None:
        """Runs of the network for a second of sound; None: as many as there are frames."""
        return self.playing.synth.rate_hz / self.head.hop if hasattr(self.head, "hop") else None


def train_case(material: Material, training: Training, say: Callable[[str], None]) -> Trained:
    """Train one model and convert it."""
    settings, playing = material.settings(training), material.playing(training)
    with augmentation(training):
        if training.head == "spectral":
            return _train_spectral(material, training, settings, playing, say)
        return _train_other(material, training, settings, playing)


def _train_spectral(
    material: Material, training: Training, settings: RunSettings, playing: Playing, say: Callable[[str], None]
) -> Trained:
    """Train by the program's loop, export by the program's converter."""
    examples = Examples(material.takes, settings.example)
    learned = material.learned(training)
    rows = examples.rows(learned)
    started_s = time.perf_counter()
    loop = Loop(examples, rows, settings)
    if not training.is_drawn:
        take_noise_out(loop.model)
    for epoch in range(settings.preset.n_epochs):
        loop.epoch(epoch, _Bar())
    equalise(loop.model, examples, material.takes, learned)
    training_s = time.perf_counter() - started_s
    say(f"trained in {training_s:.0f} s")
    some = np.random.default_rng(settings.seed).choice(rows, min(N_CALIBRATION, len(rows)), replace=False)
    batch = examples.batch(some, np.ones(len(some), np.float32))
    model = export.deployed(loop.model)
    n_latent = next(each.shape[1] for each in model.inputs if each.name == "noise")
    files = export.convert(model, export.calibration_examples(batch, n_latent, settings.seed))
    return Trained(playing, None, files, int(model.count_params()), training_s)


class _Bar:
    """Progress that nobody looks at."""

    def update(self, n: int) -> None:
        """Do nothing."""


def _train_other(material: Material, training: Training, settings: RunSettings, playing: Playing) -> Trained:
    head: Head = HEADS[training.head]()
    examples = (
        SoundExamples(material, training, head.n_samples)
        if head.n_samples
        else Examples(material.takes, settings.example)
    )
    rows = examples.rows(material.learned(training))
    network, training_s = train_head(head, examples, rows, settings)
    held_out = examples.rows(material.held_out_segments(training))
    some = held_out[:: max(1, len(held_out) // N_NOTED)]
    batch = examples.batch(some, np.ones(len(some), np.float32))
    noise = np.zeros((len(some), settings.model.n_latent), np.float32)
    notes = head.notes(np.asarray(network([batch["window"], noise, batch["position"]])[0]), batch)
    model = deployed(network, settings.model)
    return Trained(playing, head, {"f16": to_f16(model)}, int(model.count_params()), training_s, notes)


def play(trained: Trained, model: SpectrumModel, spans: list[Span], temperature: float, seed: int = 0) -> Float32:
    """Play all spans, one after the other."""
    if not _in_blocks(trained):
        return play_spans(trained.playing, model, spans, temperature, seed)
    head: BlockHead = trained.head
    lengths = [len(span.sound()) for span in spans]
    return np.concatenate([
        play_blocks(head, model, trained.playing, span.events(), n, temperature, seed)
        for span, n in zip(spans, lengths, strict=True)
    ])  # fmt: skip


def still_sound(trained: Trained, model: SpectrumModel) -> Float32:
    """What is heard when nobody moves."""
    if not _in_blocks(trained):
        return play_still(trained.playing, model)
    listener = Listener(trained.playing)
    n_samples = len(play_still(trained.playing, listener))
    events = ((column, i / STILL_FPS) for i, column in enumerate(listener.columns))
    return play_blocks(trained.head, model, trained.playing, events, n_samples)


def _in_blocks(trained: Trained) -> bool:
    return trained.runs_per_s is not None
