"""The box: hears the button, watches all processes, records takes, changes models, answers who asks. It never waits.

One thread. What happens is told to the panel's state machine (`device.core.panel`), and the actions that come of it are
done here; what plays and records are processes of the stage.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from device.box.activation import Activation
from device.box.box import Box
from device.box.faults import Faults
from device.box.snapshot import Snapshots
from device.box.stage import Stage
from device.box.status import Request
from device.capture.recorder import News, Recorder
from device.core.errors import DanceSamplerError, TakeError
from device.core.lights import Light
from device.core.panel import Panel
from device.core.panel_events import (
    ButtonDown,
    ButtonUp,
    EngineReady,
    Event,
    SafeAsked,
    Show,
    StopAsked,
    TakeFailed,
    TakeMustStop,
    TakeSaved,
    TakeStarted,
    Tick,
)
from device.core.panel_table import Action, State
from device.models.model_store import next_bundle, switch_current
from device.store.starts import SAFE_MODE_AFTER, note_healthy, note_start
from device.store.state import state_problem

_log = logging.getLogger(__name__)

LOOK_S = 0.1
"""So often the box looks around, whatever happens."""
PUBLISH_S = 1.0
HEALTHY_S = 60.0
"""A start that lasted so long did not fail."""
SILENT_ENGINE_S = 5.0
"""An engine that made no block for so long does not progress, and the watchdog is not told that it does."""
NOTICE_S = 6.0
MAY_CHANGE = (State.PERFORMING, State.FAULT)
"""When a model may go on trial, and off it."""
POWER_OFF = "power-off"
"""A file of this name in the run-time folder asks systemd to power the machine off."""


class Supervisor:
    """The box's main loop.

    Parameters
    ----------
    box : Box
        Configuration, panel, service and sockets.
    """

    def __init__(self, box: Box) -> None:
        self._box = box
        self._state_dir = Path(box.config.state.folder)
        self._panel = Panel(box.panel_settings)
        self._faults = Faults(box.alarms.tell, box.silent_faults)
        self._snapshots = Snapshots(box.begun_s)
        self._events: deque[tuple[Event, float]] = deque()
        self._is_over = self._is_counted = self._is_settling = False
        self._changed_s = self._published_s = 0.0
        self._shown_state: State | None = None
        self._tried: Path | None = None
        self._actions: dict[Action, Callable[[], None]] = {
            Action.START_TAKE: self._start_take,
            Action.STOP_TAKE: lambda: self._with_recorder(Recorder.stop),
            Action.CANCEL_TAKE: lambda: self._with_recorder(Recorder.cancel),
            Action.ABANDON_TAKE: lambda: self._with_recorder(Recorder.abandon),
            Action.NEXT_MODEL: self._next_model,
            Action.POWER_OFF: self._power_off,
            Action.ENTER_SAFE: lambda: self._set_stage(is_safe=True),
            Action.LEAVE_SAFE: lambda: self._set_stage(is_safe=False),
            Action.STOP: self._stop,
        }
        config = box.config
        self._activation = Activation(self._state_dir, config.deploy.health_s, is_fixed=bool(config.model.bundle))
        self._stage = Stage(config, bundle=self._activation.bundle_at_start())

    def run(self) -> None:
        """Start everything, and go on until the box is told to stop."""
        self._tell(Tick())  # From now on it is the start, in which a button that is held means safe mode.
        if note_start(self._state_dir, time.time(), self._box.run_dir) >= SAFE_MODE_AFTER:
            self._tell(SafeAsked())
        self._box.begin_chores()
        try:
            if self._panel.state is State.STARTING:
                self._start_stage()
            while not self._is_over:
                self._wait()
                self._look()
        finally:
            self._end()

    def _wait(self) -> None:
        """Wait until something happens or is due."""
        now_s = time.monotonic()
        due_s = min(now_s + LOOK_S, self._panel.due_s if self._panel.due_s is not None else now_s + LOOK_S)
        ears = [child.ear for child in self._stage.children if not child.is_gone]
        wait([*ears, self._box.wake.fileno(), self._box.server.fileno()], max(0.0, due_s - now_s))

    def _look(self) -> None:
        """See what has happened, and do what is to be done about it."""
        self._box.wake.clear()
        self._hear_box()
        self._stage.watch()
        if self._stage.recorder is not None:
            for news in self._stage.recorder.watch():
                self._tell(_event_of(news))
        now_s = time.monotonic()
        for event in self._faults.see(self._missing(), now_s):
            self._tell(event)
        if self._is_settling and self._stage.is_settled:
            self._is_settling = False
            self._tell(EngineReady())  # The LED says ready only while camera and card are there.
        for request in self._box.server.serve():
            self._answer(request)
        self._hear_box()  # Once more: what the button did must be told before the time that has passed since.
        if self._panel.due_s is not None and now_s >= self._panel.due_s:
            self._tell(Tick(), now_s)
        self._box.edge.show(self._panel.light)
        self._activation.look(self._stage, now_s, may_change=self._panel.state in MAY_CHANGE)
        if now_s >= self._published_s + PUBLISH_S or self._panel.state is not self._shown_state:
            self._publish(now_s)

    def _hear_box(self) -> None:
        for is_down, time_s in self._box.take_edges():
            self._tell(ButtonDown() if is_down else ButtonUp(), time_s)
        if self._box.is_stop_asked:
            self._box.is_stop_asked = False
            self._tell(StopAsked())

    def _missing(self) -> dict[str, str]:
        missing = self._stage.missing()
        if self._box.config_problem:
            missing["configuration"] = self._box.config_problem
        return missing

    def _tell(self, event: Event, time_s: float | None = None) -> None:
        """Tell the panel; do what comes of it, and of that, in order."""
        self._events.append((event, time.monotonic() if time_s is None else time_s))
        if len(self._events) > 1:
            return  # It is told when what came before is done.
        while self._events:
            event, at_s = self._events[0]
            for action in self._panel.on(event, at_s):
                self._do(action)
            self._events.popleft()
            self._stage.listen(self._panel.state is State.RECORDING)

    def _do(self, action: Action) -> None:
        _log.info("%s", action.value)
        try:
            self._actions[action]()
        except DanceSamplerError as error:
            if action is Action.START_TAKE:
                _log.error("%s", error)
                self._tell(TakeFailed(str(error)))
            else:
                self._refuse(str(error))

    def _refuse(self, why: str) -> None:
        """Say on the LED and in the status that something was not done."""
        _log.error("%s", why)
        self._faults.keep("refused", why, time.monotonic())
        self._tell(Show(Light.REFUSED, NOTICE_S, why))

    def _start_take(self) -> None:
        if self._stage.recorder is None or self._panel.take_begins_s is None:
            raise TakeError("no sound input is configured: set capture.audio_in")
        if problem := state_problem(self._state_dir):
            raise TakeError(f"no take can be recorded: {problem}")
        self._stage.recorder.start(self._panel.take_begins_s)

    def _with_recorder(self, do: Callable[[Recorder], None]) -> None:
        if self._stage.recorder is not None:
            do(self._stage.recorder)

    def _next_model(self) -> None:
        """Play the next model, and from the next start on, too."""
        self._activation.abandon("another model was chosen with the button")
        self._tried = next_bundle(self._state_dir, self._tried or self._stage.bundle)
        self._change_model(self._tried)
        self._tried = None
        try:
            switch_current(self._state_dir, self._stage.bundle)
        except DanceSamplerError as error:
            _log.warning("%s; the model plays until the next start only", error)

    def _change_model(self, bundle: Path) -> None:
        if bundle == self._stage.bundle:
            return
        self._stage.change_model(bundle)
        _log.info("model %s plays", bundle)

    def _power_off(self) -> None:
        try:
            (self._box.run_dir / POWER_OFF).touch()
        except OSError as error:
            self._refuse(f"the machine cannot be told to power off ({error.strerror}): pull the plug once it is dark")

    def _set_stage(self, *, is_safe: bool) -> None:
        """Play by another configuration: what plays now ends first."""
        if self._stage.is_started:
            self._stage.stop()
        config, bundle = self._box.safe_config, None
        if is_safe:
            self._activation.stop()
        else:
            config, bundle = self._box.config, self._activation.bundle_at_start()
        self._stage = Stage(config, is_safe=is_safe, bundle=bundle)
        self._start_stage()

    def _start_stage(self) -> None:
        self._stage.set_level(self._box.opened().is_open, 0.0)
        self._stage.start(self._stay_alive)
        _log.info("the engine plays %s", self._stage.bundle)
        self._box.service.ready("the engine plays")
        self._is_settling = True

    def _stop(self) -> None:
        self._is_over = True

    def _stay_alive(self) -> None:
        """While something is loaded: let systemd and those who ask know that the box goes on, and the LED, too."""
        self._box.service.alive(time.monotonic())
        for request in self._box.server.serve():
            request.reply({"ok": False, "error": "a model is being loaded: ask again"})
        self._box.edge.show(self._panel.light)

    def _publish(self, now_s: float) -> None:
        """Once a second, and whenever the state changes: the status, the hours, the signs of life."""
        stage, panel, opened = self._stage, self._panel, self._box.opened()
        stage.set_level(opened.is_open, self._box.opening_fade_s)
        if panel.state is not self._shown_state:
            _log.info("state %s%s", panel.state.value, f": {panel.note}" if panel.note else "")
            self._changed_s, self._shown_state = now_s, panel.state
        self._published_s = now_s
        said = {
            "state": panel.state.value, "since_s": round(now_s - self._changed_s, 1), "safe": panel.is_safe,
            "light": panel.light.value, "take": self._take(now_s),
            "notes": [note for note in (panel.note, opened.note, *self._box.notes, *stage.live.notes) if note],
        }  # fmt: skip
        said["trial"] = self._activation.said(now_s)
        snapshot = self._snapshots.take(stage, self._faults, opened, said, now_s)
        self._box.publish(snapshot)
        if now_s - stage.live.meter.time_s("last_block_s") < SILENT_ENGINE_S:
            self._box.service.alive(now_s)
        self._box.keep_room(None if stage.is_safe else stage.live.room, now_s)
        if not self._is_counted and now_s - self._box.begun_s > HEALTHY_S:
            self._is_counted = True
            note_healthy(self._state_dir, self._box.run_dir)

    def _take(self, now_s: float) -> dict[str, Any] | None:
        recorder, begins_s = self._stage.recorder, self._panel.take_begins_s
        if recorder is None or begins_s is None or recorder.path is None:
            return None
        level = round(recorder.level_dbfs, 1)
        return {"number": int(recorder.path.name), "seconds": round(max(0.0, now_s - begins_s), 1), "level": level}

    def _answer(self, request: Request) -> None:
        """Do what somebody on this machine asks for, and say how it went."""
        try:
            request.reply({"ok": True, **self._do_request(request.op, request.content)})
        except DanceSamplerError as error:
            request.reply({"ok": False, "error": str(error)})

    def _do_request(self, op: str, content: Mapping[str, Any]) -> dict[str, Any]:
        if op == "change_model":
            if self._panel.state in (State.RECORDING, State.SAVING):
                raise DanceSamplerError("a take is being recorded: try again when it is saved")
            self._activation.abandon("another model was chosen")
            self._change_model(self._box.installed(content.get("path")))
            return {"model": str(self._stage.bundle)}
        if op == "trial":
            self._activation.ask(self._box.installed(content.get("path")))
            self._publish(time.monotonic())  # at once: who asks for the status next must not see an older trial's end
            return {"trial": self._activation.said(time.monotonic())}
        if op == "rollback":
            if self._panel.state not in MAY_CHANGE:
                raise DanceSamplerError(f"the box is {self._panel.state.value}: try again when it performs")
            return {"model": str(self._activation.roll_back(self._stage, "it was asked for"))}
        if op == "log":
            return {"lines": self._box.lines(content.get("n_lines"))}
        if op == "stick":
            self._tell(self._box.show_of(content))
            return {}
        raise DanceSamplerError(f"there is no {op!r} to ask for")

    def _end(self) -> None:
        """End in order: the sound falls to silence, and this start did not fail."""
        self._box.service.stopping("stopping")
        self._box.edge.show(Light.STOPPING)
        if self._stage.is_started:
            self._box.keep_room(None if self._stage.is_safe else self._stage.live.room, None)
            self._stage.stop()
        if self._is_over:
            self._activation.stop()
            note_healthy(self._state_dir, self._box.run_dir)
        self._box.close()


def _event_of(news: News) -> Event:
    """Say in the panel's words what the recorder has said."""
    if news.word == "started":
        return TakeStarted()
    if news.word == "saved":
        return TakeSaved()
    kind = TakeFailed if news.word == "failed" else TakeMustStop
    return kind(news.reason, news.is_full)
