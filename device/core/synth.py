"""The synth: spectra in, phase-continuous sound out.

A spectrum says how loud each frequency is, not its phase. Peaks (the tonal part) carry their phase on from hop to
hop at their own interpolated frequency, and the bins around a peak are locked to it: single pass spectrogram
inversion (Beauregard, Harish and Wyse, "Single Pass Spectrogram Inversion", IEEE DSP 2015). Bins that stand out
from nothing (breath, percussion) each carry a phase of their own that wanders; locked to a far peak they would
sound as a buzz at the hop's rate. Of each inverse transform only the middle two hops are given out, under a
Hann window: the resolution of the long transform with the delay of the short one.

Which bins are what is seen once for each spectrum; from hop to hop only loudness glides and phases turn.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Complex = npt.NDArray[np.complex128]

N_WANDERS = 61
LEAK_MARGIN = 1.5
_BESIDE = np.array([[-1], [0], [1]])
_PARABOLA_POWER = 0.2308
"""Under this power the peak of a Hann window's transform is nearest to a parabola: a sine's frequency comes out right
within 0.001 bins, where a logarithm errs by 0.016 (Werner and Germain, "Sinusoidal Parameter Estimation Using
Quadratic Interpolation around Power-Scaled Magnitude Spectrum Peaks", Applied Sciences 6(10), 2016)."""


@dataclass(frozen=True)
class SynthSettings:
    """What spectra mean; part of a bundle's manifest.

    Attributes
    ----------
    rate_hz : int
        Samples per second.
    n_fft : int
        Samples in one transform; a power of two.
    hop : int
        Samples between transforms, and half of what each gives out.
    power : float
        A spectrum is the magnitude to this power; a sine of amplitude 1 has magnitude 1 at its peak.
    """

    rate_hz: int = 48000
    n_fft: int = 2048
    hop: int = 128
    power: float = 0.3

    def __post_init__(self) -> None:
        if self.rate_hz <= 0 or self.hop <= 0 or not 0 < self.power <= 1:
            raise ValueError(f"synth settings out of range: {self}")
        if self.n_fft < 4 * self.hop or self.n_fft & (self.n_fft - 1):
            raise ValueError(f"n_fft must be a power of two of at least four hops: {self}")

    @property
    def n_bins(self) -> int:
        """Values in a spectrum."""
        return self.n_fft // 2 + 1


def analysis_window(n_fft: int) -> Float64:
    """Periodic Hann window, shape (n_fft,), scaled so that a sine of amplitude 1 has magnitude 1 at its peak."""
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    window: Float64 = hann * (2.0 / hann.sum())
    return window


def analyse(sound: Float32, centres: npt.NDArray[np.int64], settings: SynthSettings) -> Float32:
    """Spectra of sound around given samples: the inverse of the synth, up to phase.

    Parameters
    ----------
    sound : np.ndarray, shape (n_samples,), float32
    centres : np.ndarray, shape (n,), int64
        Samples at which to look; beyond the ends there is silence.
    settings : SynthSettings

    Returns
    -------
    np.ndarray, shape (n, n_bins), float32
        Magnitudes to the power `settings.power`.
    """
    half = settings.n_fft // 2
    padded = np.concatenate([np.zeros(half, np.float32), sound, np.zeros(half, np.float32)])
    frames = np.lib.stride_tricks.sliding_window_view(padded, settings.n_fft)
    window = analysis_window(settings.n_fft).astype(np.float32)
    out = np.empty((len(centres), settings.n_bins), np.float32)
    for start in range(0, len(centres), 512):
        inside = np.clip(centres[start : start + 512], 0, len(frames) - 1)
        out[start : start + 512] = np.abs(np.fft.rfft(frames[inside] * window)) ** settings.power
    return out


def leakage(n_bins: int) -> Float64:
    """The most that a sine leaves in bins at a distance from its peak, and half as much again: shape (n_bins,).

    Returns
    -------
    np.ndarray, shape (n_bins,), float64
        Of the peak's magnitude; under a Hann window, wherever between two bins the sine lies.
    """
    between = np.linspace(-0.499, 0.499, 40)[:, np.newaxis]  # bins; at a whole one the formula divides by zero

    def hann_transform(bins: Float64) -> Float64:
        return np.asarray(np.abs(np.sinc(bins) / (1.0 - bins**2)))

    most: Float64 = (hann_transform(np.arange(n_bins) + between) / hann_transform(between)).max(axis=0)
    return LEAK_MARGIN * most


class Synth:
    """Turns the newest spectrum into sound, hop by hop.

    Parameters
    ----------
    settings : SynthSettings
    seed : int
        Of the phases; the same seed and spectra give the same sound to the bit.

    Notes
    -----
    Audio path: `fill` keeps nothing beyond its call but arrays of a fixed size, blocks on nothing and always fills.
    One thread may call `set_spectrum` while another calls `fill`: the spectrum is taken over at the next hop by
    one reference assignment.
    """

    SHARP = 0.7
    """A peak is tonal when the lower of the two bins beside it has at most this part of its magnitude: of a sine it
    has half or less, however near the next sine may be; what a model says of breath is smoother."""
    LOCKED_BINS = 2
    """Bins on each side that a peak leads: the main lobe of a Hann window."""
    BESIDE_BINS, BESIDE_GAIN = 6, 1.4
    """Bins that far from a peak are noise as it was measured, or the blur of a model's peak: they get less gain than
    noise far from any peak, which is a mean. So measured noise comes out 0.6 dB too loud, and a model's 1 dB too
    soft."""
    FLOOR = 1e-5
    """A spectrum of which no magnitude is above this (-100 dB of full scale) is silence."""
    WANDER_RAD = 0.9
    """Standard deviation of a noise bin's phase from hop to hop."""
    NOISE_SCATTER = 1.12
    """Magnitudes of noise scatter. A model says about their mean under the power 0.3, 2.0 dB less than their rms (of a
    Rayleigh distribution). Noise is raised by half of that, for what a model says between partials is too loud."""
    GLIDE_S = 0.001
    """Time constant with which the sound moves to a new spectrum: nine tenths of the way in one hop."""
    SETTLED = 1e-2
    """What is left of that way when no value has farther to go than this is gone in one: a hop that does not glide
    costs half."""

    def __init__(self, settings: SynthSettings, seed: int = 0) -> None:
        self.settings = settings
        self._seed = seed
        hop, n_fft = settings.hop, settings.n_fft
        self._share = np.float32(1.0 - np.exp(-hop / settings.rate_hz / self.GLIDE_S))
        around = np.arange(2 * hop) - hop  # samples from the middle of a transform
        fade = 0.5 + 0.5 * np.cos(np.pi * around / hop)  # (2 * hop,) periodic Hann
        # The inverse of analysis_window: of its scaling (half the sum of a Hann window), and of its falling off from
        # the middle, which would beat at the rate of the hops.
        self._fade = fade * (0.5 * n_fft / 2.0) / (0.5 + 0.5 * np.cos(2 * np.pi * around / n_fft))
        self._advance_rad = 2 * np.pi * hop / n_fft  # of one bin in one hop
        self._bin_turn = np.exp(1j * self._advance_rad * np.arange(settings.n_bins))
        # A Hann window passes 3/8 of the power of noise, and two hops that agree only in part add up to less than two
        # that agree: with the correlation that the wandering leaves, 3/4 + correlation / 4 of the power.
        agreement = np.exp(-(self.WANDER_RAD**2) / 2)
        noise_gain = self.NOISE_SCATTER * np.sqrt(8.0 / 3.0 / (0.75 + 0.25 * agreement))
        gains = np.full(settings.n_bins, noise_gain)  # by distance from the peak
        gains[: self.BESIDE_BINS + 1] = self.BESIDE_GAIN
        gains[: self.LOCKED_BINS + 1] = 1.0
        self._gains: Float32 = (gains**settings.power).astype(np.float32)
        leak = leakage(settings.n_bins)
        leak[: self.LOCKED_BINS + 1] = 0.0
        self._leak: Float32 = (leak**settings.power).astype(np.float32)
        self._bins = np.arange(settings.n_bins)
        self._target: Float32 = np.zeros(settings.n_bins, np.float32)
        self.reset()

    def reset(self) -> None:
        """Start anew: silence, phases as at first."""
        n_bins = self.settings.n_bins
        rng = np.random.default_rng(self._seed)
        self._phasor: Complex = np.exp(2j * np.pi * rng.random(n_bins))
        self._wander = np.exp(1j * self.WANDER_RAD * rng.standard_normal((N_WANDERS, n_bins))) * self._bin_turn
        self._n_hops = 0
        self._target = np.zeros(n_bins, np.float32)
        self._taken = self._goal = self._current = self._target
        self._magnitude = np.zeros(n_bins)
        self._tonal, self._peak_turn = np.zeros(n_bins, bool), self._bin_turn
        self._silent = True
        self._tail: Float64 = np.zeros(self.settings.hop)
        self._ready: Float64 = np.zeros(self.settings.hop)
        self._n_ready = 0

    def set_spectrum(self, spectrum: Float32) -> None:
        """Give the spectrum to move to from the next hop on.

        Parameters
        ----------
        spectrum : np.ndarray, shape (n_bins,), float32
            Copied.
        """
        self._target = np.array(spectrum, np.float32)

    def fill(self, block: Float32) -> None:
        """Fill a block of any length with the next samples.

        Parameters
        ----------
        block : np.ndarray, shape (n_samples,), float32
            Written in place.
        """
        n_done = 0
        while n_done < len(block):
            if self._n_ready == 0:
                self._next_hop()
            n = min(self._n_ready, len(block) - n_done)
            start = self.settings.hop - self._n_ready
            block[n_done : n_done + n] = self._ready[start : start + n]
            self._n_ready -= n
            n_done += n

    def _next_hop(self) -> None:
        hop = self.settings.hop
        target = self._target  # one read: another thread may give another a moment later
        if target is not self._taken:
            self._take(target)
        self._glide()
        self._ready = self._tail
        if self._silent:
            self._tail = np.zeros(hop)
        else:
            turn = np.where(self._tonal, self._peak_turn, self._wander[self._n_hops % N_WANDERS])
            self._phasor = self._phasor * turn
            grain = np.fft.irfft(self._magnitude * self._phasor, self.settings.n_fft)
            self._ready = self._tail + grain[-hop:] * self._fade[:hop]
            self._tail = grain[:hop] * self._fade[hop:]
        self._n_hops += 1
        self._n_ready = hop

    def _take(self, spectrum: Float32) -> None:
        """See what is tonal in a new spectrum and what is noise, and how loud each bin is to be."""
        self._taken = spectrum
        if spectrum.max() < self.FLOOR**self.settings.power:
            self._goal = np.zeros_like(spectrum)
            return
        middle = spectrum[1:-1]
        peaks = np.flatnonzero((middle > spectrum[:-2]) & (middle >= spectrum[2:])) + 1
        lower = np.minimum(spectrum[peaks - 1], spectrum[peaks + 1])
        peaks = peaks[lower < np.float32(self.SHARP**self.settings.power) * spectrum[peaks]]
        if len(peaks) == 0:
            self._tonal = np.zeros(len(spectrum), bool)
            self._goal = spectrum * self._gains[-1]
        else:
            self._lock(spectrum, peaks)
        self._goal[[0, -1]] = 0.0

    def _lock(self, spectrum: Float32, peaks: npt.NDArray[np.intp]) -> None:
        """Give each peak the bins around it: their phase, how far it turns in a hop, and their gain."""
        ends = np.append((peaks[1:] + peaks[:-1]) // 2 + 1, len(spectrum))
        n_led = ends.copy()
        n_led[1:] -= ends[:-1]
        leader = np.repeat(peaks, n_led)
        distance = np.abs(self._bins - leader)
        self._tonal = distance <= self.LOCKED_BINS
        self._phasor = np.where(self._tonal, self._phasor[leader], self._phasor)
        left, middle, right = spectrum[peaks + _BESIDE].astype(np.float64) ** (_PARABOLA_POWER / self.settings.power)
        offset = 0.5 * (left - right) / (left - 2 * middle + right)
        self._peak_turn = np.repeat(np.exp(1j * self._advance_rad * (peaks + offset)), n_led)
        self._goal = spectrum * self._gains[distance]
        # What is no more than a sine leaves there is no sound of its own: as noise it would be heard beside the sine.
        self._goal[spectrum < spectrum[leader] * self._leak[distance]] = 0.0

    def _glide(self) -> None:
        """Move the loudness of all bins towards what it is to be."""
        if self._goal is self._current:
            return
        step = self._goal - self._current
        settled = np.abs(step).max() < self.SETTLED
        self._current = self._goal if settled else self._current + self._share * step
        self._magnitude = self._current.astype(np.float64) ** (1.0 / self.settings.power)
        self._silent = settled and not self._goal.any()
