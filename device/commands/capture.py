"""`device capture`: one take of a dance and its music, without the rest of the box."""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path

from device.capture.recorder import News
from device.capture.session import Session, SessionSettings
from device.capture.take_settings import take_settings
from device.commands.plan import check_seconds
from device.config import Config, load_config
from device.console import Progress, until_stopped
from device.core.errors import UsageError
from device.engine.cameras import NAMES, check_source, clip_of
from device.engine.openers import check_input, open_camera, open_input
from device.engine.realtime import Urgency


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `device capture`."""
    argument = parser.add_argument
    argument("--camera", metavar="CAMERA", help=f"what sees the dance: {NAMES} (default: as configured)")
    argument("--audio-in", metavar="alsa:PCM|wav:FILE", help="what hears its music (default: as configured)")
    argument("--takes", type=Path, required=True, metavar="DIR", help="the folder that the take joins")
    argument("--seconds", type=float, metavar="N", help="end the take at this length (default: with Ctrl-C)")
    argument("--config", type=Path, metavar="FILE", help="a TOML file that overrides the machine's configuration")
    argument("--json", action="store_true", help="print what was recorded as one JSON object")


def main(args: argparse.Namespace) -> int:
    """Record one take, then say what is in it; interrupting it is the way to end it."""
    config = load_config(args.config)
    camera = check_source(args.camera or config.camera.source)
    audio_in = check_input(args.audio_in or config.capture.audio_in, "--audio-in")
    if args.seconds is not None:
        check_seconds(args.seconds)
    if args.takes.exists() and not args.takes.is_dir():
        raise UsageError(f"{args.takes} is a file: give --takes a folder")
    saved = _record(_session(config, camera, audio_in, args.takes, args.seconds))
    said = {"take": str(saved.path), **saved.facts}
    print(json.dumps(said) if args.json else _describe(said))
    return 0


def _session(config: Config, camera: str, audio_in: str, takes_dir: Path, seconds: float | None) -> Session:
    settings = SessionSettings(
        take=take_settings(config, "capture", (config.camera.height, config.camera.width), takes_dir, camera, audio_in),
        rate_hz=config.audio.rate_hz,
        period=config.audio.period,
        urgency=Urgency(config.engine.realtime_priority, config.engine.lock_memory),
        is_clip=clip_of(camera) is not None,
        is_file=audio_in.startswith("wav:"),
        seconds=seconds,
    )
    hear = partial(open_input, audio_in, settings.rate_hz, settings.period, config.capture)
    return Session(partial(open_camera, camera, config.camera), hear, settings)


def _record(session: Session) -> News:
    try:
        with until_stopped() as stop, Progress("recorded {:.1f} s, {:.0f} dBFS") as progress:
            session.start()
            while session.saved is None:
                session.watch()
                progress(session.recorded_s, session.microphone.level_dbfs)
                if stop.is_set():
                    session.stop()
            return session.saved
    finally:
        session.close()


def _describe(said: dict[str, object]) -> str:
    marks = f"; {said['marks']}" if said["marks"] else ""
    return f"{said['take']}  {said['duration_s']} s{marks}"
