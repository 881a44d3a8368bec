"""The command line: exit codes, one line on standard error, and nothing heavy before it is needed."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from device.__main__ import COMMANDS as DEVICE_COMMANDS
from device.cli import Command, run
from trainer.__main__ import COMMANDS as TRAINER_COMMANDS

ROOT = Path(__file__).parents[2]
HEAVY = (
    "tensorflow",
    "keras",
    "trainer",
    "matplotlib",
    "av",
    "tflite_runtime",
    "ai_edge_litert",
    "alsaaudio",
)

PLAY = """
from device.core.errors import AudioError, ConfigError

def add_arguments(parser):
    parser.add_argument("--raise", dest="what", default="None")
    parser.add_argument("--code", type=int, default=0)

def main(args):
    print("played")
    error = eval(args.what)
    if error is not None:
        raise error
    return args.code
"""


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Command]:
    (tmp_path / "cli_play.py").write_text(PLAY)
    (tmp_path / "cli_broken.py").write_text("raise AssertionError('imported without need')")
    (tmp_path / "cli_lacking.py").write_text("import a_library_that_nobody_has")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "cli_play", raising=False)
    return {
        "play": Command("cli_play", "play it"),
        "broken": Command("cli_broken", "break it"),
        "lacking": Command("cli_lacking", "lack it"),
    }


def run_device(commands: dict[str, Command], *argv: str) -> int:
    return run("device", "A test.", commands, argv)


def test_the_command_gives_the_exit_code_and_no_other_command_is_imported(
    commands: dict[str, Command], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_device(commands, "play") == 0
    assert run_device(commands, "play", "--code", "1") == 1
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        ("AudioError('no card; plug one in')", 1, "device: no card; plug one in"),
        ("ConfigError('bad; mend it')", 2, "device: bad; mend it"),
        ("AudioError('two\\nlines')", 1, "device: two lines"),
        (
            f"OSError({errno.ENOSPC}, 'No space left on device', 'out/a.wav')",
            1,
            "device: out/a.wav: No space left on device",
        ),
        ("PermissionError(13, 'Permission denied')", 1, "device: Permission denied"),
        ("BrokenPipeError(32, 'Broken pipe')", 1, "device: what reads the output has ended"),
        ("KeyboardInterrupt()", 130, "device: interrupted"),
    ],
)
def test_what_goes_wrong_is_one_line_and_an_exit_code(
    commands: dict[str, Command], capsys: pytest.CaptureFixture[str], raised: str, code: int, said: str
) -> None:
    assert run_device(commands, "play", "--raise", raised) == code
    printed = capsys.readouterr()
    assert printed.out == "played\n"
    assert printed.err.startswith(said)
    assert printed.err.count("\n") == 1


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ((), "required: COMMAND; see python -m device --help"),
        (("ply",), "invalid choice: 'ply'"),
        (("play", "--loud"), "unrecognized arguments: --loud"),
        (("play", "--code", "x"), "invalid int value: 'x'; see python -m device play --help"),
        (("--", "play"), "see python -m device --help"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(
    commands: dict[str, Command], capsys: pytest.CaptureFixture[str], argv: tuple[str, ...], said: str
) -> None:
    assert run_device(commands, *argv) == 2
    printed = capsys.readouterr().err
    assert said in printed
    assert printed.count("\n") == 1


def test_a_mistake_of_ours_is_not_hidden(commands: dict[str, Command]) -> None:
    with pytest.raises(ZeroDivisionError):
        run_device(commands, "play", "--raise", "1 / 0")


def test_a_missing_library_is_named_with_how_to_get_it(
    commands: dict[str, Command], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_device(commands, "lacking") == 1
    assert "a_library_that_nobody_has is not installed; run make demo" in capsys.readouterr().err


# As a user's: Python keeps what is printed until the end.
BUFFERED = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}


def device(*argv: str, stdout: int | None = subprocess.PIPE) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "device", *argv]
    return subprocess.run(
        command, cwd=ROOT, env=BUFFERED, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False
    )


def test_a_full_disk_under_standard_output_is_a_failure() -> None:
    with Path("/dev/full").open("w") as full:
        done = device("config", stdout=full.fileno())
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "No space left on device" in done.stderr


def test_a_closed_pipe_under_standard_output_is_a_failure() -> None:
    command = [sys.executable, "-m", "device", "config"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, env=BUFFERED, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()
    assert (process.returncode, said.count("\n")) == (1, 1)


@pytest.mark.parametrize("name", sorted(DEVICE_COMMANDS))
def test_a_command_of_the_box_explains_itself_without_anything_heavy(name: str) -> None:
    program = (
        "import runpy, sys\n"
        f"sys.argv = ['device', {name!r}, '--help']\n"
        "try:\n    runpy.run_module('device', run_name='__main__')\n"
        "except SystemExit as ended:\n    assert not ended.code, ended.code\n"
        f"print('HEAVY', sorted(set(sys.modules) & set({HEAVY!r})))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"usage: python -m device {name}")
    assert done.stdout.endswith("HEAVY []\n")


@pytest.mark.parametrize("name", sorted(TRAINER_COMMANDS))
def test_a_command_of_the_workstation_explains_itself(name: str) -> None:
    command = [sys.executable, "-m", "trainer", name, "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: python -m trainer {name}")


def test_perform_explains_itself_within_half_a_second() -> None:
    times_s = []
    for _ in range(5):
        start_s = time.perf_counter()
        assert device("perform", "--help").returncode == 0
        times_s.append(time.perf_counter() - start_s)
    assert min(times_s) < 0.5
