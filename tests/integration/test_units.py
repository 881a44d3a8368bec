"""The units as systemd itself reads them: what it would complain of, and what the service may do."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from device.config import load_config
from device.core.lights import SEEN

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "systemd"
SERVICE = UNITS / "dance-sampler.service"
EXPOSURE_TENTHS = 12
"""What `systemd-analyze security` may give the service at most: 1.2."""
INSTALLED_PYTHON = "/opt/dance-sampler/current/.venv/bin/python"


def analyze(*arguments: str | Path) -> str:
    """What systemd-analyze says, its own complaints included."""
    environ = {**os.environ, "SYSTEMD_COLORS": "0", "SYSTEMD_PAGER": "cat"}
    asked = ["systemd-analyze", *map(str, arguments)]
    done = subprocess.run(asked, env=environ, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return done.stdout + (f"exit code {done.returncode}" if done.returncode else "")


def exposure(unit: Path) -> str:
    return analyze("security", "--offline=true", f"--threshold={EXPOSURE_TENTHS}", "--no-pager", unit)


def verified(folder: Path, name: str, was: str = "", becomes: str = "") -> str:
    """What `verify` prints of one unit beside all others, some of its text replaced."""
    for unit in [*UNITS.glob("*.service"), *UNITS.glob("*.path")]:
        text = unit.read_text().replace(INSTALLED_PYTHON, shutil.which("true") or "")
        if was and unit.name == name:
            assert was in text
            text = text.replace(was, becomes)
        (folder / unit.name).write_text(text)
    return analyze("verify", "--man=no", folder / name.replace("@.", "@sda1."))


def keys(unit: Path) -> dict[str, list[str]]:
    """Every 'Section.Key' with all its values: systemd gathers what is said twice."""
    found: dict[str, list[str]] = {}
    section = ""
    for line in unit.read_text().splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(f"{section}.{key}", []).append(value)
    return found


@pytest.mark.parametrize("unit", sorted(each.name for each in UNITS.iterdir() if each.suffix in (".service", ".path")))
def test_systemd_has_nothing_to_say_of_a_unit(tmp_path: Path, unit: str) -> None:
    assert verified(tmp_path, unit) == ""


@pytest.mark.parametrize(
    ("was", "becomes", "said"),
    [
        ("Restart=always", "Restart=alwayz", "Failed to parse service restart specifier"),
        ("KillMode=mixed", "KillModus=mixed", "KillModus"),
    ],
)
def test_a_mistake_in_a_unit_would_be_seen(tmp_path: Path, was: str, becomes: str, said: str) -> None:
    assert said in verified(tmp_path, "dance-sampler.service", was, becomes)


def test_the_service_is_locked_in_as_far_as_was_promised() -> None:
    assert re.search(r"Overall exposure level for dance-sampler.service: [01]\.\d", exposure(SERVICE))
    assert "exit code" not in exposure(SERVICE)


def test_a_service_that_may_do_more_would_be_seen(tmp_path: Path) -> None:
    looser = tmp_path / SERVICE.name
    looser.write_text(SERVICE.read_text().replace("CapabilityBoundingSet=\n", ""))
    assert "exit code" in exposure(looser)


def test_the_drop_in_for_a_webhook_gives_the_network_and_nothing_else(tmp_path: Path) -> None:
    """Set beside the service's own keys: it is the same service, with a network."""
    drop_in = keys(UNITS / "network.conf")
    assert drop_in == {"Service.PrivateNetwork": ["no"], "Service.RestrictAddressFamilies": ["AF_INET AF_INET6"]}
    opened = tmp_path / SERVICE.name
    opened.write_text(SERVICE.read_text() + (UNITS / "network.conf").read_text())
    worse = re.findall(r"^✗ (\S+)", exposure(opened), re.MULTILINE)
    before = re.findall(r"^✗ (\S+)", exposure(SERVICE), re.MULTILINE)
    assert set(worse) - set(before) == {"PrivateNetwork=", "RestrictAddressFamilies=~AF_(INET|INET6)"}


