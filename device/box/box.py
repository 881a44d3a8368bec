"""What the supervisor finds on the box: configuration, panel, systemd, the status socket and the calendar."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

from device.box.alarm import Alarms
from device.box.opening import Opened, Opening
from device.box.panels import open_panel, panel_settings
from device.box.status import StatusServer
from device.config import Config, load_config, load_what_can_be_used
from device.core.errors import BundleError, ConfigError, DanceSamplerError
from device.core.lights import Light
from device.core.panel_events import MICROPHONE, Show
from device.core.panel_settings import PanelSettings
from device.core.room_profile import RoomProfile
from device.edges.panel import PanelEdge
from device.edges.panel_none import NoPanel
from device.edges.service_systemd import journal_handler, open_service
from device.models.bundles import FACTORY
from device.models.model_store import installed_bundles
from device.store.rooms import room_path, save_room
from device.store.starts import RUN
from device.store.state import takes_folder
from device.store.store import salvage_all

_log = logging.getLogger(__name__)

N_LINES = 1000
"""So much of the log is remembered, for boxes without a journal."""
ROOM_EVERY_S = 600.0
"""So often what was learned of the room is kept."""
STICK_LIGHTS = {"busy": (Light.COPYING, 10.0), "done": (Light.COPYING, 1.0), "failed": (Light.REFUSED, 6.0)}


class Wake:
    """A pipe that wakes the main loop from a thread or a signal."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)

    def fileno(self) -> int:
        """For `select`."""
        return self._read

    def ring(self) -> None:
        """Wake it; at once, and from anywhere."""
        try:
            os.write(self._write, b".")
        except BlockingIOError:
            return  # It is awake.

    def clear(self) -> None:
        """Forget all rings."""
        try:
            while os.read(self._read, 4096):
                pass
        except BlockingIOError:
            return

    def close(self) -> None:
        """Let the pipe go."""
        os.close(self._read)
        os.close(self._write)


class _Memory(logging.Handler):
    """Keeps the newest lines of the log."""

    def __init__(self, lines: deque[str]) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(" ".join(self.format(record).split("\n"))[:400])


