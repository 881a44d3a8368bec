"""Held-out stretches of takes, played through the engine itself; what moved in them, and their real sound."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from device.core.errors import TakeError
from device.core.frame import Frame
from device.core.motiongram import MotionSettings
from device.core.synth import Synth, SynthSettings
from device.edges.model import SpectrumModel
from device.engine.engine import Player, play_virtual
from device.store.store import Take
from trainer.data.prepare import Segments
from trainer.evaluating.information import Moves
from trainer.settings import ExampleSettings

Float32 = npt.NDArray[np.float32]

LONGEST_S = 120.0
"""Held-out time that is played at most: the first parts of all spans, alike."""
STILL_S = 6.0
STILL_NOISE, STILL_FLICKER = 1.5, 1.0
PIECE_S = 1.0
"""Length of the pieces in which a dance is shuffled."""


@dataclass(frozen=True)
class Playing:
    """What the engine needs to know to play columns; a manifest has the same.

    Attributes
    ----------
    motion : MotionSettings
    example : ExampleSettings
    """

    motion: MotionSettings
    example: ExampleSettings

    @property
    def grid_rate_hz(self) -> float:
        """Columns per second in a window."""
        return self.example.grid_rate_hz

    @property
    def segment_s(self) -> float:
        """Length of a segment."""
        return self.example.segment_s

    @property
    def synth(self) -> SynthSettings:
        """What spectra mean."""
        return self.example.synth


@dataclass(frozen=True)
class Span:
    """A stretch of a take that no model was trained on: columns `start` to `stop`."""

    take: Take
    start: int
    stop: int

    @property
    def times_s(self) -> npt.NDArray[np.float64]:
        """Times of the columns, shape (n,)."""
        return self.take.times_s[self.start : self.stop]

    @property
    def columns(self) -> Float32:
        """Shape (n, height + width)."""
        return self.take.columns_at(self.start, self.stop)

    def events(self) -> Iterator[tuple[Float32, float]]:
        """Columns with their times, as a camera would have led to them."""
        return zip(self.columns, self.times_s, strict=True)

    def sound(self) -> Float32:
        """The real sound from the first column's time to the last's."""
        first, last = self.take.samples_of(self.times_s[[0, -1]])
        return self.take.sound_at(round(first), round(last))


class Recorded:
    """Spectra played one after the other, whatever the motion: it stands where a trained model would.

    Parameters
    ----------
    playing : Playing
    spectra : np.ndarray, shape (n, n_bins), float32
        One for each column that will be played.
    """

    runtime, variant = "none", "recorded"

    def __init__(self, playing: Playing, spectra: Float32) -> None:
        self.n_columns, self.n_features = playing.example.n_columns, playing.motion.n_features
        self.n_latent, self.n_bins = 1, playing.synth.n_bins
        self._spectra = iter(spectra)

    def run(self, motion: Float32, noise: Float32, position: float) -> Float32:  # noqa: ARG002 - it needs none of them
        """Give the next spectrum."""
        return next(self._spectra)


def held_out_spans(takes: list[Take], held_out: Segments, longest_s: float = LONGEST_S) -> list[Span]:
    """Stretches of time that hold the held-out segments, cut alike so that they last no longer than `longest_s`.

    Raises
    ------
    TakeError
        There are none.
    """
    spans = []
    for index, take in enumerate(takes):
        columns = held_out.of_take(index)
        if len(columns) > 1:
            spans.append(Span(take, int(columns[0]), int(columns[-1]) + 1))
    if not spans:
        raise TakeError("the takes hold nothing that was held out: hold out a share of them, or give other takes")
    total_s = sum(float(span.times_s[-1] - span.times_s[0]) for span in spans)
    share = min(1.0, longest_s / total_s)
    return [Span(span.take, span.start, span.start + max(2, int((span.stop - span.start) * share))) for span in spans]


def play_span(
    playing: Playing,
    model: SpectrumModel,
    span: Span,
    temperature: float = 0.0,
    seed: int = 0,
    columns: Float32 | None = None,
) -> Float32:
    """Play a span through the engine; as long as the span's own sound, sample 0 at its first column's time.

    Parameters
    ----------
    playing : Playing
    model : SpectrumModel
    span : Span
    temperature : float
    seed : int
        Of what is drawn.
    columns : np.ndarray, shape (n, height + width), float32, optional
        Motion to play at the span's times instead of its own.
    """
    player = Player(playing, model, "stream", temperature, seed)
    events = span.events() if columns is None else zip(columns, span.times_s, strict=True)
    sound, _ = play_virtual(player, Synth(playing.synth), events)
    n = len(span.sound())
    return np.pad(sound[:n], (0, max(0, n - len(sound))))


def play_spans(
    playing: Playing,
    model: SpectrumModel,
    spans: list[Span],
    temperature: float = 0.0,
    seed: int = 0,
    columns: Sequence[Float32 | None] | None = None,
) -> Float32:
    """Play all spans, one after the other, as long as `real_sound`; for the rest see `play_span`."""
    motions = columns if columns is not None else [None] * len(spans)
    played = [play_span(playing, model, span, temperature, seed, own) for span, own in zip(spans, motions, strict=True)]
    return np.concatenate(played)


def play_still(playing: Playing, model: SpectrumModel, seed: int = 0) -> Float32:
    """What is heard when nobody moves: a grey room seen by a noisy sensor under flickering light."""
    rng = np.random.default_rng(seed)
    height, width = playing.motion.height, playing.motion.width
    room = 60 + 80 * np.linspace(0, 1, width) * np.linspace(0.5, 1, height)[:, np.newaxis]

    def frames() -> Iterator[Frame]:
        for time_s in np.arange(int(STILL_S * 60)) / 60:
            picture = (
                room
                + STILL_FLICKER * np.sin(2 * np.pi * 100.3 * time_s)
                + STILL_NOISE * rng.standard_normal(room.shape)
            )
            yield Frame(np.clip(picture + 0.5, 0, 255).astype(np.uint8), float(time_s))

    sound, _ = play_virtual(Player(playing, model), Synth(playing.synth), frames())
    return sound


def real_sound(spans: list[Span]) -> Float32:
    """The real sound of all spans, one after the other."""
    return np.concatenate([span.sound() for span in spans])


def moves_of(spans: list[Span]) -> Moves:
    """What moves in all spans, one after the other, on the clock of `real_sound`."""
    times_s, quantities, heights, joins_s = [], [], [], []
    begins_s = 0.0
    for span in spans:
        rate_hz, height = span.take.rate_hz, span.take.settings.height
        rows = span.columns[:, :height].astype(np.float64)
        at = span.take.samples_of(span.times_s)
        times_s.append(begins_s + (at - at[0]) / rate_hz)
        quantities.append(rows.mean(axis=1))
        places = 1 - (np.arange(height) + 0.5) / height
        heights.append(rows @ places / np.maximum(rows.sum(axis=1), np.finfo(np.float64).tiny))
        begins_s += len(span.sound()) / rate_hz
        joins_s.append(begins_s)
    quantity, height_of = np.concatenate(quantities), np.concatenate(heights)
    return Moves(np.concatenate(times_s), quantity, height_of, begins_s, np.array(joins_s[:-1]))


def shuffled_columns(spans: list[Span], seed: int = 0) -> list[Float32]:
    """The columns of all spans with their order in time shuffled, in pieces of about a second.

    No piece stays where it was: they change places in one circle (Sattolo, Inf. Proc. Letters 22, 1986).

    Returns
    -------
    list of np.ndarray
        As many columns for each span as it has, to be played at its times.
    """
    columns = np.concatenate([span.columns for span in spans])
    duration_s = sum(float(span.times_s[-1] - span.times_s[0]) for span in spans)
    pieces = np.array_split(columns, min(len(columns), max(2, round(duration_s / PIECE_S))))
    rng = np.random.default_rng(seed)
    for last in range(len(pieces) - 1, 0, -1):
        other = int(rng.integers(last))
        pieces[last], pieces[other] = pieces[other], pieces[last]
    ends = np.cumsum([span.stop - span.start for span in spans])[:-1]
    return np.split(np.concatenate(pieces), ends)
