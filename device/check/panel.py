"""The panel: the LED blinks, and somebody presses the button."""

from __future__ import annotations

import threading
from contextlib import closing

from device.box.panels import open_panel
from device.check.verdict import FAILED, GOOD, SKIPPED, Context, Verdict
from device.edges.panel import OnEdge, PanelEdge

N_BLINKS, BLINK_S = 5, 0.2
PRESS_S = 15.0


def check_panel(context: Context) -> Verdict:
    """Blink, and wait for a press if there is somebody to press."""
    heard: list[bool] = []
    pressed = threading.Event()

    def on_edge(is_down: bool, _: float) -> None:
        heard.append(is_down)
        if is_down:
            pressed.set()

    with closing(open_edge(context, on_edge)) as edge:
        config = context.config.panel
        if not config.button and not config.led:
            return Verdict("panel", SKIPPED, edge.description, "set panel.button and panel.led to have them")
        if edge.description.startswith("no "):
            found, _, why = edge.description.partition(": ")
            return Verdict("panel", SKIPPED, found, why)
        if pressed.is_set():
            remedy = "let it go; if nobody holds it, set panel.button_pressed or panel.button_pull the other way"
            return Verdict("panel", FAILED, f"{edge.description}; the button is down", remedy)
        _blink(edge)
        if not context.is_interactive or not config.button:
            return Verdict("panel", GOOD, f"{edge.description}; the LED blinked {N_BLINKS} times")
        context.say(f"press the button, within {PRESS_S:g} s")
        if not pressed.wait(PRESS_S):
            remedy = "check its wires, panel.button and panel.button_pull"
            return Verdict("panel", FAILED, f"{edge.description}; no press was felt", remedy)
        return Verdict("panel", GOOD, f"{edge.description}; a press was felt", figures={"n_edges": len(heard)})


def open_edge(context: Context, on_edge: OnEdge) -> PanelEdge:
    """Open the configured panel."""
    return open_panel(context.config.panel, on_edge)


def _blink(edge: PanelEdge) -> None:
    pause = threading.Event()
    for _ in range(N_BLINKS):
        for brightness in (1.0, 0.0):
            edge.shine(brightness)
            pause.wait(BLINK_S)
