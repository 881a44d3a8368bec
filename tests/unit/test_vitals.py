"""How the machine is: on a Pi, on a Jetson, and on one that tells nothing, as their files say it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from device.box.vitals import (
    Vitals,
    free_memory_bytes,
    is_clock_synchronised,
    look,
    memory_bytes,
    temperature_c,
    throttled,
)


def put(root: Path, name: str, text: str) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def zone(root: Path, n: int, kind: str, millidegrees: str) -> None:
    put(root, f"sys/class/thermal/thermal_zone{n}/type", kind + "\n")
    put(root, f"sys/class/thermal/thermal_zone{n}/temp", millidegrees + "\n")


def test_a_machine_that_tells_nothing_is_no_failure(tmp_path: Path) -> None:
    assert look([1], tmp_path) == Vitals(None, None, None, 0, None)
    assert is_clock_synchronised(tmp_path) is None


def test_the_temperature_is_the_processors(tmp_path: Path) -> None:
    zone(tmp_path, 0, "cpu-thermal", "61234")
    zone(tmp_path, 1, "charger", "85000")
    assert temperature_c(tmp_path) == pytest.approx(61.234)


def test_without_a_processors_zone_it_is_the_hottest_that_can_be_one(tmp_path: Path) -> None:
    zone(tmp_path, 0, "PMIC-Die", "100000")
    zone(tmp_path, 1, "AO-therm", "41500")
    zone(tmp_path, 2, "PLL-therm", "-256000")
    zone(tmp_path, 3, "tj", "not a number")
    put(tmp_path, "sys/class/thermal/thermal_zone4/type", "board")
    assert temperature_c(tmp_path) == pytest.approx(41.5)


def test_a_processor_above_100_degrees_is_believed(tmp_path: Path) -> None:
    zone(tmp_path, 0, "CPU-therm", "104000")
    zone(tmp_path, 1, "PMIC-Die", "100000")
    assert temperature_c(tmp_path) == pytest.approx(104.0)


@pytest.mark.parametrize(
    ("bits", "said"),
    [
        ("0", []),
        ("50000", ["under-voltage since the start", "throttled since the start"]),
        ("50005", ["under-voltage now: use a stronger power supply", "slowed down now: throttled"]),
        ("80008", ["too hot now: soft temperature limit"]),
        ("20000", ["frequency capped since the start"]),
    ],
)
def test_what_power_and_heat_do_to_a_pi_is_said_in_words(tmp_path: Path, bits: str, said: list[str]) -> None:
    put(tmp_path, "sys/devices/platform/soc/soc:firmware/get_throttled", bits + "\n")
    assert throttled(tmp_path) == said


def program(root: Path, body: str) -> None:
    put(root, "usr/bin/vcgencmd", f"#!{sys.executable}\n{body}\n").chmod(0o755)


def test_where_the_kernel_does_not_say_the_firmware_is_asked(tmp_path: Path) -> None:
    program(tmp_path, "import sys; assert sys.argv[1] == 'get_throttled'; print('throttled=0x50000')")
    assert throttled(tmp_path) == ["under-voltage since the start", "throttled since the start"]


@pytest.mark.parametrize("body", ["print('error=1')", "raise SystemExit(255)", "print('VCHI initialization failed')"])
def test_a_firmware_that_may_not_be_asked_is_no_failure(tmp_path: Path, body: str) -> None:
    program(tmp_path, body)
    assert throttled(tmp_path) is None


def test_shared_memory_counts_once_and_without_that_figure_resident_memory_does(tmp_path: Path) -> None:
    put(tmp_path, "proc/7/smaps_rollup", "0-1 ---p 0 0:0 0 [rollup]\nRss:  5000 kB\nPss:  2000 kB\nPss_Dirty: 1 kB\n")
    put(tmp_path, "proc/8/status", "Name:\tx\nVmRSS:\t 3000 kB\n")
    assert look([7, 8, 9], tmp_path).memory_bytes == 5000 * 1024


def test_this_machine_tells_of_memory_and_load() -> None:
    vitals = look([os.getpid()])
    assert vitals.memory_bytes == pytest.approx(memory_bytes(os.getpid()), rel=0.2)
    assert vitals.memory_bytes > 10 << 20
    assert vitals.load is not None
    assert (free_memory_bytes() or 0) > 1 << 20


def test_whether_the_clock_was_set_by_the_network(tmp_path: Path) -> None:
    (tmp_path / "run/systemd/timesync").mkdir(parents=True)
    assert is_clock_synchronised(tmp_path) is False
    put(tmp_path, "run/systemd/timesync/synchronized", "")
    assert is_clock_synchronised(tmp_path) is True
