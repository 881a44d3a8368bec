"""The box's processes, each made as the configuration has it."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

from device.capture.microphone import Microphone
from device.capture.recorder import Recorder
from device.capture.take_settings import take_settings
from device.config import CameraConfig, Config
from device.core.limiter import amplitude
from device.core.room_profile import RoomProfile
from device.edges.camera import Camera
from device.engine.cameras import clip_of
from device.engine.crew import LiveSettings
from device.engine.live import Live
from device.engine.model_process import Playing
from device.engine.openers import open_camera, open_clip, open_input, open_steady_card, sized
from device.engine.paced import EndlessClip, MonotonicClock, PacedCamera
from device.engine.realtime import Urgency
from device.engine.sound_process import ListeningPlan
from device.engine.sound_ring import SoundRing
from device.models.bundles import read_manifest
from device.store.rooms import room_settings
from device.store.state import takes_folder


def open_live(config: Config, bundle: Path, microphone: Microphone | None, room: RoomProfile | None) -> Live:
    """Make the engine, which is patient: from a camera to a card, each of which may be missing.

    Raises
    ------
    BundleError
        The bundle cannot be read.
    """
    motion = read_manifest(bundle).motion
    model, engine = config.model, config.engine
    playing = Playing(
        model.variant, model.runtime, model.mode, None if model.temperature < 0 else model.temperature,
        time.time_ns() % 2**31, model.noise_time_s, engine.hold_s, engine.fade_s,
    )  # fmt: skip
    settings = LiveSettings(
        playing=playing,
        rate_hz=config.audio.rate_hz,
        height=motion.height,
        width=motion.width,
        crossfade_s=engine.crossfade_s,
        urgency=Urgency(engine.realtime_priority, engine.lock_memory),
        peak=amplitude(config.audio.peak_db),
        room=room_settings(config.room),
    )
    open_output = partial(open_steady_card, config.audio.device, config.audio.rate_hz, config.audio)
    return Live(
        partial(open_live_camera, sized(config.camera, motion)), open_output, bundle, settings,
        room=room, listening=None if microphone is None else _listening(config, microphone.ring),
    )  # fmt: skip


def open_live_camera(config: CameraConfig) -> Camera:
    """Open the configured camera; a video is shown over and over, in time."""
    clip = clip_of(config.source)
    if clip is None:
        return open_camera("", config)
    return PacedCamera(EndlessClip(partial(open_clip, clip, config.height, config.width)), MonotonicClock())


def open_microphone(config: Config) -> Microphone | None:
    """Make what hears the configured input; None where there is none."""
    source, audio = config.capture.audio_in, config.audio
    if not source:
        return None
    ring = SoundRing(audio.rate_hz, audio.period)
    urgency = Urgency(config.engine.realtime_priority, config.engine.lock_memory).below(5)
    return Microphone(partial(open_input, source, audio.rate_hz, audio.period, config.capture), ring, urgency)


def open_recorder(config: Config, live: Live, microphone: Microphone | None) -> Recorder | None:
    """Make what records what this engine's camera sees and the microphone hears; None without one."""
    if microphone is None:
        return None
    shape = (live.settings.height, live.settings.width)
    takes_dir = takes_folder(Path(config.state.folder))
    settings = take_settings(config, "box", shape, takes_dir, config.camera.source, config.capture.audio_in)
    return Recorder(live.frames, microphone, settings, partial(_lost, live))


def _lost(live: Live) -> dict[str, int]:
    """What the camera has lost so far."""
    return {name: live.meter.count(name) for name in ("n_dropped_frames", "n_bad_frames")}


def _listening(config: Config, ring: SoundRing) -> ListeningPlan:
    capture = config.capture
    gain = amplitude(capture.monitor_gain_db)
    return ListeningPlan(ring, gain, capture.monitor_margin_s, capture.monitor, capture.model_plays)
