"""`python -m device calibrate`: look at a room, say what was found, and store it for playing.

Nobody has to leave or to stand still: what moves is left out. But what was never quiet cannot be learned.
"""

from __future__ import annotations

import argparse
import json
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path

from device.commands.plan import bundle_path, check_seconds
from device.config import Config, load_config
from device.core.errors import CameraError, ConfigError, UsageError
from device.core.motiongram import MotionSettings
from device.core.room import DANCED_S, RoomMotiongram, RoomState
from device.core.room_profile import RoomProfile, RoomSettings
from device.core.room_size import TYPICAL_SIZE
from device.core.timeline import Timeline
from device.edges.camera import Camera
from device.engine.cameras import NAMES, check_source
from device.store.rooms import load_room, room_path, save_room

DEFAULT_S = 30.0
QUIET_S = 2.0
"""A calibration is short: it may learn from a shorter quiet than a show."""
AVERAGED_S, AFRESH_S = 600.0, 5.0
"""Noise is averaged over all of it, or, where it was known before, learned anew in so long."""
DANCER_TIME_S = 4.0
AUDIBLE_SHARE = 0.01
FLICKERS = 0.5
"""Grey levels of light taken out of the mean frame above which people are told that it flickers."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `device calibrate`."""
    argument = parser.add_argument
    argument("--camera", metavar="CAMERA", help=f"what looks at the room: {NAMES} (default: as configured)")
    argument("--seconds", type=float, default=DEFAULT_S, metavar="N", help="how long to look (default: %(default)g)")
    argument("--dance", action="store_true", help="somebody dances in place: learn how tall dancers are in the picture")
    argument("--room", type=Path, metavar="FILE", help="where it is stored (default: as configured)")
    argument(
        "--model", type=Path, metavar="BUNDLE", help="folder of the bundle that will play (default: as configured)"
    )
    argument("--config", type=Path, metavar="FILE", help="a TOML file that overrides the machine's configuration")
    argument("--json", action="store_true", help="print what was found as one JSON object")


def main(args: argparse.Namespace) -> int:
    """Look, store, say what was found.

    Returns
    -------
    int
        1 if nothing could be learned; then nothing is stored.
    """
    config = load_config(args.config)
    source = check_source(args.camera or config.camera.source)
    check_seconds(args.seconds)
    path = args.room or room_path(config.room, Path(config.state.folder))
    if path is None:
        raise UsageError("there is no place for the room's profile on this machine: give --room FILE")
    motion = _motion_settings(args.model, config)
    before = _known_before(path, motion)
    room = _look(source, config, motion, args.seconds, before if args.dance else None)
    state, why_not = room.state, _why_not(room.state, args.dance)
    if why_not is None:
        save_room(path, _profile(room, args.dance, before))
    if args.json:
        print(json.dumps({"stored": None if why_not else str(path), "why_not": why_not, **_rounded(state)}))
    else:
        print("\n".join([*describe(state, args.dance), why_not or f"stored    {path}"]))
    return int(why_not is not None)


def _motion_settings(model: Path | None, config: Config) -> MotionSettings:
    """Settings of the bundle that will play: noise is learned pixel by pixel, in its size of pictures."""
    from device.models.bundles import read_manifest

    return read_manifest(bundle_path(model, config)).motion


def _known_before(path: Path, motion: MotionSettings) -> RoomProfile | None:
    """What an earlier calibration left; what is damaged, or for another bundle, is about to be replaced anyway."""
    try:
        profile = load_room(path)
    except ConfigError:
        return None
    return profile if profile is not None and profile.noise.shape == (motion.height, motion.width) else None


def _look(
    source: str, config: Config, motion: MotionSettings, seconds: float, before: RoomProfile | None
) -> RoomMotiongram:
    from device.engine.openers import open_camera, sized

    learning = RoomSettings(quiet_s=QUIET_S, learn_s=AVERAGED_S if before is None else AFRESH_S, size_s=DANCER_TIME_S)
    room = RoomMotiongram(motion, before, learning)
    with closing(open_camera(source, sized(config.camera, motion))) as camera:
        n_frames = watch(camera, room, seconds)
    if n_frames < 2:
        raise CameraError(f"{source} gave fewer than two pictures: look for longer, or give a longer video")
    return room