def test_the_service_waits_for_no_network_and_no_clock() -> None:
    unit = keys(SERVICE)
    waited_for = " ".join(value for key, values in unit.items() for value in values if key.startswith("Unit."))
    assert not re.search(r"network|time-sync|time-set|timesync", waited_for)
    assert unit["Unit.DefaultDependencies"] == ["no"]
    # Without the default ones these two it must say itself, or it is killed without a word when the box goes off.
    assert "shutdown.target" in unit["Unit.Before"]
    assert "shutdown.target" in unit["Unit.Conflicts"]


def test_a_state_that_cannot_be_mounted_does_not_keep_the_box_silent() -> None:
    unit = keys(SERVICE)
    assert not {"Unit.Requires", "Unit.RequiresMountsFor", "Unit.BindsTo", "Service.StateDirectory"} & set(unit)
    assert unit["Service.ReadWritePaths"] == ["-/var/lib/dance-sampler"]
    assert any(r"var-lib-dance\x2dsampler.mount" in value for value in unit["Unit.After"])


def test_the_service_is_started_again_for_ever() -> None:
    unit = keys(SERVICE)
    assert unit["Service.Restart"] == ["always"]
    assert unit["Unit.StartLimitIntervalSec"] == ["0"]
    assert unit["Service.RuntimeDirectoryPreserve"] == ["restart"]


def test_the_sound_may_have_the_priority_that_is_configured(tmp_path: Path) -> None:
    priority = load_config(system_path=tmp_path / "none").engine.realtime_priority
    assert int(keys(SERVICE)["Service.LimitRTPRIO"][0]) >= priority
    assert keys(SERVICE)["Service.LimitMEMLOCK"] == ["infinity"]
    assert keys(SERVICE)["Service.RestrictRealtime"] == ["no"]


def test_every_kind_of_device_that_is_allowed_is_known_to_the_kernel_before_the_start() -> None:
    """A kind that its module has not registered yet would stay forbidden for as long as the service runs."""
    unit = keys(SERVICE)
    modules = {"alsa": "snd", "video4linux": "videodev", "media": "mc"}
    always_there = {"gpiochip", "dma_heap"}
    kinds = {value.split()[0].removeprefix("char-") for value in unit["Service.DeviceAllow"] if "char-" in value}
    assert kinds == set(modules) | always_there
    for key in ("Unit.Wants", "Unit.After"):
        assert {f"modprobe@{module}.service" for module in modules.values()} <= set(" ".join(unit[key]).split())


def test_every_group_of_the_service_is_made_where_it_is_missing() -> None:
    made = re.findall(r"^g (\S+)", (UNITS / "dance-sampler.sysusers").read_text(), re.MULTILINE)
    assert set(keys(SERVICE)["Service.SupplementaryGroups"][0].split()) <= set(made)


def test_what_the_supervisor_writes_to_power_off_is_what_the_path_unit_waits_for() -> None:
    waited_for = keys(UNITS / "dance-sampler-poweroff.path")["Path.PathExists"]
    commands = keys(UNITS / "dance-sampler-poweroff.service")["Service.ExecStart"]
    assert commands == [f"/bin/rm -f {waited_for[0]}", "/bin/systemctl --no-block poweroff"]
    assert Path(waited_for[0]).parent == Path("/run") / keys(SERVICE)["Service.RuntimeDirectory"][0]


def test_nothing_names_a_program_that_install_puts_elsewhere() -> None:
    for unit in (SERVICE, UNITS / "dance-sampler-stick@.service"):
        assert keys(unit)["Service.ExecStart"][0].startswith(f"{INSTALLED_PYTHON} -m device ")
        assert keys(unit)["Service.WorkingDirectory"] == ["/opt/dance-sampler/current"]


