"""Makes takes from videos with sound, several at once; a bad video stops no other and leaves nothing behind."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

from tqdm import tqdm

from device.config import load_config
from device.core.errors import TakeError, UsageError
from device.core.motiongram import MotionSettings
from device.store.store import FACTS, Take, read_facts
from trainer.importing import media
from trainer.importing.jobs import ImportTask, Outcome, one_by_one, side_by_side


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `trainer import`."""
    parser.add_argument("videos", type=Path, nargs="+", metavar="VIDEO", help="video of a dance, with its sound")
    parser.add_argument("--takes", type=Path, required=True, metavar="DIR", help="folder that the takes go to")
    parser.add_argument("--jobs", type=int, metavar="N", help="videos at once (by default as many as cores)")
    parser.add_argument("--config", type=Path, metavar="FILE", help="a TOML file that overrides the machine's")


def main(args: argparse.Namespace) -> int:
    """Import videos, say what became of each."""
    config = load_config(args.config)
    settings = MotionSettings(config.camera.height, config.camera.width, **asdict(config.motion))
    n_jobs = args.jobs if args.jobs is not None else os.cpu_count() or 1
    outcomes = import_videos(
        args.videos, args.takes, settings, config.audio.rate_hz, n_jobs, sys.stderr.isatty(), say=_say
    )
    return 0 if all(outcome.take for outcome in outcomes) else 1


def import_videos(
    paths: Sequence[Path],
    takes_dir: Path,
    settings: MotionSettings,
    rate_hz: int,
    n_jobs: int,
    progress: bool = False,
    say: Callable[[Outcome], None] | None = None,
) -> list[Outcome]:
    """Make a take of each video, numbered in the order of `paths`; a bad one leaves nothing behind and stops no other.

    Parameters
    ----------
    paths : sequence of Path
        Videos.
    takes_dir : Path
        Where takes lie; made if missing.
    settings : MotionSettings
        What the columns are made with.
    rate_hz : int
        Samples of sound per second in the takes.
    n_jobs : int
        Videos at once, each in a process of its own; 1 works in this process.
    progress : bool
        Show a bar on standard error.
    say : callable, optional
        Told of each video as it is done.

    Returns
    -------
    list of Outcome
        In the order of `paths`.

    Raises
    ------
    UsageError
        `n_jobs` is below 1.
    TakeError
        No take can be made in `takes_dir`.
    """
    if n_jobs < 1:
        raise UsageError(f"{n_jobs} videos at once cannot be: choose 1 or more")
    is_new = not takes_dir.exists()
    known = _known_sources(takes_dir)
    outcomes: dict[int, Outcome] = {}
    total_s = round(sum(map(media.duration_s, paths)), 1) if progress else 0.0
    try:
        with tqdm(total=total_s or None, unit="s", disable=not progress, desc="importing") as bar:
            run = one_by_one if min(n_jobs, len(paths)) == 1 else side_by_side
            for index, outcome in run(ImportTask(takes_dir, settings, rate_hz), paths, n_jobs, bar.update):
                outcomes[index] = _with_twin(outcome, known)
                if say is not None:
                    with tqdm.external_write_mode(sys.stderr):
                        say(outcomes[index])
            bar.update(max(total_s - bar.n, 0.0))
    finally:
        if is_new and not any(outcome.take for outcome in outcomes.values()):
            with suppress(OSError):
                takes_dir.rmdir()
    return [outcomes[index] for index in range(len(paths))]


def _known_sources(takes_dir: Path) -> dict[str, str]:
    """Which take each source is in already: take by sha256."""
    known: dict[str, str] = {}
    for facts_file in sorted(takes_dir.glob(f"*/{FACTS}")):
        with suppress(TakeError):
            known.setdefault(str(read_facts(facts_file.parent, FACTS).source.get("sha256")), facts_file.parent.name)
    return known


def _with_twin(outcome: Outcome, known: dict[str, str]) -> Outcome:
    """Say so if the same video was imported before."""
    if outcome.take is None:
        return outcome
    sha256 = str(read_facts(outcome.take, FACTS).source["sha256"])
    twin = known.setdefault(sha256, outcome.take.name)
    if twin == outcome.take.name:
        return outcome
    note = f"{outcome.video} is also in take {twin}: delete one, unless it shall count twice"
    return replace(outcome, notes=(*outcome.notes, note))


def _say(outcome: Outcome) -> None:
    if outcome.take is None:
        print(f"trainer: {' '.join(outcome.error.split())}", file=sys.stderr)
        return
    for note in outcome.notes:
        print(f"trainer: {note}", file=sys.stderr)
    take = Take.open(outcome.take, check=False)
    fps = (take.n_columns - 1) / take.duration_s
    print(f"{outcome.take.name}  {outcome.video.name}  {take.duration_s:.1f} s  {fps:.1f} fps", flush=True)
