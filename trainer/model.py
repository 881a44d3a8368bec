"""The model: a variational autoencoder with one latent space for motion and sound.

The order is that of the signal: window -> motion encoder q(z|m); window and sound -> joint encoder q(z|m,a);
z -> sound decoder, z -> motion decoder; then the loss. The box gets the motion encoder and the sound decoder
only, so the loss trains that path in the open: sound is rebuilt from q(z|m) as well as from q(z|m,a), which
teaches the latent space what in a sound the motion does not say (JMVAE-KL: Suzuki, Nakayama and Matsuo,
"Joint Multimodal Learning with Deep Generative Models", 2016).
"""

from __future__ import annotations

import math
from typing import Any

from trainer.backend import keras
from trainer.settings import LossSettings, ModelSettings

layers, ops = keras.layers, keras.ops

N_JOINT = 128
"""Width of the joint encoder."""

Tensor = Any

QUANTITY_OF_NOISE = 0.25
"""Grey levels; below it the place of motion says little."""


def motion_trunk(settings: ModelSettings) -> keras.Model:
    """Window in grey levels, (n_columns, n_features), to what both encoders look at, (n_motion,)."""
    window = keras.Input((settings.n_columns, settings.n_features), name="window")
    # Where the motion is, whatever the light and the size of the dancer, beside how much of it there is.
    quantity = ops.mean(window, axis=-1, keepdims=True)  # (B, n_columns, 1)
    place = ops.sqrt(window / (quantity + QUANTITY_OF_NOISE))  # (B, n_columns, n_features)
    x = layers.Concatenate()([place, ops.sqrt(quantity)])
    x = layers.Conv1D(settings.n_filters, 3, padding="same", activation="relu")(x)  # (B, n_columns, n_filters)
    n_columns, n_filters = settings.n_columns, settings.n_filters
    while n_columns > 8:
        n_columns = math.ceil(n_columns / 2)
        n_filters = min(n_filters * 4 // 3, 128) if n_columns <= 8 else n_filters
        x = layers.Conv1D(n_filters, 3, strides=2, padding="same", activation="relu")(x)  # (B, n_columns, n_filters)
    x = layers.Flatten()(x)
    x = layers.Dense(settings.n_motion, activation="relu")(x)
    return keras.Model(window, x, name="motion_trunk")


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
        self, batch: dict[str, Tensor], noise: Tensor, variance: float, weights: LossSettings
    ) -> dict[str, Tensor]:
        """All terms of the loss for a batch.

        Parameters
        ----------
        batch : dict
            `window` (B, n_columns, n_features), `bands` (B, n_sound_frames, n_bands), `position` (B, 1),
            `spectrum` (B, n_bins).
        noise : tensor, shape (2, B, n_latent)
            Standard normal.
        variance : float
            Of the spectra: errors are shares of it.
        weights : LossSettings

        Returns
        -------
        dict
            Scalars `loss`; `sound`, `joint` and `motion`, what was rebuilt; `kl` and `kl_joint`, what the motion and
            the joint encoder say beyond the prior, and `tie`, by how much they differ, in nats; and `kl_per_latent`
            of the motion encoder, shape (n_latent,).
        """
        features = self.motion_trunk(batch["window"])
        mean, deviation = self.motion_head(features)
        mean_j, deviation_j = self.joint_head(self.joint_trunk([features, batch["bands"]]))
        played = self.sound_decoder([mean + deviation * noise[0], batch["position"]])
        z_joint = mean_j + deviation_j * noise[1]
        rebuilt = self.sound_decoder([z_joint, batch["position"]])
        window = self.motion_decoder(z_joint)
        kl_motion = kl_nats(mean, deviation)
        terms = {
            "sound": ops.mean(ops.square(played - batch["spectrum"])) / variance,
            "joint": ops.mean(ops.square(rebuilt - batch["spectrum"])) / variance,
            "motion": ops.mean(ops.square(window - ops.sqrt(batch["window"]))),
            "kl": ops.mean(ops.sum(kl_motion, axis=-1)),
            "kl_joint": ops.mean(ops.sum(kl_nats(mean_j, deviation_j), axis=-1)),
            "tie": ops.mean(ops.sum(kl_nats(mean_j, deviation_j, mean, deviation), axis=-1)),
        }
        loss = terms["sound"] + weights.joint * terms["joint"] + weights.motion * terms["motion"]
        loss += weights.kl * (terms["kl"] + terms["kl_joint"]) / 2 + weights.tie * terms["tie"]
        return {"loss": loss, **terms, "kl_per_latent": ops.mean(kl_motion, axis=0)}
