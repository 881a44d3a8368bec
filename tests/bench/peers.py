"""Other programs that make sound with a network, in the same run: Vocos and RAVE, beside our model and synth.

They run in a virtual environment of their own, which `make bench` sets up where it can; where it could not, the page
says why and everything else is measured.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from device.core.synth import Synth
from tests.bench.bench import PEERS_PYTHON, ROOT, Bench
from tests.bench.figures import Section
from tests.bench.results import digits, grid

PEERS = {"Vocos": "peer_programs.vocos_speed", "RAVE": "peer_programs.rave_speed"}
"""Name -> its program, which is given seconds of sound and prints one JSON object last. Named from this folder: one of
the peers installs a package called tests."""
LONGEST_S = 300.0
FRAMES_PER_S = 60
LARGE_BLOCK = 2048
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

HOW = """\
- **peers**: processor time over the time of the sound, on one thread, block after block, each in its own sample rate,
  with random weights: they cost what trained ones do. Vocos: the network of its published 24 kHz model, from mel
  spectrogram to sound; its features are not computed. RAVE: the decoder of its Raspberry Pi configuration, streaming,
  not compiled, from latents to sound. Ours: the bundle's model and the synth, from the windows of the clip to sound;
  motiongram and window are not in it. They run on Debian's own torch with OpenBLAS, in a virtual environment of their
  own, without what they need for training only.
"""


@dataclass(frozen=True)
class Speed:
    """What one program costs, or why that is not known.

    Attributes
    ----------
    name, version : str
    n_parameters : int
    figures : sequence of dict
        'block' in samples, 'rate_hz' and 'rtf'.
    why_not : str
        Empty when it was measured.
    """

    name: str
    version: str = ""
    n_parameters: int = 0
    figures: Sequence[dict[str, Any]] = ()
    why_not: str = ""


def measure_peers(bench: Bench, python: Path = PEERS_PYTHON, peers: Mapping[str, str] = PEERS) -> Section:
    """Ours, then each peer."""
    bench.say("peers: ours")
    speeds = [our_speed(bench)]
    for name, program in peers.items():
        bench.say(f"peers: {name}")
        speeds.append(peer_speed(name, program, python, bench.effort.peer_s))
    rows = [row for speed in speeds for row in _rows(speed, speeds[0])]
    header = (
        "from a network to sound",
        "parameters",
        "rate, Hz",
        "block",
        "lasts, ms",
        "real-time factor",
        "beside ours",
    )
    notes = [_in_words(speeds)] + [f"{each.name}: not measured: {each.why_not}." for each in speeds if each.why_not]
    versions = f"With {', '.join(speed.version for speed in speeds if speed.version)}."
    return Section("Peers", text="\n\n".join([grid(header, rows), *notes, versions]), how=HOW)


def _in_words(speeds: Sequence[Speed]) -> str:
    """What the table says, where blocks are alike."""
    ours, *peers = speeds
    small, large = ours.figures
    said = [
        f"{speed.name.split(',')[0]} takes {each['rtf'] / large['rtf']:.1f} times as long as ours"
        for speed in peers
        for each in speed.figures
        if each["block"] == LARGE_BLOCK
    ]
    compared = f" In blocks of {LARGE_BLOCK} samples, {', and '.join(said)}." if said else ""
    return f"The box plays blocks of {small['block']}, at a real-time factor of {digits(small['rtf'])}.{compared}"


def _rows(speed: Speed, ours: Speed) -> list[tuple[str, ...]]:
    if speed.why_not:
        return [(speed.name, "", "", "", "", "not measured", "")]
    at_large = next(each["rtf"] for each in ours.figures if each["block"] == LARGE_BLOCK)
    rows: list[tuple[str, ...]] = []
    for each in speed.figures:
        block, rate_hz, rtf = each["block"], each["rate_hz"], each["rtf"]
        cells = (f"{rate_hz}", f"{block}", digits(1e3 * block / rate_hz), digits(rtf))
        beside = f"{rtf / at_large:.1f}" if block == LARGE_BLOCK else ""
        rows.append((speed.name, f"{speed.n_parameters / 1e6:.2f} million", *cells, beside))
    return rows


def our_speed(bench: Bench) -> Speed:
    """Model and synth: block by block as on the box, then in the blocks of the peers, with one spectrum each."""
    period, rate_hz = bench.config.audio.period, bench.bundle.manifest.rate_hz
    figures = []
    for block, n_between in ((period, rate_hz / FRAMES_PER_S), (LARGE_BLOCK, float(LARGE_BLOCK))):
        rtf = _our_rtf(bench, block, n_between)
        figures.append({"block": block, "rate_hz": rate_hz, "rtf": rtf})
    model = bench.bundle.model
    n_parameters = bench.bundle.manifest.files["model.f16.tflite"].size // 2
    version = (
        f"our own {model.variant} model on {model.runtime}, {FRAMES_PER_S} spectra a second at a block of {period}"
    )
    return Speed("Dance sampler, model and synth", version, n_parameters, figures)


def _our_rtf(bench: Bench, block: int, n_between: float) -> float:
    """Real-time factor with a model run every so many samples."""
    model, synth = bench.bundle.model, Synth(bench.bundle.manifest.synth)
    rate_hz, windows = bench.bundle.manifest.rate_hz, cycle(bench.dance.windows)
    noise, out = np.zeros(model.n_latent, np.float32), np.zeros(block, np.float32)
    n_blocks, due = max(1, round(bench.effort.peer_s * rate_hz / block)), 0.0
    started_s = time.process_time()
    for i in range(n_blocks):
        if i * block >= due - 0.5:
            synth.set_spectrum(np.maximum(model.run(next(windows), noise, 1.0), 0.0))
            due += n_between
        synth.fill(out)
    return (time.process_time() - started_s) * rate_hz / (n_blocks * block)


def peer_speed(name: str, program: str, python: Path, duration_s: float) -> Speed:
    """Run a peer's program in its own Python; whatever goes wrong is said in one line."""
    if not python.exists():
        return Speed(name, why_not=_why_not_installed(python))
    try:
        ran = subprocess.run(
            [str(python), "-m", program, f"{duration_s:g}"], cwd=Path(__file__).parent,
            env={**os.environ, **ONE_THREAD}, capture_output=True, text=True, timeout=LONGEST_S, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return Speed(name, why_not=_one_line(str(error)))
    if ran.returncode != 0:
        return Speed(name, why_not=_one_line((ran.stderr.strip().splitlines() or ["it said nothing"])[-1]))
    try:
        return Speed(**json.loads(ran.stdout.splitlines()[-1]))
    except (IndexError, TypeError, ValueError):
        return Speed(name, why_not="it did not say its figures")


def _why_not_installed(python: Path) -> str:
    """What the installation said last."""
    said = python.parents[1] / "why-not"
    lines = said.read_text(encoding="utf-8", errors="replace").split("\n") if said.exists() else []
    told = [line for line in lines if line.strip()]
    return _one_line(told[-1]) if told else "it is not installed: run make bench"


def _one_line(text: str) -> str:
    return " ".join(text.replace(f"{ROOT}/", "").split())[:200].rstrip(".")
