"""Stretches of held-out time to look at and to listen to: the real sound, and what was played to the same motion."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import soundfile

from device.core.take import to_int16
from trainer.evaluating.playing import Span

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

N_SCENES = 3
LONGEST_SCENE_S = 20.0
SHORTEST_SCENE_S = 2.0
SOUND_BYTES = 9_000_000
"""Of all sounds together; on the page they take a third more."""
MOST_TRIES = 6


@dataclass(frozen=True)
class Voice:
    """Somebody who plays spans.

    Attributes
    ----------
    kind : str
        'real', 'ceiling', 'ours' or 'baseline'.
    name, note : str
        For people: who it is, and in a few words what that means.
    play : callable
        Span to sound, as long as the span's own; sample 0 at its first column's time.
    """

    kind: str
    name: str
    note: str
    play: Callable[[Span], Float32]


@dataclass(frozen=True, eq=False)
class Track:
    """What one voice sounds like in a scene: samples, and a FLAC of them."""

    voice: Voice
    sound: Float32
    flac: bytes


@dataclass(frozen=True, eq=False)
class Scene:
    """A stretch of held-out time.

    Attributes
    ----------
    span : Span
    tracks : list of Track
    """

    span: Span
    tracks: list[Track]

    @property
    def start_s(self) -> float:
        """When it begins in its take."""
        return float(self.span.times_s[0] - self.span.take.times_s[0])

    @property
    def duration_s(self) -> float:
        """How long its sounds last."""
        return len(self.tracks[0].sound) / self.span.take.rate_hz


def make_scenes(spans: Sequence[Span], voices: Sequence[Voice], n_bytes: int = SOUND_BYTES) -> list[Scene]:
    """Choose stretches and play them; they get shorter until all sounds together fit.

    Each voice plays the whole of a span, of which the stretch with most motion is kept: what it remembers from before
    is heard in it.

    Parameters
    ----------
    spans : sequence of Span
        `N_SCENES` of them are chosen, evenly.
    voices : sequence of Voice
    n_bytes : int
        That all FLACs together may have.
    """
    chosen = [spans[i] for i in np.unique(np.linspace(0, len(spans) - 1, N_SCENES).round().astype(int))]
    played = [[voice.play(span) for voice in voices] for span in chosen]
    length_s = LONGEST_SCENE_S
    for _ in range(MOST_TRIES):
        scenes = [_cut(span, voices, sounds, length_s) for span, sounds in zip(chosen, played, strict=True)]
        n_made = sum(len(track.flac) for scene in scenes for track in scene.tracks)
        longest_s = max(scene.duration_s for scene in scenes)
        if n_made <= n_bytes or longest_s <= SHORTEST_SCENE_S:
            break
        length_s = max(SHORTEST_SCENE_S, 0.95 * longest_s * n_bytes / n_made)
    return scenes


def _cut(span: Span, voices: Sequence[Voice], sounds: Sequence[Float32], length_s: float) -> Scene:
    part = busiest(span, length_s)
    rate_hz = span.take.rate_hz
    begin_s, *_, end_s = span.take.samples_of(part.times_s) / rate_hz
    origin_s = span.take.sample_of(float(span.times_s[0])) / rate_hz
    first, last = (round((at_s - origin_s) * rate_hz) for at_s in (begin_s, end_s))
    tracks = [
        Track(voice, sound[first:last], flac(sound[first:last], rate_hz))
        for voice, sound in zip(voices, sounds, strict=True)
    ]
    return Scene(part, tracks)


def busiest(span: Span, length_s: float) -> Span:
    """The stretch of a span, `length_s` long or all of it, in which most motion is seen."""
    times_s = span.times_s
    quantity = span.take.columns_at(span.start, span.stop).mean(axis=1, dtype=np.float64)
    total = np.concatenate([[0.0], np.cumsum(quantity)])
    starts = np.flatnonzero(times_s <= max(times_s[-1] - length_s, times_s[0]))
    stops = np.searchsorted(times_s, times_s[starts] + length_s, side="right")
    best = int(np.argmax(total[stops] - total[starts]))
    return Span(span.take, span.start + int(starts[best]), span.start + int(stops[best]))


def flac(sound: Float32, rate_hz: int) -> bytes:
    """Sound as a FLAC of 16 bits: nothing is lost, and every current browser plays it."""
    file = io.BytesIO()
    soundfile.write(file, to_int16(sound), rate_hz, format="FLAC", subtype="PCM_16")
    return file.getvalue()
