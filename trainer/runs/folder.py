"""A run's folder: `run.json` (what was chosen), `checkpoints/`, and at the end `model.weights.h5`.

What explains a run beside these: `trainer.runs.story`, `trainer.runs.logbook`.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from device.core.errors import TrainingError, UsageError
from device.core.synth import SynthSettings
from device.store.locks import FolderLock
from device.store.store import Take
from trainer.settings import ExampleSettings, LossSettings, ModelSettings, Preset, RunSettings
from trainer.data.take_hash import take_hash

if TYPE_CHECKING:
    from trainer.learning.model import DanceVAE
    from trainer.learning.warm_start import Start

RUN_FORMAT = 3
READ_FORMATS = (2, RUN_FORMAT)
"""2: before runs kept where they began and the hashes of their takes."""
SETTINGS, WEIGHTS, CHECKPOINTS, EXPORTS = "run.json", "model.weights.h5", "checkpoints", "exports.json"

logger = logging.getLogger(__name__)


def check_folder(run_dir: Path, takes: list[Take], settings: RunSettings, start: Start | None = None) -> None:
    """Make sure that a run may start in a folder, or go on there.

    Raises
    ------
    UsageError
        It is a file, or holds a run with other settings or takes, or one that began elsewhere.
    TrainingError
        What is there is damaged.
    """
    if run_dir.exists() and not run_dir.is_dir():
        raise UsageError(f"{run_dir} is a file: give --run a folder")
    if (run_dir / SETTINGS).exists():
        wanted = json.loads(json.dumps(_facts(takes, settings, start)))
        if differing := _differing(_read_facts(run_dir), wanted):
            raise UsageError(
                f"{run_dir} holds a run with other settings or takes ({differing}): give another --run, or go on with "
                f"it by --resume --run {run_dir}"
            )


@contextmanager
def alone(run_dir: Path) -> Iterator[None]:
    """Make a run's folder and keep others out of it; if nothing was begun in it, it is gone afterwards.

    Raises
    ------
    UsageError
        Another training works in it.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    try:
        lock = FolderLock(run_dir)
    except BlockingIOError:
        raise UsageError(f"another training works in {run_dir}: wait for its end, or give another --run") from None
    try:
        yield
    finally:
        lock.release()
        with suppress(OSError):  # which says that something is in it
            run_dir.rmdir()


def keep_settings(
    run_dir: Path,
    takes: list[Take],
    settings: RunSettings,
    start: Start | None = None,
    limits: Mapping[str, object] | None = None,
    made_with: Mapping[str, object] | None = None,
) -> None:
    """Write `run.json`, unless it is there already.

    Parameters
    ----------
    run_dir : Path
    takes : list of Take
    settings : RunSettings
    start : Start, optional
        What the run begins with.
    limits, made_with : mapping, optional
        `trainer.learning.course.Limits`, and what `trainer.runs.origin` found.
    """
    path = run_dir / SETTINGS
    if not path.exists():
        run_dir.mkdir(parents=True, exist_ok=True)
        facts = {
            **_facts(takes, settings, start),
            "created_s": int(time.time()),
            "made_with": made_with,
            "limits": limits,
        }
        write_whole(path, json.dumps(facts, indent=1))


def restore(checkpoint: Any, manager: Any) -> None:
    """Go on from the newest checkpoint; from the one before when the newest is damaged.

    Parameters
    ----------
    checkpoint : tf.train.Checkpoint
    manager : tf.train.CheckpointManager

    Raises
    ------
    TrainingError
        There are checkpoints, and none can be read.
    """
    folder = Path(manager.directory)
    if any(_restored(checkpoint, path) for path in reversed(manager.checkpoints)):
        return
    if folder.exists() and any(folder.iterdir()):
        raise TrainingError(f"the checkpoints in {folder} are damaged: remove {folder.parent} and train again")


def _restored(checkpoint: Any, path: str) -> bool:
    try:
        checkpoint.restore(path).assert_existing_objects_matched()
    except Exception as error:  # noqa: BLE001 - TensorFlow tells of a damaged file in many ways
        logger.debug("checkpoint %s: %s", path, error)
        return False
    return True


def save_weights(path: Path, model: DanceVAE) -> None:
    """Write weights so that they appear whole; the presence of `WEIGHTS` says that a run is finished."""
    partial = path.with_name(f"partial.{path.name}")
    model.save_weights(partial)
    partial.replace(path)


def load_weights(path: Path, model: DanceVAE) -> None:
    """Read what `save_weights` wrote.

    Raises
    ------
    TrainingError
        It is damaged or gone.
    """
    try:
        model.load_weights(path)
    except Exception as error:
        raise TrainingError(
            f"{path} is damaged: remove it and go on by python -m trainer train --resume --run {path.parent}"
        ) from error


def read_run(run_dir: Path) -> tuple[RunSettings, dict[str, Any]]:
    """Read what was chosen for a run, and the facts in its `run.json`.

    Returns
    -------
    settings : RunSettings
    facts : dict
        `takes`, `motion`, `created_s`, `settings` as they are written; and, None in runs of an older program or where
        there is none: `data`, a line for each take with its hash, `start`, where the run began, `limits` and
        `made_with`.

    Raises
    ------
    TrainingError
        There is no run, or its settings are damaged or of a newer format.
    """
    facts = _read_facts(run_dir)
    try:
        kept = facts["settings"]
        example = ExampleSettings(**{**kept["example"], "synth": SynthSettings(**kept["example"]["synth"])})
        settings = RunSettings(
            preset=Preset(**kept["preset"]),
            example=example,
            model=ModelSettings(**kept["model"]),
            loss=LossSettings(**kept["loss"]),
            held_out=kept["held_out"],
            held_out_takes=kept["held_out_takes"],
            seed=kept["seed"],
        )
        kept_facts = {name: facts[name] for name in ("takes", "motion", "created_s")}
        others = ("settings", "data", "start", "limits", "made_with")
        return settings, {**kept_facts, **{name: facts.get(name) for name in others}}
    except (KeyError, TypeError, ValueError) as error:
        raise TrainingError(f"{run_dir / SETTINGS} is damaged: remove the folder and train again") from error


