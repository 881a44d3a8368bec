"""Asking a running box: see `device.box.status` for what may be asked."""

from __future__ import annotations

import contextlib
import json
import math
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from device.core.errors import DanceSamplerError

LONGEST_ANSWER = 1 << 20
ASK_S = 5.0

_LOG = "look at its log with journalctl -u dance-sampler"


class StatusError(DanceSamplerError, ConnectionError):
    """The running box cannot be asked, or refuses."""


def ask(path: Path, request: Mapping[str, Any], timeout_s: float = ASK_S) -> dict[str, Any]:
    """Ask a running box, and give its answer.

    Raises
    ------
    StatusError
        None runs, it may not be asked, does not answer in time, or refuses.
    """
    with contextlib.closing(_connect(path, timeout_s)) as connection:
        _put(connection, request)
        answer = next(_lines(connection), None)
    if answer is None:
        raise StatusError(f"the box ended before it answered: {_LOG}")
    if answer.get("ok") is False:
        raise StatusError(str(answer.get("error", "the box refused")))
    return answer


def follow(path: Path, timeout_s: float = ASK_S) -> Iterator[dict[str, Any]]:
    """Give every snapshot of a running box, until it ends.

    Raises
    ------
    StatusError
        None runs, or it has stopped to answer.
    """
    with contextlib.closing(_connect(path, timeout_s)) as connection:
        _put(connection, {"op": "follow"})
        yield from _lines(connection)


def is_running(path: Path) -> bool:
    """Tell whether a box runs; one that is too busy to answer, or may not be asked, does."""
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as connection:
        connection.settimeout(ASK_S)
        try:
            connection.connect(str(path))
        except (TimeoutError, BlockingIOError, PermissionError):
            return True
        except OSError:
            return False
        return True


def _connect(path: Path, timeout_s: float) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(timeout_s)
    try:
        connection.connect(str(path))
    except PermissionError as error:
        connection.close()
        raise StatusError(f"{path} may not be opened: use sudo, or join the group dance-sampler") from error
    except (TimeoutError, BlockingIOError) as error:
        connection.close()
        raise StatusError(f"the box does not answer: {_LOG}") from error
    except OSError as error:
        connection.close()
        raise StatusError("the box does not run: start it with systemctl start dance-sampler") from error
    return connection


def _put(connection: socket.socket, request: Mapping[str, Any]) -> None:
    try:
        connection.sendall(to_line(request))
    except OSError as error:
        raise StatusError("the box ended before it was asked: try again") from error


def _lines(connection: socket.socket) -> Iterator[dict[str, Any]]:
    received = b""
    while True:
        *lines, received = received.split(b"\n")
        yield from map(json.loads, lines)
        try:
            data = connection.recv(1 << 16)
        except TimeoutError as error:
            raise StatusError(f"the box does not answer: {_LOG}") from error
        except OSError as error:
            raise StatusError(f"the box ended before it answered: {_LOG}") from error
        if not data or len(received) > LONGEST_ANSWER:
            return
        received += data


def to_line(content: Mapping[str, Any]) -> bytes:
    """Write one line; what is no finite number becomes null."""
    return (json.dumps(_plain(content), ensure_ascii=False, allow_nan=False) + "\n").encode()


def _plain(value: Any) -> Any:
    """Give what JSON can hold."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if hasattr(value, "item"):  # numpy's numbers
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)
