"""`python -m device perform`: a dance, from a camera or a video, becomes sound on a card or in a WAV."""

from __future__ import annotations

import argparse
import json
import math
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from device.config import Config, load_config
from device.core.errors import UsageError

if TYPE_CHECKING:
    from types import FrameType

    from device.edges.audio import AudioOutput
    from device.edges.camera import Camera
    from device.engine import Performance, Tape, Voice
    from device.models import Bundle

LIVE_CAMERAS = ("picamera2", "v4l2", "gst")
PROGRESS_PERIOD_S = 0.25


@dataclass(frozen=True)
class Plan:
    """What is to be performed, once options and configuration have been put together.

    Attributes
    ----------
    clip : Path
        The video that is danced.
    audio, target : str
        'wav' and a file, or 'alsa' and the name of a PCM.
    clock : str
        'virtual' or 'real'.
    mode : str
        'stream' or 'segment'.
    temperature : float or None
        None: the bundle's own.
    seed : int
        Of the noise and the synth's phases.
    seconds : float or None
        Length at which the clip is cut.
    report : Path or None
        Folder of the report.
    """

    clip: Path
    audio: str
    target: str
    clock: str
    mode: str
    temperature: float | None
    seed: int
    seconds: float | None
    report: Path | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `device perform`."""
    parser.add_argument("--camera", required=True, metavar="file:CLIP", help="the dance: any video")
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
        help="as fast as it can, or in time (default: virtual for a WAV, else real)",
    )
    parser.add_argument("--seconds", type=float, metavar="N", help="cut the dance at this length")
    parser.add_argument("--report", type=Path, metavar="DIR", help="leave performance.png and summary.json there")
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="a TOML file that overrides the machine's configuration"
    )
    parser.add_argument("--json", action="store_true", help="print the figures as one JSON object")


def main(args: argparse.Namespace) -> int:
    """Perform, then say how it went; interrupting it is a way to end it, and no failure."""
    from device.models import FACTORY, load_bundle

    config = load_config(args.config)
    plan = make_plan(args, config)
    path = args.model or (Path(config.model.bundle) if config.model.bundle else FACTORY)
    bundle = load_bundle(path, args.variant or config.model.variant, config.model.runtime)
    with _until_stopped() as stop:
        performance, tape = _perform(plan, config, bundle, stop)
    summary = summarise(plan, bundle, performance)
    if plan.report is not None and tape is not None:
        from device.report import write_report

        write_report(plan.report, summary, performance, tape, bundle.manifest.motion.height)
    print(json.dumps(summary) if args.json else describe(plan, summary, performance))
    return 0


def make_plan(args: argparse.Namespace, config: Config) -> Plan:
    """Put options and configuration together.

    Raises
    ------
    UsageError
        An option cannot be used.
    """
    camera, _, clip = args.camera.partition(":")
    if camera in LIVE_CAMERAS:
        raise UsageError(f"this version cannot open the camera '{args.camera}': give a video, --camera file:CLIP")
    if camera != "file" or not clip:
        raise UsageError(f"there is no camera '{args.camera}': give a video, --camera file:CLIP")
    audio, _, target = (args.audio or f"alsa:{config.audio.device}").partition(":")
    if audio not in ("wav", "alsa") or not target:
        raise UsageError(f"there is no audio output '{args.audio}': give --audio wav:FILE or --audio alsa:PCM")
    if audio == "wav":
        _check_target(Path(target), Path(clip))
    if args.seconds is not None and not (math.isfinite(args.seconds) and args.seconds > 0.0):
        raise UsageError(f"--seconds {args.seconds:g} is no length: give more than 0")
    if args.temperature is not None and not 0.0 <= args.temperature <= 2.0:
        raise UsageError(f"--temperature {args.temperature:g} cannot be played: give 0 to 2")
    if args.seed < 0:
        raise UsageError(f"--seed {args.seed} cannot be used: give 0 or more")
    if args.report is not None and args.report.exists() and not args.report.is_dir():
        raise UsageError(f"{args.report} is a file: give --report a folder")
    configured = None if config.model.temperature < 0 else config.model.temperature
    return Plan(
        clip=Path(clip),
        audio=audio,
        target=target,
        clock=args.clock or ("virtual" if audio == "wav" else "real"),
        mode=args.mode or config.model.mode,
        temperature=configured if args.temperature is None else args.temperature,
        seed=args.seed,
        seconds=args.seconds,
        report=args.report,
    )


def _check_target(target: Path, clip: Path) -> None:
    """Raise UsageError if a WAV in this place would cost its owner the dance, or a file that is no performance."""
    try:
        is_dance = target.exists() and clip.exists() and target.samefile(clip)
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


def _perform(plan: Plan, config: Config, bundle: Bundle, stop: threading.Event) -> tuple[Performance, Tape | None]:
    from device.core.synth import Synth
    from device.edges.camera_file import CameraFile
    from device.engine import Player, Tape, Voice

    manifest = bundle.manifest
    player = Player(
        manifest,
        bundle.model,
        plan.mode,
        manifest.temperature if plan.temperature is None else plan.temperature,
        plan.seed,
        noise_time_s=config.model.noise_time_s,
        hold_s=config.engine.hold_s,
    )
    voice = Voice(player, Synth(manifest.synth, plan.seed), config.engine.fade_s)
    tape = None if plan.report is None else Tape(manifest.motion.n_features, manifest.rate_hz)
    with (
        closing(CameraFile(plan.clip, manifest.motion.height, manifest.motion.width)) as camera,
        _opened(plan, config, manifest.rate_hz) as output,
        _Progress() as progress,
    ):
        return _run(plan, camera, voice, output, tape, progress, stop), tape


def _run(
    plan: Plan,
    camera: Camera,
    voice: Voice,
    output: AudioOutput,
    tape: Tape | None,
    progress: _Progress,
    stop: threading.Event,
) -> Performance:
    from device.engine import camera_frames, run_real, run_virtual
    from device.paced import MonotonicClock, PacedCamera, PacedOutput

    if plan.clock == "virtual":
        frames = camera_frames(camera)
        return run_virtual(frames, voice, output, seconds=plan.seconds, tape=tape, progress=progress, stop=stop)
    clock = MonotonicClock(stop)
    in_time = PacedOutput(output, clock) if plan.audio == "wav" else output
    paced = PacedCamera(camera, clock)
    return run_real(paced, voice, in_time, seconds=plan.seconds, tape=tape, progress=progress, stop=stop, clock=clock)


@contextmanager
def _opened(plan: Plan, config: Config, rate_hz: int) -> Iterator[AudioOutput]:
    """Open the output; a WAV that cannot be finished leaves nothing behind."""
    period, n_periods = config.audio.period, config.audio.n_periods
    if plan.audio == "alsa":
        from device.edges.audio_alsa import AlsaOutput

        with closing(AlsaOutput(plan.target, rate_hz, period, n_periods)) as card:
            yield card
        return
    from device.edges.audio_wav import WavOutput

    wav = WavOutput(plan.target, rate_hz, period, n_periods)
    try:
        yield wav
        wav.close()
    finally:
        wav.abandon()


@contextmanager
def _until_stopped() -> Iterator[threading.Event]:
    """Let the first SIGINT or SIGTERM end the performance with its sound whole, and the second as it always does."""
    stop = threading.Event()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - a handler is called so
        stop.set()
        restore()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    for number in before:
        signal.signal(number, end)
    try:
        yield stop
    finally:
        restore()


class _Progress:
    """One line on a terminal that says how far it has come; nothing in a pipe."""

    def __init__(self) -> None:
        self._is_shown = sys.stderr.isatty()
        self._next_s = 0.0

    def __enter__(self) -> _Progress:
        return self

    def __call__(self, played_s: float) -> None:
        """Show the seconds played, now and then."""
        if self._is_shown and time.monotonic() >= self._next_s:
            self._next_s = time.monotonic() + PROGRESS_PERIOD_S
            sys.stderr.write(f"\r\033[Kplayed {played_s:.1f} s")
            sys.stderr.flush()

    def __exit__(self, *_: object) -> None:
        if self._is_shown:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()


def summarise(plan: Plan, bundle: Bundle, performance: Performance) -> dict[str, object]:
    """Put together what `--json` prints and `summary.json` holds."""
    manifest = bundle.manifest
    return {
        "model": manifest.name,
        "model_version": manifest.version,
        "variant": bundle.model.variant,
        "runtime": bundle.model.runtime,
        "camera": f"file:{plan.clip}",
        "audio": f"{plan.audio}:{plan.target}",
        "clock": plan.clock,
        "mode": plan.mode,
        "temperature": manifest.temperature if plan.temperature is None else plan.temperature,
        "seed": plan.seed,
        "duration_s": round(performance.duration_s, 4),
        "n_frames": performance.n_frames,
        "n_dropped_frames": performance.n_dropped_frames,
        "n_bad_spectra": performance.n_bad_spectra,
        "n_blocks": performance.n_blocks,
        "n_xruns": performance.n_xruns,
        "rtf": round(performance.rtf, 5),
        "latency_ms": {
            "engine": performance.engine.figures(),
            "frame_to_sound": performance.frame_to_sound.figures(),
        },
    }


def describe(plan: Plan, summary: dict[str, object], performance: Performance) -> str:
    """Say how it went in a few lines."""
    lines = [
        f"dance     {plan.clip}: {performance.n_frames} frames, {performance.duration_s:.2f} s of sound",
        f"model     {summary['model']}, {summary['variant']} on {summary['runtime']}",
        f"mode      {plan.mode}, temperature {summary['temperature']:g}, {plan.clock} clock",
        f"latency   frame to sound {_in_words(performance.frame_to_sound.figures())}",
        f"          engine alone   {_in_words(performance.engine.figures())}",
        f"load      {100 * performance.rtf:.1f}% of one core, {performance.n_xruns} underruns",
        f"sound     {plan.audio}:{plan.target}",
    ]
    if performance.n_dropped_frames or performance.n_bad_spectra:
        lines.append(
            f"trouble   {performance.n_dropped_frames} frames came out of order, "
            f"{performance.n_bad_spectra} spectra could not be played"
        )
    if plan.report is not None:
        lines.append(f"report    {plan.report / 'performance.png'}, summary.json")
    return "\n".join(lines)


def _in_words(figures: dict[str, float]) -> str:
    return f"{figures['p50']:6.2f} ms p50, {figures['p99']:6.2f} p99, {figures['max']:6.2f} max"