@pytest.mark.skipif(
    shutil.which("systemd-sysusers") is None or os.geteuid() != 0, reason="needs systemd-sysusers, which needs root"
)
def test_user_and_groups_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (tmp_path / "etc/group").write_text("root:x:0:\naudio:x:29:\n")
    made = subprocess.run(
        ["systemd-sysusers", f"--root={tmp_path}", UNITS / "dance-sampler.sysusers"], capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    groups = dict(line.split(":")[:3:2] for line in (tmp_path / "etc/group").read_text().splitlines())
    assert groups["audio"] == "29"
    assert {"video", "gpio", "dance-sampler"} <= set(groups)
    home = next(line for line in (tmp_path / "etc/passwd").read_text().splitlines() if "dance" in line).split(":")[5]
    # The keys that may deploy lie there: the program must not be able to let others in.
    writable = keys(SERVICE)["Service.ReadWritePaths"][0].lstrip("-")
    assert home == "/etc/dance-sampler"
    assert not f"{home}/".startswith(f"{writable}/")


def test_udev_rules_parse() -> None:
    """Every rule is matches and assignments, in udev's own words; a stick is handed to its unit."""
    rules = [line for line in (UNITS / "70-dance-sampler.rules").read_text().splitlines() if line and line[0] != "#"]
    term = re.compile(r'(SUBSYSTEM|KERNEL|ACTION|ENV\{\w+\}|TAG|GROUP|MODE)(==|=|\+=)"[^"]+"')
    for rule in rules:
        assert all(term.fullmatch(each.strip()) for each in rule.split(", ")), rule
    (stick,) = [rule for rule in rules if "dance-sampler-stick@%k.service" in rule]
    assert 'ACTION=="add"' in stick
    assert 'ENV{ID_BUS}=="usb"' in stick
    groups = set(re.findall(r'GROUP="(\w+)"', " ".join(rules)))
    assert groups <= set(keys(SERVICE)["Service.SupplementaryGroups"][0].split())


def test_watchdog_and_journal_have_bounds() -> None:
    watchdog, journal = configparser.ConfigParser(), configparser.ConfigParser()
    watchdog.read(UNITS / "watchdog.conf")
    journal.read(UNITS / "journald.conf")
    # A Pi's watchdog counts to 15 s at most.
    assert int(watchdog["Manager"]["RuntimeWatchdogSec"].removesuffix("s")) <= 15
    assert journal["Journal"]["SystemMaxUse"].endswith("M")
    assert "Service.LogRateLimitBurst" in keys(SERVICE)


def test_the_guide_tells_every_light_as_it_is() -> None:
    guide = (UNITS / "README.md").read_text(encoding="utf-8")
    rows = [f"| {light.value} | {seen.looks} | {seen.means} |" for light, seen in SEEN.items()]
    assert "\n".join(rows) in guide


def test_every_row_of_the_fault_table_names_a_test_that_there_is() -> None:
    guide = (UNITS / "README.md").read_text(encoding="utf-8")
    table = guide.split("## What happens when ...", 1)[1].split("\n## ", 1)[0]
    rows = [line for line in table.splitlines() if line.startswith("| ")][2:]
    shown = [re.fullmatch(r"\|(?: [^|]+ \|){4} `(test_\w+)` \|", row) for row in rows]
    tests = "".join(path.read_text(encoding="utf-8") for path in (UNITS.parent / "tests").rglob("test_*.py"))
    assert len(rows) >= 20
    for row, found in zip(rows, shown, strict=True):
        assert found, row
        assert f"def {found[1]}(" in tests, row


def test_the_guide_wires_the_pins_that_are_configured(tmp_path: Path) -> None:
    panel = load_config(system_path=tmp_path / "none").panel
    guide = (UNITS / "README.md").read_text(encoding="utf-8")
    assert f"(GPIO {panel.button}) to ground while it is down" in guide
    assert f"(GPIO {panel.led}) is high" in guide
    assert (panel.button_pull, panel.button_pressed, panel.led_lit) == ("up", "low", "high")


def test_a_take_is_given_up_before_systemd_ends_the_box(tmp_path: Path) -> None:
    panel = load_config(system_path=tmp_path / "none").panel
    assert panel.saving_limit_s + 5 <= float(keys(SERVICE)["Service.TimeoutStopSec"][0])
