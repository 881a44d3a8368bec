"""How like one music is to another as a whole, whenever what happens in it: the Frechet distance of mel spectra."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from trainer.evaluating.hearing import SILENCE_DBFS, Float64, Sound, frame_power, n_fft_of

N_MELS = 64
LOWEST_HZ, HIGHEST_HZ = 50.0, 16000.0
RANGE_DB = 60.0
"""What is softer than this below the loudest band of the real sound counts as silence."""
SAME_DB2 = 1e-6


@dataclass(frozen=True)
class Likeness:
    """How like the real music a played sound is.

    Attributes
    ----------
    frechet_db2 : float
        `frechet_mel` of both, in dB^2 a band: 0 is the same.
    frechet_ratio : float or None
        That against `frechet_parts` of the real sound: about 1 is as like it as its one half is to the other. None
        where the halves are the same.
    """

    frechet_db2: float
    frechet_ratio: float | None


def likeness(real_mel: Float64, played_mel: Float64) -> Likeness:
    """Say how like the real music a played sound is, beside what likeness there is within the real music.

    Parameters
    ----------
    real_mel, played_mel : np.ndarray, shape (n_frames, n_bands)
        From `mel_power`; two frames or more of the real sound.

    Returns
    -------
    Likeness
    """
    distance_db2, parts_db2 = frechet_of_mel(real_mel, played_mel), parts_of_mel(real_mel)
    return Likeness(distance_db2, distance_db2 / parts_db2 if parts_db2 > SAME_DB2 else None)


def frechet_mel(real: Sound, played: Sound, rate_hz: float) -> float:
    """Frechet distance between the mel spectra of two sounds, taken as normal distributions of frames.

    It is |m - n|^2 + tr(C + D - 2 (C D)^(1/2)) for means m, n and covariances C, D (Dowson and Landau, J. Multivariate
    Analysis 12, 1982), as the Frechet audio distance (Kilgour et al., Interspeech 2019) has it for embeddings; here
    the frames are levels in dB of 64 mel bands, 43 ms each, side by side. Levels count: a sound that is 6 dB softer in
    all bands is 36 dB^2 away. The covariances are shrunk (`covariance`), so that a second of sound is enough.

    Parameters
    ----------
    real, played : np.ndarray, shape (n_samples,)
        Any lengths, one frame or more each.
    rate_hz : float

    Returns
    -------
    float
        dB^2 a band, 0 or more; 0 for the same sound. Not symmetric: the real sound says from where on it is silent.
    """
    return frechet_of_mel(mel_power(real, rate_hz), mel_power(played, rate_hz))


def frechet_parts(real: Sound, rate_hz: float) -> float:
    """Frechet distance between the first and the second half of one sound, in dB^2 a band: what likeness can be had."""
    return parts_of_mel(mel_power(real, rate_hz))


def frechet_of_mel(real_mel: Float64, played_mel: Float64) -> float:
    """`frechet_mel` of what `mel_power` gave."""
    floor = max(float(real_mel.max()) * 10 ** (-RANGE_DB / 10), 10 ** (SILENCE_DBFS / 10))
    real_db, played_db = (10 * np.log10(np.maximum(power, floor)) for power in (real_mel, played_mel))
    return _frechet(real_db, played_db) / N_MELS


def parts_of_mel(mel: Float64) -> float:
    """`frechet_parts` of what `mel_power` gave."""
    middle = len(mel) // 2
    return frechet_of_mel(mel[:middle], mel[middle:])


def mel_power(sound: Sound, rate_hz: float) -> Float64:
    """Power in 64 mel bands of frames of 43 ms side by side: shape (n_frames, n_bands); full scale is about 1."""
    n_fft = n_fft_of(rate_hz)
    n_frames = max(1, len(sound) // n_fft)
    bank = mel_bank(rate_hz, n_fft)
    middles_s = (np.arange(n_frames) + 0.5) * n_fft / rate_hz
    parts = [frame_power(sound, rate_hz, middles_s[at : at + 256]) @ bank.T for at in range(0, n_frames, 256)]
    # A full-scale sine has n_fft / 4 in its bin under a Hann window.
    return np.asarray(np.concatenate(parts) * (4.0 / n_fft) ** 2)


def mel_bank(rate_hz: float, n_fft: int) -> Float64:
    """Triangles on the mel scale, 50 Hz to 16 kHz or half of the rate: shape (n_bands, n_bins).

    The scale is 2595 log10(1 + f / 700) (O'Shaughnessy, Speech Communication, 1987). Each band has a bin at least.
    """
    top_hz = min(HIGHEST_HZ, rate_hz / 2)
    lowest, highest = (2595 * math.log10(1 + hz / 700) for hz in (LOWEST_HZ, top_hz))
    corners_hz = 700 * (10 ** (np.linspace(lowest, highest, N_MELS + 2) / 2595) - 1)
    hz = np.linspace(0.0, rate_hz / 2, n_fft // 2 + 1)
    low, middle, high = (corners_hz[i : i + N_MELS, np.newaxis] for i in range(3))
    bank = np.maximum(0.0, np.minimum((hz - low) / (middle - low), (high - hz) / (high - middle)))
    nearest = np.abs(hz - middle).argmin(axis=1)
    bank[np.arange(N_MELS), nearest] = np.maximum(bank[np.arange(N_MELS), nearest], 0.5)
    return np.asarray(bank)


def covariance(frames: Float64) -> Float64:
    """Covariance of few frames, drawn towards equal and independent bands as much as its own uncertainty says.

    Parameters
    ----------
    frames : np.ndarray, shape (n_frames, n_bands)

    Returns
    -------
    np.ndarray, shape (n_bands, n_bands)
        Ledoit and Wolf, J. Multivariate Analysis 88, 2004 (their S* of lemma 3.2 to 3.4).
    """
    n, n_bands = frames.shape
    centred = frames - frames.mean(axis=0)
    sample = centred.T @ centred / n
    scale = float(np.trace(sample)) / n_bands
    spread = float(np.square(sample - scale * np.eye(n_bands)).sum())
    # The mean over frames of |x x' - S|^2, without making the outer products.
    noise = (float(np.square(np.square(centred).sum(axis=1)).sum()) / n - float(np.square(sample).sum())) / n
    share = min(max(noise, 0.0), spread) / spread if spread > 0.0 else 0.0
    return np.asarray((1 - share) * sample + share * scale * np.eye(n_bands))


def _frechet(one: Float64, other: Float64) -> float:
    """Squared Frechet distance of two clouds of frames, in the square of their unit."""
    one_cov, other_cov = covariance(one), covariance(other)
    values, vectors = np.linalg.eigh(one_cov)
    root = vectors * np.sqrt(np.maximum(values, 0.0)) @ vectors.T
    # tr (C D)^(1/2) through the symmetric C^(1/2) D C^(1/2), which has the same eigenvalues.
    common = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ other_cov @ root), 0.0)).sum()
    apart = float(np.square(one.mean(axis=0) - other.mean(axis=0)).sum())
    return max(0.0, apart + float(np.trace(one_cov) + np.trace(other_cov) - 2 * common))
