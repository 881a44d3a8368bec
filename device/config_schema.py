"""What the configuration may hold: one dataclass a section, one annotated field a key. Values are in `default.toml`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

from device.core.hours import check_days, check_span


class Rule(Protocol):
    """What a value must keep to."""

    def allows(self, value: Any) -> bool:
        """Tell whether the value may be used."""
        ...


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both allowed, and single values outside that mean something else."""

    low: float
    high: float
    also: tuple[float, ...] = ()

    def allows(self, value: Any) -> bool:
        """Tell whether the value may be used; NaN may not."""
        return self.low <= value <= self.high or value in self.also

    def __str__(self) -> str:
        return " or ".join([f"{self.low:g} to {self.high:g}", *(f"{value:g}" for value in self.also)])


@dataclass(frozen=True)
class OneOf:
    """A fixed list of words."""

    words: tuple[str, ...]

    def allows(self, value: Any) -> bool:
        """Tell whether the value is one of the words."""
        return value in self.words

    def __str__(self) -> str:
        return " or ".join(self.words)


@dataclass(frozen=True)
class Each:
    """Lists of texts, each of which `check` does not raise ValueError on."""

    check: Callable[[str], object]
    example: str

    def allows(self, value: Any) -> bool:
        """Tell whether every text may be used."""
        try:
            for text in value:
                self.check(text)
        except (TypeError, ValueError):
            return False
        return True

    def __str__(self) -> str:
        return f"each like {self.example}"


@dataclass(frozen=True)
class WebAddress:
    """An address that can be posted to, or none."""

    def allows(self, value: Any) -> bool:
        """Tell whether the text is empty or such an address."""
        return value == "" or (value.startswith(("http://", "https://")) and not any(map(str.isspace, value)))

    def __str__(self) -> str:
        return "http:// or https:// and the rest of an address, or nothing"


@dataclass(frozen=True)
class Input:
    """What is recorded: a card's input or a file, or nothing."""

    def allows(self, value: Any) -> bool:
        """Tell whether the text is empty or names one of the two."""
        kind, _, target = value.partition(":")
        return value == "" or (kind in ("alsa", "wav") and target != "")

    def __str__(self) -> str:
        return "alsa:PCM or wav:FILE, or nothing"


@dataclass(frozen=True)
class CameraConfig:
    """The camera, the picture in pixels that motion is measured in, and how a live camera is driven.

    An `exposure_ms` or `gain` of 0 and a `focus` of -1 leave it to the program or the camera, as `default.toml`
    says.
    """

    source: str
    height: Annotated[int, Range(8, 1080)]
    width: Annotated[int, Range(8, 1920)]
    fps: Annotated[float, Range(1, 240)]
    exposure_ms: Annotated[float, Range(0.01, 1000, also=(0,))]
    gain: Annotated[float, Range(1, 64, also=(0,))]
    brightness: Annotated[float, Range(10, 200)]
    step_s: Annotated[float, Range(0.5, 3600)]
    focus: Annotated[float, Range(0, 32, also=(-1,))]


@dataclass(frozen=True)
class MotionConfig:
    """The motiongram's rule for capture and import; when playing, the bundle's own rule holds."""

    difference_time_s: Annotated[float, Range(0, 1)]
    threshold: Annotated[float, Range(0, 1)]
    filter: Annotated[str, OneOf(("regular", "binary", "blob"))]


@dataclass(frozen=True)
class AudioConfig:
    """The sound card; `period` in samples."""

    device: str
    rate_hz: Annotated[int, Range(8000, 192000)]
    period: Annotated[int, Range(16, 4096)]
    n_periods: Annotated[int, Range(2, 16)]
    channels: Annotated[int, Range(1, 32)]
    peak_db: Annotated[float, Range(-40, 0)]


@dataclass(frozen=True)
class ModelConfig:
    """What plays: an empty `bundle` is the factory's, a `temperature` of -1 the bundle's own."""

    bundle: str
    runtime: Annotated[str, OneOf(("auto", "tflite-runtime", "ai-edge-litert"))]
    variant: Annotated[str, OneOf(("auto", "f16", "int8"))]
    mode: Annotated[str, OneOf(("stream", "segment"))]
    temperature: Annotated[float, Range(0, 2, also=(-1,))]
    noise_time_s: Annotated[float, Range(0.01, 60)]


@dataclass(frozen=True)
class EngineConfig:
    """What is heard when no frames come or the model changes, and what the sound may ask of the system."""

    hold_s: Annotated[float, Range(0, 10)]
    fade_s: Annotated[float, Range(0, 10)]
    crossfade_s: Annotated[float, Range(0, 10)]
    realtime_priority: Annotated[int, Range(0, 99)]
    lock_memory: bool


