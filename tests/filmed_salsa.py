"""Salsa on video: recorded bodies before a simulated camera, with a sound that follows them by our theremin's mapping.

`python -m tests.filmed_salsa FOLDER` makes the videos on which the figures of "What it must show" were measured.
"""

from __future__ import annotations

import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tests.media_files import make_video
from tests.theremin import body_times, play_theremin
from trainer.filming.film import SALSA, View, film, load_body

FPS = 50
RATE_HZ = 48000
STILL_S = 1.0
VIEWS = (
    View(noise=1.0),
    View(yaw_deg=6, size=0.7, background=150, contrast=-90, shift_x=0.45, noise=1.0, seed=1),
)
"""The sound is that of the body seen from the front: from much farther aside other motion would be seen."""
HELD_OUT_DANCES = ("05", "10")


def make_filmed_salsa(folder: Path, dances: tuple[str, ...] = (), fps: float = FPS) -> tuple[list[Path], list[int]]:
    """Film all recordings, or those of some dances, in all views.

    Parameters
    ----------
    folder : Path
        Where the videos go: .mp4, H.264 and AAC.
    dances : tuple of str
        Numbers of dances, all unless given.
    fps : float

    Returns
    -------
    videos : list of Path
        In the order in which they should be imported.
    held_out : list of int
        Numbers that the takes of the held-out dances get, imported into an empty folder.
    """
    recordings = [path for path in sorted(SALSA.glob("*.npz")) if not dances or path.stem.endswith(dances)]
    jobs = [(path, folder / f"{path.stem}_view{v}.mp4", fps) for v in range(len(VIEWS)) for path in recordings]
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        # All views of a dance in one job: they share the sound, which takes longest.
        list(pool.map(_film_dance, [[job for job in jobs if job[0] == path] for path in recordings]))
    held_out = [number for number, job in enumerate(jobs, 1) if job[0].stem.endswith(HELD_OUT_DANCES)]
    return [job[1] for job in jobs], held_out


def _film_dance(jobs: list[tuple[Path, Path, float]]) -> None:
    body = load_body(jobs[0][0])
    duration_s = body.duration_s + 2 * STILL_S
    sound = play_theremin(body, body_times(duration_s, STILL_S), round(duration_s * RATE_HZ), RATE_HZ)
    for (_, video, fps), view in zip(jobs, VIEWS, strict=True):
        make_dance_video(video, jobs[0][0], view, duration_s, fps, sound)


def make_dance_video(
    video: Path, recording: Path, view: View, duration_s: float, fps: float, sound: npt.NDArray[np.float32] | None
) -> Path:
    """Film one dance, which begins after `STILL_S`, to a file."""
    times_s = np.arange(int(duration_s * fps)) / fps
    pictures = (frame.grey for frame in film(load_body(recording), times_s - STILL_S, view, 96, 128))
    options = {"preset": "superfast", "crf": "20"}
    return make_video(video, pictures, times_s, fps=fps, sound=sound, sound_rate_hz=RATE_HZ, options=options)


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    made, numbers = make_filmed_salsa(target)
    print(f"{len(made)} videos in {target}; hold out takes {' '.join(map(str, numbers))}")
