"""A way to a server that is cut after a number of bytes, as a plug that is pulled, a wall, or a fallen router does."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress

_NEVER = 1 << 62


class CutProxy:
    """Listens on loopback and passes bytes on, both ways.

    Parameters
    ----------
    port : int
        Of the server.

    Attributes
    ----------
    port : int
        Where it listens.
    """

    def __init__(self, port: int) -> None:
        self._server_port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._left = [_NEVER, _NEVER]
        self._first: Callable[[], object] | None = None
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def cut_after(
        self, there: int | None, back: int | None = None, *, first: Callable[[], object] | None = None
    ) -> None:
        """Pass so many bytes on to the server, or back, over whatever connections, then cut; None: never.

        What was passed on may be lost in the cut; not if `first`, which is called before it, waits until it is used.
        """
        with self._lock:
            self._first = first
            self._left = [_NEVER if n_bytes is None else n_bytes for n_bytes in (there, back)]

    def close(self) -> None:
        """Take no more connections."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        """See one connection through, to the end of both ways."""
        with client, socket.create_connection(("127.0.0.1", self._server_port)) as server:
            back = threading.Thread(target=self._pass_on, args=(server, client, 1), daemon=True)
            back.start()
            self._pass_on(client, server, 0)
            back.join()

    def _pass_on(self, source: socket.socket, target: socket.socket, way: int) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 14):
                left = self._take(len(data), way)
                target.sendall(data[:left])
                if left < len(data):
                    if self._first:
                        self._first()
                    _reset(source)
                    _reset(target)
                    return
            target.shutdown(socket.SHUT_WR)

    def _take(self, n_bytes: int, way: int) -> int:
        """Count bytes that are to be passed on, and tell how many of them may be."""
        with self._lock:
            n = min(n_bytes, self._left[way])
            self._left[way] -= n
            return n


def _reset(connection: socket.socket) -> None:
    """Let a connection end without a farewell when it is closed, and wake whoever reads of it."""
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.shutdown(socket.SHUT_RDWR)
