"""The baseline: the original's way, to set beside ours: raw sound in segments, played one segment late.

Known of the original (Hugh von Arnim, "Generating Samples Through Dancing", University of Oslo, 2022): motiongrams and
sound are chopped into segments of 0.1 or 0.5 s; a variational autoencoder encodes the motion and the sound of a segment
together in one latent space; after training the sound's way in and the motion's way out are taken away, so that motion
alone plays; a segment's sound begins when its motion has ended. What it got: a drone, noise in the high bands, a rhythm
fixed by the segments, loudness linked to the quantity of motion.

Its code is not public. Our choices: raw waveforms at the takes' rate; dense layers of 256, 32 latents; where the
sound's way in is cut off, its features are zero, and in training they never are (with the sound left out of half of
the examples, in one short trial, what was played was fainter, droned more and followed loudness and bands less);
squared errors, the KL term rising from zero
over the first third of the training so that no latent is given up before it has learned anything; segments set end to
end, with no cross-fade; one gain for all that is played, which makes it as loud as the music, for a waveform that
motion alone cannot know comes out faint.
"""

from __future__ import annotations

import json
import math
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from device.core.errors import TrainingError, UsageError
from device.core.window import grid_offsets_s, grid_weights, interpolate
from device.store.store import Take
from trainer.baseline.material import Material, rms, standardise
from trainer.data.prepare import Segments
from trainer.evaluating.playing import Span
from trainer.settings import GRID_RATE_HZ

if TYPE_CHECKING:
    from trainer.baseline.model import BaselineSettings, Steps

Float32 = npt.NDArray[np.float32]

FILE = "baseline.npz"
BATCH_SIZE = 64
LEARNING_RATE = 1e-3
N_WARM_UP = 100
"""Steps over which the learning rate rises; it falls to zero along a cosine."""
KL_WEIGHT = 5.0
"""Of a nat, beside the squared error of a segment summed over its samples: longer segments have more to say."""
KL_RISE = 0.3
"""Share of the training over which the KL term rises to its weight."""
MOST_MAKE_UP = 100.0


class Baseline:
    """A trained model of the original's way, that plays.

    Parameters
    ----------
    settings : BaselineSettings
    mean : np.ndarray, shape (n_features,), float32
        Of the square roots of columns.
    deviation : float
        Of the same.
    gain : float
        From what the network says to samples.
    weights : list of np.ndarray
        Of the player (`Networks.player`).
    """

    def __init__(
        self, settings: BaselineSettings, mean: Float32, deviation: float, gain: float, weights: list[Float32]
    ) -> None:
        from trainer.baseline.model import Networks

        self.settings = settings
        self._mean, self._deviation, self._gain = mean, deviation, gain
        self._player = Networks(settings).player()
        self._player.set_weights(weights)

    @property
    def segment_s(self) -> float:
        """Length of a segment."""
        return self.settings.segment_s

    def play(self, span: Span, temperature: float = 0.0, seed: int = 0) -> Float32:
        """Play a span in segments, each heard when its motion has ended.

        Parameters
        ----------
        span : Span
        temperature : float
            0 plays the mean; otherwise each segment's z is drawn anew.
        seed : int
            Of what is drawn.

        Returns
        -------
        np.ndarray, shape (n_samples,), float32
            As long as the span's own sound, sample 0 at its first column's time; the first segment is silent.
        """
        return self.play_columns(span.columns, span.times_s, len(span.sound()), temperature, seed)

    def play_columns(
        self, columns: Float32, times_s: npt.NDArray[np.float64], n: int, temperature: float = 0.0, seed: int = 0
    ) -> Float32:
        """Play columns, (n_columns, n_features), with their times, to n samples: see `play`."""
        settings = self.settings
        n_segments = math.ceil(n / settings.n_samples) - 1
        if n_segments < 1:
            return np.zeros(n, np.float32)
        ends_s = times_s[0] + settings.n_samples / settings.rate_hz * np.arange(1, n_segments + 1)
        newest = np.searchsorted(times_s, ends_s + 1e-6, side="right") - 1
        before, weight = grid_weights(times_s, newest, grid_offsets_s(settings.n_columns, GRID_RATE_HZ))
        windows = np.empty((n_segments, settings.n_columns, settings.n_features), np.float32)
        interpolate(np.sqrt(columns), newest, before, weight, windows)
        noise = temperature * np.random.default_rng(seed).standard_normal((n_segments, settings.n_latent))
        said = say(self._player, standardise(windows, self._mean, self._deviation), noise.astype(np.float32))
        sound = np.concatenate([np.zeros(settings.n_samples, np.float32), self._gain * said.ravel()])[:n]
        return np.asarray(np.clip(sound, -1.0, 1.0), np.float32)

    def save(self, path: Path) -> None:
        """Write the model into a folder, whole or not at all; one that is there is replaced."""
        path.mkdir(parents=True, exist_ok=True)
        arrays = {f"weight_{index:02d}": weight for index, weight in enumerate(self._player.get_weights())}
        partial = path / f"partial.{FILE}"
        with partial.open("wb") as file:
            np.savez(
                file,
                settings=np.array(json.dumps(asdict(self.settings))),
                mean=self._mean,
                deviation=np.float64(self._deviation),
                gain=np.float64(self._gain),
                **arrays,
            )
        partial.replace(path / FILE)


