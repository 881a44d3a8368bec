"""What `device perform` is asked for: its options, put together with the configuration and checked."""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from pathlib import Path

from device.config import Config
from device.core.errors import UsageError
from device.engine.cameras import NAMES, check_source, clip_of


@dataclass(frozen=True)
class Plan:
    """What is to be performed, once options and configuration have been put together.

    Attributes
    ----------
    camera : str
        What sees the dance, as `device.engine.cameras.check_source` has it.
    clip : Path or None
        The video, if that is one.
    audio, target : str
        'wav' and a file, or 'alsa' and the name of a PCM.
    clock : str
        'virtual' or 'real'.
    mode : str
        'stream' or 'segment'.
    variant : str
        'f16' or 'int8'.
    temperature : float or None
        None: the bundle's own.
    seed : int
        Of the noise and the synth's phases.
    seconds : float or None
        Length at which the dance is cut.
    report : Path or None
        Folder of the report.
    """

    camera: str
    clip: Path | None
    audio: str
    target: str
    clock: str
    mode: str
    variant: str
    temperature: float | None
    seed: int
    seconds: float | None
    report: Path | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `device perform`."""
    parser.add_argument("--camera", required=True, metavar="CAMERA", help=f"what sees the dance: {NAMES}")
    parser.add_argument("--audio", metavar="wav:FILE|alsa:PCM", help="where it is heard (default: the configured card)")
    parser.add_argument(
        "--model", type=Path, metavar="BUNDLE", help="folder of the bundle that plays (default: as configured)"
    )
    parser.add_argument(
        "--variant", choices=["f16", "int8"], help="which of the bundle's models (default: as configured)"
    )
    parser.add_argument("--mode", choices=["stream", "segment"], help="play each frame at once, or segment by segment")
    parser.add_argument(
        "--temperature", type=float, metavar="T", help="how far the play strays from the mean (0: not at all)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of what is random in it (default: 0)")
    parser.add_argument(
        "--clock",
        choices=["virtual", "real"],
        help="as fast as it can, or in time (default: virtual from a video to a WAV, else real)",
    )
    parser.add_argument("--seconds", type=float, metavar="N", help="end the dance at this length")
    parser.add_argument("--report", type=Path, metavar="DIR", help="leave performance.png and summary.json there")
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="a TOML file that overrides the machine's configuration"
    )
    parser.add_argument("--json", action="store_true", help="print the figures as one JSON object")


def make_plan(args: argparse.Namespace, config: Config) -> Plan:
    """Put options and configuration together.

    Raises
    ------
    UsageError
        An option cannot be used.
    """
    clip = clip_of(check_source(args.camera))
    audio, _, target = (args.audio or f"alsa:{config.audio.device}").partition(":")
    if audio not in ("wav", "alsa") or not target:
        raise UsageError(f"there is no audio output '{args.audio}': give --audio wav:FILE or --audio alsa:PCM")
    if audio == "wav":
        _check_target(Path(target), clip)
    if clip is None and args.clock == "virtual":
        raise UsageError("a live camera plays in real time: leave --clock virtual out, or give --camera file:CLIP")
    if args.seconds is not None:
        check_seconds(args.seconds)
    if args.temperature is not None and not 0.0 <= args.temperature <= 2.0:
        raise UsageError(f"--temperature {args.temperature:g} cannot be played: give 0 to 2")
    if args.seed < 0:
        raise UsageError(f"--seed {args.seed} cannot be used: give 0 or more")
    if args.report is not None and args.report.exists() and not args.report.is_dir():
        raise UsageError(f"{args.report} is a file: give --report a folder")
    configured = None if config.model.temperature < 0 else config.model.temperature
    return Plan(
        camera=args.camera,
        clip=clip,
        audio=audio,
        target=target,
        clock=args.clock or ("virtual" if audio == "wav" and clip is not None else "real"),
        mode=args.mode or config.model.mode,
        variant=args.variant or config.model.variant,
        temperature=configured if args.temperature is None else args.temperature,
        seed=args.seed,
        seconds=args.seconds,
        report=args.report,
    )


def check_seconds(seconds: float) -> None:
    """Raise UsageError unless this is a length."""
    if not (math.isfinite(seconds) and seconds > 0.0):
        raise UsageError(f"--seconds {seconds:g} is no length: give more than 0")


def bundle_path(model: Path | None, config: Config) -> Path:
    """Where the bundle lies that plays: as `--model` says, else as configured, else the installed or factory's."""
    from device.models.model_store import chosen_bundle

    return model or chosen_bundle(config)


def _check_target(target: Path, clip: Path | None) -> None:
    """Raise UsageError if a WAV in this place would cost its owner the dance, or a file that is no performance."""
    try:
        is_dance = clip is not None and target.exists() and clip.exists() and target.samefile(clip)
        is_kept = target.exists() and not target.is_dir() and not _is_wav_or_empty(target)
    except OSError:
        return  # Where a file cannot even be looked at, none can be made either: the output says so.
    if is_dance:
        raise UsageError(f"{target} is the dance itself: it would be lost; give another name")
    if is_kept:
        raise UsageError(f"{target} is not a WAV: it would be lost; give another name")


def _is_wav_or_empty(path: Path) -> bool:
    if not path.is_file():
        return False  # A device or a pipe: to read it might take for ever.
    try:
        with path.open("rb") as file:
            head = file.read(12)
    except OSError:
        return False
    return not head or (head[:4] == b"RIFF" and head[8:] == b"WAVE")
