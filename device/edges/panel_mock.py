"""A finger and an eye for a box without pins: gpiozero's mock pins, pressed and watched through a Unix socket.

For tests of the whole program as a process of its own, and for trying the box on a machine that has no pins. Whoever
connects writes lines: `down`, `up`; and reads `led 0.250 1234.567890`: brightness, and since when (CLOCK_MONOTONIC, in
seconds), once at first and then at every change.
"""

from __future__ import annotations

import contextlib
import logging
import selectors
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gpiozero.pins.mock import MockFactory, MockPWMPin

from device.core.errors import PanelError

_log = logging.getLogger(__name__)

MAX_LINE = 16
END_S = 1.0


class _WatchedPin(MockPWMPin):
    """A mock pin whose changes are told to `factory.on_change`."""

    def _change_state(self, value: Any) -> bool:
        has_changed: bool = super()._change_state(value)
        if has_changed:
            self.factory.on_change(self, float(self.state))
        return has_changed


class WatchedMockFactory(MockFactory):
    """gpiozero's mock pins; `on_change` is called with each pin that changed and its state."""

    def __init__(self) -> None:
        super().__init__(pin_class=_WatchedPin)
        self.on_change: Callable[[Any, float], None] = lambda _pin, _state: None


class MockControl:
    """The socket.

    Parameters
    ----------
    path : Path
        Where; what is left there from before is removed.
    push : callable
        Called with True for `down`, False for `up`, in a thread.

    Raises
    ------
    PanelError
        There can be no socket there.
    """

    def __init__(self, path: Path, push: Callable[[bool], None]) -> None:
        self._path, self._push = path, push
        self._led = (0.0, time.monotonic())
        self._lock = threading.Lock()
        self._clients: dict[socket.socket, bytes] = {}
        self._wake, self._woken = socket.socketpair()
        self._server = socket.socket(socket.AF_UNIX)
        try:
            path.unlink(missing_ok=True)
            self._server.bind(str(path))
            self._server.listen()
        except OSError as error:
            self._close_sockets()
            raise PanelError(f"panel.mock_control = {path} cannot be used: {error}; name another socket") from error
        self._thread = threading.Thread(target=self._run, name="mock-panel", daemon=True)
        self._thread.start()

    def see(self, brightness: float) -> None:
        """Tell everybody what the LED does now."""
        with self._lock:
            self._led = (brightness, time.monotonic())
            for client in list(self._clients):
                self._send(client)

    def close(self) -> None:
        """End it and remove the socket. May be called twice."""
        with contextlib.suppress(OSError):
            self._wake.send(b".")
        self._thread.join(END_S)
        self._close_sockets()
        self._path.unlink(missing_ok=True)

    def _close_sockets(self) -> None:
        for each in (self._server, self._wake, self._woken, *self._clients):
            each.close()

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._woken, selectors.EVENT_READ)
            selector.register(self._server, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fileobj is self._woken:
                        return
                    if key.fileobj is self._server:
                        self._welcome(selector)
                    elif isinstance(key.fileobj, socket.socket) and not self._hear(key.fileobj):
                        selector.unregister(key.fileobj)
                        self._forget(key.fileobj)

    def _welcome(self, selector: selectors.BaseSelector) -> None:
        client, _ = self._server.accept()
        client.setblocking(False)
        selector.register(client, selectors.EVENT_READ)
        with self._lock:
            self._clients[client] = b""
            self._send(client)

    def _hear(self, client: socket.socket) -> bool:
        """Do what the lines of this client say; False when it is gone or talks nonsense."""
        try:
            said = client.recv(4096)
        except OSError:
            return False
        *lines, rest = (self._clients[client] + said).split(b"\n")
        if not said or len(rest) > MAX_LINE:
            return False
        self._clients[client] = rest
        for line in lines:
            word = line.decode(errors="replace").strip()
            if word not in ("down", "up"):
                _log.warning("the mock button was told '%s'; it knows down and up", word[:MAX_LINE])
                return False
            self._push(word == "down")
        return True

    def _send(self, client: socket.socket) -> None:
        """Write without waiting: who does not read misses what does not fit."""
        with contextlib.suppress(OSError):
            client.send(f"led {self._led[0]:.3f} {self._led[1]:.6f}\n".encode())

    def _forget(self, client: socket.socket) -> None:
        with self._lock:
            self._clients.pop(client, None)
        client.close()
