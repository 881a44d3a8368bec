"""A run's folder: `run.json` (what was chosen), `checkpoints/`, `tensorboard/`, and at the end `model.weights.h5`."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from device.core.errors import TrainingError, UsageError
from device.core.synth import SynthSettings
from device.store.store import Take
from trainer.settings import ExampleSettings, LossSettings, ModelSettings, Preset, RunSettings

if TYPE_CHECKING:
    from trainer.model import DanceVAE

RUN_FORMAT = 2
SETTINGS, WEIGHTS, CHECKPOINTS = "run.json", "model.weights.h5", "checkpoints"

logger = logging.getLogger(__name__)


def check_folder(run_dir: Path, takes: list[Take], settings: RunSettings) -> None:
    """Make sure that a run may start in a folder, or go on there.

    Raises
    ------
    UsageError
        It is a file, or holds a run with other settings or takes.
    TrainingError
        What is there is damaged.
    """
    if run_dir.exists() and not run_dir.is_dir():
        raise UsageError(f"{run_dir} is a file: give --run a folder")
    if (run_dir / SETTINGS).exists():
        before = {**_read_facts(run_dir), "created_s": 0}
        if before != json.loads(json.dumps({**_facts(takes, settings), "created_s": 0})):
            raise UsageError(f"{run_dir} holds a run with other settings or takes: give another --run, or remove it")


def keep_settings(run_dir: Path, takes: list[Take], settings: RunSettings) -> None:
    """Write `run.json`, whole or not at all, unless it is there already."""
    path = run_dir / SETTINGS
    if not path.exists():
        run_dir.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps({**_facts(takes, settings), "created_s": int(time.time())}, indent=1))
        temporary.replace(path)


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


def save_weights(run_dir: Path, model: DanceVAE) -> None:
    """Write the trained weights: their presence says that the run is finished, so they appear whole."""
    partial = run_dir / f"partial.{WEIGHTS}"
    model.save_weights(partial)
    partial.replace(run_dir / WEIGHTS)


def read_run(run_dir: Path) -> tuple[RunSettings, dict[str, Any]]:
    """Read what was chosen for a run, and the facts in its `run.json`: `takes`, `motion`, `created_s`.

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
        return settings, {name: facts[name] for name in ("takes", "motion", "created_s")}
    except (KeyError, TypeError, ValueError) as error:
        raise TrainingError(f"{run_dir / SETTINGS} is damaged: remove the folder and train again") from error


def load_run(run_dir: Path) -> tuple[RunSettings, dict[str, Any], DanceVAE]:
    """Read a finished run: what `read_run` gives, and the model with its trained weights.

    Raises
    ------
    TrainingError
        There is no run, it is not finished, or it is damaged.
    """
    settings, facts = read_run(run_dir)
    weights = run_dir / WEIGHTS
    if not weights.exists():
        raise TrainingError(f"the run in {run_dir} is not finished: go on with it by the same trainer train command")
    from trainer.model import DanceVAE

    model = DanceVAE(settings.model)
    try:
        model.load_weights(weights)
    except Exception as error:
        raise TrainingError(f"{weights} is damaged: remove it and go on by the same trainer train command") from error
    return settings, facts, model


def _facts(takes: list[Take], settings: RunSettings) -> dict[str, Any]:
    return {
        "format": RUN_FORMAT,
        "settings": asdict(settings),
        "takes": [str(take.path.resolve()) for take in takes],
        "motion": asdict(takes[0].settings),
    }


def _read_facts(run_dir: Path) -> dict[str, Any]:
    path = run_dir / SETTINGS
    if not path.exists():
        raise TrainingError(f"{run_dir} holds no run: start with trainer train")
    try:
        facts = json.loads(path.read_text())
    except ValueError as error:
        raise TrainingError(f"{path} is damaged: remove the folder and train again") from error
    if not isinstance(facts, dict) or facts.get("format") != RUN_FORMAT:
        raise TrainingError(f"{path} is not of format {RUN_FORMAT}: use the program that made it, or train again")
    return facts
