"""A run's folder explains itself: `README.md` in words, `result.json` in figures, `samples/` to listen to."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from device.core.errors import TakeError, TrainingError
from device.store.store import Take
from trainer.runs.logbook import CURVES
from trainer.evaluating.playing import Float32, Playing, held_out_spans
from trainer.data.prepare import Segments
from trainer.evaluating.reference import Reference
from trainer.runs.folder import SETTINGS, WEIGHTS, read_run, write_whole
from trainer.learning.compute import Compute
from trainer.settings import PRESETS, RunSettings
from trainer.evaluating.table import Figures, format_table

if TYPE_CHECKING:
    from trainer.data.dataset import Examples
    from trainer.learning.model import DanceVAE

RESULT, README, SAMPLES = "result.json", "README.md", "samples"
SAMPLE_S = 15.0


def judge(
    run_dir: Path, model: DanceVAE, examples: Examples, takes: list[Take], held_out: Segments
) -> dict[str, float | None]:
    """Play what was held out, keep its beginning as `samples/real.wav` and `samples/played.wav`, and measure all of it.

    Returns
    -------
    dict
        Figures as `trainer evaluate` has them, of the network before it is exported; empty where they cannot be
        measured.
    """
    from trainer.learning.levels import play_trained

    playing = Playing(takes[0].settings, examples.settings)
    try:
        spans = held_out_spans(takes, held_out)
        played = np.concatenate([play_trained(model, examples, takes, playing, span) for span in spans])
        reference = Reference.of(playing, spans)
        _keep_samples(run_dir / SAMPLES, playing, {"real": reference.real.sound, "played": played})
        return reference.figures(played).as_dict()
    except (TakeError, TrainingError):  # silence, say: the export says so, too
        return {}


def _keep_samples(folder: Path, playing: Playing, sounds: Mapping[str, Float32]) -> None:
    import soundfile

    folder.mkdir(exist_ok=True)
    for name, sound in sounds.items():
        rate_hz = playing.synth.rate_hz
        soundfile.write(folder / f"{name}.wav", sound[: round(SAMPLE_S * rate_hz)], rate_hz, subtype="PCM_16")


def keep_result(run_dir: Path, result: Mapping[str, object]) -> None:
    """Write `result.json`: how a run ended, and its figures."""
    write_whole(run_dir / RESULT, json.dumps(result, indent=1))


def read_result(run_dir: Path) -> dict[str, Any]:
    """What `keep_result` wrote; empty where a run has not ended.

    Raises
    ------
    TrainingError
        It is damaged.
    """
    path = run_dir / RESULT
    try:
        result = json.loads(path.read_text()) if path.exists() else {}
        return dict(result)
    except (ValueError, TypeError) as error:
        raise TrainingError(f"{path} is damaged: remove it") from error


def figures_of(result: Mapping[str, Any]) -> Figures | None:
    """Figures of what a run played, as far as this program knows them; None where they could not be measured."""
    played = result.get("played") or {}
    known: dict[str, Any] = {field.name: played[field.name] for field in fields(Figures) if field.name in played}
    try:
        return Figures(**known)
    except TypeError:  # one that cannot be missing is
        return None


def write_readme(run_dir: Path) -> None:
    """Tell in `README.md` what a run is, from the files beside it."""
    settings, facts = read_run(run_dir)
    result = read_result(run_dir)
    parts = [
        f"# {run_dir.resolve().name}",
        _state(settings, facts, result, run_dir),
        _figures(result),
        "## What was chosen\n\n" + _chosen(settings, facts),
        "## What it learned from\n\n" + _data(facts),
        "## Made again\n\n" + _again(facts),
        "## Files\n\n" + _FILES,
    ]
    write_whole(run_dir / README, "\n\n".join(part for part in parts if part) + "\n")


def preset_name(settings: RunSettings) -> str:
    """Name of the preset that has these steps; their number where none has."""
    steps = settings.preset.n_steps
    return next((name for name, preset in PRESETS.items() if preset.n_steps == steps), f"{steps} steps")


def _state(settings: RunSettings, facts: Mapping[str, Any], result: Mapping[str, Any], run_dir: Path) -> str:
    began = time.strftime("%Y-%m-%d %H:%M", time.localtime(facts["created_s"]))
    if not result:
        return (
            f"A run of `trainer train`, begun {began}, not finished. Go on with it:\n\n"
            f"    python -m trainer train --resume --run {shlex.quote(str(run_dir.resolve()))}"
        )
    ended = f"; it ended early: {result['why_ended']}" if result["why_ended"] else ""
    return (
        f"A run of `trainer train`, begun {began}: {result['n_epochs']} epochs, {result['n_steps']} steps in "
        f"{result['seconds']:.0f} s{ended}. Held-out error {result['held_out']['sound']:.3f} of the spectra's "
        f"variance, {result['held_out']['n_active']} of {settings.model.n_latent} latents active."
    )


def _figures(result: Mapping[str, Any]) -> str:
    figures = figures_of(result)
    if figures is None:
        return ""
    table = format_table({"played": figures})
    kept = "\n".join(f"    {line}" for line in table.splitlines() if not line.endswith(" -"))
    return f"Played to the dances that were held out (`trainer evaluate` has more):\n\n{kept}"


def _chosen(settings: RunSettings, facts: Mapping[str, Any]) -> str:
    example, model, preset = settings.example, settings.model, settings.preset
    limits, start = facts["limits"] or {}, facts["start"]
    rows = {
        "preset": f"{preset_name(settings)}: {preset.n_steps} steps of {preset.batch_size} examples, "
        f"learning rate {preset.learning_rate:g}",
        "began with": start["from"] if start else "nothing",
        "segment": f"{example.segment_s:g} s, {example.n_columns} columns",
        "lead": f"{example.lead_s:g} s",
        "loudness": "made to follow the body" if example.body_leads else "as in the music",
        "network": f"{model.n_latent} latents, {model.n_hidden} wide, {model.n_filters} filters",
        "held out": " ".join(f"take {number:04d}" for number in settings.held_out_takes)
        or f"the last {settings.held_out:.0%} of each take",
        "seed": str(settings.seed),
        "limits": ", ".join(f"{name} {value:g}" for name, value in limits.items() if value is not None) or "none",
    }
    return "\n".join(f"- {name}: {value}" for name, value in rows.items()) + f"\n\nAll of it is in `{SETTINGS}`."


def _data(facts: Mapping[str, Any]) -> str:
    if not facts["data"]:
        return "\n".join(f"- {path}" for path in facts["takes"])
    total_s = sum(take["duration_s"] for take in facts["data"])
    lines = [f"{len(facts['data'])} takes, {total_s / 60:.1f} minutes.", ""]
    lines += [
        "| take | name | s | held out | sha256 of what it holds | folder |",
        "| --- | --- | ---: | ---: | --- | --- |",
    ]
    for take, path in zip(facts["data"], facts["takes"], strict=True):
        name = take["name"].replace("|", "/")
        lines.append(
            f"| {take['number']:04d} | {name} | {take['duration_s']:.1f} | {take['held_out']:.0%} "
            f"| `{take['sha256'][:16]}` | `{path}` |"
        )
    return "\n".join(lines)


def _again(facts: Mapping[str, Any]) -> str:
    made = facts["made_with"]
    if not made:
        return f"The command was not kept; `{SETTINGS}` has all settings."
    git = made["git"]
    program = "a program without its history" if git is None else f"commit {git['commit']}"
    if git and git["changed"]:
        program += f", changed in {', '.join(git['changed'][:5])}" + (" and more" if len(git["changed"]) > 5 else "")
    versions = ", ".join(f"{name} {number}" for name, number in made["versions"].items())
    return (
        f"    cd {shlex.quote(made['folder'])}\n    {made['command']}\n\n"
        f"with another `--run`. It was {program}; Python {made['python']}, {versions}; {made['machine']}, "
        f"{made['n_cpus']} processors, computed in {Compute(**made.get('compute') or {})}. The same takes, versions and kind of processor give the same weights, unless "
        "time ended the run."
    )


_FILES = f"""\
- `{SETTINGS}`: settings, takes with hashes, versions
- `{CURVES}`: each epoch's terms of the loss and held-out figures; `tensorboard --logdir` of this folder draws them
- `takes.png`: takes in which something seems wrong, where there are any
- `{RESULT}`: how it ended; `{SAMPLES}/`: the first held-out seconds, as recorded and as played
- `{WEIGHTS}`: the trained weights, there when the run is finished; `checkpoints/`: to go on from"""
