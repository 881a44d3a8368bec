"""The networks of the original's way: motion and raw sound of one segment encoded together, decoded apart.

See `trainer.baseline.original` for what is known of the original and what is our choice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from trainer.backend import keras, tf

layers, ops = keras.layers, keras.ops

Tensor = Any


@dataclass(frozen=True)
class BaselineSettings:
    """Sizes of the networks.

    Attributes
    ----------
    segment_s : float
        Length of a segment: of its motion and of its sound.
    rate_hz : int
        Samples per second.
    n_columns, n_features : int
        Shape of the motion of a segment.
    n_latent, n_hidden : int
    """

    segment_s: float
    rate_hz: int
    n_columns: int
    n_features: int
    n_latent: int = 32
    n_hidden: int = 256

    @property
    def n_samples(self) -> int:
        """Samples of a segment's sound."""
        return round(self.segment_s * self.rate_hz)

    @property
    def n_motion(self) -> int:
        """Values of a segment's motion."""
        return self.n_columns * self.n_features


class Networks:
    """One latent space, two ways in and two ways out, all of dense layers.

    Parameters
    ----------
    settings : BaselineSettings
    """

    def __init__(self, settings: BaselineSettings) -> None:
        self.settings = settings
        n_hidden, n_latent = settings.n_hidden, settings.n_latent
        self.motion_encoder = _dense(settings.n_motion, [n_hidden])
        self.sound_encoder = _dense(settings.n_samples, [n_hidden])
        self.joint_encoder = _joint_encoder(n_hidden, n_latent)
        self.sound_decoder = _dense(n_latent, [n_hidden, n_hidden], settings.n_samples)
        self.motion_decoder = _dense(n_latent, [n_hidden, n_hidden], settings.n_motion)
        self._parts = [
            self.motion_encoder, self.sound_encoder, self.joint_encoder, self.sound_decoder, self.motion_decoder,
        ]  # fmt: skip

    @property
    def trainable_variables(self) -> list[Any]:
        """Weights of all parts."""
        return [weight for part in self._parts for weight in part.trainable_variables]

    def losses_of(self, motion: Tensor, sound: Tensor, noise: Tensor) -> dict[str, Tensor]:
        """Errors of what is rebuilt from both together, and what the latent space says.

        Parameters
        ----------
        motion : tensor, shape (B, n_motion)
        sound : tensor, shape (B, n_samples)
            Both of about unit variance.
        noise : tensor, shape (B, n_latent)
            Standard normal.

        Returns
        -------
        dict
            `sound` and `motion`, mean squared errors; `kl`, in nats (Kingma and Welling, 2013, appendix B).
        """
        mean, log_variance = self.joint_encoder([self.motion_encoder(motion), self.sound_encoder(sound)])
        z = mean + ops.exp(log_variance / 2) * noise
        kl = 0.5 * (ops.exp(log_variance) + ops.square(mean) - 1.0 - log_variance)
        return {
            "sound": ops.mean(ops.square(self.sound_decoder(z) - sound)),
            "motion": ops.mean(ops.square(self.motion_decoder(z) - motion)),
            "kl": ops.mean(ops.sum(kl, axis=-1)),
        }

    def player(self) -> Any:
        """What plays: the sound's way in and the motion's way out are cut off.

        Returns
        -------
        keras.Model
            Inputs (n_motion,) and noise (n_latent,), zeros for the mean; output the waveform (n_samples,).
        """
        motion, noise = keras.Input((self.settings.n_motion,)), keras.Input((self.settings.n_latent,))
        features = self.motion_encoder(motion)
        mean, log_variance = self.joint_encoder([features, ops.zeros_like(features)])
        return keras.Model([motion, noise], self.sound_decoder(mean + ops.exp(log_variance / 2) * noise))


class Steps:
    """Steps of training, one batch after the other.

    Parameters
    ----------
    networks : Networks
    kl_weight : float
        Of a nat, beside 1 for the error of the sound and of the motion.
    learning_rate : float
        Largest of the run.
    seed : int
    """

    def __init__(self, networks: Networks, kl_weight: float, learning_rate: float, seed: int) -> None:
        self._networks, self._kl_weight, self._learning_rate, self._seed = networks, kl_weight, learning_rate, seed
        self._optimizer = keras.optimizers.Adam(learning_rate, clipnorm=1.0)
        self._optimizer.build(networks.trainable_variables)
        self._step = tf.function(self._train_step)
        self._n_done = 0

    def step(self, motion: Any, sound: Any, kl_share: float, rate_share: float) -> float:
        """Learn from a batch, the KL term and the learning rate at a share of their full size; give the loss."""
        self._optimizer.learning_rate.assign(self._learning_rate * rate_share)
        seed = tf.constant([self._seed, self._n_done])
        self._n_done += 1
        weight = tf.constant(self._kl_weight * kl_share, tf.float32)
        return float(self._step(tf.constant(motion), tf.constant(sound), weight, seed))

    def _train_step(self, motion: Tensor, sound: Tensor, kl_weight: Tensor, seed: Tensor) -> Tensor:
        noise = tf.random.stateless_normal((tf.shape(motion)[0], self._networks.settings.n_latent), seed)
        with tf.GradientTape() as tape:
            terms = self._networks.losses_of(motion, sound, noise)
            loss = terms["sound"] + terms["motion"] + kl_weight * terms["kl"]
        weights = self._networks.trainable_variables
        self._optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        return loss


def _dense(n_inputs: int, widths: list[int], n_outputs: int | None = None) -> Any:
    """Dense layers with ReLU, and a last one without if there are outputs."""
    inputs = x = keras.Input((n_inputs,))
    for width in widths:
        x = layers.Dense(width, activation="relu")(x)
    return keras.Model(inputs, x if n_outputs is None else layers.Dense(n_outputs)(x))


def _joint_encoder(n_hidden: int, n_latent: int) -> Any:
    """Features of motion and of sound, both (n_hidden,), to mean and logarithm of the variance of z, (n_latent,)."""
    motion, sound = keras.Input((n_hidden,)), keras.Input((n_hidden,))
    x = layers.Dense(n_hidden, activation="relu")(layers.Concatenate()([motion, sound]))
    log_variance = layers.Dense(n_latent, bias_initializer=keras.initializers.Constant(-2.0))(x)
    return keras.Model([motion, sound], [layers.Dense(n_latent)(x), log_variance])
