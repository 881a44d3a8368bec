"""The configuration: `default.toml`, overridden key by key, checked against the types below.

Values have their home in `default.toml`; this file knows only what is allowed. `python -m device config` prints what
holds.
"""

from __future__ import annotations

import argparse
import difflib
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Protocol, cast, get_args, get_origin, get_type_hints

from device.core.errors import ConfigError
from device.core.hours import check_days, check_span

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DEFAULT_PATH = Path(__file__).with_name("default.toml")
SYSTEM_PATH = Path("/etc/dance-sampler/config.toml")


class _Rule(Protocol):
    def allows(self, value: Any) -> bool: ...


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

    audio_in: str
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


_KINDS: dict[type, str] = {
    int: "a whole number",
    float: "a number",
    str: "a text",
    bool: "true or false",
    tuple: "a list of texts",
}

_SECTIONS: dict[str, type] = {
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


def load_config(path: Path | None = None, system_path: Path = SYSTEM_PATH) -> Config:
    """Read the configuration that holds: the defaults, overridden by the system's file, overridden by the given one.

    Parameters
    ----------
    path : Path, optional
        A configuration file that must exist.
    system_path : Path
        The machine's own file, which may be absent.

    Raises
    ------
    ConfigError
        A file cannot be read, a key is unknown, or a value is of the wrong type or out of range.
    """
    config, problems = load_what_can_be_used(path, system_path)
    if problems:
        raise ConfigError(problems[0])
    return config


def load_what_can_be_used(path: Path | None = None, system_path: Path = SYSTEM_PATH) -> tuple[Config, list[str]]:
    """Read the configuration as `load_config` does, but leave out what cannot be used: a box must not die of it.

    Returns
    -------
    config : Config
    problems : list of str
        What was left out, with what to do, in one line each.
    """
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    problems: list[str] = []
    optional = [system_path] if system_path.exists() else []
    for file in [DEFAULT_PATH, *optional, *([path] if path else [])]:
        for key, value in _read(file, problems):
            values[key], origins[key] = value, str(file)
    sections: dict[str, Any] = {
        section: kind(**{field.name: values[f"{section}.{field.name}"] for field in fields(kind)})
        for section, kind in _SECTIONS.items()
    }
    return Config(**sections, origins=origins), problems


def _read(file: Path, problems: list[str]) -> Iterator[tuple[str, Any]]:
    """Give each 'section.key' of one file with its value, checked; what is wrong is added to the problems."""
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        problems.append(f"cannot read {file}: {error.strerror}; give a readable configuration file")
        return
    except ValueError as error:
        problems.append(f"{file} is not TOML: {error}; mend that line")
        return
    for section, table in content.items():
        if section not in _SECTIONS:
            problems.append(str(_unknown(file, section, list(_SECTIONS))))
        elif not isinstance(table, dict):
            problems.append(f"{file}: {section} must be a table; write [{section}] with its keys on the lines below")
        else:
            for key, value in table.items():
                with _noted(problems):
                    yield f"{section}.{key}", _checked(file, section, key, value)


@contextmanager
def _noted(problems: list[str]) -> Iterator[None]:
    """Add what is wrong with a key to the problems, and go on."""
    try:
        yield
    except ConfigError as error:
        problems.append(str(error))


def _checked(file: Path, section: str, key: str, value: Any) -> Any:
    """Give the value as its type, or say why not."""
    hints = get_type_hints(_SECTIONS[section], include_extras=True)
    if key not in hints:
        known = [f"{name}.{field.name}" for name, kind in _SECTIONS.items() for field in fields(kind)]
        raise _unknown(file, f"{section}.{key}", known)
    kind, *rules = get_args(hints[key]) or (hints[key],)
    kind = get_origin(kind) or kind
    allowed = ", ".join([_KINDS[kind], *map(str, rules)])
    if kind is float and type(value) is int:
        value = float(value)
    if kind is tuple and type(value) is list:
        value = [each.isoformat() if type(each) is date else each for each in value]  # TOML has days without quotes
        value = tuple(value) if all(type(each) is str for each in value) else value
    if type(value) is not kind or not all(cast(_Rule, rule).allows(value) for rule in rules):
        raise ConfigError(f"{file}: {section}.{key} = {_toml(value)} cannot be used; allowed is {allowed}")
    return value


def _unknown(file: Path, key: str, known: list[str]) -> ConfigError:
    nearest = difflib.get_close_matches(key, known, n=1, cutoff=0)
    return ConfigError(f"{file}: there is no {key}; did you mean {nearest[0]}?")


def _toml(value: Any) -> str:
    """Write one value as TOML, whose basic strings and lists of them are JSON's."""
    if isinstance(value, (bool, str, tuple, list)):
        return json.dumps(value, ensure_ascii=False, default=str)
    return f"{value:g}" if isinstance(value, float) and value.is_integer() else str(value)


def effective_toml(config: Config) -> str:
    """Write the configuration as TOML that `load_config` reads, with the file of each value that is not the default."""
    lines: list[str] = []
    for section, kind in _SECTIONS.items():
        lines.append(f"[{section}]")
        for key in (field.name for field in fields(kind)):
            origin = config.origins[f"{section}.{key}"]
            comment = "" if origin == str(DEFAULT_PATH) else f"  # {origin}"
            lines.append(f"{key} = {_toml(getattr(getattr(config, section), key))}{comment}")
        lines.append("")
    return "\n".join(lines)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `device config`."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="a TOML file that overrides the machine's")


def main(args: argparse.Namespace) -> int:
    """Print the configuration that holds."""
    print(effective_toml(load_config(args.config)), end="")
    return 0
