"""A sound and what is heard in it, each looked for once: many comparisons share it."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from trainer.evaluating.hearing import (
    Float64,
    Sound,
    band_power,
    centroid_hz,
    loudness_envelope,
    window_power,
    window_spectra,
)
from trainer.evaluating.likeness import mel_power
from trainer.evaluating.onsets import rise_time_ms, sound_onsets_s
from trainer.evaluating.pitch import pitch_frames, yin


class Heard:
    """What is heard in a sound; nothing is looked for before it is asked for.

    Parameters
    ----------
    sound : np.ndarray, shape (n_samples,), float32
        -1 to 1; it must not change afterwards.
    rate_hz : float
    """

    def __init__(self, sound: Sound, rate_hz: float) -> None:
        self.sound = sound
        self.rate_hz = rate_hz

    def cut(self, n_samples: int) -> Heard:
        """Its first samples."""
        return Heard(self.sound[:n_samples], self.rate_hz)

    @property
    def duration_s(self) -> float:
        """Length of the sound."""
        return len(self.sound) / self.rate_hz

    @cached_property
    def power(self) -> Float64:
        """Mean power in windows of 100 ms: shape (n_windows,)."""
        return window_power(self.sound, self.rate_hz)

    @cached_property
    def spectra(self) -> Float64:
        """Power spectra in windows of 100 ms: shape (n_windows, n_bins)."""
        return window_spectra(self.sound, self.rate_hz)

    @property
    def hz(self) -> Float64:
        """Frequencies of the bins: shape (n_bins,)."""
        return np.linspace(0.0, self.rate_hz / 2, self.spectra.shape[1])

    @cached_property
    def brightness_hz(self) -> Float64:
        """Spectral centroid in windows of 100 ms: shape (n_windows,)."""
        return centroid_hz(self.spectra, self.hz)

    @cached_property
    def bands(self) -> Float64:
        """Power in third-octave bands, in windows of 100 ms: shape (n_windows, n_bands)."""
        return band_power(self.spectra, self.hz)

    @cached_property
    def loudness(self) -> Float64:
        """Loudness every millisecond: shape (n_ms,)."""
        return loudness_envelope(self.sound, self.rate_hz)

    @cached_property
    def pitch(self) -> tuple[Float64, Float64, Float64]:
        """Pitch in Hz, aperiodicity (`yin`) and mean power of frames of 46 ms every 10 ms: each shape (n_frames,)."""
        parts = [
            (*yin(frames, self.rate_hz), np.square(frames, dtype=np.float64).mean(axis=1))
            for frames in pitch_frames(self.sound, self.rate_hz)
        ]
        f0_hz, aperiodicity, power = (np.concatenate(each) for each in zip(*parts, strict=True))
        return f0_hz, aperiodicity, power

    @cached_property
    def mel(self) -> Float64:
        """Power in mel bands of frames of 43 ms side by side: shape (n_frames, n_bands)."""
        return mel_power(self.sound, self.rate_hz)

    @cached_property
    def onsets_s(self) -> Float64:
        """Times of onsets: shape (n_onsets,)."""
        return sound_onsets_s(self.sound, self.rate_hz)

    @cached_property
    def rise_time_ms(self) -> float | None:
        """Median rise of the onsets, in ms; None with too few of them."""
        return rise_time_ms(self.sound, self.rate_hz, self.onsets_s)
