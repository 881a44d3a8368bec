"""The model: a variational autoencoder with one latent space for motion and sound.

The order is that of the signal: window -> motion encoder q(z|m); window and sound -> joint encoder q(z|m,a);
z -> sound decoder, z -> motion decoder; then the loss. The box gets the motion encoder and the sound decoder
only, so the loss trains that path in the open: sound is rebuilt from q(z|m) as well as from q(z|m,a), which
teaches the latent space what in a sound the motion does not say (JMVAE-KL: Suzuki, Nakayama and Matsuo,
"Joint Multimodal Learning with Deep Generative Models", 2016).

From q(z|m) two things are played. Its mean is the expected sound: a squared error. What is drawn from it is to be
one of the sounds that may go with this motion, as varied as they are, not their average: a proper score of two
draws (the fair continuous ranked probability score) in bands of three widths. How loud they are is the body's
to say: draws that differ in loudness cost.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from trainer.backend import keras
from trainer.settings import LossSettings, ModelSettings

layers, ops = keras.layers, keras.ops

N_JOINT = 128
"""Width of the joint encoder."""

Tensor = Any

QUANTITY_OF_NOISE = 0.25
"""Grey levels; below it the place of motion says little."""
SOFTEST = 0.02
"""Power of a spectrum, as a share of their variance, below which an error counts no more than at it."""
LEAST_ENERGY = 1e-9
"""Mean energy of a bin below which loudness is not told apart."""


def motion_trunk(settings: ModelSettings) -> keras.Model:
    """Window in grey levels, (n_columns, n_features), to what both encoders look at, (n_motion,)."""
    window = keras.Input((settings.n_columns, settings.n_features), name="window")
    # Where the motion is, whatever the light and the size of the dancer, beside how much of it there is.
    quantity = ops.mean(window, axis=-1, keepdims=True)  # (B, n_columns, 1)
    share = window / (quantity + QUANTITY_OF_NOISE)  # (B, n_columns, n_features)
    x = layers.Concatenate()([ops.sqrt(share), ops.sqrt(quantity), *place_moments(share, settings.n_rows)])
    x = layers.Conv1D(settings.n_filters, 3, padding="same", activation="relu")(x)  # (B, n_columns, n_filters)
    n_columns, n_filters = settings.n_columns, settings.n_filters
    while n_columns > 8:
        n_columns = math.ceil(n_columns / 2)
        n_filters = min(n_filters * 4 // 3, 128) if n_columns <= 8 else n_filters
        x = layers.Conv1D(n_filters, 3, strides=2, padding="same", activation="relu")(x)  # (B, n_columns, n_filters)
    x = layers.Flatten()(x)
    x = layers.Dense(settings.n_motion, activation="relu")(x)
    return keras.Model(window, x, name="motion_trunk")


def place_moments(share: Tensor, n_rows: int) -> list[Tensor]:
    """Where motion lies and how widely: first and second moments over rows and over columns of the picture.

    Parameters
    ----------
    share : tensor, shape (B, n_columns, n_features)
        Motion of each row, then of each column of the picture, against their mean.
    n_rows : int

    Returns
    -------
    list of tensor, each of shape (B, n_columns, 1)
        From -2 to 2.
    """
    n_across = share.shape[-1] - n_rows
    rows, across = np.linspace(-1, 1, n_rows), np.linspace(-1, 1, n_across)
    nothing = [np.zeros(n_rows), np.zeros(n_across)]
    bases = [(rows, nothing[1]), (rows**2, nothing[1]), (nothing[0], across), (nothing[0], across**2)]
    scaled = [4.0 * np.concatenate(basis).astype(np.float32) for basis in bases]
    return [ops.mean(share * basis, axis=-1, keepdims=True) for basis in scaled]


def latent_head(n_inputs: int, n_latent: int, name: str) -> keras.Model:
    """Features, (n_inputs,), to mean and standard deviation of z, both (n_latent,).

    The deviation is a sigmoid, not an exponential: it cannot explode, and it converts to integers.
    """
    features = keras.Input((n_inputs,))
    mean = layers.Dense(n_latent, name="mean")(features)
    deviation = layers.Dense(n_latent, activation="sigmoid", bias_initializer=keras.initializers.Constant(-1.0))(
        features
    )
    return keras.Model(features, [mean, deviation], name=name)


def sound_decoder(settings: ModelSettings) -> keras.Model:
    """z, (n_latent,), and position, (1,), to a spectrum, (n_bins,)."""
    z, position = keras.Input((settings.n_latent,)), keras.Input((1,))
    when = layers.Dense(16, activation="relu")(position)
    x = layers.Concatenate()([z, when])
    x = layers.Dense(settings.n_hidden, activation="relu")(x)
    x = layers.Dense(settings.n_hidden, activation="relu")(x)
    # ReLU: silence is exact, and the head loads in both runtimes in integers (a softplus does not).
    x = layers.Dense(settings.n_bins, activation="relu", bias_initializer=keras.initializers.Constant(0.05))(x)
    return keras.Model([z, position], x, name="sound_decoder")


def motion_decoder(settings: ModelSettings) -> keras.Model:
    """z, (n_latent,), to the square root of a window, (n_columns, n_features)."""
    z = keras.Input((settings.n_latent,))
    x = layers.Dense(128, activation="relu")(z)
    x = layers.Dense(settings.n_columns * 16)(x)
    x = layers.Reshape((settings.n_columns, 16))(x)
    x = layers.Conv1D(settings.n_features, 3, padding="same", activation="relu")(x)
    return keras.Model(z, x, name="motion_decoder")


def joint_trunk(settings: ModelSettings) -> keras.Model:
    """Motion features and sound in bands, (n_sound_frames, n_bands), to what the joint encoder looks at."""
    motion = keras.Input((settings.n_motion,))
    bands = keras.Input((settings.n_sound_frames, settings.n_bands))
    x = layers.Dense(N_JOINT, activation="relu")(layers.Flatten()(bands))
    x = layers.Concatenate()([motion, x])
    x = layers.Dense(N_JOINT, activation="relu")(x)
    return keras.Model([motion, bands], x, name="joint_trunk")


def kl_nats(mean: Tensor, deviation: Tensor, mean_2: Tensor | float = 0.0, deviation_2: Tensor | float = 1.0) -> Tensor:
    """KL divergence between two diagonal normal distributions, per latent: shape (B, n_latent), in nats."""
    deviation, deviation_2 = deviation + 1e-6, deviation_2 + 1e-6
    ratio = ops.square(deviation / deviation_2)
    return 0.5 * (ratio + ops.square((mean - mean_2) / deviation_2) - 1.0 - ops.log(ratio))


class DanceVAE(keras.Model):
    """Both encoders, one latent space, both decoders.

    Parameters
    ----------
    settings : ModelSettings
    """

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__()
        self.settings = settings
        self.motion_trunk = motion_trunk(settings)
        self.motion_head = latent_head(settings.n_motion, settings.n_latent, "motion_head")
        self.joint_trunk = joint_trunk(settings)
        self.joint_head = latent_head(N_JOINT, settings.n_latent, "joint_head")
        self.sound_decoder = sound_decoder(settings)
        self.motion_decoder = motion_decoder(settings)
        self.built = True  # every part is: none waits for its first input

    def encode(self, window: Tensor) -> tuple[Tensor, Tensor]:
        """q(z|m): window, (B, n_columns, n_features), to mean and deviation, (B, n_latent)."""
        mean, deviation = self.motion_head(self.motion_trunk(window))
        return mean, deviation

    def call(self, inputs: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """What the box computes: window, noise, (B, n_latent), position, (B, 1), to a spectrum, (B, n_bins)."""
        window, noise, position = inputs
        mean, deviation = self.encode(window)
        return self.sound_decoder([mean + deviation * noise, position])

    def losses_of(
        self,
        batch: dict[str, Tensor],
        noise: Tensor,
        variance: float,
        weights: LossSettings,
        over_all: Callable[[Sequence[Tensor]], Sequence[Tensor]] = tuple,
    ) -> dict[str, Tensor]:
        """All terms of the loss for a batch.

        Parameters
        ----------
        batch : dict
            `window` (B, n_columns, n_features), `bands` (B, n_sound_frames, n_bands), `position` (B, 1),
            `spectrum` (B, n_bins).
        noise : tensor, shape (3, B, n_latent)
            Standard normal: of two draws from the motion encoder and one from the joint encoder.
        variance : float
            Of the spectra: errors are shares of it.
        weights : LossSettings
        over_all : callable
            Means over this batch to means over those of all workers.

        Returns
        -------
        dict
            Scalars `loss`; `sound`, `joint` and `motion`, what was rebuilt; `drawn`, the score of the draws, and
            `loudness`, by how much they differ in it; `kl` and `kl_joint`, what the motion and the joint encoder say
            beyond the prior, and `tie`, by how much they differ, in nats; and `kl_per_latent` of the motion encoder,
            shape (n_latent,).
        """
        position, spectrum = batch["position"], batch["spectrum"]
        features = self.motion_trunk(batch["window"])
        # Whatever the layers multiply in, errors and random numbers are float32.
        mean, deviation = map(_full, self.motion_head(features))
        mean_j, deviation_j = map(_full, self.joint_head(self.joint_trunk([features, batch["bands"]])))
        expected = _full(self.sound_decoder([mean, position]))
        draws = [_full(self.sound_decoder([mean + deviation * noise[i], position])) for i in range(2)]
        z_joint = mean_j + deviation_j * noise[2]
        rebuilt = _full(self.sound_decoder([z_joint, position]))
        window = _full(self.motion_decoder(z_joint))
        weight = softness_weight(spectrum, variance, weights.softness, over_all)
        kl_motion = kl_nats(mean, deviation)
        terms = {
            "sound": ops.mean(weight * ops.square(expected - spectrum)) / variance,
            "drawn": score_of(draws, spectrum) / math.sqrt(variance),
            "loudness": loudness_apart([expected, *draws]) / variance,
            "joint": ops.mean(weight * ops.square(rebuilt - spectrum)) / variance,
            "motion": ops.mean(ops.square(window - ops.sqrt(batch["window"]))),
            "kl": ops.mean(ops.sum(kl_motion, axis=-1)),
            "kl_joint": ops.mean(ops.sum(kl_nats(mean_j, deviation_j), axis=-1)),
            "tie": ops.mean(ops.sum(kl_nats(mean_j, deviation_j, mean, deviation), axis=-1)),
        }
        loss = terms["sound"] + weights.drawn * terms["drawn"] + weights.loudness * terms["loudness"]
        loss += weights.joint * terms["joint"] + weights.motion * terms["motion"]
        loss += weights.kl * (terms["kl"] + terms["kl_joint"]) / 2 + weights.tie * terms["tie"]
        return {"loss": loss, **terms, "kl_per_latent": ops.mean(kl_motion, axis=0)}


def _full(values: Tensor) -> Tensor:
    return ops.cast(values, "float32")


def score_of(draws: list[Tensor], spectrum: Tensor) -> Tensor:
    """Mean of `fair_score` over bands of three widths: scalar."""
    compared = zip(*map(bands_of, [*draws, spectrum]), strict=True)
    return ops.mean(ops.stack([fair_score(*each) for each in compared]))


def bands_of(spectra: Tensor) -> list[Tensor]:
    """Means of neighbouring bins, from single ones where they carry pitch to the balance of the whole.

    Narrower at high frequencies, they would teach draws the scatter of noise, which the synth makes itself.

    Parameters
    ----------
    spectra : tensor, shape (B, n_bins)

    Returns
    -------
    list of tensor
        Three; of 1025 bins: shapes (B, 176), (B, 44) and (B, 11).
    """
    n = spectra.shape[-1] - 1
    bins = spectra[:, 1:]  # without that at 0 Hz
    pooled = [
        means(bins[:, start:stop], width)
        for start, stop, width in ((n // 16, n // 4, 4), (n // 4, n // 2, 8), (n // 2, n, 16))
    ]
    fine = ops.concatenate([bins[:, : n // 16], *pooled], axis=-1)
    middle = means(fine, 4)
    return [fine, middle, means(middle, 4)]


def means(values: Tensor, n: int) -> Tensor:
    """Mean of every n neighbours: shape (B, n_values) to (B, n_values // n)."""
    return ops.mean(ops.reshape(values, (-1, values.shape[-1] // n, n)), axis=-1)


def fair_score(one: Tensor, other: Tensor, real: Tensor) -> Tensor:
    """Fair continuous ranked probability score of two draws: least, on average, where they are spread as reality is.

    It is (|x - r| + |y - r| - |x - y|) / 2 for draws x, y and what was real, r (Ferro, "Fair scores for ensemble
    forecasts", Q. J. R. Meteorol. Soc. 140, 2014).

    Parameters
    ----------
    one, other, real : tensor, shape (B, n_bands)

    Returns
    -------
    tensor
        Mean over all values.
    """
    return 0.5 * ops.mean(ops.abs(one - real) + ops.abs(other - real) - ops.abs(one - other))


def loudness_apart(spectra: list[Tensor]) -> Tensor:
    """By how much spectra of the same moments differ in loudness: the mean square of their levels' deviations.

    Parameters
    ----------
    spectra : list of tensor, each of shape (B, n_bins)
        Magnitudes to the power 0.3.

    Returns
    -------
    tensor
        Scalar, in the square of their unit. The energy is their power 2 / 0.3; the sixth is near it and soon had.
    """
    sixth = ops.square(ops.stack(spectra)) ** 3  # (n, B, n_bins)
    level = (ops.mean(sixth, axis=-1) + LEAST_ENERGY) ** (1 / 6)
    return ops.mean(ops.var(level, axis=0))


def softness_weight(
    spectrum: Tensor,
    variance: float,
    softness: float,
    over_all: Callable[[Sequence[Tensor]], Sequence[Tensor]] = tuple,
) -> Tensor:
    """What an error counts, shape (B, 1), mean 1 where the sound is: soft sounds count as more than their share.

    Parameters
    ----------
    spectrum : tensor, shape (B, n_bins)
    variance : float
        Of the spectra.
    softness : float
        0: an error is an error; 1: an error is a share of how loud it is just then.
    over_all : callable
        See `DanceVAE.losses_of`.
    """
    power = ops.mean(ops.square(spectrum), axis=-1, keepdims=True) / (2.0 * variance)
    weight = ((1.0 + SOFTEST) / (power + SOFTEST)) ** softness
    loudness, weighted = over_all([ops.mean(power), ops.mean(weight * power)])
    # In a batch in which nothing sounds both are 0.
    return weight * (loudness + LEAST_ENERGY) / (weighted + LEAST_ENERGY)
