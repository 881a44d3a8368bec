"""One row: a case trained, played on what was held out, and measured."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from device.edges.model import SpectrumModel
from tests.ablations.cases import Case, Training
from tests.ablations.material import Material
from tests.ablations.trained import Trained, play, still_sound, train_case
from trainer.evaluating.draws import agreements
from trainer.evaluating.metrics import still_level_dbfs
from trainer.evaluating.reference import Reference
from trainer.exporting.macs import count

Row = dict[str, Any]

N_TIMED = 300


class Ablations:
    """Makes rows; keeps what was trained, for several cases play the same training.

    Parameters
    ----------
    materials : dict
        'takes', and 'music' if there is some.
    longest_s : float
        Held-out time that is played at most.
    say : callable
        Told what is going on.
    """

    def __init__(self, materials: dict[str, Material], longest_s: float, say: Callable[[str], None]) -> None:
        self._materials, self._longest_s, self._say = materials, longest_s, say
        self._trained: dict[Training, Trained] = {}
        self._references: dict[str, Reference] = {}

    def row(self, case: Case) -> Row:
        """Measure one case.

        Returns
        -------
        dict
            `figures`; for a model also `n_parameters`, `mmacs_a_run`, `runs_per_s`, `training_s`, `inference_ms`,
            `notes`.
        """
        reference = self._reference(case.training.material)
        spans = reference.spans
        if case.play == "ceiling":
            return {"figures": reference.ceiling().as_dict()}
        trained = self._train(case.training)
        model = trained.model(case.variant)
        played = play(trained, model, spans, case.temperature)
        if case.play == "null":
            return {"figures": reference.null(played).as_dict()}
        rate_hz = trained.playing.synth.rate_hz
        found = replace(
            reference.figures(played), still_level_dbfs=still_level_dbfs(still_sound(trained, model), rate_hz)
        )
        notes = dict(trained.notes)
        if case.temperature > 0.0:
            again = play(trained, model, spans, case.temperature, seed=1)
            notes["draws_agree"] = float(agreements([played, again], rate_hz)[0])
        fps = (spans[0].stop - spans[0].start - 1) / float(np.ptp(spans[0].times_s))
        return {
            "figures": found.as_dict(),
            "n_parameters": trained.n_parameters,
            "mmacs_a_run": count(trained.files[case.variant]).n_all_macs / 1e6,
            "runs_per_s": trained.runs_per_s or fps,
            "training_s": trained.training_s,
            "inference_ms": inference_ms(model),
            "notes": notes,
        }

    def _reference(self, name: str) -> Reference:
        """What all rows of a material are held against; what is heard in the real sound is found once."""
        if name not in self._references:
            material = self._materials[name]
            self._references[name] = Reference.of(material.playing(Training()), material.spans(self._longest_s))
        return self._references[name]

    def _train(self, training: Training) -> Trained:
        if training not in self._trained:
            self._say(f"training {training}")
            self._trained[training] = train_case(self._materials[training.material], training, self._say)
        return self._trained[training]


def inference_ms(model: SpectrumModel) -> float:
    """Median time of a run."""
    motion = np.random.default_rng(0).random((model.n_columns, model.n_features), np.float32)
    noise = np.zeros(model.n_latent, np.float32)
    durations_s = []
    for _ in range(N_TIMED):
        started_s = time.perf_counter()
        model.run(motion, noise, 1.0)
        durations_s.append(time.perf_counter() - started_s)
    return 1e3 * float(np.median(durations_s))
