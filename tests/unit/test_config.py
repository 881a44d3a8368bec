"""The configuration: what overrides what, and what is said of what cannot be used."""

from __future__ import annotations

import argparse
import sys
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from device import config
from device.config import Config, effective_toml, load_config
from device.core.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ABSENT = Path("/nonexistent/config.toml")


def load(tmp_path: Path, text: str, system: str | None = None) -> Config:
    file = tmp_path / "mine.toml"
    file.write_text(text, encoding="utf-8")
    system_file = tmp_path / "system.toml"
    if system is not None:
        system_file.write_text(system, encoding="utf-8")
    return load_config(file, system_path=system_file)


def test_defaults_are_those_of_the_design() -> None:
    defaults = load_config(system_path=ABSENT)
    assert (defaults.camera.height, defaults.camera.width) == (48, 64)
    assert defaults.motion.difference_time_s == 0.04
    assert (defaults.audio.rate_hz, defaults.audio.period, defaults.audio.n_periods) == (48000, 128, 3)
    assert (defaults.model.mode, defaults.model.runtime, defaults.model.temperature) == ("stream", "auto", -1)


def test_every_default_has_its_unit_or_meaning_beside_it() -> None:
    lines = config.DEFAULT_PATH.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if "=" in line and "# " not in line] == []


def test_a_file_overrides_the_system_which_overrides_the_defaults_key_by_key(tmp_path: Path) -> None:
    made = load(tmp_path, "[audio]\nperiod = 256", system="[audio]\nperiod = 64\nn_periods = 4\n[engine]\nhold_s = 2")
    assert (made.audio.period, made.audio.n_periods, made.audio.rate_hz) == (256, 4, 48000)
    assert made.engine.hold_s == 2.0
    assert isinstance(made.engine.hold_s, float)


def test_a_configuration_cannot_be_changed_by_accident() -> None:
    made = load_config(system_path=ABSENT)
    with pytest.raises(FrozenInstanceError):
        made.audio.period = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[audio]\nperod = 128", "there is no audio.perod; did you mean audio.period?"),
        ("[engine]\ntemperature = 1", "there is no engine.temperature; did you mean model.temperature?"),
        ("[adio]\nperiod = 128", "there is no adio; did you mean audio?"),
        ("period = 128", "there is no period; did you mean"),
        ("audio = 3", "audio must be a table"),
        ("[audio]\nperiod = 8", "audio.period = 8 cannot be used; allowed is a whole number, 16 to 4096"),
        ("[audio]\nperiod = 8192", "allowed is a whole number, 16 to 4096"),
        ("[audio]\nperiod = 128.0", "allowed is a whole number"),
        ("[audio]\nperiod = true", "audio.period = true cannot be used"),
        ('[capture]\naudio_in = "hw:CARD=Device"', "allowed is a text, alsa:PCM or wav:FILE, or nothing"),
        ('[capture]\naudio_in = "alsa:"', "allowed is a text, alsa:PCM or wav:FILE, or nothing"),
        ('[audio]\nperiod = "128"', 'audio.period = "128" cannot be used'),
        ("[audio]\ndevice = 1", "allowed is a text"),
        ('[model]\nmode = "strem"', 'model.mode = "strem" cannot be used; allowed is a text, stream or segment'),
        ('[model]\nvariant = "dynamic"', "f16 or int8"),
        ('[model]\nruntime = "tensorflow"', "auto or tflite-runtime or ai-edge-litert"),
        ("[model]\ntemperature = -0.5", "allowed is a number, 0 to 2 or -1"),
        ("[motion]\nthreshold = nan", "allowed is a number, 0 to 1"),
        ("[motion]\nthreshold = inf", "allowed is a number, 0 to 1"),
        ("[motion]\ndifference_time_s = false", "allowed is a number"),
        ('[motion]\nfilter = "Regular"', "regular or binary or blob"),
        ("[audio\nperiod = 128", "is not TOML"),
    ],
)
def test_what_cannot_be_used_is_named_with_what_is_allowed(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert said in str(caught.value)
    assert "mine.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_system_file_is_checked_and_named_too(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"system\.toml: there is no audio\.perod"):
        load(tmp_path, "", system="[audio]\nperod = 1")


def test_a_file_that_was_asked_for_must_exist() -> None:
    with pytest.raises(ConfigError, match=r"cannot read /nonexistent/config.toml: No such file or directory"):
        load_config(ABSENT, system_path=ABSENT)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(ConfigError, match="is not TOML"):
        load_config(tmp_path / "binary.toml", system_path=ABSENT)


def test_what_is_printed_can_be_read_back_and_says_where_values_came_from(tmp_path: Path) -> None:
    made = load(tmp_path, '[audio]\ndevice = "hw:\\"a\\\\é"\n[motion]\nthreshold = 0.07\n')
    printed = effective_toml(made)
    (tmp_path / "printed.toml").write_text(printed, encoding="utf-8")
    again = load_config(tmp_path / "printed.toml", system_path=ABSENT)
    assert (again.audio, again.motion, again.model) == (made.audio, made.motion, made.model)
    assert f"threshold = 0.07  # {tmp_path / 'mine.toml'}" in printed.splitlines()
    assert "period = 128" in printed.splitlines()


def test_the_command_prints_every_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    config.add_arguments(parser)
    (tmp_path / "a.toml").write_text("[audio]\nperiod = 512")
    assert config.main(parser.parse_args(["--config", str(tmp_path / "a.toml")])) == 0
    printed = tomllib.loads(capsys.readouterr().out)
    defaults = tomllib.loads(config.DEFAULT_PATH.read_text(encoding="utf-8"))
    assert printed["audio"]["period"] == 512
    assert {name: set(table) for name, table in printed.items()} == {name: set(t) for name, t in defaults.items()}
