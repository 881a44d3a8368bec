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
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from device.config import Config, load_config
from device.core.errors import UsageError

if TYPE_CHECKING:
    from types import FrameType

    from device.engine import Performance, Tape
    from device.model_process import ModelFacts
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
    variant : str
        'f16' or 'int8'.
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
    variant: str
    temperature: float | None
    seed: int
    seconds: float | None
    report: Path | None


@dataclass(frozen=True)
class Performed:
    """A performance that has ended: what was counted, kept, and played; rows of the pictures."""

    performance: Performance
    tape: Tape | None
    facts: ModelFacts
    n_rows: int


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
    from device.models import FACTORY

    config = load_config(args.config)
    plan = make_plan(args, config)
    path = args.model or (Path(config.model.bundle) if config.model.bundle else FACTORY)
    with _until_stopped() as stop:
        done = _perform(plan, config, path, stop)
    summary = summarise(plan, done)
    if plan.report is not None and done.tape is not None:
        from device.report import write_report

        write_report(plan.report, summary, done.performance, done.tape, done.n_rows)
    print(json.dumps(summary) if args.json else describe(plan, summary, done.performance))
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
        variant=args.variant or config.model.variant,
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


def _perform(plan: Plan, config: Config, path: Path, stop: threading.Event) -> Performed:
    if plan.clock == "real":
        return _perform_live(plan, config, path, stop)
    from device.models import load_bundle

    return _perform_virtual(plan, config, load_bundle(path, plan.variant, config.model.runtime), stop)


def _perform_virtual(plan: Plan, config: Config, bundle: Bundle, stop: threading.Event) -> Performed:
    from device.core.synth import Synth
    from device.engine import Player, Tape, Voice, camera_frames, run_virtual
    from device.model_process import facts_of
    from device.openers import open_card, open_clip, open_wav
    from device.performance import allocate
    from device.tape import tape_layout

    manifest, temperature = bundle.manifest, plan.temperature
    player = Player(
        manifest,
        bundle.model,
        plan.mode,
        manifest.temperature if temperature is None else temperature,
        plan.seed,
        noise_time_s=config.model.noise_time_s,
        hold_s=config.engine.hold_s,
    )
    voice = Voice(player.scores, Synth(manifest.synth, plan.seed), config.engine.fade_s)
    tape = None
    if plan.report is not None:
        tape = Tape(allocate(tape_layout(manifest.motion.n_features, manifest.rate_hz)), manifest.rate_hz)
    opened = open_wav if plan.audio == "wav" else open_card
    with (
        closing(open_clip(plan.clip, manifest.motion.height, manifest.motion.width)) as camera,
        opened(plan.target, manifest.rate_hz, config.audio) as output,
        _Progress() as progress,
    ):
        performance = run_virtual(
            camera_frames(camera), player, voice, output, seconds=plan.seconds, tape=tape, progress=progress, stop=stop
        )
    return Performed(performance, tape, facts_of(bundle, plan.temperature), manifest.motion.height)


def _perform_live(plan: Plan, config: Config, path: Path, stop: threading.Event) -> Performed:
    from device.live import Live, LiveSettings
    from device.model_process import Playing
    from device.models import read_manifest
    from device.openers import open_card, open_clip, open_paced_wav
    from device.realtime import Urgency

    manifest = read_manifest(path)
    height, width = manifest.motion.height, manifest.motion.width
    playing = Playing(
        plan.variant, config.model.runtime, plan.mode, plan.temperature, plan.seed, config.model.noise_time_s,
        config.engine.hold_s, config.engine.fade_s,
    )  # fmt: skip
    is_wav = plan.audio == "wav"
    settings = LiveSettings(
        playing=playing,
        rate_hz=manifest.rate_hz if is_wav else config.audio.rate_hz,
        height=height,
        width=width,
        crossfade_s=config.engine.crossfade_s,
        urgency=Urgency(config.engine.realtime_priority, config.engine.lock_memory),
        is_patient=False,
        is_clip=True,
        seconds=plan.seconds,
    )
    open_output = partial(open_paced_wav if is_wav else open_card, plan.target, settings.rate_hz, config.audio)
    live = Live(
        partial(open_clip, plan.clip, height, width), open_output, path, settings, keeps_tape=plan.report is not None
    )
    try:
        live.start()
        with _Progress() as progress:
            while not live.is_over:
                live.watch()
                progress(live.meter.count("n_samples") / settings.rate_hz)
                if stop.is_set():
                    live.stop()
        assert live.facts is not None  # noqa: S101 - it has played
        return Performed(live.performance(), live.tape, live.facts, height)
    finally:
        live.close()


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


def summarise(plan: Plan, done: Performed) -> dict[str, object]:
    """Put together what `--json` prints and `summary.json` holds."""
    facts, performance = done.facts, done.performance
    return {
        "model": facts.name,
        "model_version": facts.version,
        "variant": facts.variant,
        "runtime": facts.runtime,
        "camera": f"file:{plan.clip}",
        "audio": f"{plan.audio}:{plan.target}",
        "clock": plan.clock,
        "mode": plan.mode,
        "temperature": facts.temperature,
        "seed": plan.seed,
        "duration_s": round(performance.duration_s, 4),
        "n_frames": performance.n_frames,
        "n_dropped_frames": performance.n_dropped_frames,
        "n_bad_frames": performance.n_bad_frames,
        "n_skipped_frames": performance.n_skipped_frames,
        "n_bad_spectra": performance.n_bad_spectra,
        "n_blocks": performance.n_blocks,
        "n_xruns": performance.n_xruns,
        "rtf": round(performance.rtf, 5),
        "latency_ms": {
            "engine": performance.engine.figures(),
            "frame_to_sound": performance.frame_to_sound.figures(),
        },
        "stages_ms": {name: stage.figures() for name, stage in performance.stages.items()},
        "notes": list(performance.notes),
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
    lines += [f"machine   {note}" for note in performance.notes]
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
