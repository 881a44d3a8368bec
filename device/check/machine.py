"""The machine: its configuration, state and disk, heat and power, clock, and what it allows a program to ask for."""

from __future__ import annotations

import time
from pathlib import Path

from device.box import vitals
from device.box.status_client import ask
from device.box.status_page import duration
from device.check.children import result_of
from device.check.verdict import GOOD, SKIPPED, WARNING, Context, Verdict
from device.config import DEFAULT_PATH
from device.core.hours import FIRST_YEAR
from device.core.motiongram import MotionSettings
from device.engine.process import Child, Part, run_part
from device.engine.realtime import Urgency, be_urgent
from device.store.disk import free_bytes, seconds_left, take_bytes_per_s
from device.store.state import state_problem

HOT_C = 80.0
"""A Pi slows down from here on."""
LITTLE_MEMORY_BYTES = 300e6
PRIORITY_S = 20.0


def check_configuration(context: Context) -> Verdict:
    """Say which files were read; that they can be was seen when they were."""
    files = sorted({origin for origin in context.config.origins.values() if origin != str(DEFAULT_PATH)})
    n_set = sum(origin != str(DEFAULT_PATH) for origin in context.config.origins.values())
    found = f"{n_set} keys set by {', '.join(files)}" if files else "all defaults"
    return Verdict("config", GOOD, found, figures={"n_set": n_set})


def check_box(context: Context) -> Verdict:
    """Ask the running box what it misses."""
    if not context.is_running:
        return Verdict("box", SKIPPED, "it does not run, so that all of its parts can be checked")
    snapshot = ask(Path(context.config.status.socket), {"op": "status"})
    state, missing = str(snapshot.get("state", "starting")), snapshot.get("missing") or {}
    found = f"it runs: {state}, {snapshot.get('n_xruns', 0)} underruns so far"
    if missing:
        return Verdict("box", WARNING, found, "; ".join(map(str, missing.values())), {"state": state})
    return Verdict("box", GOOD, found, figures={"state": state})


def check_state(context: Context) -> Verdict:
    """See that takes and models can be kept, and for how long."""
    folder = Path(context.config.state.folder)
    if problem := state_problem(folder):
        found, _, remedy = problem.rpartition(": ")
        return Verdict("state", WARNING, f"{found}: no takes, no new models", remedy)
    config = context.config
    motion = MotionSettings(config.camera.height, config.camera.width)
    rate = take_bytes_per_s(motion, config.camera.fps, config.audio.rate_hz)
    reserve = config.store.reserve_mb * 1_000_000
    left_s, n_free = seconds_left(folder, rate, reserve), free_bytes(folder)
    figures = {"free_bytes": n_free, "seconds_left": round(left_s)}
    found = f"{folder}: {n_free / 1e9:.1f} GB free, room for {duration(left_s)} of takes"
    if left_s < 600.0:
        return Verdict("state", WARNING, found, "carry takes away with a USB stick, then delete them here", figures)
    return Verdict("state", GOOD, found, figures=figures)


def check_machine(context: Context) -> Verdict:
    """See how hot it is, whether its power supply suffices, and whether its clock was set."""
    looked = vitals.look([], context.root)
    year = time.localtime().tm_year
    figures = {"temperature_c": looked.temperature_c, "throttled": looked.throttled, "load": looked.load}
    heat = "temperature unknown" if looked.temperature_c is None else f"{looked.temperature_c:.0f} °C"
    clock = f"clock {time.strftime('%Y-%m-%d %H:%M %Z')}"
    clock += ", not set by the network" if vitals.is_clock_synchronised(context.root) is False else ""
    found = ", ".join([heat, *(looked.throttled or []), clock])
    if looked.throttled and any("under-voltage" in each for each in looked.throttled):
        return Verdict("machine", WARNING, found, "use the power supply that the board's maker recommends", figures)
    if looked.throttled or (looked.temperature_c or 0.0) >= HOT_C:
        return Verdict("machine", WARNING, found, "let air reach the board, or give it a fan", figures)
    if (
        looked.free_memory_bytes is not None
        and looked.free_memory_bytes < LITTLE_MEMORY_BYTES
        and not context.is_running
    ):
        remedy = "end other programs: the box needs 250 MB"
        return Verdict(
            "machine", WARNING, f"{looked.free_memory_bytes / 1e6:.0f} MB of memory are free", remedy, figures
        )
    if year < FIRST_YEAR:
        remedy = "connect it to a network once, or set it with timedatectl; opening hours wait for it"
        return Verdict("machine", WARNING, found, remedy, figures)
    return Verdict("machine", GOOD, found, figures=figures)


def check_priority(context: Context) -> Verdict:
    """Ask for real-time priority and locked memory, as the sound does, in a process of its own."""
    engine = context.config.engine
    if engine.realtime_priority == 0 and not engine.lock_memory:
        return Verdict("priority", WARNING, "not asked for", "set engine.realtime_priority and engine.lock_memory")
    urgency = Urgency(engine.realtime_priority, engine.lock_memory)
    notes = result_of(Child("priority", _priority_main, urgency), PRIORITY_S)
    if notes:
        words = [note.partition(" (") for note in notes]
        remedy = "; ".join(after.rstrip(")") for _, _, after in words)
        return Verdict("priority", WARNING, "; ".join(before for before, _, _ in words), remedy)
    return Verdict("priority", GOOD, f"real-time priority {urgency.priority}, memory locked")


def _priority_main(part: Part, urgency: Urgency) -> None:
    run_part("priority", part, lambda: part.say("done", be_urgent(urgency)))
