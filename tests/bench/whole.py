"""The whole, as a user starts it: `python -m device perform` in a process of its own."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import av

from device.config import DEFAULT_PATH, load_config
from device.core.errors import DanceSamplerError
from device.desk import TAIL_S
from tests.bench.figures import CHAIN_RTF, ENGINE_P99_MS, MEMORY_MB, START_S, Figure, of_runs

BUDGET_FPS = 60.0
ROOT = Path(__file__).parents[2]
POLL_S = 0.001
MEMORY_POLL_S = 0.25
LONGEST_S = 120.0
WAV_HEADER_BYTES = 44


@dataclass(frozen=True)
class Show:
    """What is performed: a bundle and a clip."""

    bundle: Path
    clip: Path


def measure_chain(show: Show, n_runs: int) -> list[Figure]:
    """Virtual clock: processor time over time of the sound, and the engine's work for each frame."""
    runs = [_perform(show, "virtual") for _ in range(n_runs)]
    with TemporaryDirectory() as folder:
        faster = Show(show.bundle, retimed(show.clip, Path(folder) / f"faster{show.clip.suffix}", BUDGET_FPS))
        faster_runs = [_perform(faster, "virtual") for _ in range(n_runs)]
    return [
        _chain("whole chain", runs),
        _chain("whole chain, the same frames", faster_runs),
        Figure(
            "engine, frame to first sample handed over, virtual clock",
            "ms",
            _of_all([run["latency_ms"]["engine"] for run in [*runs, *faster_runs]]),
            ENGINE_P99_MS,
        ),
    ]


def retimed(clip: Path, path: Path, fps: float) -> Path:
    """Copy a clip so that it runs at another rate: the same pictures, nothing encoded anew."""
    with av.open(str(clip)) as source, av.open(str(path), "w") as target:
        video = source.streams.video[0]
        copy = target.add_stream_from_template(video)
        factor = float(video.average_rate or fps) / fps
        ticks_per_s = 1000 * fps
        for packet in source.demux(video):
            if packet.dts is None or packet.pts is None or packet.time_base is None:
                continue  # the last, empty
            pts_s, dts_s = (float(each * packet.time_base) * factor for each in (packet.pts, packet.dts))
            packet.time_base = Fraction(1, round(ticks_per_s))
            packet.pts, packet.dts, packet.duration = round(pts_s * ticks_per_s), round(dts_s * ticks_per_s), 1000
            packet.stream = copy
            target.mux(packet)
    return path


def _chain(what: str, runs: list[dict[str, Any]]) -> Figure:
    rate = runs[0]["n_frames"] / (runs[0]["duration_s"] - TAIL_S)
    values = of_runs([run["rtf"] for run in runs])
    return Figure(f"{what} at {rate:.0f} fps, virtual clock, real-time factor", "", values, CHAIN_RTF, "worst")


def _of_all(latencies_ms: list[dict[str, float]]) -> dict[str, float]:
    """The worst run's figures, each."""
    return {name: max(each[name] for each in latencies_ms) for name in ("p50", "p99", "max")}


def measure_start(show: Show, n_runs: int) -> Figure:
    """Wall-clock time from the start of the process to the first block in the WAV, real clock."""
    return Figure(
        "process start to first block handed over, real clock",
        "s",
        of_runs([_start(show) for _ in range(n_runs)]),
        START_S,
        "worst",
    )


def _start(show: Show) -> float:
    n_bytes = WAV_HEADER_BYTES + 2 * load_config(DEFAULT_PATH).audio.period
    with TemporaryDirectory() as folder:
        started_s = time.perf_counter()
        with _performing(show, Path(folder), "real") as process:
            while _largest_file(folder) < n_bytes:
                if time.perf_counter() - started_s > LONGEST_S or process.poll() is not None:
                    process.kill()
                    raise _failed(process)
                _wait(process, POLL_S)
            took_s = time.perf_counter() - started_s
            process.send_signal(signal.SIGTERM)  # ends it with its sound whole
            _finish(process)
    return took_s


def _largest_file(folder: str) -> int:
    """Bytes of the only file, whatever it is called until it is whole."""
    with os.scandir(folder) as entries, suppress(FileNotFoundError):
        return max((entry.stat().st_size for entry in entries), default=0)
    return 0


def measure_memory(show: Show, seconds: float) -> list[Figure]:
    """Memory while it plays in real time; the latencies of that run with it."""
    peaks = {"PSS": math.nan, "RSS": math.nan}
    with (
        TemporaryDirectory() as folder,
        _performing(show, Path(folder), "real", "--seconds", f"{seconds:g}") as process,
    ):
        deadline_s = time.perf_counter() + LONGEST_S
        while process.poll() is None and time.perf_counter() < deadline_s:
            for name, value in memory_mb(process.pid).items():
                peaks[name] = value if math.isnan(peaks[name]) else max(peaks[name], value)
            _wait(process, MEMORY_POLL_S)
        result = _finish(process)
    return [
        Figure("engine, frame to first sample handed over, real clock", "ms", result["latency_ms"]["engine"],
               ENGINE_P99_MS),
        Figure(f"underruns in {result['duration_s']:.0f} s of real clock", "", {"n": result["n_xruns"]}),
        Figure("memory of the process, peak", "MB", peaks, MEMORY_MB, "RSS"),
    ]  # fmt: skip


def memory_mb(pid: int) -> dict[str, float]:
    """'PSS' now and the highest 'RSS' so far of a process, in MB of 1e6 bytes; what cannot be read is left out."""
    found = {}
    for name, file, key in (("PSS", "smaps_rollup", "Pss"), ("RSS", "status", "VmHWM")):
        with suppress(OSError):  # it has just ended
            if match := re.search(rf"^{key}:\s+(\d+) kB", Path(f"/proc/{pid}/{file}").read_text(), re.MULTILINE):
                found[name] = int(match[1]) * 1024 / 1e6
    return found


def _perform(show: Show, clock: str) -> dict[str, Any]:
    with TemporaryDirectory() as folder, _performing(show, Path(folder), clock) as process:
        return _finish(process)


@contextmanager
def _performing(show: Show, folder: Path, clock: str, *options: str) -> Iterator[subprocess.Popen[str]]:
    """Start it with the default configuration, whatever that of the machine; it has ended when this ends."""
    process = subprocess.Popen(
        [sys.executable, "-m", "device", "perform", "--camera", f"file:{show.clip}", "--audio", f"wav:{folder}/it.wav",
         "--model", str(show.bundle), "--clock", clock, "--config", str(DEFAULT_PATH), "--json", *options],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def _wait(process: subprocess.Popen[str], duration_s: float) -> None:
    with suppress(subprocess.TimeoutExpired):
        process.wait(duration_s)


def _finish(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Give what `--json` printed."""
    out, err = process.communicate(timeout=LONGEST_S)
    if process.returncode != 0:
        raise _failed(process, err)
    result: dict[str, Any] = json.loads(out.splitlines()[-1])
    return result


def _failed(process: subprocess.Popen[str], err: str | None = None) -> DanceSamplerError:
    said = (process.communicate()[1] if err is None else err).strip() or "it said nothing"
    return DanceSamplerError(
        f"device perform failed with exit code {process.returncode} ({said}): perform by hand first"
    )
