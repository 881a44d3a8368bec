"""`python -m device perform`: a dance, from a camera or a video, becomes sound on a card or in a WAV."""

from __future__ import annotations

import argparse
import json
import threading
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from device.commands.plan import Plan, add_arguments, bundle_path, make_plan
from device.commands.summary import Performed, describe, summarise
from device.config import Config, load_config
from device.console import Progress, until_stopped

if TYPE_CHECKING:
    from device.core.room_profile import RoomProfile
    from device.models.bundles import Bundle

__all__ = ["add_arguments", "main"]


def main(args: argparse.Namespace) -> int:
    """Perform, then say how it went; interrupting it is a way to end it, and no failure."""
    config = load_config(args.config)
    plan = make_plan(args, config)
    path = bundle_path(args.model, config)
    with until_stopped() as stop:
        done = _perform(plan, config, path, stop)
    summary = summarise(plan, done)
    if plan.report is not None and done.tape is not None:
        from device.commands.report import write_report

        write_report(plan.report, summary, done.performance, done.tape, done.n_rows)
    print(json.dumps(summary) if args.json else describe(plan, summary, done.performance))
    return 0


def _perform(plan: Plan, config: Config, path: Path, stop: threading.Event) -> Performed:
    if plan.clock == "real":
        return _perform_live(plan, config, path, stop)
    from device.models.bundles import load_bundle

    return _perform_virtual(plan, config, load_bundle(path, plan.variant, config.model.runtime), stop)


def _perform_virtual(plan: Plan, config: Config, bundle: Bundle, stop: threading.Event) -> Performed:
    from device.core.limiter import amplitude
    from device.core.room import RoomMotiongram
    from device.core.synth import Synth
    from device.engine.engine import Player, Tape, Voice, camera_frames, run_virtual
    from device.engine.model_process import facts_of
    from device.engine.openers import open_camera, open_card, open_wav, sized
    from device.engine.performance import allocate
    from device.engine.tape import tape_layout
    from device.store.rooms import room_settings

    manifest, temperature = bundle.manifest, plan.temperature
    player = Player(
        manifest,
        bundle.model,
        plan.mode,
        manifest.temperature if temperature is None else temperature,
        plan.seed,
        noise_time_s=config.model.noise_time_s,
        hold_s=config.engine.hold_s,
        motiongram=RoomMotiongram(manifest.motion, _known_room(config), room_settings(config.room)),
    )
    voice = Voice(player.scores, Synth(manifest.synth, plan.seed), config.engine.fade_s)
    tape = None
    if plan.report is not None:
        tape = Tape(allocate(tape_layout(manifest.motion.n_features, manifest.rate_hz)), manifest.rate_hz)
    opened = open_wav if plan.audio == "wav" else open_card
    with (
        closing(open_camera(plan.camera, sized(config.camera, manifest.motion))) as camera,
        opened(plan.target, manifest.rate_hz, config.audio) as output,
        Progress("played {:.1f} s") as progress,
    ):
        performance = run_virtual(
            camera_frames(camera), player, voice, output, seconds=plan.seconds, tape=tape, progress=progress, stop=stop,
            peak=amplitude(config.audio.peak_db),
        )  # fmt: skip
    return Performed(performance, tape, facts_of(bundle, plan.temperature), manifest.motion.height)


def _known_room(config: Config) -> RoomProfile | None:
    """Read what `device calibrate` has stored."""
    from device.store.rooms import load_room, room_path

    path = room_path(config.room, Path(config.state.folder))
    return None if path is None else load_room(path)


def _perform_live(plan: Plan, config: Config, path: Path, stop: threading.Event) -> Performed:
    from device.core.limiter import amplitude
    from device.engine.crew import LiveSettings
    from device.engine.live import Live
    from device.engine.model_process import Playing
    from device.engine.openers import open_camera, open_paced_wav, open_steady_card, sized
    from device.engine.realtime import Urgency
    from device.models.bundles import read_manifest
    from device.store.rooms import room_settings

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
        peak=amplitude(config.audio.peak_db),
        room=room_settings(config.room),
        urgency=Urgency(config.engine.realtime_priority, config.engine.lock_memory),
        is_patient=False,
        is_clip=plan.clip is not None,
        seconds=None if plan.clip is None else plan.seconds,
    )
    if is_wav:
        open_output = partial(open_paced_wav, plan.target, settings.rate_hz, config.audio)
    else:
        open_output = partial(open_steady_card, plan.target, settings.rate_hz, config.audio, must_be_there=True)
    open_eye = partial(open_camera, plan.camera, sized(config.camera, manifest.motion))
    live = Live(
        open_eye, open_output, path, settings, room=_known_room(config), keeps_tape=plan.report is not None
    )  # fmt: skip
    try:
        live.start()
        with Progress("played {:.1f} s") as progress:
            while not live.is_over:
                live.watch()
                played_s = live.meter.count("n_samples") / settings.rate_hz
                progress(played_s)
                # A video ends by itself, or where it was cut.
                if stop.is_set() or (plan.clip is None and plan.seconds is not None and played_s >= plan.seconds):
                    live.stop()
        assert live.facts is not None  # noqa: S101 - it has played
        return Performed(live.performance(), live.tape, live.facts, height)
    finally:
        live.close()
