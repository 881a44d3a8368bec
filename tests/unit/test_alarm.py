"""Alarms: who is told what, how often, and that nothing of it holds up or harms the box."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from device.box.alarm import MOST_FAULTS, Alarm, Alarms, Pending
from device.config import FaultsConfig, load_config
from device.core.errors import ConfigError
from tests.eventually import PATIENCE_S, eventually


def alarm(is_on: bool = True, fault: str = "camera") -> Alarm:
    return Alarm(fault, is_on, "check its cable", "2026-11-23T02:00:00+00:00")


def test_a_fault_that_begins_is_told_of_at_once_and_its_end_after_a_while() -> None:
    pending = Pending(60.0)
    pending.put(alarm())
    assert pending.take(0.0) == alarm()
    pending.put(alarm(is_on=False))
    assert pending.take(59.9) is None
    assert pending.due_s() == 60.0
    assert pending.take(60.0) == alarm(is_on=False)
    assert (pending.take(1000.0), pending.due_s()) == (None, None)


def test_a_loose_cable_is_told_of_once_in_a_while_with_how_often_it_was() -> None:
    pending, told = Pending(60.0), []
    for second in range(600):
        pending.put(alarm(is_on=second % 2 == 0))
        told += [each for each in [pending.take(float(second))] if each is not None]
    assert len(told) == 10
    assert told[1].n_left_out == 59
    assert pending.take(660.0) is not None
    assert pending.due_s() is None


def test_what_holds_in_the_end_is_what_was_told_last() -> None:
    pending = Pending(60.0)
    pending.put(alarm())
    assert pending.take(0.0) is not None
    for is_on in (False, True, False):
        pending.put(alarm(is_on=is_on))
    last = pending.take(60.0)
    assert last is not None
    assert (last.is_on, last.n_left_out) == (False, 2)


def test_one_fault_does_not_wait_for_another() -> None:
    pending = Pending(60.0)
    pending.put(alarm(fault="camera"))
    assert pending.take(0.0) == alarm(fault="camera")
    pending.put(alarm(fault="card"))
    assert pending.take(1.0) == alarm(fault="card")


def test_that_there_is_no_fault_is_no_news() -> None:
    pending = Pending(60.0)
    pending.put(alarm(is_on=False))
    assert pending.take(0.0) is None
    assert pending.due_s() is None


def test_however_many_faults_there_are_memory_stays_small() -> None:
    pending = Pending(60.0)
    for n in range(10 * MOST_FAULTS):
        pending.put(alarm(fault=f"fault {n}"))
        pending.put(alarm(fault=f"other {n}"))
        pending.take(0.0)
    assert len(pending._waiting) <= MOST_FAULTS
    assert len(pending._told) <= MOST_FAULTS


def script(tmp_path: Path, body: str) -> str:
    """A command that runs a program, which finds what it was given in `given`."""
    path = tmp_path / "a command.py"
    path.write_text(
        "import json, os, sys, time, subprocess\n"
        "given = json.loads(sys.stdin.readline())\n"
        "assert sys.stdin.read() == ''\n"
        f"folder = sys.argv[1]\n{body}"
    )
    return f"'{sys.executable}' '{path}' '{tmp_path}'"


def config(command: str = "", webhook: str = "", every_s: float = 0.0, timeout_s: float = PATIENCE_S) -> FaultsConfig:
    return FaultsConfig(command, webhook, every_s, timeout_s)


APPEND = "with open(folder + '/told', 'a') as file: file.write(json.dumps(given) + '\\n')"


def told(tmp_path: Path) -> list[Any]:
    path = tmp_path / "told"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_the_command_gets_what_begins_and_what_ends(tmp_path: Path) -> None:
    alarms = Alarms(config(script(tmp_path, APPEND)), box="foyer")
    alarms.tell("camera", True, "no frames:\ncheck its cable")
    eventually(lambda: len(told(tmp_path)) == 1)
    alarms.tell("camera", False)
    eventually(lambda: len(told(tmp_path)) == 2)
    alarms.close(PATIENCE_S)
    first, second = told(tmp_path)
    assert first["time"].endswith("+00:00")
    assert (first["event"], first["fault"], first["what"]) == ("begins", "camera", "no frames: check its cable")
    assert (second["event"], second["box"], second["n_left_out"]) == ("ends", "foyer", 0)


def test_shells_that_read_lines_get_a_whole_one() -> None:
    assert alarm().to_json("foyer").endswith(b"}\n")


def test_no_shell_looks_at_the_command(tmp_path: Path) -> None:
    alarms = Alarms(config(script(tmp_path, APPEND) + f" ; touch {tmp_path / 'harm'} $(touch {tmp_path / 'harm'})"))
    alarms.tell("camera", True)
    alarms.close(PATIENCE_S)
    assert len(told(tmp_path)) == 1
    assert not (tmp_path / "harm").exists()


def test_telling_never_waits_and_commands_never_run_side_by_side(tmp_path: Path) -> None:
    body = (
        "os.mkdir(folder + '/running')\n"  # which two at once could not
        "while not os.path.exists(folder + '/go'): time.sleep(0.01)\n"
        f"os.rmdir(folder + '/running')\n{APPEND}"
    )
    alarms = Alarms(config(script(tmp_path, body)))
    alarms.tell("camera", True)
    eventually((tmp_path / "running").exists)
    begin_s = time.monotonic()
    for n in range(1000):
        alarms.tell("card", n % 2 == 0)
    assert time.monotonic() - begin_s < PATIENCE_S / 2
    (tmp_path / "go").touch()
    alarms.close(PATIENCE_S)
    assert [(each["fault"], each["event"]) for each in told(tmp_path)] == [("camera", "begins"), ("card", "ends")]
    assert told(tmp_path)[1]["n_left_out"] == 999


def test_a_command_that_hangs_is_ended_with_all_that_it_started(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    body = (
        "child = subprocess.Popen(['sleep', '1000'])\n"
        "with open(folder + '/pids', 'w') as file: file.write(f'{os.getpid()} {child.pid}')\n"
        "time.sleep(1000)"
    )
    # Long enough for a busy machine to have started both by then.
    alarms = Alarms(config(script(tmp_path, body), timeout_s=3.0))
    with caplog.at_level(logging.WARNING):
        alarms.tell("camera", True)
        eventually(lambda: "timed out" in caplog.text)
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    eventually(lambda: not any(is_alive(pid) for pid in pids))
    alarms.close(PATIENCE_S)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return "zombie" not in Path(f"/proc/{pid}/status").read_text()
    except (ProcessLookupError, FileNotFoundError):
        return False


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("/nonexistent/program", "No such file"),
        ("'unclosed", "No closing quotation"),
        ("sh -c 'echo it is broken >&2; exit 3'", "sh ended with 3: it is broken"),
    ],
)
def test_a_command_that_fails_is_a_line_in_the_log_and_the_next_is_tried(
    caplog: pytest.LogCaptureFixture, command: str, said: str
) -> None:
    alarms = Alarms(config(command))
    with caplog.at_level(logging.WARNING):
        for n, is_on in enumerate((True, False)):
            alarms.tell("camera", is_on)
            eventually(lambda n=n: caplog.text.count(said) == n + 1)  # type: ignore[misc]  # a default binds it
    alarms.close(PATIENCE_S)
    assert "see [faults] in the configuration" in caplog.text


class Hook(ThreadingHTTPServer):
    """A web server that keeps what it is told, and answers with a code."""

    def __init__(self, code: int) -> None:
        self.told: list[tuple[str, Any]] = []
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hook.told.append((self.headers["Content-Type"], json.loads(body)))
                if code:
                    self.send_response(code)
                    self.end_headers()
                else:
                    self.wfile.write(b"this is not HTTP\r\n\r\n")

            def log_message(self, *args: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/alarm"


@pytest.fixture
def hook(request: pytest.FixtureRequest) -> Iterator[Hook]:
    made = Hook(getattr(request, "param", 204))
    yield made
    made.shutdown()
    made.server_close()


def test_the_web_address_is_posted_to(hook: Hook) -> None:
    alarms = Alarms(config(webhook=hook.address), box="foyer")
    alarms.tell("card", True, "plug it in again")
    eventually(lambda: len(hook.told) == 1)
    alarms.close(PATIENCE_S)
    ((kind, content),) = hook.told
    assert kind == "application/json"
    assert (content["box"], content["fault"], content["what"]) == ("foyer", "card", "plug it in again")


@pytest.mark.parametrize("hook", [500, 404, 0], indirect=True)
def test_a_web_address_that_answers_badly_is_a_line_in_the_log(hook: Hook, caplog: pytest.LogCaptureFixture) -> None:
    alarms = Alarms(config(webhook=hook.address))
    with caplog.at_level(logging.WARNING):
        alarms.tell("card", True)
        eventually(lambda: "the webhook for faults has failed" in caplog.text)
        alarms.tell("card", False)
        eventually(lambda: len(hook.told) == 2)
    alarms.close(PATIENCE_S)


def test_a_web_address_where_nobody_answers_does_not_keep_the_command_waiting(tmp_path: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as silent:  # it takes connections, no more
        alarms = Alarms(config(script(tmp_path, APPEND), f"http://127.0.0.1:{silent.server_port}/"))
        alarms.tell("card", True)
        eventually(lambda: len(told(tmp_path)) == 1)
        alarms.close()


def test_without_command_and_address_nothing_is_started() -> None:
    n_threads = threading.active_count()
    alarms = Alarms(config())
    alarms.tell("card", True)
    assert threading.active_count() == n_threads
    alarms.close()


@pytest.mark.parametrize("address", ["file:///etc/passwd", "ftp://a/b", "example.org", "http://a b"])
def test_only_web_addresses_can_be_configured(tmp_path: Path, address: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(f'[faults]\nwebhook = "{address}"\n')
    with pytest.raises(ConfigError, match=r"faults\.webhook.*http://"):
        load_config(file, tmp_path / "none")
