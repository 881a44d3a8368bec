"""The configuration: `default.toml`, overridden key by key, checked against `device.config_schema`.

`python -m device config` prints what holds.
"""

from __future__ import annotations

import argparse
import difflib
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from datetime import date
from pathlib import Path
from typing import Any, cast, get_args, get_origin, get_type_hints

from device.config_schema import (
    SECTIONS,
    AudioConfig,
    CameraConfig,
    CaptureConfig,
    Config,
    DeployConfig,
    EngineConfig,
    FaultsConfig,
    HoursConfig,
    ModelConfig,
    MotionConfig,
    PanelConfig,
    RoomConfig,
    Rule,
    StateConfig,
    StatusConfig,
    StickConfig,
    StoreConfig,
)
from device.core.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = [
    "DEFAULT_PATH",
    "SYSTEM_PATH",
    "AudioConfig",
    "CameraConfig",
    "CaptureConfig",
    "Config",
    "DeployConfig",
    "EngineConfig",
    "FaultsConfig",
    "HoursConfig",
    "ModelConfig",
    "MotionConfig",
    "PanelConfig",
    "RoomConfig",
    "StateConfig",
    "StatusConfig",
    "StickConfig",
    "StoreConfig",
    "effective_toml",
    "load_config",
    "load_what_can_be_used",
]

DEFAULT_PATH = Path(__file__).with_name("default.toml")
SYSTEM_PATH = Path("/etc/dance-sampler/config.toml")


_KINDS: dict[type, str] = {
    int: "a whole number",
    float: "a number",
    str: "a text",
    bool: "true or false",
    tuple: "a list of texts",
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
        for section, kind in SECTIONS.items()
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
        if section not in SECTIONS:
            problems.append(str(_unknown(file, section, list(SECTIONS))))
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
    hints = get_type_hints(SECTIONS[section], include_extras=True)
    if key not in hints:
        known = [f"{name}.{field.name}" for name, kind in SECTIONS.items() for field in fields(kind)]
        raise _unknown(file, f"{section}.{key}", known)
    kind, *rules = get_args(hints[key]) or (hints[key],)
    kind = get_origin(kind) or kind
    allowed = ", ".join([_KINDS[kind], *map(str, rules)])
    if kind is float and type(value) is int:
        value = float(value)
    if kind is tuple and type(value) is list:
        value = [each.isoformat() if type(each) is date else each for each in value]  # TOML has days without quotes
        value = tuple(value) if all(type(each) is str for each in value) else value
    if type(value) is not kind or not all(cast(Rule, rule).allows(value) for rule in rules):
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
    for section, kind in SECTIONS.items():
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
