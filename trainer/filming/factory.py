"""The factory's bundle and clip, made anew: `python -m trainer factory --work DIR`.

The recorded salsa (`trainer/salsa`) is filmed by simulated cameras in many rooms, sizes, lights and clothes, so that
the model plays for other bodies too, and the factory's instrument (`trainer.filming.instrument`) plays to it. Two
dances are held out: their figures go into the bundle, and one of them is the clip of the demo.
"""

from __future__ import annotations

import argparse
import shutil
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from fractions import Fraction
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from device.core.motiongram import Motiongram, MotionSettings
from device.models.bundles import FACTORY
from device.store.store import TakeWriter, allocate, list_takes
from trainer.exporting.export import export
from trainer.filming.film import SALSA, View, film, load_body, random_view
from trainer.filming.instrument import play
from trainer.learning.command import run_settings, train
from trainer.settings import PRESETS

NAME = "salsa"
N_VIEWS = 6
STILL_S = 2.5
"""The body stands still this long before and after each dance: what silence looks like must be learned too."""
FRAME_RATES = (25, 30, 50, 60)
RATE_HZ = 48000
HELD_OUT_DANCES = ("05", "09")
CLIP = "dance.mp4"
CLIP_BODY, CLIP_S, CLIP_FPS = "61_09", 20.0, 50
CLIP_VIEW = View(size=0.8, shift_x=0.5, background=40, contrast=120, gradient=30, noise=0.0, flicker=0.0, seed=5)


def recordings() -> list[Path]:
    """All recorded dances, those held out last."""
    paths = sorted(SALSA.glob("*.npz"))
    return sorted(paths, key=lambda path: path.stem.endswith(HELD_OUT_DANCES))


def make_take(job: tuple[Path, int, Path, Path]) -> None:
    """Film one dance in one view and play to it.

    Parameters
    ----------
    job : tuple
        Recording, seed of the view, folder of takes, and the take's own folder, already allocated.
    """
    path, seed, takes_dir, folder = job
    body, view = load_body(path), random_view(seed)
    duration_s = body.duration_s / view.speed + 2 * STILL_S
    fps = FRAME_RATES[seed % len(FRAME_RATES)]
    times_s = np.arange(int(duration_s * fps)) / fps
    motiongram = Motiongram(MotionSettings())
    # The dance begins after STILL_S: until then, and after its end, the film shows a body that stands.
    frames = film(body, times_s - STILL_S, view)
    columns = np.array([motiongram.push(frame).column for frame in frames])
    sound = play(body, duration_s, RATE_HZ, start_s=-STILL_S, speed=view.speed, seed=seed)
    source: dict[str, object] = {"name": body.name, "view": seed, "kind": "simulated camera, factory instrument"}
    writer = TakeWriter(takes_dir, MotionSettings(), RATE_HZ, source, folder=folder)
    writer.add_columns(columns, times_s)
    writer.add_sound(sound, 0.0)
    writer.finish()


def make_takes(takes_dir: Path) -> list[int]:
    """Film all dances in all views; numbers of the takes that are held out."""
    jobs: list[tuple[Path, int, Path, Path]] = []
    held_out: list[int] = []
    for path in recordings():
        is_held_out = path.stem.endswith(HELD_OUT_DANCES)
        for view in range(1 if is_held_out else N_VIEWS):
            folder = allocate(takes_dir)
            jobs.append((path, len(jobs) * 101 + view, takes_dir, folder))
            if is_held_out:
                held_out.append(int(folder.name))
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        list(pool.map(make_take, jobs))
    return held_out


def make_clip(path: Path) -> None:
    """Film the demo's dance to a video: H.264, 320x240, without sound."""
    import av

    body = load_body(SALSA / f"{CLIP_BODY}.npz")
    times_s = np.arange(int(CLIP_S * CLIP_FPS)) / CLIP_FPS
    options = {"crf": "27", "preset": "veryslow", "tune": "animation"}
    with av.open(str(path), "w") as video:
        stream = video.add_stream("libx264", rate=CLIP_FPS, options=options)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for number, frame in enumerate(film(body, times_s - 1.0, CLIP_VIEW, 240, 320)):
            picture = av.VideoFrame.from_ndarray(frame.grey, format="gray")
            picture.pts, picture.time_base = number, Fraction(1, CLIP_FPS)
            video.mux(stream.encode(picture))
        video.mux(stream.encode(None))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the arguments of `trainer factory`."""
    argument = parser.add_argument
    argument("--work", type=Path, required=True, metavar="DIR", help="folder for takes and run (about 500 MB)")
    argument("--preset", choices=list(PRESETS), default="standard", help="how long to train (%(default)s)")
    argument("--bundle", type=Path, default=FACTORY, metavar="DIR", help="where it goes (the factory's place)")


def main(args: argparse.Namespace) -> int:
    """Make takes, train, export, film the clip; whole takes and the steps of a run are not made again."""
    takes_dir, finished = args.work / "takes", args.work / "held-out.txt"
    if not finished.exists():
        shutil.rmtree(takes_dir, ignore_errors=True)
        takes_dir.mkdir(parents=True)
        finished.write_text(" ".join(map(str, make_takes(takes_dir))))
    held_out = [int(number) for number in finished.read_text().split()]
    takes = list_takes(takes_dir)
    # As narrow as quick is: the repository carries it, and a new box may be the slowest.
    narrow = PRESETS["quick"]
    preset = replace(PRESETS[args.preset], n_hidden=narrow.n_hidden, n_filters=narrow.n_filters)
    train(takes, args.work / "run", run_settings(takes, preset, held_out_takes=held_out))
    manifest = export(args.work / "run", args.bundle, NAME)
    make_clip(args.bundle.parent / CLIP)
    print(f"{args.bundle}: {NAME}, version {manifest.version}, and {CLIP} beside it")
    return 0
