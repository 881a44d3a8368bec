"""`python -m device check`: each part of the box tried in turn, with a verdict and what to do."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from device.box.status_client import is_running
from device.config import Config, load_what_can_be_used
from device.core.errors import UsageError

if TYPE_CHECKING:
    from device.check.verdict import Check, Context, Verdict

NAMES = ("config", "box", "state", "machine", "priority", "camera", "sound", "input", "panel", "model", "latency")
DEFAULT_S = 5.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `device check`."""
    argument = parser.add_argument
    argument("--only", metavar="NAME,...", help=f"these checks only: {', '.join(NAMES)}")
    argument("--camera", metavar="SOURCE", help="file:CLIP, picamera2, v4l2:/dev/videoN, gst:PIPELINE (as configured)")
    argument("--audio", metavar="alsa:PCM", help="the sound card (as configured)")
    argument("--audio-in", metavar="alsa:PCM|wav:FILE", help="the input (as configured)")
    argument("--seconds", type=float, default=DEFAULT_S, metavar="N", help="how long each is measured (%(default)g)")
    argument("--live", action="store_true", help="show a coarse picture and how much moves, to aim the camera by")
    argument("--camera-led", action="store_true", help="measure the camera's own delay, with the LED in its picture")
    argument("--config", type=Path, metavar="FILE", help="a TOML file that overrides the machine's")
    argument("--json", action="store_true", help="print one JSON object")


def main(args: argparse.Namespace) -> int:
    """Check.

    Returns
    -------
    int
        1 if something has failed.
    """
    from device.check.verdict import FAILED

    names = _names(args.only)
    config, broken = _load(args.config)
    context = _context(args, _with_options(args, config))
    if args.live or args.camera_led:
        return _look(args, context)
    verdicts = [] if broken is None else [broken]
    _show(verdicts, args.json)
    for name in names:
        if name != "config" or broken is None:
            verdicts.append(_run(name, context))
            _show(verdicts[-1:], args.json)
    has_failed = any(verdict.state == FAILED for verdict in verdicts)
    if args.json:
        checks = [verdict.to_json() for verdict in verdicts]
        print(json.dumps({"ok": not has_failed, "is_running": context.is_running, "checks": checks}))
    return int(has_failed)


def _look(args: argparse.Namespace, context: Context) -> int:
    """Do what is not a check of all: aim the camera, or measure its delay."""
    from device.check.camera import show_live
    from device.check.camera_led import check_camera_led
    from device.check.verdict import FAILED, tried

    if context.is_running:
        raise UsageError("the running box holds the camera: stop it first, systemctl stop dance-sampler")
    if args.live:
        show_live(context)
        return 0
    verdict = tried("camera led", check_camera_led, context, needs_devices=True)
    print(json.dumps(verdict.to_json()) if args.json else "\n".join(verdict.lines()))
    return int(verdict.state == FAILED)


def _run(name: str, context: Context) -> Verdict:
    from device.check.verdict import tried

    return tried(name, _check_of(name), context, needs_devices=name in ("camera", "sound", "input", "panel", "latency"))


def _check_of(name: str) -> Check:
    """Give a check; its module is imported only when it is run."""
    from device.check import camera, latency, machine, model, panel, sound

    checks: dict[str, Check] = {
        "config": machine.check_configuration,
        "box": machine.check_box,
        "state": machine.check_state,
        "machine": machine.check_machine,
        "priority": machine.check_priority,
        "camera": camera.check_camera,
        "sound": sound.check_sound,
        "input": sound.check_input_level,
        "panel": panel.check_panel,
        "model": model.check_model,
        "latency": latency.check_latency,
    }
    return checks[name]


def _names(only: str | None) -> list[str]:
    asked = NAMES if only is None else tuple(name.strip() for name in only.split(","))
    for name in asked:
        if name not in NAMES:
            raise UsageError(f"there is no check '{name}': choose from {', '.join(NAMES)}")
    return list(asked)


def _load(path: Path | None) -> tuple[Config, Verdict | None]:
    """Read the configuration as the box does, which leaves out what cannot be used."""
    from device.check.verdict import failure

    config, problems = load_what_can_be_used(path)
    return config, failure("config", "; ".join(problems)) if problems else None


def _with_options(args: argparse.Namespace, config: Config) -> Config:
    if args.camera is not None:
        from device.engine.cameras import check_source

        config = replace(config, camera=replace(config.camera, source=check_source(args.camera)))
    if args.audio is not None:
        kind, _, pcm = args.audio.partition(":")
        if kind != "alsa" or not pcm:
            raise UsageError(f"there is no sound card '{args.audio}': give --audio alsa:PCM")
        config = replace(config, audio=replace(config.audio, device=pcm))
    if args.audio_in is not None:
        from device.engine.openers import check_input

        source = check_input(args.audio_in, "--audio-in")
        config = replace(config, capture=replace(config.capture, audio_in=source))
    return config


def _context(args: argparse.Namespace, config: Config) -> Context:
    from device.check.verdict import Context
    from device.commands.plan import check_seconds

    check_seconds(args.seconds)
    is_interactive = sys.stdin.isatty() and sys.stdout.isatty() and not args.json
    say = lambda line: print(line, file=sys.stderr, flush=True)  # noqa: E731 - a name for it here
    return Context(config, args.seconds, is_interactive, is_running(Path(config.status.socket)), say)


def _show(verdicts: list[Verdict], as_json: bool) -> None:
    if not as_json:
        for verdict in verdicts:
            print("\n".join(verdict.lines()), flush=True)
