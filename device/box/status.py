"""How a running box is asked: one JSON object a line over a Unix socket, both ways.

    {"op": "status"}             the newest snapshot, in one line
    {"op": "follow"}             every snapshot from now on, a line each, until the client goes
    {"op": "trial", ...}         anything else is the supervisor's to answer: {"ok": true, ...}, or {"ok": false, ...}
                                 with what was wrong under "error"

A client that asks too much, too slowly or not at all costs a bounded piece of memory and keeps nobody waiting.
"""

from __future__ import annotations

import errno
import json
import select
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from device.box.status_client import StatusError, is_running, to_line

MODE = 0o660
"""The box's user and group may ask; `deploy` and the stick's service do."""
MOST_CLIENTS = 16
LONGEST_REQUEST = 4096

_Reply = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True)
class Request:
    """Something that only the supervisor can answer.

    Attributes
    ----------
    op : str
    content : dict
        All that was sent, `op` included; from whoever may open the socket: to be checked.
    reply : callable
        Sends the answer; to be called once, now or later. A client that has gone does not mind.
    """

    op: str
    content: dict[str, Any]
    reply: _Reply


@dataclass(eq=False)
class _Client:
    """One connection. While an answer is due or on its way nothing more is read of it."""

    socket: socket.socket
    received: bytearray = field(default_factory=bytearray)
    to_send: bytes = b""
    is_following: bool = False
    awaits_reply: bool = False

    @property
    def is_idle(self) -> bool:
        return not (self.is_following or self.awaits_reply or self.to_send)


class StatusServer:
    """Answers, from within another's loop: it has no thread, and never waits.

    Parameters
    ----------
    path : Path
        Where the socket lies; its folder is made if missing. What a box that has ended left there is replaced.

    Raises
    ------
    StatusError
        Another box answers there, or the socket cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._snapshot = b"{}\n"
        self._clients: dict[int, _Client] = {}
        self._listener = _listen(path)
        self._poll = select.epoll()
        self._poll.register(self._listener.fileno(), select.EPOLLIN)

    def fileno(self) -> int:
        """For `select`: readable when `serve` has something to do."""
        return self._poll.fileno()

    def publish(self, snapshot: Mapping[str, Any]) -> None:
        """Let this be what is answered from now on, and send it to those that follow.

        Parameters
        ----------
        snapshot : mapping
            Anything that JSON can hold, numpy's numbers and paths besides; what is no finite number becomes null.
        """
        self._snapshot = to_line(snapshot)
        for client in list(self._clients.values()):
            if client.is_following and not client.to_send:  # who is slow misses some
                self._send(client, self._snapshot)

    def serve(self) -> list[Request]:
        """Take in and answer what can be, without waiting; give what the supervisor has to answer."""
        requests: list[Request] = []
        for descriptor, events in self._poll.poll(0):
            if descriptor == self._listener.fileno():
                self._accept()
            elif client := self._clients.get(descriptor):
                if events & select.EPOLLOUT:
                    self._send(client, b"")
                if events & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
                    self._receive(client)
                requests += self._next_requests(client)
        return requests

    def close(self) -> None:
        """Leave all clients, and take the socket away. May be called twice."""
        if self._poll.closed:
            return
        for client in list(self._clients.values()):
            self._drop(client)
        self._path.unlink(missing_ok=True)  # before it is closed, or a box that starts now would lose its own
        self._listener.close()
        self._poll.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:  # out of descriptors, or gone before it was heard
                if error.errno == errno.ECONNABORTED:
                    continue
                return
            self._make_room()
            connection.setblocking(False)
            self._clients[connection.fileno()] = _Client(connection)
            self._poll.register(connection.fileno(), select.EPOLLIN)

    def _make_room(self) -> None:
        """Of too many, leave the one that has been silent for longest, else the oldest."""
        if len(self._clients) >= MOST_CLIENTS:
            clients = list(self._clients.values())
            self._drop(next((each for each in clients if each.is_idle), clients[0]))

    def _receive(self, client: _Client) -> None:
        try:
            received = client.socket.recv(LONGEST_REQUEST)
        except BlockingIOError:
            return
        except OSError:
            received = b""
        if not received:
            self._drop(client)
            return
        client.received += received
        if len(client.received) > LONGEST_REQUEST and b"\n" not in client.received[:LONGEST_REQUEST]:
            self._drop(client)
            return
        self._watch(client)

    def _next_requests(self, client: _Client) -> Iterator[Request]:
        """Answer what was received, as long as its answers are taken."""
        while client.is_idle and client.socket.fileno() >= 0 and b"\n" in client.received:
            line, _, rest = bytes(client.received).partition(b"\n")
            client.received[:] = rest
            try:
                content = json.loads(line)
                op = content["op"]
            except (ValueError, TypeError, KeyError, RecursionError):
                self._send(client, to_line(_error('ask with one JSON object a line, such as {"op": "status"}')))
                continue
            if op == "status":
                self._send(client, self._snapshot)
            elif op == "follow":
                client.is_following = True
                self._send(client, self._snapshot)
            else:
                client.awaits_reply = True
                yield Request(str(op), content, lambda answer, client=client: self._reply(client, answer))  # type: ignore[misc]  # a default binds it
        if client.socket.fileno() >= 0:
            self._watch(client)

    def _reply(self, client: _Client, answer: Mapping[str, Any]) -> None:
        if client.awaits_reply and client.socket.fileno() >= 0:
            client.awaits_reply = False
            self._send(client, to_line(answer))

    def _send(self, client: _Client, data: bytes) -> None:
        client.to_send += data
        try:
            while client.to_send:
                client.to_send = client.to_send[client.socket.send(client.to_send) :]
        except BlockingIOError:
            pass
        except OSError:
            self._drop(client)
            return
        self._watch(client)

    def _watch(self, client: _Client) -> None:
        """Wake up for what can go on: sending first, then what is asked next."""
        is_full = len(client.received) > LONGEST_REQUEST
        events = select.EPOLLOUT if client.to_send else 0
        events |= select.EPOLLIN if not is_full and not client.awaits_reply and not client.to_send else 0
        # What was asked already is answered at the next look: a socket that can be written to wakes at once.
        events |= select.EPOLLOUT if client.is_idle and b"\n" in client.received else 0
        self._poll.modify(client.socket.fileno(), events)

    def _drop(self, client: _Client) -> None:
        if (descriptor := client.socket.fileno()) >= 0:
            self._poll.unregister(descriptor)
            del self._clients[descriptor]
            client.socket.close()


def _listen(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_socket():
            if is_running(path):
                raise StatusError(f"a box is running already, at {path}: stop it with systemctl stop dance-sampler")
            path.unlink(missing_ok=True)
        listener.bind(str(path))
        path.chmod(MODE)  # before anyone can be heard
        listener.listen(MOST_CLIENTS)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        if isinstance(error, StatusError):
            raise
        why = error.strerror or error
        raise StatusError(f"{path} cannot be made ({why}): set status.socket to a place that can be used") from error
    return listener


def _error(why: str) -> dict[str, Any]:
    return {"ok": False, "error": why}
