"""A snapshot of a running box as a page to read: pure, from what JSON holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Snapshot = Mapping[str, Any]

_INDENT = 11


def page(snapshot: Snapshot) -> str:
    """Write what a box says of itself; what it does not say is left out, what is not known here comes last.

    Parameters
    ----------
    snapshot : mapping
        As the supervisor publishes it. Nothing about it is taken for granted: a newer box may answer.
    """
    lines = []
    for title, keys, describe in _ROWS:
        if any(snapshot.get(key) not in (None, [], {}) for key in keys):
            try:
                said = describe(snapshot)
            except (TypeError, ValueError, KeyError, AttributeError):  # of a form that a newer box has given it
                said = [_raw(snapshot.get(key)) for key in keys]
            lines += [f"{title if n == 0 else '':<{_INDENT}}{line}" for n, line in enumerate(filter(None, said))]
    known = {key for _, keys, _ in _ROWS for key in keys}
    lines += [f"{key:<{_INDENT - 1}} {_raw(value)}" for key, value in snapshot.items() if key not in known]
    return "\n".join(lines)


def _state(snapshot: Snapshot) -> list[str]:
    since = f", for {duration(snapshot['since_s'])}" if snapshot.get("since_s") is not None else ""
    safe = ", in SAFE MODE: the factory's model and the default configuration" if snapshot.get("safe") else ""
    up = f"running for {duration(snapshot['uptime_s'])}" if snapshot.get("uptime_s") is not None else ""
    light = snapshot.get("light")
    shows = f"the LED says: {light}" if light and light != snapshot.get("state") else ""
    return [f"{snapshot.get('state', 'unknown')}{since}{safe}", up, shows]


def _missing(snapshot: Snapshot) -> list[str]:
    return [str(what) for what in snapshot["missing"].values()]


def _model(snapshot: Snapshot) -> list[str]:
    model = snapshot.get("model") or {}
    words = [f"{model.get('name', 'unknown')} {model.get('version', '')}".strip()]
    words += [f"{model['variant']} on {model['runtime']}"] if "variant" in model and "runtime" in model else []
    words += [str(snapshot["mode"])] if snapshot.get("mode") else []
    words += [str(model["digest"])[:12]] if model.get("digest") else []
    return [", ".join(words)]


def _trial(snapshot: Snapshot) -> list[str]:
    trial = snapshot["trial"]
    name = str(trial["path"]).rpartition("/")[2][:12]
    seconds = f", {trial['seconds']:.0f} of {trial['of_s']:.0f} s" if trial.get("seconds") is not None else ""
    said = _TRIALS.get(trial["phase"], trial["phase"])
    return [f"{name} {said}{seconds}{': ' * bool(trial.get('reason'))}{trial.get('reason') or ''}"]


def _camera(snapshot: Snapshot) -> list[str]:
    words = [f"{snapshot['fps']:.1f} frames a second"] if snapshot.get("fps") is not None else []
    words += [f"{snapshot['n_frames']} frames"] if snapshot.get("n_frames") is not None else []
    words += [f"{snapshot['n_dropped_frames']} dropped"] if snapshot.get("n_dropped_frames") is not None else []
    return [", ".join(words)]


def _sound(snapshot: Snapshot) -> list[str]:
    levels = snapshot.get("levels_dbfs") or {}
    words = [f"{name} {_db(level)}" for name, level in levels.items()]
    counts = [
        f"{snapshot[key]} {what}"
        for key, what in (
            ("n_blocks", "blocks"),
            ("n_xruns", "underruns"),
            ("n_bad_spectra", "bad spectra"),
            ("n_card_losses", "times without a card"),
        )
        if snapshot.get(key) is not None
    ]
    return [", ".join(words), ", ".join(counts)]


def _latency(snapshot: Snapshot) -> list[str]:
    lines = []
    for key, title in (("frame_to_sound", "frame to sound"), ("engine", "engine alone")):
        figures = snapshot["latency_ms"].get(key)
        if figures and any(figures.values()):  # all 0: nothing was measured yet
            lines.append(f"{title:<14} " + ", ".join(f"{value:.1f} ms {name}" for name, value in figures.items()))
    return lines


def _take(snapshot: Snapshot) -> list[str]:
    take = snapshot["take"]
    level = f", input {_db(take['level'])} {_meter(take['level'])}" if "level" in take else ""
    return [f"{take['number']:04d}, {duration(take['seconds'])}{level}"]


def _load(snapshot: Snapshot) -> list[str]:
    words = [f"{100 * snapshot['rtf']:.1f}% of one core"] if snapshot.get("rtf") is not None else []
    words += [f"{snapshot['memory_bytes'] / 1e6:.0f} MB"] if snapshot.get("memory_bytes") is not None else []
    restarts = {name: n for name, n in (snapshot.get("n_restarts") or {}).items() if n}
    words += [f"{name} started again {n} times" for name, n in restarts.items()]
    pids = (f"{name} {pid}" for name, pid in (snapshot.get("pids") or {}).items())
    return [", ".join(words), f"processes {', '.join(pids)}" if snapshot.get("pids") else ""]


def _disk(snapshot: Snapshot) -> list[str]:
    disk = snapshot["disk"]
    free, reserve = disk["free_bytes"], disk.get("reserve_bytes") or 0
    left = f", {duration(disk['seconds_left'])} of takes" if disk.get("seconds_left") is not None else ""
    full = ": FULL, copy takes and delete them here" if free <= reserve else ""
    return [f"{free / 1e9:.1f} GB free, {reserve / 1e9:.1f} GB of it kept free{left}{full}"]


def _machine(snapshot: Snapshot) -> list[str]:
    heat = f"{snapshot['temperature_c']:.0f} °C" if snapshot.get("temperature_c") is not None else ""
    return [", ".join(filter(None, [heat, *(snapshot.get("throttled") or [])]))]


def _hours(snapshot: Snapshot) -> list[str]:
    hours = snapshot["hours"]
    state = "open" if hours["is_open"] else "closed: silent"
    change = hours.get("next_change")
    return [state + (f", until {str(change).replace('T', ' ')}" if change else "")]


def _faults(snapshot: Snapshot) -> list[str]:
    return [f"{fault['time']}  {duration(fault['age_s'])} ago  {fault['what']}" for fault in snapshot["faults"]]


_TRIALS = {
    "waiting": "waits for its trial",
    "trial": "is on trial",
    "committed": "played well and is kept",
    "rolled_back": "was taken back",
}

_ROWS: tuple[tuple[str, tuple[str, ...], Callable[[Snapshot], list[str]]], ...] = (
    ("state", ("state", "since_s", "safe", "uptime_s", "light"), _state),
    ("missing", ("missing",), _missing),
    ("model", ("model", "mode"), _model),
    ("trial", ("trial",), _trial),
    ("camera", ("fps", "n_frames", "n_dropped_frames"), _camera),
    ("sound", ("levels_dbfs", "n_blocks", "n_xruns", "n_bad_spectra", "n_card_losses"), _sound),
    ("latency", ("latency_ms",), _latency),
    ("take", ("take",), _take),
    ("load", ("rtf", "memory_bytes", "n_restarts", "pids"), _load),
    ("disk", ("disk",), _disk),
    ("machine", ("temperature_c", "throttled"), _machine),
    ("hours", ("hours",), _hours),
    ("faults", ("faults",), _faults),
    ("notes", ("notes",), lambda snapshot: [str(note) for note in snapshot["notes"]]),
)


def duration(seconds: float) -> str:
    """Write a length as people say it: '12 s', '3 min 5 s', '2 h 0 min', '5 d 3 h'."""
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def _db(level: float | None) -> str:
    return "silent" if level is None or level <= -119.5 else f"{level:.0f} dBFS"


def _meter(level: float | None, n_cells: int = 20) -> str:
    """Draw a level from -60 to 0 dBFS."""
    n = 0 if level is None else round(min(max((level + 60.0) / 60.0, 0.0), 1.0) * n_cells)
    return f"[{'#' * n}{'.' * (n_cells - n)}]"


def _raw(value: Any) -> str:
    """Write what has no form of its own here."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_raw(each)}" for key, each in value.items())
    if isinstance(value, list):
        return ", ".join(map(_raw, value))
    if isinstance(value, float):
        return f"{value:.6g}"
    return "none" if value is None else str(value)
