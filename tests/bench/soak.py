"""The soak: `python -m tests.bench.soak --minutes 60` plays in real time while all that can disturb it does.

A camera at 60 fps whose clock is 100 ppm off the card's, a card with the default buffer, the factory's model and
another in turn. Beside it the other core is busy, the disk is written to, the log comes in bursts. Bare
writers of silence, one on each processor, tell which of the stalls are the machine's own.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt

from device.config import DEFAULT_PATH, load_config
from device.core.bundle import MODEL_FILES
from device.core.latency import LatencyHistogram
from device.engine.crew import LiveSettings
from device.engine.live import Live
from device.engine.model_process import Playing
from device.engine.process import Child
from device.engine.realtime import Urgency
from device.engine.shared import SharedArrays
from device.models.bundles import FACTORY, read_bundle, write_bundle
from tests.bench.soak_machine import (
    NOTES,
    RATE_HZ,
    Load,
    control_main,
    delays,
    disk_main,
    memory_mb,
    n_descriptors,
    n_threads,
    open_noted,
    open_steady_camera,
    parent_of,
    spin_main,
)
from tests.bench.soak_verdict import FPS, Found, Sample, problems, report

PPM = 100.0
CHANGE_S = 60.0
SETTLE_S, N_WARM_UPS = 6.0, 4
SAMPLE_S, BURST_S, N_BURST = 2.0, 1.0, 300

_log = logging.getLogger("soak")


def soak(duration_s: float, *, is_load_idle: bool = False, say: Callable[[str], None] = lambda _: None) -> Found:
    """Play for so long, disturbed.

    Parameters
    ----------
    duration_s : float
        Seconds, without a few at the beginning for all to settle.
    is_load_idle : bool
        The busy core is given to whoever wants it: for a machine that does something else besides.
    say : callable
        Told how far it is.
    """
    config = load_config(DEFAULT_PATH)
    urgency = Urgency(config.engine.realtime_priority, config.engine.lock_memory)
    ours, controls = SharedArrays(NOTES), {cpu: SharedArrays(NOTES) for cpu in os.sched_getaffinity(0)}
    with TemporaryDirectory() as folder, _disturbed(Path(folder), controls, urgency, is_load_idle):
        bundles = (FACTORY, _other_bundle(Path(folder)))
        engine, model = config.engine, config.model
        playing = Playing(
            model.variant, model.runtime, model.mode, None, 0, model.noise_time_s, engine.hold_s, engine.fade_s
        )
        settings = LiveSettings(playing, RATE_HZ, 48, 64, engine.crossfade_s, urgency)
        live = Live(partial(open_steady_camera, FPS * (1.0 + PPM * 1e-6)), partial(open_noted, ours), FACTORY, settings)
        try:
            live.start()
            found = _follow(live, bundles, duration_s, say)
        finally:
            live.close()
        found.ours = delays(ours)
        found.control = [each for control in controls.values() for each in delays(control)]
        return found


def _follow(live: Live, bundles: tuple[Path, Path], duration_s: float, say: Callable[[str], None]) -> Found:
    """Change models, look at memory, write the log, until the time is over."""
    _look(live, 0.0, 0)
    for bundle in reversed(bundles * N_WARM_UPS):  # What is set aside once is set aside before the first look counts.
        live.change_model(bundle)
        _watch_for(live, 0.5)
    found, begin_s = Found(duration_s), time.monotonic()
    change_s = min(CHANGE_S, duration_s / 3.0)
    n_frames, marks = live.meter.count("n_frames"), [_counts(live)]
    next_sample_s = next_burst_s = changed_s = 0.0
    while (at_s := time.monotonic() - begin_s) < duration_s:
        live.watch()
        if at_s >= duration_s / 2.0 and len(marks) == 1:
            marks.append(_counts(live))
        if at_s >= (found.n_changes + 1) * change_s:
            found.n_changes += 1
            live.change_model(bundles[found.n_changes % 2])
            changed_s = time.monotonic() - begin_s
        if at_s >= next_burst_s:
            next_burst_s = at_s + BURST_S
            for index in range(N_BURST):
                _log.info("line %d of a burst at %.3f s", index, at_s)
        if at_s >= max(next_sample_s, changed_s + SETTLE_S):
            # A hundred looks at most: or the list of them would grow.
            next_sample_s = at_s + max(SAMPLE_S, duration_s / 100.0)
            found.samples.append(_look(live, at_s, found.n_changes % 2))
            say(f"{at_s:6.0f} s, {live.meter.count('n_xruns')} underruns, {found.samples[-1].total_mb:.1f} MB")
    marks.append(_counts(live))
    found.n_frames = live.meter.count("n_frames") - n_frames
    found.n_restarts, found.notes = live.n_restarts, live.notes
    found.halves = {name: [_between(name, *pair) for pair in pairwise(marks)] for name in marks[0]}
    return found


def _watch_for(live: Live, duration_s: float) -> None:
    end_s = time.monotonic() + duration_s
    while time.monotonic() < end_s:
        live.watch()


def _counts(live: Live) -> dict[str, npt.NDArray[np.int64]]:
    return {name: live.meter.memory[f"{name}_counts"].copy() for name in ("engine", "frame_to_sound")}


def _between(
    name: str, before: dict[str, npt.NDArray[np.int64]], after: dict[str, npt.NDArray[np.int64]]
) -> LatencyHistogram:
    return LatencyHistogram(after[name] - before[name], np.full(1, np.inf))


def _look(live: Live, at_s: float, bundle: int) -> Sample:
    """Look at all processes; 'server' is what the others are forked from."""
    pids = {**live.pids, "parent": os.getpid(), "server": parent_of(live.pids["sound"])}
    memory = {name: memory_mb(pid) for name, pid in pids.items()}
    return Sample(
        at_s,
        bundle,
        {name: all_mb for name, (all_mb, _) in memory.items()},
        {name: without_files_mb for name, (_, without_files_mb) in memory.items()},
        sum(n_descriptors(pid) for pid in pids.values()),
        sum(n_threads(pid) for pid in pids.values()),
    )


def _other_bundle(folder: Path) -> Path:
    """Make a bundle of the factory's model that plays through a synth of another hop."""
    files = read_bundle(FACTORY)
    synth = files.manifest.synth
    manifest = replace(files.manifest, name="other", synth=replace(synth, hop=synth.hop // 2))
    write_bundle(folder / "other", manifest, {MODEL_FILES[variant]: data for variant, data in files.models.items()})
    return folder / "other"


@contextmanager
def _disturbed(folder: Path, controls: dict[int, SharedArrays], urgency: Urgency, is_load_idle: bool) -> Iterator[None]:
    """Keep the machine busy, with a control writer on each processor."""
    load = Load(folder, is_load_idle)
    handler = logging.FileHandler(folder / "log")
    _log.addHandler(handler)
    _log.setLevel(logging.INFO)
    _log.propagate = False
    children = [Child("spin", spin_main, load), Child("disk", disk_main, load)]
    above = replace(urgency, priority=min(99, urgency.priority + 1))
    children += [Child("control", control_main, (notes, above, cpu)) for cpu, notes in controls.items()]
    try:
        yield
    finally:
        for child in children:
            child.end()
        _log.removeHandler(handler)
        handler.close()


def main(argv: Sequence[str]) -> int:
    """Soak, print what was found; 1 when something is not as it must be."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.soak", description="play in real time, disturbed")
    parser.add_argument("--minutes", type=float, default=2.0, help="how long (default: 2)")
    parser.add_argument("--yielding", action="store_true", help="disturb with what other programs leave of a processor")
    args = parser.parse_args(argv)
    found = soak(60.0 * args.minutes, is_load_idle=args.yielding, say=_say)
    sys.stdout.write(f"{report(found)}\n")
    return 1 if problems(found) else 0


def _say(how_far: str) -> None:
    """Show progress on a terminal; a pipe stays quiet."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\033[K{how_far}")
        sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