@dataclass(frozen=True)
class RoomConfig:
    """What is known of the room, and how the rest is learned; an empty `profile` is the machine's own, if any."""

    profile: str
    adapt: bool
    quiet_s: Annotated[float, Range(0.1, 3600)]
    learn_s: Annotated[float, Range(0.1, 86400)]
    zoom: Annotated[float, Range(0.7, 2, also=(0,))]
    size_s: Annotated[float, Range(0.1, 86400)]


@dataclass(frozen=True)
class StateConfig:
    """Where the box keeps what must outlive a restart."""

    folder: str


@dataclass(frozen=True)
class StoreConfig:
    """How full the card may become, how many models are kept, and whose are installed."""

    reserve_mb: Annotated[int, Range(16, 100_000)]
    n_models: Annotated[int, Range(1, 100)]
    allowed_signers: str
    require_signature: bool


@dataclass(frozen=True)
class HoursConfig:
    """When there is sound; see `device.core.hours`."""

    open: Annotated[tuple[str, ...], Each(check_span, "mon-fri 10:00-18:00")]
    closed: Annotated[tuple[str, ...], Each(check_days, "2026-12-24..2026-12-26")]
    fade_s: Annotated[float, Range(0, 600)]


@dataclass(frozen=True)
class StatusConfig:
    """Where a running box answers."""

    socket: str


@dataclass(frozen=True)
class FaultsConfig:
    """Who is told of a fault, and how often."""

    command: str
    webhook: Annotated[str, WebAddress()]
    every_s: Annotated[float, Range(0, 86400)]
    timeout_s: Annotated[float, Range(0.1, 300)]


@dataclass(frozen=True)
class StickConfig:
    """What a USB stick is used for."""

    copy_takes: bool
    install_bundle: bool


@dataclass(frozen=True)
class DeployConfig:
    """How a model that comes is tried, and how long a silent sender is waited for."""

    health_s: Annotated[float, Range(1, 3600)]
    idle_s: Annotated[float, Range(1, 600)]


@dataclass(frozen=True)
class PanelConfig:
    """Button and LED: what presses do, and where the pins are; an empty pin is none."""

    mode: Annotated[str, OneOf(("full", "installation"))]
    record: bool
    cancel: bool
    next_model: bool
    power_off: bool
    safe_mode: bool
    debounce_s: Annotated[float, Range(0.001, 0.2)]
    hold_s: Annotated[float, Range(0.3, 60)]
    power_off_s: Annotated[float, Range(0.3, 60)]
    fault_patience_s: Annotated[float, Range(0, 3600)]
    saving_limit_s: Annotated[float, Range(1, 600)]
    safe_s: Annotated[float, Range(1, 86400)]
    factory: Annotated[str, OneOf(("auto", "lgpio", "gpiod", "rpigpio", "pigpio", "native", "mock"))]
    chip: str
    button: str
    button_pull: Annotated[str, OneOf(("up", "down", "none"))]
    button_pressed: Annotated[str, OneOf(("low", "high"))]
    led: str
    led_lit: Annotated[str, OneOf(("low", "high"))]
    mock_control: str


@dataclass(frozen=True)
class CaptureConfig:
    """What is recorded, and what is heard meanwhile; `channel` 0 is the mean of all."""

    audio_in: Annotated[str, Input()]
    channels: Annotated[int, Range(1, 32)]
    channel: Annotated[int, Range(0, 32)]
    buffer_s: Annotated[float, Range(0.02, 2)]
    count_in_s: Annotated[float, Range(0, 60)]
    longest_s: Annotated[float, Range(1, 86400)]
    model_plays: bool
    monitor: bool
    monitor_gain_db: Annotated[float, Range(-60, 20)]
    monitor_margin_s: Annotated[float, Range(0.001, 0.5)]


@dataclass(frozen=True)
class Config:
    """The whole configuration, one section a field.

    Attributes
    ----------
    origins : dict of str to str
        For each key, such as 'audio.period', the file that its value came from.
    """

    camera: CameraConfig
    motion: MotionConfig
    audio: AudioConfig
    model: ModelConfig
    engine: EngineConfig
    room: RoomConfig
    state: StateConfig
    store: StoreConfig
    hours: HoursConfig
    status: StatusConfig
    faults: FaultsConfig
    stick: StickConfig
    deploy: DeployConfig
    capture: CaptureConfig
    panel: PanelConfig
    origins: dict[str, str]


SECTIONS: dict[str, type] = {
    "camera": CameraConfig,
    "motion": MotionConfig,
    "audio": AudioConfig,
    "model": ModelConfig,
    "engine": EngineConfig,
    "room": RoomConfig,
    "capture": CaptureConfig,
    "panel": PanelConfig,
    "state": StateConfig,
    "store": StoreConfig,
    "hours": HoursConfig,
    "status": StatusConfig,
    "faults": FaultsConfig,
    "stick": StickConfig,
    "deploy": DeployConfig,
}
