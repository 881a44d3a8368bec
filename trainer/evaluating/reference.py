"""What a played sound is measured against: real sound and motion of held-out spans, and what stands beside it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from device.edges.model import SpectrumModel
from trainer.data.dataset import spectra_at
from trainer.evaluating.heard import Heard
from trainer.evaluating.information import Moves
from trainer.evaluating.metrics import compare
from trainer.evaluating.playing import (
    Float32,
    Playing,
    Recorded,
    Span,
    moves_of,
    play_span,
    play_spans,
    real_sound,
    shuffled_columns,
)
from trainer.evaluating.table import Figures

NULL_SHIFTS = (0.17, 0.37, 0.59, 0.83)
"""Shares of the held-out time; uneven, so that views of one dance never fall on each other."""


@dataclass(frozen=True, eq=False)
class Reference:
    """What all columns of the table are measured against.

    Attributes
    ----------
    playing : Playing
    spans : list of Span
        What is played.
    real : Heard
        Their sound, one after the other.
    moves : Moves
        Their motion.
    """

    playing: Playing
    spans: list[Span]
    real: Heard
    moves: Moves

    @classmethod
    def of(cls, playing: Playing, spans: list[Span]) -> Reference:
        """Listen to spans and look at them."""
        return cls(playing, spans, Heard(real_sound(spans), playing.synth.rate_hz), moves_of(spans))

    def figures(self, played: Float32) -> Figures:
        """Figures of what was played to the spans."""
        return compare(self.real, Heard(played, self.real.rate_hz), self.moves)

    def shifted(self, share: float) -> Reference:
        """Sound and motion of other times: all moved by a share of the time, in a circle."""
        n_samples = round(share * len(self.real.sound))
        real = Heard(np.roll(self.real.sound, n_samples), self.real.rate_hz)
        return replace(self, real=real, moves=self.moves.rolled(n_samples / real.rate_hz))

    def null(self, played: Float32) -> Figures:
        """Figures of what was played against real sound and motion of other times: the mean over `NULL_SHIFTS`."""
        heard = Heard(played, self.real.rate_hz)
        shifted = (self.shifted(share) for share in NULL_SHIFTS)
        others = [compare(other.real, heard, other.moves).as_dict() for other in shifted]
        means = {}
        for name in others[0]:
            values = [value for other in others if (value := other[name]) is not None]
            means[name] = float(np.mean(values)) if values else None
        return Figures(**means)  # type: ignore[arg-type] # the names are its own

    def ceiling(self) -> Figures:
        """Figures of the true spectra through the same engine and synth."""
        played = []
        for span in self.spans:
            true = spectra_at(span.take, span.times_s, self.playing.example)
            played.append(play_span(self.playing, Recorded(self.playing, true), span))
        return self.figures(np.concatenate(played))

    def itself(self) -> Figures:
        """Figures of the real sound: how it hangs on the motion, and how its onsets rise."""
        return compare(self.real, self.real, self.moves)

    def shuffled(self, model: SpectrumModel, temperature: float = 0.0) -> Figures:
        """Figures of what a model plays to the dance in another order of time, against the dance as it was."""
        columns = shuffled_columns(self.spans)
        return self.figures(play_spans(self.playing, model, self.spans, temperature, columns=columns))