def watch(camera: Camera, room: RoomMotiongram, seconds: float) -> int:
    """Show a room what a camera sees, for some seconds; give the number of frames."""
    timeline, n_frames, first_s = Timeline(), 0, None
    while (frame := camera.read()) is not None:
        time_s = timeline.steady(frame.time_s)
        if time_s is None:
            continue
        first_s = time_s if first_s is None else first_s
        if time_s - first_s >= seconds:
            break
        room.push(replace(frame, time_s=time_s))
        n_frames += 1
    return n_frames


def _profile(room: RoomMotiongram, dance: bool, before: RoomProfile | None) -> RoomProfile:
    """What is to be stored: whoever only passed by says nothing of dancers, so what was known of them is kept."""
    if dance:
        return room.profile
    size, has_danced = (TYPICAL_SIZE, False) if before is None else (before.size, before.has_danced)
    return replace(room.profile, size=size, has_danced=has_danced)


def _why_not(state: RoomState, dance: bool) -> str | None:
    """Say in one line why nothing was learned, and what to do; None if something was."""
    if dance and state.moved_s < DANCED_S:
        return (
            f"nobody danced for {DANCED_S:g} s, nothing was stored: calibrate again with a dancer in place, "
            "or without --dance"
        )
    if state.learned_share == 0.0:
        return (
            f"no part of the picture was quiet for {QUIET_S:g} s, nothing was stored: look for longer with --seconds, "
            "empty the stage, or let the box learn while it plays"
        )
    return None


def describe(state: RoomState, dance: bool) -> list[str]:
    """Say what was found in a few lines."""
    return [
        f"looked at {state.n_frames} frames",
        f"noise     {_noise_in_words(state)}",
        f"light     {_light_in_words(state)}",
        f"motion    {_motion_in_words(state)}",
        *([f"dancer    {_dancer_in_words(state)}"] if dance and state.moved_s >= DANCED_S else []),
    ]


def _noise_in_words(state: RoomState) -> str:
    if state.learned_share == 0.0:
        return "unknown: something moved everywhere"
    level = f"{state.noise:.1f} grey levels from frame to frame"
    if state.noisy_share < AUDIBLE_SHARE:
        return f"{level}: too little to be heard"
    return f"{level}, enough to be heard in {100 * state.noisy_share:.0f}% of the picture: it will be left out"


def _light_in_words(state: RoomState) -> str:
    parts = []
    if state.flicker >= FLICKERS:
        parts.append(f"flickers by {state.flicker:.1f} grey levels: it will be taken out")
    if state.n_light_steps:
        times = "once" if state.n_light_steps == 1 else f"{state.n_light_steps} times"
        parts.append(f"was switched {times}: such moments stay silent")
    return "; ".join(parts) or "steady"


def _motion_in_words(state: RoomState) -> str:
    if state.n_moving_seconds == 0:
        return "none: the stage was empty"
    moved = f"in {state.n_moving_seconds} of {state.n_seconds} s"
    if state.learned_share == 0.0:
        return f"{moved}, everywhere"
    if state.learned_share < 1.0:
        return f"{moved}: {100 * state.learned_share:.0f}% of the picture were quiet, the rest is taken to be like them"
    return f"{moved}: only the quiet moments of each part of the picture were used"


def _dancer_in_words(state: RoomState) -> str:
    height = f"as tall as {100 * state.size:.0f}% of the picture"
    return f"{height}: played as seen" if state.zoom == 1.0 else f"{height}: played {state.zoom:.2f} times as large"


def _rounded(state: RoomState) -> dict[str, object]:
    return {key: round(value, 4) if isinstance(value, float) else value for key, value in asdict(state).items()}
