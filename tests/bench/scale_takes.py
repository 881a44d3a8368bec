"""Takes of any length, made straight from joint positions: no picture is drawn, no video coded.

What a column would be is worked out from where each bone is and how fast it moves; the sound is a voice whose loudness
is that motion and whose pitch is its height. Every dance is another view of a recorded one: side, size, place, speed.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import numpy.typing as npt

from device.core.motiongram import MotionSettings
from device.store.store import TakeWriter, allocate
from trainer.filming.film import SALSA, load_body, project, random_view

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

FPS = 50.0
RATE_HZ = 48000
MOTION = MotionSettings()
TAKE_S = 600.0
STILL_S = 1.0
SPREAD_PX = 2.0
"""How far around a joint its bone moves pixels."""
GREY_PER_PX = 0.6
"""Grey levels that a joint adds to its row when it moves by a pixel in the difference time."""
QUIETEST = 0.05
N_PARTIALS = 3


@dataclass(frozen=True)
class TakeJob:
    """One take to make."""

    folder: Path
    duration_s: float
    seed: int


def make_scale_takes(takes_dir: Path, duration_s: float, take_s: float = TAKE_S) -> None:
    """Make takes of `take_s` that last so long in all, each of other dances in other views, on all processors."""
    takes_dir.mkdir(parents=True, exist_ok=True)
    n_takes = max(1, round(duration_s / take_s))
    jobs = [TakeJob(allocate(takes_dir), duration_s / n_takes, seed) for seed in range(n_takes)]
    if n_takes == 1:
        make_scale_take(jobs[0])
        return
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        list(pool.map(make_scale_take, jobs))


def make_scale_take(job: TakeJob) -> None:
    """Write one take, dance by dance."""
    writer = TakeWriter(job.folder.parent, MOTION, RATE_HZ, {"name": f"scale {job.seed}"}, folder=job.folder)
    recordings = sorted(SALSA.glob("*.npz"))
    rng = np.random.default_rng(job.seed)
    n_left, n_done, n_samples = round(job.duration_s * FPS), 0, round(RATE_HZ / FPS)
    while n_left > 0:
        columns = dance_columns(recordings[rng.integers(len(recordings))], int(rng.integers(2**31)))[:n_left]
        writer.add_columns(columns, (n_done + np.arange(len(columns))) / FPS)
        writer.add_sound(sound_of(columns, n_samples), n_done / FPS)
        n_left, n_done = n_left - len(columns), n_done + len(columns)
    writer.finish()


def dance_columns(recording: Path, seed: int) -> Float32:
    """Columns of one dance as a view would see it, shape (n, height + width), float32; it stands still at its ends."""
    body, view = load_body(recording), random_view(seed)
    times_s = np.arange(-STILL_S, body.duration_s / view.speed + STILL_S, 1.0 / FPS)
    joints = project(body.at(times_s * view.speed), view, MOTION.height, MOTION.width)[..., :2]
    n_back = max(1, round(MOTION.difference_time_s * FPS))
    moved_px = np.zeros(joints.shape[:2])
    moved_px[n_back:] = np.linalg.norm(joints[n_back:] - joints[:-n_back], axis=2)  # (n, n_joints)
    strength = GREY_PER_PX * abs(view.contrast) / 100.0 * np.where(moved_px > QUIETEST, moved_px, 0.0)
    parts = []
    for axis, size in ((1, MOTION.height), (0, MOTION.width)):
        apart = (joints[..., axis, np.newaxis] - np.arange(size)) / SPREAD_PX  # (n, n_joints, size)
        parts.append((strength[..., np.newaxis] * np.exp(-0.5 * apart.astype(np.float32) ** 2)).sum(axis=1))
    columns: Float32 = np.concatenate(parts, axis=1).astype(np.float32)
    return columns


def sound_of(columns: Float32, n_samples: int) -> Float32:
    """A voice that follows columns, `n_samples` for each: shape (n * n_samples,), float32."""
    rows = columns[:, : MOTION.height].astype(np.float64)
    quantity = rows.mean(axis=1)
    height = rows @ (1.0 - np.arange(MOTION.height) / MOTION.height) / (rows.sum(axis=1) + 1e-6)
    times = np.arange(len(columns) * n_samples) / n_samples
    at = np.arange(len(columns))
    level = np.interp(times, at, np.clip(quantity / 4.0, 0.0, 1.0)).astype(np.float32)
    f0_hz = 110.0 * 2.0 ** (2.0 * np.interp(times, at, height))
    phase = (2.0 * np.pi * np.cumsum(f0_hz) / RATE_HZ % (2.0 * np.pi)).astype(np.float32)
    voice = sum((np.sin(n * phase) / n for n in range(1, N_PARTIALS + 1)), np.zeros(len(phase), np.float32))
    return (0.3 * level * voice).astype(np.float32)
