"""The status socket: who asks is answered, and nobody who asks can do harm."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import stat
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from device.box.status import LONGEST_REQUEST, MOST_CLIENTS, Request, StatusServer
from device.box.status_client import StatusError, ask, follow, is_running

PATIENCE_S = 10.0
SNAPSHOT = {"state": "performing", "fps": 59.9}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "status"


@pytest.fixture
def server(path: Path) -> Iterator[StatusServer]:
    made = StatusServer(path)
    made.publish(SNAPSHOT)
    yield made
    made.close()


def serve_until(server: StatusServer, holds: Callable[[], bool]) -> list[Request]:
    """Serve as a supervisor does: when its descriptor wakes it."""
    requests: list[Request] = []
    while not holds():
        assert select.select([server], [], [], PATIENCE_S)[0], "nothing woke the server"
        requests += server.serve()
    return requests


def serve_all(server: StatusServer) -> list[Request]:
    """Serve until there is nothing more to do; it must come to an end."""
    requests: list[Request] = []
    for _ in range(1000):
        if not select.select([server], [], [], 0)[0]:
            return requests
        requests += server.serve()
    raise AssertionError("the server is woken for ever")


def connect(path: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.settimeout(PATIENCE_S)
    client.connect(str(path))
    client.setblocking(False)
    return client


def send(client: socket.socket, content: Mapping[str, Any]) -> None:
    client.sendall(json.dumps(content).encode() + b"\n")


def received(client: socket.socket) -> list[Any]:
    """All that has come, without waiting."""
    data = b""
    with contextlib.suppress(BlockingIOError):
        while more := client.recv(1 << 20):
            data += more
    return [json.loads(line) for line in data.splitlines()]


def n_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def is_left(client: socket.socket) -> bool:
    """Whether the server has closed the connection."""
    try:
        return client.recv(1 << 20) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


def test_who_asks_gets_the_newest_snapshot(server: StatusServer, path: Path) -> None:
    with connect(path) as client:
        for state in ("performing", "recording"):
            server.publish({"state": state})
            send(client, {"op": "status"})
            assert serve_all(server) == []
            assert received(client) == [{"state": state}]


def test_before_anything_was_published_the_answer_is_empty_and_no_error(path: Path) -> None:
    with contextlib.closing(StatusServer(path)) as server, connect(path) as client:
        send(client, {"op": "status"})
        serve_all(server)
        assert received(client) == [{}]


def test_who_follows_gets_every_snapshot(server: StatusServer, path: Path) -> None:
    with connect(path) as client:
        send(client, {"op": "follow"})
        serve_all(server)
        for n in range(3):
            server.publish({"n": n})
        assert received(client) == [SNAPSHOT, {"n": 0}, {"n": 1}, {"n": 2}]


def test_what_is_no_number_or_numpys_is_sent_all_the_same(server: StatusServer, path: Path) -> None:
    server.publish({"level": -np.inf, "fps": np.float32(0.5), "n": np.int64(3), "at": Path("/a"), "list": (1, np.nan)})
    with connect(path) as client:
        send(client, {"op": "status"})
        serve_all(server)
        assert received(client) == [{"level": None, "fps": 0.5, "n": 3, "at": "/a", "list": [1, None]}]


def test_other_requests_are_the_supervisors_and_its_answer_reaches_who_asked(server: StatusServer, path: Path) -> None:
    with connect(path) as one, connect(path) as other:
        send(one, {"op": "change_model", "path": "/a"})
        send(other, {"op": "status"})
        (request,) = serve_all(server)
        assert (request.op, request.content["path"]) == ("change_model", "/a")
        request.reply({"ok": True, "name": "a"})
        request.reply({"ok": True, "name": "twice"})
        serve_all(server)
        assert (received(one), received(other)) == ([{"ok": True, "name": "a"}], [SNAPSHOT])


def test_a_client_waits_for_its_answer_before_more_is_read_of_it(server: StatusServer, path: Path) -> None:
    with connect(path) as client:
        for _ in range(3):
            send(client, {"op": "reload"})
        (first,) = serve_all(server)
        first.reply({"ok": True})
        assert len(serve_all(server)) == 1


def test_an_answer_to_a_client_that_has_gone_goes_nowhere(server: StatusServer, path: Path) -> None:
    with connect(path) as client:
        send(client, {"op": "reload"})
        (request,) = serve_all(server)
    serve_all(server)
    request.reply({"ok": True})
    with connect(path) as client:
        send(client, {"op": "status"})
        serve_all(server)
        assert received(client) == [SNAPSHOT]


@pytest.mark.parametrize("data", [b"\n", b"{}\n", b"[]\n", b"3\n", b"hello\n", b"\xff\xfe\n", b"[" * 4000 + b"\n"])
def test_what_is_no_request_is_answered_with_how_to_ask(server: StatusServer, path: Path, data: bytes) -> None:
    with connect(path) as client:
        client.sendall(data)
        serve_all(server)
        (answer,) = received(client)
        assert answer["ok"] is False
        assert '{"op": "status"}' in answer["error"]


def test_a_request_may_come_in_pieces_and_many_at_once(server: StatusServer, path: Path) -> None:
    with connect(path) as client:
        for byte in b'{"op": "status"}':
            client.sendall(bytes([byte]))
            serve_all(server)
        assert received(client) == []
        client.sendall(b'\n{"op": "status"}\n{"op": "status"}\n')
        serve_all(server)
        assert received(client) == [SNAPSHOT] * 3


def test_a_line_without_end_is_hung_up_on(server: StatusServer, path: Path) -> None:
    with connect(path) as client:
        client.sendall(b"x" * (2 * LONGEST_REQUEST))
        serve_all(server)
        assert is_left(client)


def test_a_follower_that_reads_nothing_keeps_nobody_waiting_and_no_memory(server: StatusServer, path: Path) -> None:
    with connect(path) as slow:
        send(slow, {"op": "follow"})
        serve_all(server)
        for n in range(2000):
            server.publish({"n": n, "filling": "x" * 4000})
            server.serve()
        assert sum(len(each.to_send) for each in server._clients.values()) < 5000
        # What it reads at last is whole lines, the newest among them once it has caught up.
        lines: list[Any] = []
        while slow_lines := received(slow):
            lines += slow_lines
            serve_all(server)
        server.publish({"n": "now"})
        lines += received(slow)
        assert lines[-1] == {"n": "now"}
        assert len(lines) < 2000


def test_who_asks_again_and_again_and_reads_nothing_costs_no_memory(server: StatusServer, path: Path) -> None:
    server.publish({"filling": "x" * 4000})
    with connect(path) as greedy:
        with contextlib.suppress(BlockingIOError):
            while True:
                greedy.send(b'{"op": "status"}\n' * 100)
                server.serve()
        (client,) = server._clients.values()
        assert len(client.to_send) < 5000
        assert len(client.received) <= 2 * LONGEST_REQUEST


def test_clients_that_say_nothing_make_room_for_those_that_ask(server: StatusServer, path: Path) -> None:
    with contextlib.ExitStack() as stack:
        follower = stack.enter_context(connect(path))
        send(follower, {"op": "follow"})
        serve_all(server)
        for _ in range(3 * MOST_CLIENTS):
            stack.enter_context(connect(path))
            serve_all(server)
        assert len(server._clients) <= MOST_CLIENTS
        asking = stack.enter_context(connect(path))
        send(asking, {"op": "status"})
        serve_all(server)
        assert received(asking) == [SNAPSHOT]
        assert received(follower) == [SNAPSHOT]


def test_a_client_that_goes_in_the_middle_is_forgotten(server: StatusServer, path: Path) -> None:
    n_before = n_descriptors()
    for data in (b"", b'{"op": "sta', b'{"op": "follow"}\n', b'{"op": "reload"}\n'):
        with connect(path) as client:
            client.sendall(data)
            serve_all(server)
        serve_all(server)
        server.publish(SNAPSHOT)
    serve_all(server)
    assert server._clients == {}
    assert n_descriptors() == n_before


def test_only_the_boxes_user_and_group_may_ask(server: StatusServer, path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    assert server.fileno() > 0


def test_what_a_box_left_that_was_killed_is_replaced_and_one_that_runs_is_not(path: Path) -> None:
    path.parent.mkdir()
    left = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    left.bind(str(path))
    left.close()
    assert not is_running(path)
    with contextlib.closing(StatusServer(path)):
        assert is_running(path)
        with pytest.raises(StatusError, match="running already"):
            StatusServer(path)
        assert is_running(path)
    assert not path.exists()


def test_a_place_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "status", tmp_path / ("x" * 200)):
        with pytest.raises(StatusError, match=r"cannot be made \(.*set status.socket"):
            StatusServer(path)
    assert (tmp_path / "file").exists()


@contextlib.contextmanager
def served(server: StatusServer, answer: Callable[[Request], None]) -> Iterator[None]:
    """Serve in a thread, as long as it lasts."""
    is_over = threading.Event()

    def serve() -> None:
        while not is_over.is_set():
            select.select([server], [], [], 0.01)
            for request in server.serve():
                answer(request)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def test_asking_gives_the_answer_or_says_why_not(server: StatusServer, path: Path) -> None:
    def answer(request: Request) -> None:
        request.reply({"ok": True, "n": 1} if request.op == "good" else {"ok": False, "error": "no such model: choose"})

    with served(server, answer):
        assert ask(path, {"op": "status"}) == SNAPSHOT
        assert ask(path, {"op": "good"}) == {"ok": True, "n": 1}
        with pytest.raises(StatusError, match="no such model: choose"):
            ask(path, {"op": "bad"})


def test_following_gives_snapshots_until_the_box_ends(server: StatusServer, path: Path) -> None:
    with served(server, lambda _: None):
        snapshots = follow(path)
        assert next(snapshots) == SNAPSHOT
    server.publish({"n": 1})
    assert next(snapshots) == {"n": 1}
    server.close()
    assert list(snapshots) == []


@pytest.mark.usefixtures("server")
def test_a_box_that_does_not_run_or_answer_is_told_apart(path: Path, tmp_path: Path) -> None:
    with pytest.raises(StatusError, match="does not run: start it with systemctl start dance-sampler"):
        ask(tmp_path / "none", {"op": "status"})
    with pytest.raises(StatusError, match="does not answer: look at its log"):
        ask(path, {"op": "status"}, timeout_s=0.05)
    assert is_running(path)
