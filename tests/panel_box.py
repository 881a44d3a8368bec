"""A panel with a clock that is moved by hand, and a recorder that answers as a good one does."""

from __future__ import annotations

from device.core.lights import Light
from device.core.panel import Panel
from device.core.panel_events import ButtonDown, ButtonUp, EngineReady, Event, TakeSaved, TakeStarted, Tick
from device.core.panel_settings import PanelSettings
from device.core.panel_table import Action, State

ENDS = (Action.STOP_TAKE, Action.CANCEL_TAKE)


class PanelBox:
    """Behaves like the supervisor: tells `Tick` whenever it is due, does what is to be done, and answers.

    Parameters
    ----------
    settings : PanelSettings
    answers : bool
        Whether the recorder answers at once; otherwise tests do.
    """

    def __init__(self, settings: PanelSettings | None = None, answers: bool = True) -> None:
        self.panel = Panel(settings or PanelSettings())
        self.now_s = 100.0
        self.actions: list[Action] = []
        self.answers = answers
        self.tell(Tick())

    @property
    def state(self) -> State:
        return self.panel.state

    def started(self) -> PanelBox:
        """Wait out the time in which a press is one at the start, and be ready."""
        self.wait(2.0)
        self.tell(EngineReady())
        return self

    def recording(self, seconds: float = 5.0) -> PanelBox:
        """Record for some seconds after the count-in."""
        self.started().press()
        if not self.answers:
            self.tell(TakeStarted())
        self.wait(2.0 + seconds)
        assert self.state is State.RECORDING
        self.actions.clear()
        return self

    def tell(self, event: Event) -> None:
        for action in self.panel.on(event, self.now_s):
            self.actions.append(action)
            if action in ENDS and self.answers:
                self.tell(TakeSaved())
            if action is Action.START_TAKE and self.answers:
                self.tell(TakeStarted())

    def wait(self, seconds: float) -> None:
        """Let time pass, with a tick whenever one is due."""
        end_s = self.now_s + seconds
        n_ticks = 0
        while self.panel.due_s is not None and self.panel.due_s <= end_s:
            self.now_s = max(self.now_s, self.panel.due_s)
            self.tell(Tick())
            n_ticks += 1
            assert n_ticks < 100 + seconds, "a tick that is due again at once never lets the box sleep"
        self.now_s = end_s

    def press(self, seconds: float = 0.2) -> None:
        """Press for so long, and let the contact come to rest."""
        self.tell(ButtonDown())
        self.wait(seconds)
        self.tell(ButtonUp())
        self.wait(0.1)

    def shows(self, light: Light) -> bool:
        return self.panel.light is light

    def taken(self) -> list[Action]:
        """Give what was done since the last call."""
        taken, self.actions = self.actions, []
        return taken
