"""How much the camera itself adds to the latency: the panel's LED blinks in its picture."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from typing import Protocol

import numpy as np

from device.check.camera import motion_of
from device.check.eye import open_eye
from device.check.panel import open_edge
from device.check.verdict import GOOD, SKIPPED, WARNING, Context, Verdict
from device.core.led_delay import SETTLED_S, LedDelay, led_delay
from device.edges.panel import PanelEdge
from device.engine.frame_bus import Arrival

N_CHANGES = 30
HOLD_S = (SETTLED_S + 0.1, SETTLED_S + 0.4)
"""How long the LED stays as it is, at random: changes meet frames at any phase, and nobody waves so."""
SLOW_MS = 60.0


class Watcher(Protocol):
    """Something that sees, such as an `Eye`."""

    def watch(self, duration_s: float) -> list[Arrival]:
        """Look for a while; give what has come since the last look."""
        ...


def check_camera_led(context: Context) -> Verdict:
    """Blink, look, and reckon."""
    if not context.config.panel.led:
        return Verdict("camera led", SKIPPED, "no LED is configured", "set panel.led")
    context.say("hold the LED before the camera, and keep it still for 20 s")
    with closing(open_edge(context, lambda *_: None)) as edge, open_eye(context.config, motion_of(context)) as eye:
        delay = measure(edge, eye, time.monotonic)
    return verdict_of(delay)


def measure(edge: PanelEdge, eye: Watcher, now_s: Callable[[], float], seed: int = 0) -> LedDelay:
    """Switch the LED again and again, and find it in what is seen meanwhile.

    Raises
    ------
    CameraError
        The LED is not to be seen.
    """
    rng = np.random.default_rng(seed)
    changes_s, arrivals = [], eye.watch(HOLD_S[0])
    is_on = np.arange(N_CHANGES) % 2 == 0
    for on in is_on:
        edge.shine(1.0 if on else 0.0)
        changes_s.append(now_s())
        arrivals += eye.watch(rng.uniform(*HOLD_S))
    edge.shine(0.0)
    pictures = np.array([each.frame.grey for each in arrivals])
    return led_delay(pictures, np.array([each.arrival_s for each in arrivals]), np.array(changes_s), is_on)


def verdict_of(delay: LedDelay) -> Verdict:
    """Say how late the camera is."""
    low_ms, p50_ms, p99_ms = (1000.0 * float(each) for each in np.percentile(delay.delays_s, [0, 50, 99]))
    figures = {
        "min_ms": round(low_ms, 1),
        "p50_ms": round(p50_ms, 1),
        "p99_ms": round(p99_ms, 1),
        "n_missed": delay.n_missed,
        "n_pixels": delay.n_pixels,
    }
    found = f"from light to frame {p50_ms:.0f} ms p50, {p99_ms:.0f} p99, at least {low_ms:.0f}: the camera adds this"
    if p50_ms > SLOW_MS:
        remedy = "raise camera.fps, lower camera.exposure_ms, or use a camera on the board's own connector"
        return Verdict("camera led", WARNING, found, remedy, figures)
    return Verdict("camera led", GOOD, found, figures=figures)
