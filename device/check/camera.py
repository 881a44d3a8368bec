"""The camera: whether it opens, how fast and how bright it is, whether it sees anything move."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

import numpy as np

from device.check.eye import Eye, open_eye
from device.check.picture import in_blocks, in_letters, meter, stretched
from device.check.verdict import FAILED, GOOD, WARNING, Context, Verdict
from device.core.motiongram import Motiongram, MotionSettings
from device.engine.frame_bus import Arrival
from device.models.bundles import read_manifest
from device.models.model_store import chosen_bundle

DARK, BRIGHT, FLAT = 16.0, 240.0, 2.5
"""Grey levels: a mean below or above which little can be seen, a spread below which there is nothing to see."""
SLOW = 0.9
"""Part of the configured frame rate below which a camera is slow."""
LIVE_S = 0.15


@dataclass(frozen=True)
class Seen:
    """What a camera gave.

    Attributes
    ----------
    n_frames : int
    fps : float
        By the times of the frames.
    brightness, contrast : float
        Mean and standard deviation of the last picture, in grey levels.
    motion, most_motion : float
        Quantity of motion, in grey levels: its median and its maximum.
    age_ms : float
        From a frame's own time to its arrival, the median: what is known of the camera's delay without an LED.
    """

    n_frames: int
    fps: float
    brightness: float
    contrast: float
    motion: float
    most_motion: float
    age_ms: float


def check_camera(context: Context) -> Verdict:
    """Look for a while."""
    config, motion = context.config, motion_of(context)
    with open_eye(config, motion) as eye:
        seen = sum_up(eye.watch(context.seconds), motion)
    figures = {key: round(value, 2) for key, value in vars(seen).items()}
    found = (
        f"{config.camera.source}: {seen.fps:.1f} frames a second, brightness {seen.brightness:.0f} of 255, "
        f"{meter(seen.most_motion, 10)}"
    )
    state, remedy = judge(seen, config.camera.fps, is_clip=config.camera.source.startswith("file:"))
    return Verdict("camera", state, found, remedy, figures)


def motion_of(context: Context) -> MotionSettings:
    """Give what the model that plays makes columns with."""
    return read_manifest(chosen_bundle(context.config)).motion


def sum_up(arrivals: list[Arrival], motion: MotionSettings) -> Seen:
    """Sum up what came."""
    if len(arrivals) < 2:
        return Seen(len(arrivals), 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    motiongram = Motiongram(motion)
    quantities = [float(motiongram.push(each.frame).quantity) for each in arrivals]
    times_s = np.array([each.frame.time_s for each in arrivals])
    ages_s = np.array([each.arrival_s for each in arrivals]) - times_s
    last = arrivals[-1].frame.grey
    return Seen(
        len(arrivals),
        float(1.0 / np.median(np.diff(times_s))),
        float(last.mean()),
        float(last.std()),
        float(np.median(quantities)),
        max(quantities),
        1000.0 * float(np.median(ages_s)),
    )


def judge(seen: Seen, fps: float, *, is_clip: bool) -> tuple[str, str]:
    """Give a state and a remedy."""
    if seen.n_frames < 2:
        return FAILED, "check its cable"
    if seen.contrast < FLAT:
        return WARNING, "take its cap off, and point it at the room: there is nothing in the picture"
    if seen.brightness < DARK:
        return WARNING, "give the room more light, or raise camera.gain"
    if seen.brightness > BRIGHT:
        return WARNING, "lower camera.exposure_ms or camera.gain, or turn the camera away from the light"
    if seen.fps < SLOW * fps and not is_clip:
        return WARNING, f"give the room more light, or set camera.fps to {seen.fps:.0f}: it is slower than {fps:g}"
    return GOOD, ""


def show_live(context: Context) -> None:
    """Show what the camera sees and how much moves, until interrupted: to aim it by."""
    motion = motion_of(context)
    with open_eye(context.config, motion) as eye:
        try:
            _show(eye, motion)
        except KeyboardInterrupt:
            return


def _show(eye: Eye, motion: MotionSettings) -> None:
    motiongram = Motiongram(motion)
    has_colours = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    draw = in_blocks if has_colours else in_letters
    while True:
        arrivals = eye.watch(LIVE_S)
        if not arrivals:
            continue
        moved = max(float(motiongram.push(each.frame).quantity) for each in arrivals)
        last = arrivals[-1].frame.grey
        lines = [*draw(stretched(last)), f"{meter(moved)}  brightness {last.mean():3.0f}  interrupt (Ctrl-C) to end"]
        sys.stdout.write(("\033[H\033[J" if has_colours else "") + "\n".join(lines) + "\n")
        sys.stdout.flush()