def say(player: Any, motion: Float32, noise: Float32) -> Float32:
    """What a player (`Networks.player`) says to any number of segments, shape (n, n_samples)."""
    # Not `predict`, for which TensorFlow may write lines to standard error.
    starts = range(0, len(motion), BATCH_SIZE)
    return np.concatenate([np.asarray(player([motion[a : a + BATCH_SIZE], noise[a : a + BATCH_SIZE]])) for a in starts])


def load_baseline(path: Path) -> Baseline:
    """Read what `Baseline.save` wrote.

    Raises
    ------
    TrainingError
        There is none, or it is damaged.
    """
    from trainer.baseline.model import BaselineSettings

    file = path / FILE
    if not file.is_file():
        raise TrainingError(f"{path} holds no baseline: make one with python -m trainer baseline --run {path}")
    try:
        with file.open("rb") as data, np.load(data, allow_pickle=False) as kept:
            settings = BaselineSettings(**json.loads(str(kept["settings"])))
            weights = [kept[name] for name in sorted(kept.files) if name.startswith("weight_")]
            return Baseline(settings, kept["mean"], float(kept["deviation"]), float(kept["gain"]), weights)
    except (KeyError, TypeError, ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise TrainingError(f"{file} is damaged: remove it and train the baseline again") from error


def train_baseline(
    takes: Sequence[Take],
    training: Segments,
    segment_s: float,
    *,
    duration_s: float | None,
    n_steps: int | None,
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Baseline:
    """Train for a time or for a number of steps.

    Parameters
    ----------
    takes : sequence of Take
    training : Segments
        From `trainer.data.prepare.split` with the same takes and the same `segment_s`.
    segment_s : float
        Length of a segment; the original's are 0.1 and 0.5 s.
    duration_s : float or None
        Seconds of training, without the reading of the takes.
    n_steps : int or None
        Batches instead: then equal arguments give equal models.
    seed : int
    progress : callable, optional
        Told after each step what share of the training is done, 0 to 1.
    clock : callable
        Seconds, for `duration_s`.

    Returns
    -------
    Baseline

    Raises
    ------
    UsageError
        Neither or both of time and steps are given.
    TrainingError
        There is nothing to learn, or the loss is not a number.
    """
    if (duration_s is None) == (n_steps is None):
        raise UsageError("a baseline is trained for a time or for a number of steps: give one of the two")
    material = Material(takes, training, segment_s)
    from trainer.backend import keras, tf
    from trainer.baseline.model import BaselineSettings, Networks, Steps

    tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(seed)
    n_features = takes[0].settings.n_features
    networks = Networks(BaselineSettings(segment_s, takes[0].rate_hz, material.n_columns, n_features))
    steps = Steps(networks, KL_WEIGHT / material.n_samples, LEARNING_RATE, seed)
    begun_s = clock()

    def share_done(n_done: int) -> float:
        return n_done / n_steps if n_steps is not None else (clock() - begun_s) / (duration_s or 1e-9)

    _learn(steps, material, np.random.default_rng(seed), share_done, progress)
    player = networks.player()
    gain = _gain(player, material)
    return Baseline(networks.settings, material.mean, material.deviation, gain, player.get_weights())


def _learn(
    steps: Steps,
    material: Material,
    rng: np.random.Generator,
    share_done: Callable[[int], float],
    progress: Callable[[float], None] | None,
) -> None:
    """Take steps until the share that is done, told from their number, is 1."""
    n_done, share = 0, 0.0
    while share < 1.0:
        index = rng.integers(0, len(material), BATCH_SIZE)
        rate_share = min(1.0, (n_done + 1) / N_WARM_UP) * (0.5 + 0.5 * math.cos(math.pi * share))
        sound = material.sound(index) / np.float32(material.level)
        loss = steps.step(material.motion(index), sound, min(1.0, share / KL_RISE), rate_share)
        if not math.isfinite(loss):
            raise TrainingError(f"the loss is not a number after {n_done} steps: look at the takes (trainer prepare)")
        n_done += 1
        share = share_done(n_done)
        if progress is not None:
            progress(min(share, 1.0))


def _gain(player: Any, material: Material) -> float:
    """What makes the training motion as loud as its sound."""
    motion = material.motion(material.some())
    noise = np.zeros((len(motion), player.inputs[1].shape[1]), np.float32)
    said = rms(say(player, motion, noise))
    return material.level * min(1.0 / max(said, 1e-9), MOST_MAKE_UP)
