"""`trainer evaluate`: play held-out dances through the engine itself and say how well they are followed.

Every figure stands beside its null (against the sound of other times: what would be reached without following) and its
ceiling (the true spectra through the same synth: what a perfect model would reach).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from device.core.bundle import Manifest
from device.core.errors import TakeError
from device.core.frame import Frame
from device.core.motiongram import MotionSettings
from device.core.synth import Synth, SynthSettings
from device.edges.model import SpectrumModel
from device.engine import Player, play_virtual
from device.models import choose_runtime, read_bundle, run_bundle
from device.store import Take
from trainer.dataset import spectra_at
from trainer.metrics import Figures, figures, format_table, still_level_dbfs
from trainer.prepare import Segments, load_takes, split
from trainer.settings import HELD_OUT, HOP_S, LARGEST_TEMPERATURE, ExampleSettings, check_range

Float32 = npt.NDArray[np.float32]

LONGEST_S = 120.0
"""Held-out time that is played at most: the first parts of all spans, alike."""
NULL_SHIFTS = (0.17, 0.37, 0.59, 0.83)
"""Shares of the held-out time; uneven, so that views of one dance never fall on each other."""
STILL_S = 6.0
STILL_NOISE, STILL_FLICKER = 1.5, 1.0


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

    def events(self) -> Iterator[tuple[Float32, float]]:
        """Columns with their times, as a camera would have led to them."""
        return zip(self.take.columns_at(self.start, self.stop), self.times_s, strict=True)

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


def play_span(playing: Playing, model: SpectrumModel, span: Span, temperature: float = 0.0, seed: int = 0) -> Float32:
    """Play a span through the engine; as long as the span's own sound, sample 0 at its first column's time."""
    player = Player(playing, model, "stream", temperature, seed)
    sound, _ = play_virtual(player, Synth(playing.synth), span.events())
    n = len(span.sound())
    return np.pad(sound[:n], (0, max(0, n - len(sound))))


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


def play_spans(playing: Playing, model: SpectrumModel, spans: list[Span], temperature: float = 0.0) -> Float32:
    """Play all spans, one after the other, as long as `real_sound`."""
    return np.concatenate([play_span(playing, model, span, temperature) for span in spans])


def evaluate_model(playing: Playing, model: SpectrumModel, spans: list[Span], played: Float32) -> Figures:
    """Figures of what a model played on spans, and its level when nobody moves."""
    rate_hz = playing.synth.rate_hz
    still_level = still_level_dbfs(play_still(playing, model), rate_hz)
    return replace(figures(real_sound(spans), played, rate_hz), still_level_dbfs=still_level)


def evaluate_ceiling(playing: Playing, spans: list[Span]) -> Figures:
    """Figures of the true spectra through the same engine and synth."""
    true = [Recorded(playing, spectra_at(span.take, span.times_s, playing.example)) for span in spans]
    played = [play_span(playing, model, span) for model, span in zip(true, spans, strict=True)]
    return figures(real_sound(spans), np.concatenate(played), playing.synth.rate_hz)


def evaluate_null(playing: Playing, spans: list[Span], played: Float32) -> Figures:
    """Figures of what was played against real sound of other times: the mean over `NULL_SHIFTS`."""
    real, rate_hz = real_sound(spans), playing.synth.rate_hz
    others = [figures(np.roll(real, round(shift * len(real))), played, rate_hz).as_dict() for shift in NULL_SHIFTS]
    means = {}
    for name in others[0]:
        values = [value for other in others if (value := other[name]) is not None]
        means[name] = float(np.mean(values)) if values else None
    return Figures(**means)  # type: ignore[arg-type] # the names are its own


def real_sound(spans: list[Span]) -> Float32:
    """The real sound of all spans, one after the other."""
    return np.concatenate([span.sound() for span in spans])


def check_takes(manifest: Manifest, takes: list[Take]) -> None:
    """Raise TakeError unless takes were made as the bundle's were."""
    for take in takes:
        if take.settings != manifest.motion or take.rate_hz != manifest.rate_hz:
            raise TakeError(
                f"take {take.path} has other motion settings or another rate than the bundle ({manifest.rate_hz} Hz, "
                f"{manifest.motion}): import the videos again with the bundle's settings"
            )


def evaluate_bundle(
    bundle_dir: Path, takes: list[Take], held_out: Segments, temperature: float = 0.0
) -> dict[str, Figures]:
    """Figures of both variants of a bundle, the null and the ceiling.

    Returns
    -------
    dict
        'f16', 'int8', 'null' and 'ceiling' to figures.

    Raises
    ------
    BundleError
        The bundle is not whole.
    TakeError
        The takes do not fit the bundle, or hold nothing to play.
    """
    files = read_bundle(bundle_dir)
    manifest = files.manifest
    check_takes(manifest, takes)
    example = ExampleSettings(manifest.segment_s, manifest.grid_rate_hz, manifest.lead_s, 0, 0, manifest.synth)
    playing = Playing(manifest.motion, example)
    spans = held_out_spans(takes, held_out)
    runtime = choose_runtime()
    models = {variant: run_bundle(bundle_dir, files, variant, runtime).model for variant in files.models}
    played = {variant: play_spans(playing, model, spans, temperature) for variant, model in models.items()}
    columns = {variant: evaluate_model(playing, model, spans, played[variant]) for variant, model in models.items()}
    columns["null"] = evaluate_null(playing, spans, played["f16"])
    columns["ceiling"] = evaluate_ceiling(playing, spans)
    return columns


def learned_split(manifest: Manifest) -> tuple[float, list[int]]:
    """What the bundle's training held out: the end of each take, and numbers of whole takes."""
    kept = manifest.figures.get("held_out")
    if not isinstance(kept, dict):
        return HELD_OUT, []
    return float(kept["part"]), sorted(int(number) for number in kept["takes"])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the arguments of `trainer evaluate`."""
    argument = parser.add_argument
    argument("--bundle", type=Path, required=True, metavar="DIR", help="folder of a bundle")
    argument("--takes", type=Path, required=True, metavar="DIR", help="folder of the takes that it was trained on")
    argument("--held-out", type=float, metavar="PART", help="end of each take that is played (default: as in training)")
    argument("--held-out-takes", type=int, nargs="+", metavar="N", help="takes played whole (default: as in training)")
    argument("--temperature", type=float, default=0.0, metavar="T", help="0 plays the mean (default), 1 draws")
    argument("--json", action="store_true", help="print one object")


def main(args: argparse.Namespace) -> int:
    """Run `trainer evaluate`."""
    check_range("--temperature", args.temperature, 0.0, LARGEST_TEMPERATURE)
    takes = load_takes(args.takes)
    manifest = read_bundle(args.bundle).manifest
    part, numbers = learned_split(manifest)
    if args.held_out is not None or args.held_out_takes is not None:
        part, numbers = args.held_out or 0.0, args.held_out_takes or []
    _, held_out = split(takes, manifest.segment_s, HOP_S, part, numbers)
    columns = evaluate_bundle(args.bundle, takes, held_out, args.temperature)
    if args.json:
        print(json.dumps({name: column.as_dict() for name, column in columns.items()}))
    else:
        of = f"takes {' '.join(map(str, numbers))}" if numbers else f"the last {part:.0%} of each of {len(takes)} takes"
        print(f"played: {of}\n{format_table(columns)}")
    return 0
