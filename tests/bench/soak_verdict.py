"""What a soak has found, and what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from device.core.latency import LatencyHistogram
from tests.bench.soak_machine import Delay, of_the_engine

FPS = 60.0
GROWTH_MB, GROWTH_MS, DRIFT_MS = 3.0, 1.0, 2.0
N_STALLS_PER_UNSEEN = 10


@dataclass(frozen=True)
class Sample:
    """One look at the processes.

    Attributes
    ----------
    at_s : float
        Since the soak began.
    bundle : int
        Which of the two played.
    pss_mb : dict of str to float
        Memory by the name of the process.
    own_mb : dict of str to float
        The same without that of files.
    n_descriptors, n_threads : int
        Of all of them.
    """

    at_s: float
    bundle: int
    pss_mb: dict[str, float]
    own_mb: dict[str, float]
    n_descriptors: int
    n_threads: int

    @property
    def total_mb(self) -> float:
        """Memory of all of them."""
        return sum(self.pss_mb.values())


@dataclass
class Found:
    """What a soak has found.

    Attributes
    ----------
    duration_s : float
    n_changes : int
    n_frames : int
    n_restarts : dict of str to int
    ours, control : list of Delay
        Of our card, and of all control writers.
    samples : list of Sample
        Taken while nothing was changing.
    halves : dict of str to list of LatencyHistogram
        'engine' and 'frame_to_sound', in the first half and in the second.
    notes : list of str
        What the machine does not allow.
    """

    duration_s: float
    n_changes: int = 0
    n_frames: int = 0
    n_restarts: dict[str, int] = field(default_factory=dict)
    ours: list[Delay] = field(default_factory=list)
    control: list[Delay] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    halves: dict[str, list[LatencyHistogram]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def n_control_underruns(self) -> int:
        """How often a bare writer of silence ran empty: none on a machine that is fit to play."""
        return sum(each.is_underrun for each in self.control)

    @property
    def n_unseen(self) -> int:
        """How many stalls of the machine may have struck our process alone.

        A virtual machine that stalls takes single pages away as well as processors: the control writers see most of
        its stalls, not all. Where they saw none, none is excused.
        """
        return self.n_control_underruns // N_STALLS_PER_UNSEEN

    @property
    def growth_mb(self) -> float:
        """Memory without files at the end over that at the beginning, of all processes."""
        return sum(self.growths_mb.values())

    @property
    def growths_mb(self) -> dict[str, float]:
        """Of each process, the same model playing: medians of a tenth of the looks."""
        same = [each.own_mb for each in self.samples if each.bundle == self.samples[0].bundle]
        n = max(1, len(same) // 10)
        first, last = (
            {name: np.median([each[name] for each in few]) for name in same[0]} for few in (same[:n], same[-n:])
        )
        return {name: float(last[name] - first[name]) for name in first}

    @property
    def slope_mb_per_h(self) -> float:
        """Of a straight line through all looks."""
        at_h = [each.at_s / 3600.0 for each in self.samples]
        return float(np.polyfit(at_h, [sum(each.own_mb.values()) for each in self.samples], 1)[0])

    def growth_ms(self, name: str, percent: float) -> float:
        """A latency in the second half over that in the first."""
        first, second = (half.percentile_ms(percent) for half in self.halves[name])
        return second - first


def problems(found: Found) -> list[str]:
    """Say what is not as it must be."""
    said = []
    if len(own := of_the_engine(found.ours, found.control)) > found.n_unseen:
        said.append(
            f"{len(own)} underruns while all control writers were in time, {found.n_unseen} are not told apart from "
            f"the machine's: {own}"
        )
    if found.growth_mb > GROWTH_MB:
        said.append(f"memory has grown by {found.growth_mb:.1f} MB")
    if found.growth_ms("engine", 50) > GROWTH_MS:
        said.append(f"the engine has become slower by {found.growth_ms('engine', 50):.2f} ms")
    if abs(found.growth_ms("frame_to_sound", 50)) > DRIFT_MS:
        said.append(f"frame to sound has drifted by {found.growth_ms('frame_to_sound', 50):.2f} ms")
    first, last = found.samples[0], found.samples[-1]
    if last.n_descriptors > first.n_descriptors or last.n_threads > first.n_threads:
        said.append(
            f"descriptors went from {first.n_descriptors} to {last.n_descriptors}, threads from {first.n_threads} "
            f"to {last.n_threads}"
        )
    if any(found.n_restarts.values()):
        said.append(f"processes were started again: {found.n_restarts}")
    if abs(found.n_frames - FPS * found.duration_s) > 0.01 * FPS * found.duration_s:
        said.append(f"{found.n_frames} frames were played in {found.duration_s:.0f} s")
    return said


def report(found: Found) -> str:
    """Say what was found."""
    own, underruns = of_the_engine(found.ours, found.control), [each for each in found.ours if each.is_underrun]
    worst_ms = [1000.0 * max((each.late_s for each in late), default=0.0) for late in (found.ours, found.control)]
    samples, names = found.samples, sorted(found.samples[-1].pss_mb)
    memory = ", ".join(f"{name} {samples[0].pss_mb[name]:.1f} to {samples[-1].pss_mb[name]:.1f}" for name in names)
    growth = ", ".join(f"{name} {growth_mb:+.2f}" for name, growth_mb in sorted(found.growths_mb.items()))
    lines = [
        f"played     {found.duration_s:.0f} s, {found.n_frames} frames, {found.n_changes} changes of model",
        f"underruns  {len(own)} of the engine's, {len(underruns) - len(own)} of the machine's",
        f"late       {len(found.ours)} blocks by more than a period, at most {worst_ms[0]:.1f} ms",
        f"control    {found.n_control_underruns} underruns, {len(found.control)} late, at most {worst_ms[1]:.1f} ms",
        f"memory     {samples[-1].total_mb:.1f} MB PSS: {memory}",
        f"growth     {found.growth_mb:+.2f} MB without files: {growth}; slope {found.slope_mb_per_h:+.1f} MB an hour",
        f"handles    {samples[0].n_descriptors} to {samples[-1].n_descriptors} descriptors",
        f"threads    {samples[0].n_threads} to {samples[-1].n_threads}",
    ]
    for name, halves in found.halves.items():
        said = " then ".join(f"{each.percentile_ms(50):.2f} p50, {each.percentile_ms(99):.2f} p99" for each in halves)
        lines.append(f"latency    {name.replace('_', ' ')}: {said} ms, first half and second")
    lines += [f"machine    {note}" for note in found.notes]
    return "\n".join([*lines, *(f"PROBLEM    {each}" for each in problems(found))])
