"""All that a report says, measured and made; `trainer.reporting.page` only puts it into words and places."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from device.core.bundle import Manifest
from device.store.store import Take
from trainer.evaluating.playing import Span
from trainer.evaluating.table import Figures
from trainer.reporting.costs import VariantCost
from trainer.reporting.curves import Curve
from trainer.reporting.latents import LatentMap, Moments
from trainer.reporting.scenes import Scene
from trainer.settings import RunSettings

Float32 = npt.NDArray[np.float32]


class Baseline(Protocol):
    """What a report asks of a baseline (`trainer.baseline.original`)."""

    @property
    def segment_s(self) -> float:
        """Length of the segments in which it plays."""

    def play(self, span: Span, temperature: float = 0.0, seed: int = 0) -> Float32:
        """Play a span: as long as `span.sound()`, sample 0 at its first column's time."""


@dataclass(frozen=True)
class Material:
    """What was learned from and what was held out.

    Attributes
    ----------
    takes : list of Take
    part : float
        End of each take that was held out, unless whole takes were.
    numbers : list of int
        Of the takes that were held out whole.
    """

    takes: list[Take]
    part: float
    numbers: list[int]

    def is_held_out(self, take: Take) -> bool:
        """Whether all of a take was held out."""
        return take.number in self.numbers

    @property
    def all_s(self) -> float:
        """How long all takes last."""
        return sum(take.duration_s for take in self.takes)

    @property
    def held_out_s(self) -> float:
        """How much of that was held out."""
        if self.numbers:
            return sum(take.duration_s for take in self.takes if self.is_held_out(take))
        return self.part * self.all_s


@dataclass(frozen=True, eq=False)
class Content:
    """What stands in a report.

    Attributes
    ----------
    title : str
        Name of the bundle, or of the run's folder.
    manifest : Manifest
    is_exported : bool
        Whether the manifest is that of a bundle that somebody keeps.
    run : RunSettings or None
        Of the run, where there is one.
    trained_s : int
        When that was begun, seconds since 1970; 0 where it is not known.
    material : Material
    temperature : float
        At which ours and the baselines were played.
    played_s : float
        Held-out time that the figures are of.
    figures : mapping of str to Figures
        Columns of the table, by heading.
    scenes : list of Scene
    moments : Moments
    latent_map : LatentMap or None
        None where z cannot be read from the model.
    curves : dict of str to Curve
        Empty where there is no run, or nothing was logged.
    costs : list of VariantCost
    machine : str
        Where the costs were measured.
    """

    title: str
    manifest: Manifest
    is_exported: bool
    run: RunSettings | None
    trained_s: int
    material: Material
    temperature: float
    played_s: float
    figures: Mapping[str, Figures]
    scenes: list[Scene]
    moments: Moments
    latent_map: LatentMap | None
    curves: dict[str, Curve]
    costs: list[VariantCost]
    machine: str
