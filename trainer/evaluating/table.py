"""The figures of one played sound, and the table that sets those of several beside each other."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from device.core.errors import TrainingError


@dataclass(frozen=True)
class Figures:
    """How well one sound follows another, how like it it is, and how it hangs on the motion.

    A figure is None where it cannot be measured: nothing sounds, nothing moves, or no motion was given.

    Attributes
    ----------
    loudness_rank_correlation : float
        Spearman correlation over time of the power in windows of 100 ms; 1 is perfect, 0 unrelated.
    pitch_within_semitone : float or None
        Share of the time, 0 to 1, in which the pitches are at most a semitone apart, where the real sound has one;
        None where it never has.
    brightness_rank_correlation : float
        Spearman correlation over time of the spectral centroid (power averaged over 100 ms), where the real sound
        is within 50 dB of its loudest.
    band_rank_correlation : float
        Spearman correlation over time of the power in each of 23 third-octave bands (100 ms), mean over the bands
        in which the real sound can be heard.
    excess_above_8k_db : float
        Share of the energy that lies above 8 kHz, played against real, in dB; above 0 is hiss.
    liveliness : float
        Standard deviation over time of the band levels in dB (levels matched, 60 dB range, mean over bands),
        played against real: 1 is alive, 0 a drone.
    lag_ms : float
        How late the played sound's loudness is.
    still_level_dbfs : float or None
        Loudest 100 ms that are played to a scene in which nobody moves; None where it was not measured.
    frechet_db2 : float or None
        Frechet distance of the mel spectra, in dB squared a band: 0 is the same music (`trainer.evaluating.likeness`).
    frechet_ratio : float or None
        The same against that between the real sound's first and second half: 1 is as like as two parts of one music.
    loudness_link : float or None
        Spearman correlation of the quantity of motion with the played loudness, at once
        (`trainer.evaluating.information`).
    loudness_bits, brightness_bits, pitch_bits : float or None
        Mutual information of the quantity of motion with the played loudness, and of its height with the played
        brightness and pitch; 0 or more.
    onset_precision, onset_recall, onset_f : float or None
        Played onsets within 50 ms of a real one, real ones of a played one, and their harmonic mean, 0 to 1
        (`trainer.evaluating.onsets`).
    onset_chance_f : float or None
        The same for onsets that fall anywhere.
    motion_onset_precision, motion_onset_recall, motion_onset_f, motion_onset_chance_f : float or None
        The same with the onsets of motion in place of the real sound's.
    rise_time_ms : float or None
        Median time in which the level of an onset goes from 10 to 90% of its way.

    Raises
    ------
    TrainingError
        A figure is not a finite number.
    """

    loudness_rank_correlation: float
    pitch_within_semitone: float | None
    brightness_rank_correlation: float
    band_rank_correlation: float
    excess_above_8k_db: float
    liveliness: float
    lag_ms: float
    still_level_dbfs: float | None = None
    frechet_db2: float | None = None
    frechet_ratio: float | None = None
    loudness_link: float | None = None
    loudness_bits: float | None = None
    brightness_bits: float | None = None
    pitch_bits: float | None = None
    onset_precision: float | None = None
    onset_recall: float | None = None
    onset_f: float | None = None
    onset_chance_f: float | None = None
    motion_onset_precision: float | None = None
    motion_onset_recall: float | None = None
    motion_onset_f: float | None = None
    motion_onset_chance_f: float | None = None
    rise_time_ms: float | None = None

    def __post_init__(self) -> None:
        for name, value in self.as_dict().items():
            if value is not None and not math.isfinite(value):
                raise TrainingError(f"the figure {name} is {value}: train anew, or look for what is wrong in the takes")

    def as_dict(self) -> dict[str, float | None]:
        """Give name and value of each figure, ready for JSON."""
        return asdict(self)


ROWS = (
    ("loudness_rank_correlation", "loudness rank correlation", "{:.3f}", 1.0),
    ("pitch_within_semitone", "pitch within a semitone, %", "{:.1f}", 100.0),
    ("brightness_rank_correlation", "brightness rank correlation", "{:.3f}", 1.0),
    ("band_rank_correlation", "band rank correlation", "{:.3f}", 1.0),
    ("excess_above_8k_db", "excess above 8 kHz, dB", "{:+.1f}", 1.0),
    ("liveliness", "liveliness", "{:.2f}", 1.0),
    ("lag_ms", "lag, ms", "{:.0f}", 1.0),
    ("still_level_dbfs", "level when still, dBFS", "{:.0f}", 1.0),
    ("frechet_ratio", "Frechet distance, ratio", "{:.2f}", 1.0),
    ("onset_f", "onsets of sound hit, F", "{:.2f}", 1.0),
    ("motion_onset_f", "onsets of motion hit, F", "{:.2f}", 1.0),
    ("rise_time_ms", "rise of onsets, ms", "{:.0f}", 1.0),
    ("loudness_link", "motion to loudness, link", "{:.3f}", 1.0),
    ("loudness_bits", "motion to loudness, bits", "{:.2f}", 1.0),
    ("brightness_bits", "height to brightness, bits", "{:.2f}", 1.0),
    ("pitch_bits", "height to pitch, bits", "{:.2f}", 1.0),
)
"""Figure, label, form and factor of each line of the table; what is not here stands in `--json` only."""


def format_table(columns: Mapping[str, Figures]) -> str:
    """Set figures beside each other, one row a figure, one column an entry (played, null, ceiling).

    Parameters
    ----------
    columns : mapping of str to Figures
        Heading and figures, from left to right.

    Returns
    -------
    str
        Lines without a last newline; '-' where there is no such figure.
    """
    lines = [["", *columns]]
    for name, label, form, factor in ROWS:
        values = [column.as_dict()[name] for column in columns.values()]
        # Adding 0 takes the sign from a rounded -0.
        lines.append([label, *("-" if v is None else form.format(round(v * factor, 3) + 0.0) for v in values)])
    widths = [max(len(cell) for cell in cells) for cells in zip(*lines, strict=True)]
    padded = ([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])] for line in lines)
    return "\n".join("  ".join(line) for line in padded)
