"""What can be chosen of a run: frozen, kept in its folder, passed down."""

from __future__ import annotations

from dataclasses import dataclass

from device.core.errors import UsageError
from device.core.synth import SynthSettings

GRID_RATE_HZ = 50.0
"""Columns per second in a window."""
SHORTEST_SEGMENT_S, LONGEST_SEGMENT_S = 0.05, 2.0
LEAD_S = 0.01
"""How far ahead of the motion the sound lies that is learned: what analysis and synthesis take, and some of what a
camera and a card do."""
HOP_S = 0.02
"""From one example to the next; slower cameras give one a frame."""
LARGEST_TEMPERATURE = 2.0
HELD_OUT = 0.2
"""End of each take that is not learned from, unless the user says otherwise."""


def check_range(option: str, value: float, low: float, high: float) -> None:
    """Raise UsageError unless a value lies from `low` to `high`; what is not a number does not."""
    if not low <= value <= high:
        raise UsageError(f"{option} {value:g} cannot be used: give {low:g} to {high:g}")


@dataclass(frozen=True)
class ExampleSettings:
    """How takes become examples.

    Attributes
    ----------
    segment_s : float
        Length of a window and of its sound.
    grid_rate_hz : float
        Columns per second in a window.
    lead_s : float
        How far ahead of the motion the sound lies that is learned.
    n_sound_frames, n_bands : int
        What the joint encoder hears of a segment.
    synth : SynthSettings
    body_leads : bool
        Loudness that does not follow the dance is made to (`trainer.data.loudness`).
    """

    segment_s: float
    grid_rate_hz: float
    lead_s: float
    n_sound_frames: int
    n_bands: int
    synth: SynthSettings
    body_leads: bool = True

    def __post_init__(self) -> None:
        check_range("--segment-s", self.segment_s, SHORTEST_SEGMENT_S, LONGEST_SEGMENT_S)
        check_range("--lead-s", self.lead_s, -1.0, 1.0)

    @property
    def n_columns(self) -> int:
        """Columns in a window; at least 2."""
        return max(2, round(self.segment_s * self.grid_rate_hz))


@dataclass(frozen=True)
class ModelSettings:
    """Sizes of the network.

    Attributes
    ----------
    n_columns, n_features : int
        Shape of a window: columns, and height + width of a frame.
    n_bins : int
        Values in a spectrum.
    n_rows : int
        Height of a frame: the first of the features.
    n_latent : int
        Values in z.
    n_sound_frames, n_bands : int
        What the joint encoder hears of a segment: frames from position 0 to 1, each averaged into bands.
    n_hidden : int
        Width of the dense layers.
    n_filters : int
        Width of the first convolutions.
    """

    n_columns: int
    n_features: int
    n_bins: int
    n_rows: int
    n_latent: int = 32
    n_sound_frames: int = 6
    n_bands: int = 64
    n_hidden: int = 256
    n_filters: int = 96

    @property
    def n_motion(self) -> int:
        """What both encoders look at: values that stand for the motion of a window."""
        return self.n_hidden * 5 // 8


@dataclass(frozen=True)
class LossSettings:
    """Weights of the loss, in units of the spectra's variance.

    Attributes
    ----------
    kl : float
        Per nat of what an encoder says beyond the prior.
    tie : float
        Per nat by which the joint encoder differs from the motion encoder.
    drawn : float
        Score of what is drawn from the motion encoder, beside 1 for the sound of its mean.
    loudness : float
        Draws that differ in loudness.
    joint, motion : float
        Sound rebuilt from the joint encoder, and the window rebuilt from it.
    softness : float
        How much soft sounds count: 0 as loud as they are, 1 as much as loud ones.
    """

    kl: float = 2e-4
    tie: float = 1e-4
    drawn: float = 1.0
    loudness: float = 3.0
    joint: float = 0.3
    motion: float = 0.1
    softness: float = 0.5


@dataclass(frozen=True)
class Preset:
    """How long and how wide to train.

    Attributes
    ----------
    n_steps : int
        Batches in all; the learning rate falls to zero along a cosine over them.
    batch_size : int
    learning_rate : float
        At the start, after a short rise.
    n_hidden, n_filters : int
        Widths of the network.
    n_epochs : int
        Parts into which the steps are divided: after each, figures are logged and a checkpoint is written.
    """

    n_steps: int
    batch_size: int = 64
    learning_rate: float = 2e-3
    n_hidden: int = 256
    n_filters: int = 96
    n_epochs: int = 20


PRESETS = {
    "quick": Preset(n_steps=6000),
    "standard": Preset(n_steps=20000, n_hidden=384, n_filters=128, n_epochs=50),
    "full": Preset(n_steps=200000, n_hidden=384, n_filters=128, n_epochs=200),
}


@dataclass(frozen=True)
class RunSettings:
    """All that can be chosen of a run; kept in `run.json`."""

    preset: Preset
    example: ExampleSettings
    model: ModelSettings
    loss: LossSettings
    held_out: float
    held_out_takes: list[int]
    seed: int

    def __post_init__(self) -> None:
        check_range("--latents", self.model.n_latent, 1, 512)
        check_range("--seed", self.seed, 0, 2**31 - 1)

    def held_out_of(self, number: int) -> float:
        """How much of a take's end is held out: 0 to 1, all of it."""
        if self.held_out_takes:
            return float(number in self.held_out_takes)
        return self.held_out
