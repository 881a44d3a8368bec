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
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import av

from device.config import DEFAULT_PATH, load_config
from device.core.errors import DanceSamplerError
from tests.bench.bench import ROOT, Show
from tests.bench.figures import CHAIN_RTF, ENGINE_P99_MS, MEMORY_MB, START_S, Figure, of_runs

BUDGET_FPS = 60.0
POLL_S = 0.001
MEMORY_POLL_S = 0.25
LONGEST_S = 120.0
WAV_HEADER_BYTES = 44


def measure_chain(show: Show, n_runs: int) -> list[Figure]:
    """Virtual clock: processor time over time of the sound, and the engine's work for each frame."""
    runs = perform_at(show, None, n_runs)
    faster_runs = perform_at(show, BUDGET_FPS, n_runs)
    return [
        _chain("whole chain", clip_fps(show.clip), runs),
        _chain("whole chain, the same frames", BUDGET_FPS, faster_runs),
        Figure(
            "engine, frame to first sample handed over, virtual clock",
            "ms",
            _of_all([run["latency_ms"]["engine"] for run in [*runs, *faster_runs]]),
            ENGINE_P99_MS,
        ),
    ]


def perform_at(show: Show, fps: float | None, n_runs: int) -> list[dict[str, Any]]:
    """What `--json` printed of several runs by the virtual clock; None: at the clip's own rate."""
    with TemporaryDirectory() as folder:
        clip = show.clip if fps is None else retimed(show.clip, Path(folder) / f"retimed{show.clip.suffix}", fps)
        return [_perform(Show(show.bundle, clip), "virtual") for _ in range(n_runs)]


def clip_fps(clip: Path) -> float:
    """Frames per second that a clip says it has."""
    with av.open(str(clip)) as source:
        return float(source.streams.video[0].average_rate or math.nan)


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


def _chain(what: str, fps: float, runs: list[dict[str, Any]]) -> Figure:
    values = of_runs([run["rtf"] for run in runs])
    return Figure(f"{what} at {fps:.0f} fps, virtual clock, real-time factor", "", values, CHAIN_RTF, "worst")


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
        Figure("memory of all processes, peak", "MB", peaks, MEMORY_MB, "PSS"),
    ]  # fmt: skip


def memory_mb(pid: int) -> dict[str, float]:
    """'PSS' and 'RSS' of a process and all below it, in MB of 1e6 bytes; what has just ended counts nothing."""
    found: dict[str, float] = {}
    for each in family(pid):
        with suppress(OSError):
            text = Path(f"/proc/{each}/smaps_rollup").read_text(encoding="ascii")
            for name, n_kib in re.findall(r"^(Pss|Rss): +(\d+) kB", text, re.MULTILINE):
                found[name.upper()] = found.get(name.upper(), 0.0) + int(n_kib) * 1024 / 1e6
    return found


def family(pid: int) -> list[int]:
    """A process and all that it, and they, have started and that still run."""
    children: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # The name, in brackets, may hold anything; after it come the state and the parent.
            parent = status.read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[1]
            children.setdefault(int(parent), []).append(int(status.parent.name))
    found = [pid]
    for each in found:  # grows as it goes
        found += children.get(each, [])
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
