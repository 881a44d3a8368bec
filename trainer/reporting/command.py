"""`trainer report`: one HTML page about a run or a bundle, to look at and to listen to, that needs no other file."""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from device.core.bundle import MODEL_FILES, Manifest, check_name
from device.core.errors import BundleError, UsageError
from device.edges.model import SpectrumModel
from device.models.bundles import BundleFiles, choose_runtime, read_bundle, run_bundle
from device.store.store import Take
from trainer.data.dataset import spectra_at
from trainer.data.prepare import load_takes, split
from trainer.evaluating.command import check_takes, evaluate_bundle, learned_split
from trainer.evaluating.metrics import figures as figures_of
from trainer.evaluating.playing import Playing, Recorded, Span, held_out_spans, moves_of, play_span, real_sound
from trainer.evaluating.table import Figures
from trainer.exporting.export import export
from trainer.reporting.content import Baseline, Content, Float32, Material
from trainer.reporting.costs import machine, measure_variant
from trainer.reporting.curves import read_curves
from trainer.reporting.latents import encode, pick_moments, project
from trainer.reporting.page import build_page
from trainer.reporting.scenes import Voice, make_scenes
from trainer.runs.folder import open_takes, read_run
from trainer.settings import HOP_S, LARGEST_TEMPERATURE, ExampleSettings, RunSettings, check_range

SHOWN = "f16"
"""The variant that is listened to and mapped."""


@dataclass(frozen=True, eq=False)
class Subject:
    """What is reported on.

    Attributes
    ----------
    title : str
    bundle_dir : Path
    files : BundleFiles
    run_dir : Path or None
    run : RunSettings or None
        What was chosen for the run, where there is one.
    trained_s : int
        When that was begun; 0 where it is not known.
    is_exported : bool
        Whether the bundle is one that was there before.
    takes : list of Take
    """

    title: str
    bundle_dir: Path
    files: BundleFiles
    run_dir: Path | None
    run: RunSettings | None
    trained_s: int
    is_exported: bool
    takes: list[Take]

    @property
    def manifest(self) -> Manifest:
        """What the bundle says of itself."""
        return self.files.manifest

    @property
    def playing(self) -> Playing:
        """What the engine needs to know."""
        kept = self.manifest
        return Playing(kept.motion, ExampleSettings(kept.segment_s, kept.grid_rate_hz, kept.lead_s, 0, 0, kept.synth))


@contextmanager
def open_subject(run_dir: Path | None, bundle_dir: Path | None, takes_dir: Path | None) -> Iterator[Subject]:
    """Open a run, a bundle, or both; a run alone is exported, to a folder that is gone afterwards.

    Raises
    ------
    UsageError
        Neither is given, takes are missing, or run and bundle do not belong together.
    TrainingError, BundleError, TakeError
        One of them is damaged, not finished or gone.
    """
    if run_dir is None and takes_dir is None:
        raise UsageError("give --run, or --bundle and --takes, the folder of the takes that it was trained on")
    run, facts = (None, {}) if run_dir is None else read_run(run_dir)
    with tempfile.TemporaryDirectory(prefix="dance-sampler-") as scratch:
        bundle = _find_bundle(run_dir, bundle_dir, Path(scratch))
        files = read_bundle(bundle)
        if run is not None:
            _check_pair(run, files.manifest)
        takes = open_takes(facts) if takes_dir is None else load_takes(takes_dir)
        check_takes(files.manifest, takes)
        title = files.manifest.name if run_dir is None else run_dir.resolve().name
        created_s = facts.get("created_s")
        trained_s = created_s if isinstance(created_s, int) else 0
        yield Subject(title, bundle, files, run_dir, run, trained_s, bundle_dir is not None, takes)


def _find_bundle(run_dir: Path | None, bundle_dir: Path | None, scratch: Path) -> Path:
    """The bundle that was given, or that of the run, exported under its folder's name where a bundle may have it."""
    if bundle_dir is not None:
        return bundle_dir
    if run_dir is None:
        raise UsageError("there is nothing to report on: give --run, --bundle or both")
    name = run_dir.resolve().name
    try:
        check_name(name)
    except BundleError:
        name = "run"
    export(run_dir, scratch / "bundle", name)
    return scratch / "bundle"


def _check_pair(run: RunSettings, manifest: Manifest) -> None:
    example = run.example
    of_run = (example.segment_s, example.lead_s, example.grid_rate_hz, example.synth, run.model.n_latent)
    if of_run != (manifest.segment_s, manifest.lead_s, manifest.grid_rate_hz, manifest.synth, manifest.n_latent):
        raise UsageError(
            f"the bundle {manifest.name!r} is not of this run, their settings differ: give the run alone, or its bundle"
        )


