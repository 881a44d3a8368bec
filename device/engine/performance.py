"""What is counted of a performance, while it plays, in fixed memory that processes may share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from device.core.latency import N_BINS, LatencyHistogram
from device.core.level import to_dbfs
from device.engine.shared import Layout

STAGES = ("motion", "model", "pickup", "synth", "write")
"""Where the time of a frame goes: to its column; to its spectrum; until the next block begins; until the block is made;
until the card has taken it."""
HISTOGRAMS = ("engine", "frame_to_sound", *STAGES)
COUNTS = (
    "n_frames", "n_dropped_frames", "n_bad_frames", "n_skipped_frames", "n_bad_spectra", "n_blocks", "n_samples",
    "n_xruns", "n_card_losses", "is_card_live",
)  # fmt: skip
TIMES = ("frames_s", "blocks_s", "last_frame_s", "last_model_s", "last_block_s")
LEVELS = ("output_peak",)
"""Amplitudes of late."""
SUMS = ("motion",)
"""Over all frames: the mean of each one's column, grey levels."""


@dataclass(frozen=True)
class Performance:
    """What was counted.

    Attributes
    ----------
    n_frames : int
        Frames that were played.
    n_dropped_frames : int
        Frames whose time could not be used.
    n_bad_frames : int
        Frames that were no picture of the right size.
    n_skipped_frames : int
        Frames that were seen but not played, because a newer one was there already.
    n_bad_spectra : int
        Spectra that the last good one stood in for.
    n_blocks, n_samples : int
        What was handed over.
    n_xruns : int
        Underruns.
    n_card_losses : int
        How often the sound card went away.
    duration_s : float
        Of the sound.
    rtf : float
        Real-time factor: processor time of motiongram, model and synth over the time of the sound.
    engine : LatencyHistogram
        From a frame's arrival to its first sample handed over; in segment mode, for the last frame of each segment.
    frame_to_sound : LatencyHistogram
        From a frame's time to its first sample heard, the audio buffer included; in segment mode, for the first frame
        of each segment.
    stages : dict of str to LatencyHistogram
        Of each of `STAGES`; empty under the virtual clock.
    notes : tuple of str
        What this machine does not allow, in plain words.
    """

    n_frames: int
    n_dropped_frames: int
    n_bad_frames: int
    n_skipped_frames: int
    n_bad_spectra: int
    n_blocks: int
    n_samples: int
    n_xruns: int
    n_card_losses: int
    duration_s: float
    rtf: float
    engine: LatencyHistogram
    frame_to_sound: LatencyHistogram
    stages: dict[str, LatencyHistogram] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class Memory(Protocol):
    """Arrays by name: a dict, or `SharedArrays`."""

    def __getitem__(self, name: str, /) -> npt.NDArray[Any]:
        """Give an array."""


def allocate(layout: Layout) -> dict[str, npt.NDArray[Any]]:
    """Make arrays of one process, all zeros."""
    return {name: np.zeros(shape, kind) for name, (shape, kind) in layout.items()}


def meter_layout() -> Layout:
    """Lay out the memory of a `Meter`."""
    layout: dict[str, tuple[tuple[int, ...], str]] = dict.fromkeys(COUNTS, ((1,), "i8"))
    layout |= dict.fromkeys((*TIMES, *LEVELS, *SUMS), ((1,), "f8"))
    layout |= {f"{name}_counts": ((N_BINS,), "i8") for name in HISTOGRAMS}
    return layout | {f"{name}_longest_ms": ((1,), "f8") for name in HISTOGRAMS}


class Meter:
    """Counts while it plays.

    Parameters
    ----------
    rate_hz : int
        Samples per second.
    memory : Memory, optional
        Arrays of `meter_layout`; its own unless given.

    Notes
    -----
    Each count has one writer: `n_dropped_frames`, `n_bad_frames` and `last_frame_s` the camera's thread,
    `count_column` and `count_model` the model's thread, `count_block`, `count_latency` and the output's peak the audio
    thread. Any thread may read.
    """

    def __init__(self, rate_hz: int, memory: Memory | None = None) -> None:
        self.memory: Memory = memory or allocate(meter_layout())
        self._rate_hz = rate_hz
        self.histograms = {
            name: LatencyHistogram(self.memory[f"{name}_counts"], self.memory[f"{name}_longest_ms"])
            for name in HISTOGRAMS
        }

    def set(self, name: str, value: float) -> None:
        """Set one of `COUNTS`, `TIMES`, `LEVELS` or `SUMS`."""
        self.memory[name][0] = value

    def add(self, name: str, value: float) -> None:
        """Add to one of `COUNTS`, `TIMES` or `SUMS`."""
        self.memory[name][0] += value

    def count(self, name: str) -> int:
        """Read one of `COUNTS`."""
        return int(self.memory[name][0])

    def time_s(self, name: str) -> float:
        """Read one of `TIMES`, `LEVELS` or `SUMS`."""
        return float(self.memory[name][0])

    def level_dbfs(self, name: str) -> float:
        """Read one of `LEVELS`, in dBFS."""
        return to_dbfs(float(self.memory[name][0]))

    def add_stage(self, name: str, duration_s: float) -> None:
        """Count the time of one of `STAGES`."""
        self.histograms[name].add(1000.0 * duration_s)

    def count_frame(self, worked_s: float) -> None:
        """Count one frame that was played, and the work it took."""
        self.add("n_frames", 1)
        self.add("frames_s", worked_s)

    def count_block(self, n_samples: int, worked_s: float) -> None:
        """Count one block and the work it took."""
        self.add("n_blocks", 1)
        self.add("n_samples", n_samples)
        self.add("blocks_s", worked_s)

    def count_latency(self, engine_s: float, frame_to_sound_s: float) -> None:
        """Count how late one frame was."""
        self.histograms["engine"].add(1000.0 * engine_s)
        self.histograms["frame_to_sound"].add(1000.0 * frame_to_sound_s)

    def performance(self, notes: tuple[str, ...] = ()) -> Performance:
        """Sum up."""
        duration_s = self.count("n_samples") / self._rate_hz
        worked_s = self.time_s("frames_s") + self.time_s("blocks_s")
        return Performance(
            **{name: self.count(name) for name in COUNTS if name != "is_card_live"},
            duration_s=duration_s,
            rtf=worked_s / duration_s if duration_s else 0.0,
            engine=self.histograms["engine"],
            frame_to_sound=self.histograms["frame_to_sound"],
            stages={name: self.histograms[name] for name in STAGES if self.histograms[name].n},
            notes=notes,
        )
