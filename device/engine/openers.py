"""How cameras and outputs are opened; each is called in the process that owns the device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from device.core.errors import CameraError, UsageError
from device.core.exposure import ExposureSettings
from device.edges.audio import AudioOutput
from device.edges.camera import Camera
from device.engine.cameras import check_node, clip_of, the_camera
from device.engine.paced import MonotonicClock, PacedOutput

if TYPE_CHECKING:
    from device.config import AudioConfig, CameraConfig, CaptureConfig
    from device.core.motiongram import MotionSettings
    from device.edges.audio_in import AudioInput


def open_camera(source: str, config: CameraConfig) -> Camera:
    """Open any camera, or a video in its place.

    Parameters
    ----------
    source : str
        As `device.engine.cameras.check_source` has it; empty: the configured one.
    config : CameraConfig
        Its height and width are those of the pictures; `sized` gives them a bundle's.

    Raises
    ------
    CameraError
        It cannot be opened.
    """
    source = source or config.source
    source = the_camera() if source == "auto" else source
    kind, _, target = source.partition(":")
    clip = clip_of(source)
    if clip is not None:
        return open_clip(clip, config.height, config.width)
    if kind == "gst":
        from device.edges.camera_gstreamer import CameraGStreamer

        return CameraGStreamer(target, config.height, config.width)
    exposure = ExposureSettings(config.brightness, config.step_s, 1e-3 * config.exposure_ms, config.gain)
    if kind == "v4l2":
        check_node(Path(target))
        from device.edges.camera_v4l2 import CameraV4l2

        return CameraV4l2(Path(target), config.height, config.width, config.fps, exposure)
    return _open_pi(int(target or 0), config, exposure)


def sized(config: CameraConfig, motion: MotionSettings) -> CameraConfig:
    """Give the configuration with the size of a bundle's pictures: what it has learned decides."""
    return replace(config, height=motion.height, width=motion.width)


def _open_pi(number: int, config: CameraConfig, exposure: ExposureSettings) -> Camera:
    try:
        from device.edges.camera_picamera2 import CameraPicamera2
    except ImportError as error:
        raise CameraError(
            f"picamera2 is not installed here ({error}): sudo apt-get install python3-picamera2, or use another camera"
        ) from error
    return CameraPicamera2(number, config.height, config.width, config.fps, exposure, config.focus)


def open_clip(path: Path, height: int, width: int) -> Camera:
    """Open a video."""
    from device.edges.camera_file import CameraFile

    return CameraFile(path, height, width)


@contextmanager
def open_card(pcm: str, rate_hz: int, config: AudioConfig) -> Iterator[AudioOutput]:
    """Open a sound card that must be there, and stay."""
    with closing(_alsa(pcm, rate_hz, config)) as card:
        yield card


@contextmanager
def open_steady_card(pcm: str, rate_hz: int, config: AudioConfig, must_be_there: bool = False) -> Iterator[AudioOutput]:
    """Open a sound card that may go and come back, and be absent at first, unless it must be there then."""
    from device.engine.steady import SteadyOutput

    if must_be_there:
        _alsa(pcm, rate_hz, config).close()
    open_card = partial(_alsa, pcm, rate_hz, config)
    with closing(SteadyOutput(open_card, rate_hz, config.period, config.n_periods, MonotonicClock())) as steady:
        yield steady


def _alsa(pcm: str, rate_hz: int, config: AudioConfig) -> AudioOutput:
    from device.edges.audio_alsa import AlsaOutput

    return AlsaOutput(pcm, rate_hz, config.period, config.n_periods, config.channels)


@contextmanager
def open_wav(path: str, rate_hz: int, config: AudioConfig) -> Iterator[AudioOutput]:
    """Open a WAV; one that cannot be finished leaves nothing behind."""
    from device.edges.audio_wav import WavOutput

    wav = WavOutput(path, rate_hz, config.period, config.n_periods)
    try:
        yield wav
        wav.close()
    finally:
        wav.abandon()


@contextmanager
def open_paced_wav(path: str, rate_hz: int, config: AudioConfig) -> Iterator[AudioOutput]:
    """Open a WAV that takes blocks as a sound card would."""
    with open_wav(path, rate_hz, config) as wav:
        yield PacedOutput(wav, MonotonicClock())


def open_input(source: str, rate_hz: int, period: int, config: CaptureConfig, begin_s: float) -> AudioInput:
    """Open what is recorded.

    Parameters
    ----------
    source : str
        'alsa:PCM' or 'wav:FILE', as `check_input` takes it.
    rate_hz, period : int
        To ask a card for.
    config : CaptureConfig
    begin_s : float
        Time of a file's first sample, which is heard in time from then on.
    """
    kind, _, target = source.partition(":")
    if kind == "wav":
        from device.edges.audio_in_wav import WavInput
        from device.engine.paced import PacedInput

        return PacedInput(WavInput(target, begin_s, period, config.channel), MonotonicClock())
    from device.edges.audio_in_alsa import AlsaInput

    return AlsaInput(target, rate_hz, period, config.buffer_s, config.channels, config.channel)


def check_input(source: str, said_by: str) -> str:
    """Give the name of an input, if it is one that `open_input` can open.

    Raises
    ------
    UsageError
        It is none; `said_by` is where it can be put right.
    """
    kind, _, target = source.partition(":")
    if kind not in ("wav", "alsa") or not target:
        raise UsageError(f"there is no audio input '{source}': give {said_by} alsa:PCM or wav:FILE")
    return source