class Box:
    """All that is there once, whatever plays.

    Parameters
    ----------
    config_path : Path or None
        A configuration file besides the machine's own.
    begun_s : float
        When the program was started, CLOCK_MONOTONIC.

    Attributes
    ----------
    config, safe_config : Config
        What holds, and what holds in safe mode: the defaults, with the names of the box's own hardware and folders.
    config_problem : str
        What of the configuration cannot be used; the defaults hold instead of it.

    Raises
    ------
    StatusError
        Another box runs here.
    """

    def __init__(self, config_path: Path | None, begun_s: float) -> None:
        self.begun_s = begun_s
        self.config, problems = load_what_can_be_used(config_path)
        self.safe_config = _safe(load_config(None, Path(os.devnull)), self.config)
        try:
            self.panel_settings = panel_settings(self.config)
        except ConfigError as error:
            self.panel_settings = PanelSettings()
            problems.append(str(error))
        self.config_problem = "; ".join(problems)
        self.silent_faults = frozenset() if self.config.capture.audio_in else frozenset({MICROPHONE})
        self.notes: list[str] = []
        self.is_stop_asked = False
        self.wake = Wake()
        self._edges: deque[tuple[bool, float]] = deque()
        self._room_s = begun_s
        self._room: RoomProfile | None = None
        self._lines: deque[str] = deque(maxlen=N_LINES)
        socket = Path(self.config.status.socket)
        self.run_dir = RUN if RUN.is_dir() else socket.parent
        self.server = StatusServer(socket)
        self.service = open_service()
        self.alarms = Alarms(self.config.faults)
        self._journal = journal_handler()
        self._opening = Opening(self.config.hours)
        self.opening_fade_s = self._opening.fade_s
        self._log_to()
        self.edge = self._open_panel()

    def begin_chores(self) -> None:
        """Hear signals from now on, and salvage what was cut short, beside everything else."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        threading.Thread(target=self._salvage, name="salvage", daemon=True).start()

    def take_edges(self) -> list[tuple[bool, float]]:
        """Give the button's edges since the last call: whether it is down, and since when."""
        return [self._edges.popleft() for _ in range(len(self._edges))]

    def opened(self) -> Opened:
        """Look at the calendar."""
        return self._opening.look(time.time())

    def publish(self, snapshot: Mapping[str, Any]) -> None:
        """Let the status be this: for who asks, for systemd, for the journal."""
        self.server.publish(snapshot)
        model, latency = snapshot["model"], snapshot["latency_ms"]["frame_to_sound"]
        missing = "; ".join(snapshot["missing"].values())
        self.service.tell(
            f"{snapshot['state']}, {model.get('name')} {model.get('version')}" + f", {missing}" * bool(missing)
        )
        if self._journal is not None:
            self._journal.set_facts(
                state=snapshot["state"], model=f"{model.get('name')} {model.get('version')}",
                underruns=snapshot["n_xruns"], latency_ms=latency["p50"],
            )  # fmt: skip

    def keep_room(self, room: RoomProfile | None, now_s: float | None) -> None:
        """Keep what was learned of the room, now and then; at once without a time."""
        if room is None or room == self._room or (now_s is not None and now_s - self._room_s < ROOM_EVERY_S):
            return
        self._room, self._room_s = room, self._room_s if now_s is None else now_s
        path = room_path(self.config.room, Path(self.config.state.folder))
        if path is None:
            return
        try:
            save_room(path, room)
        except DanceSamplerError as error:
            _log.warning("%s; what was learned of the room is not kept", error)

    def installed(self, path: object) -> Path:
        """Give the installed model that somebody names, or the factory's.

        Raises
        ------
        BundleError
            It is none of these.
        """
        for each in (FACTORY, *installed_bundles(Path(self.config.state.folder))):
            if str(each) == path:
                return each
        raise BundleError(f"{str(path)[:100]!r} is no installed model: see python -m device models list")

    def lines(self, n_lines: object) -> list[str]:
        """Give the newest lines of the log, as many as asked for and remembered."""
        n = n_lines if type(n_lines) is int and 0 < n_lines <= N_LINES else N_LINES
        return list(self._lines)[-n:]

    def show_of(self, content: Mapping[str, Any]) -> Show:
        """Say on the LED what becomes of a stick.

        Raises
        ------
        DanceSamplerError
            It is not known what is meant.
        """
        phase, what = content.get("phase"), str(content.get("what", ""))[:200]
        if phase not in STICK_LIGHTS:
            raise DanceSamplerError(f"there is no phase {str(phase)[:40]!r} of a stick")
        light, duration_s = STICK_LIGHTS[str(phase)]
        return Show(light, duration_s, f"stick: {what}")

    def close(self) -> None:
        """Let everything go."""
        self.edge.close()
        self.server.close()
        self.alarms.close(2.0)

    def _open_panel(self) -> PanelEdge:
        edge: PanelEdge
        try:
            edge = open_panel(self.config.panel, self._on_edge)
        except DanceSamplerError as error:
            _log.error("%s", error)
            self.notes.append(str(error))
            edge = NoPanel(str(error))
        _log.info("panel: %s", edge.description)
        return edge

    def _on_edge(self, is_down: bool, time_s: float) -> None:
        self._edges.append((is_down, time_s))
        self.wake.ring()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - a handler is called so
        self.is_stop_asked = True
        self.wake.ring()

    def _salvage(self) -> None:
        try:
            for each in salvage_all(takes_folder(Path(self.config.state.folder))):
                note = f"take {each.path.name}, which was cut short, was salvaged" if each.take else each.why_not
                _log.warning("%s", note)
                self.notes.append(note)
        except DanceSamplerError as error:
            _log.error("%s", error)

    def _log_to(self) -> None:
        handler: logging.Handler = self._journal or logging.StreamHandler(sys.stderr)
        if self._journal is None:
            handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
        memory = _Memory(self._lines)
        memory.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        logging.basicConfig(level=logging.INFO, handlers=[handler, memory], force=True)


def _safe(defaults: Config, config: Config) -> Config:
    """Give the defaults, but for what is plugged in where, and where things lie."""
    camera = replace(defaults.camera, source=config.camera.source)
    audio = replace(defaults.audio, device=config.audio.device, channels=config.audio.channels)
    capture = replace(defaults.capture, audio_in=config.capture.audio_in)
    return replace(
        defaults, camera=camera, audio=audio, capture=capture, panel=config.panel, state=config.state,
        deploy=config.deploy, store=config.store, status=config.status, hours=config.hours, faults=config.faults,
    )  # fmt: skip
