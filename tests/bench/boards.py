"""An estimate, no measurement: what the parts cost on the boards that the program is meant for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tests.bench.bench import Bench
from tests.bench.budgets import model_figure
from tests.bench.parts import measure_motiongram, measure_synth
from tests.bench.results import digits, grid
from tests.bench.whole import BUDGET_FPS, perform_at

PI_4_GMACS = {"f16": 7.0 / 4, "int8": 20.0 / 4}
"""Thousand million multiply-accumulates a second of one of its cores: reported are 7 in float32 and up to 20 in int8
for all four. The f16 file is computed in float32."""

PI_4_SLOWER = (6.0, 10.0)
"""How much slower a core of a Pi 4 is than one of the x86-64 machine that the budgets are for: least and most."""


@dataclass(frozen=True)
class Board:
    """A board and how fast one of its cores is.

    Attributes
    ----------
    name, core : str
    speed : tuple of float
        Relative to a core of a Pi 4: least and most.
    """

    name: str
    core: str
    speed: tuple[float, float]


# Clocks, and work per clock of the architecture. A53 beside A72: 2.3 and 4.7 DMIPS per MHz, and in order, so 0.4 to
# 0.6 of its work per clock. A76: the makers of the Pi 5 promise 2 to 3 times a Pi 4. A78AE beside A76: 1.2 to 1.3 of
# its work per clock, by Arm's figures for A77 and A78.
BOARDS = (
    Board("Raspberry Pi 4", "Cortex-A72, 1.8 GHz", (1.0, 1.0)),
    Board("Raspberry Pi 5", "Cortex-A76, 2.4 GHz", (2.0, 3.0)),
    Board("Raspberry Pi Zero 2 W", "Cortex-A53, 1.0 GHz", (1.0 / 1.8 * 0.4, 1.0 / 1.8 * 0.6)),
    Board("Jetson Orin Nano", "Cortex-A78AE, 1.5 GHz", (1.5 / 2.4 * 1.2 * 2.0, 1.5 / 2.4 * 1.3 * 3.0)),
)

RULES = """\
**This is an estimate: nothing was measured on these boards.** It is made in two ways, and both are for one core. *By
multiply-accumulates*: a Pi 4 is reported to do 7 thousand million a second in float32 and up to 20 in int8 with its
four cores, so a quarter of that. *By scaling*: what was measured here, times 6 to 10 for a Pi 4. Others follow from the
clock and the work per clock of their cores: Pi 5, 2 to 3 times a Pi 4 (its makers' figure); Zero 2 W, 1.0 / 1.8 of the
clock and 0.4 to 0.6 of the work per clock (2.3 beside 4.7 DMIPS per MHz, and in order); Orin Nano, 1.5 / 2.4 of the
clock of a Pi 5 and 1.2 to 1.3 of its work per clock (Arm's figures). Integer products of A76 and A78AE, and the
caches, which are smaller everywhere, are not in it. Where the two ways disagree, believe neither and run
`make bench` there."""


@dataclass(frozen=True)
class Here:
    """What was measured on this machine; milliseconds, and real-time factors."""

    motiongram_ms: float
    model_ms: float
    synth_rtf: float
    chain_rtf: float


def measure_here(bench: Bench) -> Here:
    """Measure once more what is to be scaled, shortly."""
    manifest, effort = bench.bundle.manifest, bench.effort
    motiongram = measure_motiongram(bench.dance.frames[: effort.n_growth_frames], manifest.motion)[0]
    model = model_figure(bench, bench.bundle.model.variant, bench.bundle.model.runtime)
    synth = measure_synth(manifest.synth, bench.dance.spectra, bench.config.audio.period, effort.synth_s)[0]
    (run,) = perform_at(bench.show, BUDGET_FPS, 1)
    return Here(motiongram.values["p50"] / 1e3, model.values["p50"], synth.values["rtf"], run["rtf"])


def slower(board: Board) -> tuple[float, float]:
    """How many times slower than here one core is: least and most."""
    return PI_4_SLOWER[0] / board.speed[1], PI_4_SLOWER[1] / board.speed[0]


def by_macs_ms(board: Board, n_macs: int, variant: str) -> tuple[float, float]:
    """Time of one run of the model: least and most."""
    pi_4_ms = n_macs / PI_4_GMACS[variant] / 1e6
    return pi_4_ms / board.speed[1], pi_4_ms / board.speed[0]


def estimate(bench: Bench, n_macs: Mapping[str, int]) -> str:
    """Two tables, by multiply-accumulates and by scaling, their rules, and what follows."""
    here = measure_here(bench)
    by_macs = [
        (board.name, board.core, *(_range(by_macs_ms(board, n_macs[variant], variant)) for variant in PI_4_GMACS))
        for board in BOARDS
    ]
    scaled = [(board.name, f"{_range(slower(board))} times", *_scaled(board, here)) for board in BOARDS]
    scaled.insert(0, ("this machine", "", *(digits(value) for value in vars(here).values())))
    played = f"{bench.bundle.model.variant} on {bench.bundle.model.runtime}"
    return "\n\n".join(
        [
            RULES,
            grid(("estimate by multiply-accumulates", "core", *(f"model, {each}, ms" for each in PI_4_GMACS)), by_macs),
            grid(("estimate by scaling", "slower than here", "motiongram, ms", f"model, {played}, ms",
                  "synth, real-time factor", f"whole chain at {BUDGET_FPS:.0f} fps, real-time factor"), scaled),
            " ".join(_what_follows(board, here) for board in BOARDS),
        ]
    )  # fmt: skip


def _scaled(board: Board, here: Here) -> list[str]:
    least, most = slower(board)
    return [_range((least * value, most * value)) for value in vars(here).values()]


def _what_follows(board: Board, here: Here) -> str:
    least, most = (times * here.chain_rtf for times in slower(board))
    if most < 0.7:
        return f"{board.name}: one core is enough, by this estimate."
    if least < 1.0:
        return f"{board.name}: one core may be too little, at the default."
    return f"{board.name}: one core is too little, at the default; fewer frames a second or a longer hop cost less."


def _range(ends: tuple[float, float]) -> str:
    least, most = (digits(float(f"{end:.2g}")) for end in ends)
    return least if least == most else f"{least} to {most}"
