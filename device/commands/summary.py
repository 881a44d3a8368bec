"""How a performance went: one object for programs, a few lines for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from device.commands.plan import Plan

if TYPE_CHECKING:
    from device.engine.model_process import ModelFacts
    from device.engine.performance import Performance
    from device.engine.tape import Tape


@dataclass(frozen=True)
class Performed:
    """A performance that has ended: what was counted, kept, and played; rows of the pictures."""

    performance: Performance
    tape: Tape | None
    facts: ModelFacts
    n_rows: int


def summarise(plan: Plan, done: Performed) -> dict[str, object]:
    """Put together what `--json` prints and `summary.json` holds."""
    facts, performance = done.facts, done.performance
    return {
        "model": facts.name,
        "model_version": facts.version,
        "variant": facts.variant,
        "runtime": facts.runtime,
        "camera": plan.camera,
        "audio": f"{plan.audio}:{plan.target}",
        "clock": plan.clock,
        "mode": plan.mode,
        "temperature": facts.temperature,
        "seed": plan.seed,
        "duration_s": round(performance.duration_s, 4),
        "n_frames": performance.n_frames,
        "n_dropped_frames": performance.n_dropped_frames,
        "n_bad_frames": performance.n_bad_frames,
        "n_skipped_frames": performance.n_skipped_frames,
        "n_bad_spectra": performance.n_bad_spectra,
        "n_blocks": performance.n_blocks,
        "n_xruns": performance.n_xruns,
        "n_card_losses": performance.n_card_losses,
        "rtf": round(performance.rtf, 5),
        "latency_ms": {
            "engine": performance.engine.figures(),
            "frame_to_sound": performance.frame_to_sound.figures(),
        },
        "stages_ms": {name: stage.figures() for name, stage in performance.stages.items()},
        "notes": list(performance.notes),
    }


def describe(plan: Plan, summary: dict[str, object], performance: Performance) -> str:
    """Say how it went in a few lines."""
    lines = [
        f"dance     {plan.clip or plan.camera}: {performance.n_frames} frames, {performance.duration_s:.2f} s of sound",
        f"model     {summary['model']}, {summary['variant']} on {summary['runtime']}",
        f"mode      {plan.mode}, temperature {summary['temperature']:g}, {plan.clock} clock",
        f"latency   frame to sound {_in_words(performance.frame_to_sound.figures())}",
        f"          engine alone   {_in_words(performance.engine.figures())}",
        f"load      {100 * performance.rtf:.1f}% of one core, {performance.n_xruns} underruns",
        f"sound     {plan.audio}:{plan.target}",
    ]
    lines += [f"machine   {note}" for note in performance.notes]
    if performance.n_card_losses:
        lines.append(f"trouble   the sound card went away {performance.n_card_losses} times")
    if performance.n_dropped_frames or performance.n_bad_spectra:
        lines.append(
            f"trouble   {performance.n_dropped_frames} frames came out of order, "
            f"{performance.n_bad_spectra} spectra could not be played"
        )
    if plan.report is not None:
        lines.append(f"report    {plan.report / 'performance.png'}, summary.json")
    return "\n".join(lines)


def _in_words(figures: dict[str, float]) -> str:
    return f"{figures['p50']:6.2f} ms p50, {figures['p99']:6.2f} p99, {figures['max']:6.2f} max"