def gather(subject: Subject, baselines: Sequence[Baseline] = (), temperature: float = 0.0) -> Content:
    """Play, measure and draw all that the page shows.

    Raises
    ------
    BundleError, ModelError
        The bundle does not play.
    TakeError, TrainingError
        The takes hold nothing that was held out, or nothing can be measured on them.
    """
    manifest, playing = subject.manifest, subject.playing
    part, numbers = learned_split(manifest)
    material = Material(subject.takes, 0.0 if numbers else part, numbers)
    _, held_out = split(subject.takes, manifest.segment_s, HOP_S, part, numbers)
    spans = held_out_spans(subject.takes, held_out)
    columns = evaluate_bundle(subject.bundle_dir, subject.takes, held_out, temperature)
    runtime = choose_runtime()
    models = {
        variant: run_bundle(subject.bundle_dir, subject.files, variant, runtime).model
        for variant in subject.files.models
    }
    moments = pick_moments(playing, spans)
    latents = encode(subject.files.models[SHOWN], moments.windows)
    return Content(
        title=subject.title,
        manifest=manifest,
        is_exported=subject.is_exported,
        run=subject.run,
        trained_s=subject.trained_s,
        material=material,
        temperature=temperature,
        played_s=sum(float(span.times_s[-1] - span.times_s[0]) for span in spans),
        figures=_with_baselines(columns, baselines, spans, temperature),
        scenes=make_scenes(spans, voices(playing, models[SHOWN], baselines, temperature)),
        moments=moments,
        latent_map=None if latents is None else project(latents),
        curves={} if subject.run_dir is None else read_curves(subject.run_dir),
        costs=[
            measure_variant(playing, model, subject.files.models[variant], moments.windows, spans[0])
            for variant, model in models.items()
        ],
        machine=machine(),
    )


def voices(playing: Playing, model: SpectrumModel, baselines: Sequence[Baseline], temperature: float) -> list[Voice]:
    """Who is listened to: the real sound, the ceiling, the model, the baselines."""

    def play_ceiling(span: Span) -> Float32:
        spectra = spectra_at(span.take, span.times_s, playing.example)
        return play_span(playing, Recorded(playing, spectra), span)

    def play_ours(span: Span) -> Float32:
        return play_span(playing, model, span, temperature)

    ours = f"what this model plays to the motion ({model.variant})"
    return [
        Voice("real", "Real", "the sound that was recorded with the dance", Span.sound),
        Voice("ceiling", "Ceiling", "its true spectra through the same synth: what a perfect model would reach",
              play_ceiling),
        Voice("ours", "Ours", ours, play_ours),
        *(Voice("baseline", baseline_name(one), "the original's way: whole segments of sound, one segment late",
                partial(one.play, temperature=temperature)) for one in baselines),
    ]  # fmt: skip


def load_baselines(paths: Sequence[Path]) -> list[Baseline]:
    """Open what `trainer baseline` left; nothing heavy is imported where there is none."""
    if not paths:
        return []
    from trainer.baseline.original import load_baseline

    return [load_baseline(path) for path in paths]


def baseline_name(baseline: Baseline) -> str:
    """What a baseline is called, on the page and in its table."""
    return f"Baseline, {baseline.segment_s:g} s"


def _with_baselines(
    columns: dict[str, Figures], baselines: Sequence[Baseline], spans: list[Span], temperature: float
) -> dict[str, Figures]:
    """Put the figures of baselines between ours and what they are compared with."""
    real, moves, rate_hz = real_sound(spans), moves_of(spans), spans[0].take.rate_hz
    of_baselines = {}
    for one in baselines:
        played = np.concatenate([one.play(span, temperature) for span in spans])
        of_baselines[baseline_name(one)] = figures_of(real, played, rate_hz, moves)
    ours = {name: column for name, column in columns.items() if name in MODEL_FILES}
    others = {name: column for name, column in columns.items() if name not in MODEL_FILES}
    return {**ours, **of_baselines, **others}


def check_out(path: Path) -> None:
    """Make sure, before long work, that a page could be written to `path`.

    Raises
    ------
    UsageError
        It is a folder, or what should be its folder is a file.
    """
    if path.is_dir():
        raise UsageError(f"{path} is a folder: give --out the name of a file, {path / 'report.html'} say")
    folder = next(folder for folder in path.absolute().parents if folder.exists())
    if not folder.is_dir():
        raise UsageError(f"{folder} is a file, so {path} cannot be written: give --out another name")


def write_whole(path: Path, data: bytes) -> None:
    """Write a file whole or not at all; what was there stays until then."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_bytes(data)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the arguments of `trainer report`."""
    argument = parser.add_argument
    argument("--run", type=Path, metavar="DIR", help="folder of a finished run: with the curves of its training")
    argument("--bundle", type=Path, metavar="DIR", help="folder of a bundle (default: that of the run, exported anew)")
    argument("--takes", type=Path, metavar="DIR", help="folder of the takes (default: those of the run)")
    argument(
        "--baseline", type=Path, action="append", default=[], metavar="DIR", help="of trainer baseline, to compare"
    )
    argument("--temperature", type=float, default=0.0, metavar="T", help="0 plays the mean (default), 1 draws")
    argument("--out", type=Path, required=True, metavar="FILE", help="the page to write, report.html say")


def main(args: argparse.Namespace) -> int:
    """Run `trainer report`."""
    check_range("--temperature", args.temperature, 0.0, LARGEST_TEMPERATURE)
    check_out(args.out)
    baselines = load_baselines(args.baseline)
    with open_subject(args.run, args.bundle, args.takes) as subject:
        page = build_page(gather(subject, baselines, args.temperature), int(time.time()))
    write_whole(args.out, page)
    print(f"{args.out}: {len(page) / 1e6:.1f} MB; open it in a browser, it needs no other file and no network")
    return 0