def require_finished(run_dir: Path) -> None:
    """Raise TrainingError unless a run has its trained weights."""
    if not (run_dir / WEIGHTS).exists():
        raise TrainingError(
            f"the run in {run_dir} is not finished: go on with it by python -m trainer train --resume --run {run_dir}"
        )


def load_run(run_dir: Path) -> tuple[RunSettings, dict[str, Any], DanceVAE]:
    """Read a finished run: what `read_run` gives, and the model with its trained weights.

    Raises
    ------
    TrainingError
        There is no run, it is not finished, or it is damaged.
    """
    settings, facts = read_run(run_dir)
    require_finished(run_dir)
    from trainer.learning.model import DanceVAE

    model = DanceVAE(settings.model)
    load_weights(run_dir / WEIGHTS, model)
    return settings, facts, model


def open_takes(facts: dict[str, Any]) -> list[Take]:
    """Open the takes that a run was trained on."""
    missing = [path for path in facts["takes"] if not Path(path).exists()]
    if missing:
        raise TrainingError(f"take {missing[0]} of this run is gone: put it back, or train on others")
    return [Take.open(Path(path)) for path in facts["takes"]]


def exported_version(run_dir: Path, facts: Mapping[str, Any]) -> int:
    """The highest version that a bundle of a run may have, or of what the run began with; 0 if it has none."""
    start = facts.get("start")
    began = int(start["version"]) if isinstance(start, dict) else 0
    return max([began, *(int(entry["version"]) for entry in _exports(run_dir))])


def next_version(run_dir: Path, facts: Mapping[str, Any]) -> int:
    """Number for the next bundle: the time in seconds, and higher than all before it even where the clock is wrong."""
    return max(int(time.time()), exported_version(run_dir, facts) + 1)


def note_export(run_dir: Path, bundle_dir: Path, version: int) -> None:
    """Keep which bundles were made of a run."""
    entry = {"version": version, "bundle": str(bundle_dir.resolve()), "exported_s": int(time.time())}
    write_whole(run_dir / EXPORTS, json.dumps([*_exports(run_dir), entry], indent=1))


def _exports(run_dir: Path) -> list[dict[str, Any]]:
    path = run_dir / EXPORTS
    try:
        entries = json.loads(path.read_text()) if path.exists() else []
        return [{**entry, "version": int(entry["version"])} for entry in entries]
    except (ValueError, TypeError, KeyError) as error:
        raise TrainingError(f"{path} is damaged: remove it, and give the next bundle a look") from error


def _facts(takes: list[Take], settings: RunSettings, start: Start | None) -> dict[str, Any]:
    return {
        "format": RUN_FORMAT,
        "settings": asdict(settings),
        "takes": [str(take.path.resolve()) for take in takes],
        "motion": asdict(takes[0].settings),
        "data": [
            {
                "number": take.number,
                "name": str(take.facts.source.get("name", take.path.name)),
                "sha256": take_hash(take),
                "duration_s": round(take.duration_s, 3),
                "held_out": settings.held_out_of(take.number),
            }
            for take in takes
        ],
        "start": None if start is None else start.facts(),
    }


def _differing(before: dict[str, Any], wanted: dict[str, Any]) -> str:
    """Name the first thing that a run was begun with and that is another now; nothing if all is as it was."""
    for name, value in flat(wanted["settings"]).items():
        if flat(before["settings"]).get(name) != value:
            return f"{name} is {flat(before['settings']).get(name)} there, not {value}"
    if before["takes"] != wanted["takes"] or before["motion"] != wanted["motion"]:
        return f"{len(before['takes'])} takes there, {len(wanted['takes'])} here"
    for old, new in zip(before.get("data") or (), wanted["data"], strict=False):
        if old["sha256"] != new["sha256"]:
            return f"take {new['number']:04d} was changed since"
    began, begins = ((each.get("start") or {}).get("from") for each in (before, wanted))
    # What is gone on with has begun: where need not be said again.
    return "" if begins in (None, began) else f"it began with {began or 'nothing'}, not {begins}"


def flat(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings by name, those in groups too: the names of all groups differ."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        found.update(flat(value) if isinstance(value, dict) else {name: value})
    return found


def write_whole(path: Path, text: str) -> None:
    """Write a file whole or not at all; what was there stays until then."""
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.write_text(text)
    temporary.replace(path)


def _read_facts(run_dir: Path) -> dict[str, Any]:
    path = run_dir / SETTINGS
    if not path.exists():
        raise TrainingError(f"{run_dir} holds no run: start with trainer train")
    try:
        facts = json.loads(path.read_text())
    except ValueError as error:
        raise TrainingError(f"{path} is damaged: remove the folder and train again") from error
    if not isinstance(facts, dict) or facts.get("format") not in READ_FORMATS:
        raise TrainingError(f"{path} is not of format {RUN_FORMAT}: use the program that made it, or train again")
    return facts
