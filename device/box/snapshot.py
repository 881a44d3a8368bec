"""What a running box says of itself: the keys of `device status`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from device.box import vitals
from device.box.faults import Faults
from device.box.opening import Opened
from device.box.stage import Stage
from device.capture.recorder_process import FASTEST_FPS
from device.capture.take_settings import take_motion
from device.core.level import to_dbfs
from device.store.disk import free_bytes, take_bytes_per_s


class Snapshots:
    """Sums up the box, once a second.

    Parameters
    ----------
    begun_s : float
        When the program was started, CLOCK_MONOTONIC.
    """

    def __init__(self, begun_s: float) -> None:
        self._begun_s = begun_s
        self._n_frames, self._frames_s, self._fps = 0, begun_s, 0.0
        self._memory_bytes, self._measured_s = 0, -math.inf

    def take(self, stage: Stage, faults: Faults, opened: Opened, panel: dict[str, Any], now_s: float) -> dict[str, Any]:
        """Give everything, as JSON can hold it.

        Parameters
        ----------
        stage : Stage
        faults : Faults
        opened : Opened
            What the calendar says.
        panel : dict
            'state', 'since_s', 'safe', 'take' and 'notes', as the supervisor knows them.
        now_s : float
        """
        live = stage.live
        performance = live.performance()
        looked = vitals.look([], Path("/"))
        return {
            **panel,
            "mode": stage.config.model.mode,
            "model": _model(stage),
            "uptime_s": round(now_s - self._begun_s, 1),
            "fps": round(self._rate(performance.n_frames, now_s), 1),
            "latency_ms": {
                "engine": performance.engine.figures(),
                "frame_to_sound": performance.frame_to_sound.figures(),
            },
            "n_frames": performance.n_frames,
            "n_dropped_frames": performance.n_dropped_frames,
            "n_blocks": performance.n_blocks,
            "n_xruns": performance.n_xruns,
            "n_card_losses": performance.n_card_losses,
            "n_bad_spectra": performance.n_bad_spectra,
            "n_restarts": live.n_restarts,
            "levels_dbfs": _levels(stage),
            "disk": _disk(stage, self._fps),
            "temperature_c": looked.temperature_c,
            "throttled": looked.throttled,
            "hours": {"is_open": opened.is_open, "next_change": opened.next_change},
            "faults": faults.history(now_s),
            "missing": dict(faults.now),
            "rtf": round(performance.rtf, 4),
            "memory_bytes": self._memory(stage, now_s),
            "pids": stage.pids,
        }

    def _rate(self, n_frames: int, now_s: float) -> float:
        """Frames a second since the last look."""
        if now_s - self._frames_s >= 0.5:
            self._fps = max(0, n_frames - self._n_frames) / (now_s - self._frames_s)
            self._n_frames, self._frames_s = n_frames, now_s
        return self._fps

    def _memory(self, stage: Stage, now_s: float) -> int:
        """Measure the memory of all processes, now and then: the system takes a while to sum it up."""
        if now_s - self._measured_s >= 30.0:
            self._measured_s = now_s
            self._memory_bytes = vitals.look(stage.pids.values()).memory_bytes
        return self._memory_bytes


def _model(stage: Stage) -> dict[str, Any]:
    facts = stage.live.facts
    said: dict[str, Any] = {"path": str(stage.bundle)}
    if facts is not None:
        said |= {"name": facts.name, "version": facts.version, "variant": facts.variant, "runtime": facts.runtime}
    return said


def _levels(stage: Stage) -> dict[str, float | None]:
    said: dict[str, float | None] = {"output": round(to_dbfs(stage.live.meter.time_s("output_peak")), 1)}
    said["input"] = None if stage.microphone is None else round(stage.microphone.level_dbfs, 1)
    return said


def _disk(stage: Stage, fps: float) -> dict[str, float]:
    folder, reserve_bytes = Path(stage.config.state.folder), stage.config.store.reserve_mb * 1_000_000
    live = stage.live
    motion = take_motion(stage.config, (live.settings.height, live.settings.width))
    rate = take_bytes_per_s(motion, fps or FASTEST_FPS, live.settings.rate_hz)
    try:
        n_free = free_bytes(folder)
    except OSError:
        return {}
    return {
        "free_bytes": n_free,
        "reserve_bytes": reserve_bytes,
        "seconds_left": round(max(0, n_free - reserve_bytes) / rate),
    }
