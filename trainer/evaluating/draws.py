"""Draws: one dance played several times at a temperature, and how far the plays agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from device.core.errors import UsageError
from device.edges.model import SpectrumModel
from trainer.evaluating.heard import Heard
from trainer.evaluating.hearing import Float64, Sound, audible, rank_correlation, window_power
from trainer.evaluating.metrics import compare
from trainer.evaluating.playing import Playing, Span, moves_of, play_spans, real_sound
from trainer.evaluating.table import Figures, format_table


@dataclass(frozen=True)
class Draws:
    """What several draws of the same dances sound like.

    Attributes
    ----------
    temperature : float
        At which they were drawn.
    mean : Figures
        Of the play at temperature 0, with the mean of z.
    draws : list of Figures
        Of each draw.
    least_agreement, mean_agreement : float or None
        Spearman correlation of the loudness (100 ms) of two draws, over all pairs; 1 is always the same dynamics.
        None of one draw.
    """

    temperature: float
    mean: Figures
    draws: list[Figures]
    least_agreement: float | None
    mean_agreement: float | None

    def as_dict(self) -> dict[str, object]:
        """All of it, ready for JSON."""
        return {
            "temperature": self.temperature,
            "mean": self.mean.as_dict(),
            "draws": [draw.as_dict() for draw in self.draws],
            "least_agreement": self.least_agreement,
            "mean_agreement": self.mean_agreement,
        }

    def format(self) -> str:
        """Give the table of all draws beside their mean, and below it how far they agree."""
        columns = {"mean": self.mean, **{f"draw {number}": draw for number, draw in enumerate(self.draws, 1)}}
        table = format_table(columns)
        if self.least_agreement is None:
            return table
        agreement = f"least {self.least_agreement:.3f}, mean {self.mean_agreement:.3f}"
        return f"{table}\nloudness rank correlation of two draws: {agreement}"


def evaluate_draws(playing: Playing, model: SpectrumModel, spans: list[Span], n: int, temperature: float) -> Draws:
    """Play spans `n` times, each time with another seed, and once at temperature 0.

    Raises
    ------
    UsageError
        There is nothing to draw at this temperature.
    TrainingError
        The real sound is silent or never changes, or a played one is not of numbers.
    """
    if n < 1 or temperature <= 0.0:
        raise UsageError(f"{n} draws at temperature {temperature:g} are none: give 1 or more, above 0")
    rate_hz = playing.synth.rate_hz
    real, moves = Heard(real_sound(spans), rate_hz), moves_of(spans)
    mean = play_spans(playing, model, spans)
    drawn = [play_spans(playing, model, spans, temperature, seed) for seed in range(1, n + 1)]
    pairs = agreements(drawn, rate_hz)
    return Draws(
        temperature=temperature,
        mean=compare(real, Heard(mean, rate_hz), moves),
        draws=[compare(real, Heard(sound, rate_hz), moves) for sound in drawn],
        least_agreement=float(pairs.min()) if len(pairs) else None,
        mean_agreement=float(pairs.mean()) if len(pairs) else None,
    )


def agreements(sounds: Sequence[Sound], rate_hz: float) -> Float64:
    """Spearman correlation of the loudness of each two sounds in windows of 100 ms: shape (n_pairs,).

    0 where one of them never changes: silence agrees with nothing.
    """
    powers = [audible(window_power(sound, rate_hz)) for sound in sounds]
    return np.array([rank_correlation(one, other) for one, other in combinations(powers, 2)])
