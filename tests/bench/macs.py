"""What the model computes and reads, counted from its files, and what follows for the machines that it is meant for."""

from __future__ import annotations

from device.models.bundles import read_bundle
from tests.bench.bench import Bench
from tests.bench.boards import estimate
from tests.bench.figures import Section
from tests.bench.results import digits, grid
from tests.bench.whole import BUDGET_FPS
from trainer.exporting.macs import count

HOW = """\
- **multiply-accumulates and memory traffic**: counted from the operators and shapes in the bundle's own files, for one
  run. Weights are read once a run: of the f16 file as float32, for that is what the runtimes unpack it to; of the int8
  file as they lie. Activations: what every operator reads and writes, each counted once, as if no cache kept it.
"""


def measure_macs(bench: Bench) -> Section:
    """Count both files of the bundle, and estimate what they cost elsewhere."""
    bench.say("multiply-accumulates, and what follows for other machines")
    costs = {variant: count(data) for variant, data in read_bundle(bench.show.bundle).models.items()}
    rows = []
    for variant, cost in costs.items():
        n_bytes = cost.n_weight_bytes + cost.n_activation_bytes
        kinds = ", ".join(f"{kind} {digits(n / 1e6)}" for kind, n in cost.n_macs.items())
        rows.append(
            (variant, f"{digits(cost.n_all_macs / 1e6)} ({kinds})", digits(cost.n_weight_bytes / 1e6),
             digits(cost.n_activation_bytes / 1e6), digits(cost.n_all_macs * BUDGET_FPS / 1e6),
             digits(n_bytes * BUDGET_FPS / 1e6))
        )  # fmt: skip
    header = ("model", "MMAC a run", "weights read, MB", "activations, MB",
              f"MMAC a second at {BUDGET_FPS:.0f} fps", "MB a second")  # fmt: skip
    n_macs = {variant: cost.n_all_macs for variant, cost in costs.items()}
    text = f"{grid(header, rows)}\n\nMMAC: a million multiply-accumulates.\n\n{estimate(bench, n_macs)}"
    return Section("What the model computes, and an estimate for smaller machines", text=text, how=HOW)
