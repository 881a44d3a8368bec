"""`trainer tune`: search the few settings that matter, for the best sound within what a box can compute.

Each trial is a run of its own, in `trials/` of the search's folder, judged on what was held out as `trainer evaluate`
judges. No network beyond the budget is trained: what one costs is known before. The study is kept in `tune.db` by
Optuna (Akiba et al., "Optuna: A Next-generation Hyperparameter Optimization Framework", 2019), whose tree-structured
Parzen estimator chooses what to try next.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from device.core.errors import TrainingError, UsageError
from device.store.locks import FolderLock
from device.store.store import Take
from trainer.data.spectra_cache import SpectraCache
from trainer.data.take_hash import take_hash
from trainer.exporting.model_cost import ModelCost, cost_of
from trainer.learning.command import run_settings
from trainer.learning.compute import Compute
from trainer.learning.course import Limits
from trainer.learning.training import InterruptedTrainingError, train
from trainer.runs.story import read_result
from trainer.settings import Preset, RunSettings

if TYPE_CHECKING:
    import optuna

STUDY, TRIALS = "tune.db", "trials"
QUALITY = ("loudness_rank_correlation", "brightness_rank_correlation", "band_rank_correlation")
"""Their mean is what is searched for, unless the user names a figure."""
N_AT_RANDOM = 6
"""Trials before the search learns from those that were."""
SEGMENT_STEP_S = 0.1
WIDTHS: dict[str, list[Any]] = {
    "segment_s": [round(SEGMENT_STEP_S * n, 6) for n in range(1, 9)],
    "n_latent": list(range(4, 65)),
    "n_filters": list(range(16, 161, 16)),
    "n_hidden": list(range(64, 513, 32)),
}
"""What is tried, from the cheapest on."""
RATES = (5e-4, 5e-3)


@dataclass(frozen=True)
class Budget:
    """What a box can do.

    Attributes
    ----------
    mmacs : float
        Million multiply-accumulates for one spectrum.
    kb : float
        Kilobytes of the f16 file's weights.
    """

    mmacs: float
    kb: float

    def holds(self, cost: ModelCost) -> bool:
        """Whether a network is within it."""
        return cost.n_macs <= 1e6 * self.mmacs and cost.n_bytes <= 1e3 * self.kb


@dataclass(frozen=True)
class Task:
    """What all trials have in common.

    Attributes
    ----------
    folder : Path
    takes : list of Take
    preset : Preset
        Of which a trial chooses the widths and the learning rate.
    held_out : float
    held_out_takes : list of int
    lead_s : float
    seed : int
    limits : Limits
    by : str
        A figure of `trainer evaluate`, or 'mean'.
    budget : Budget
    cache : SpectraCache
    """

    folder: Path
    takes: list[Take]
    preset: Preset
    held_out: float
    held_out_takes: list[int]
    lead_s: float
    seed: int
    limits: Limits
    by: str
    budget: Budget
    cache: SpectraCache

    def facts(self) -> dict[str, object]:
        """What trials of one study must share, or their figures could not be compared."""
        return {
            "preset": asdict(replace(self.preset, n_hidden=0, n_filters=0, learning_rate=0.0)),
            "takes": [take_hash(take) for take in self.takes],
            "held_out": [self.held_out, self.held_out_takes],
            "lead_s": self.lead_s,
            "seed": self.seed,
            "minutes": self.limits.minutes,
            "by": self.by,
        }

    def cost(self, chosen: Mapping[str, Any]) -> ModelCost:
        """What a trial's network costs."""
        return cost_of(self.settings(chosen).model)

    def settings(self, chosen: Mapping[str, Any]) -> RunSettings:
        """Settings of a trial."""
        preset = replace(
            self.preset,
            n_hidden=chosen["n_hidden"],
            n_filters=chosen["n_filters"],
            learning_rate=chosen["learning_rate"],
        )
        return run_settings(
            self.takes,
            preset,
            round(chosen["segment_s"], 6),
            lead_s=self.lead_s,
            n_latent=chosen["n_latent"],
            held_out=self.held_out,
            held_out_takes=self.held_out_takes,
            seed=self.seed,
        )


def choose(trial: optuna.Trial, task: Task) -> dict[str, Any]:
    """What a trial tries: each range ends where the budget would.

    Raises
    ------
    UsageError
        Not even the smallest network is within the budget.
    """
    chosen: dict[str, Any] = {name: values[0] for name, values in WIDTHS.items()} | {"learning_rate": RATES[0]}

    def within(name: str) -> list[Any]:
        fits = [value for value in WIDTHS[name] if task.budget.holds(task.cost({**chosen, name: value}))]
        if not fits:
            raise UsageError(
                f"no network is within {task.budget.mmacs:g} million multiply-accumulates and {task.budget.kb:g} kB: "
                "allow more"
            )
        return fits

    fits = within("segment_s")
    chosen["segment_s"] = round(trial.suggest_float("segment_s", fits[0], fits[-1], step=SEGMENT_STEP_S), 6)
    for name, step in (("n_latent", 1), ("n_filters", 16), ("n_hidden", 32)):
        fits = within(name)
        chosen[name] = trial.suggest_int(name, fits[0], fits[-1], step=step)
    chosen["learning_rate"] = trial.suggest_float("learning_rate", *RATES, log=True)
    return chosen


def tune(task: Task, n_trials: int) -> optuna.Study:
    """Search until so many trials are trained in all, those of an earlier call too.

    Raises
    ------
    UsageError
        The folder holds another search, someone is searching there, or no network is within the budget.
    TrainingError
        The user ended it, or the takes hold too little.
    """
    task.folder.mkdir(parents=True, exist_ok=True)
    try:
        lock = FolderLock(task.folder)
    except BlockingIOError as error:
        raise UsageError(f"someone is searching in {task.folder}: wait, or give another --run") from error
    try:
        study = open_study(task)
        # A trial that was cut off goes on where it was, before another begins.
        for cut in _in_state(study, "RUNNING"):
            if set(cut.params) == {*WIDTHS, "learning_rate"}:
                _try(study, task, cut.number, cut.params)
            else:
                study.tell(cut.number, state=_state("FAIL"))
        while len(_in_state(study, "COMPLETE")) + len(_in_state(study, "FAIL")) < n_trials:
            trial = study.ask()
            _try(study, task, trial.number, choose(trial, task))
        return study
    finally:
        lock.release()


def open_study(task: Task) -> optuna.Study:
    """Open the study in a folder, or begin one.

    Raises
    ------
    UsageError
        It is of another search.
    TrainingError
        It is damaged.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    path = task.folder / STUDY
    try:
        storage = optuna.storages.RDBStorage(f"sqlite:///{path.resolve()}")
        study = optuna.create_study(
            storage=storage, study_name="tune", directions=["maximize", "minimize"], load_if_exists=True
        )
        # Gone on with, it must not draw once more what it drew at its beginning.
        seed = task.seed + len(study.trials)
        study.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=N_AT_RANDOM)
    except Exception as error:
        raise TrainingError(f"{path} is damaged or of another program: remove {task.folder} and begin anew") from error
    before, facts = study.user_attrs.get("task"), json.loads(json.dumps(task.facts()))
    if before is None:
        study.set_user_attr("task", facts)
    elif before != facts:
        differing = next(name for name in facts if before.get(name) != facts[name])
        raise UsageError(f"{task.folder} holds a search with other {differing}: give another --run, or remove it")
    return study


def _try(study: optuna.Study, task: Task, number: int, chosen: Mapping[str, Any]) -> None:
    """Train a trial to its end, from where it was left, and note how good it is."""
    from trainer.backend import keras

    settings, run_dir = task.settings(chosen), trial_folder(task.folder, number)
    try:
        if not read_result(run_dir):
            train(task.takes, run_dir, settings, None, task.limits, task.cache, compute=Compute(), is_checked=True)
        study.tell(number, [quality(read_result(run_dir)["played"], task.by), task.cost(chosen).n_macs / 1e6])
    except InterruptedTrainingError as error:
        raise InterruptedTrainingError(
            f"interrupted in trial {number}, whose last epoch is saved: go on by the same trainer tune command"
        ) from error
    except TrainingError as error:
        if not read_result(run_dir) and not run_dir.exists():
            raise  # it is the takes: no trial could begin
        print(f"trial {number} failed: {error}")
        study.tell(number, state=_state("FAIL"))
    finally:
        keras.backend.clear_session()


def trial_folder(folder: Path, number: int) -> Path:
    """The run of a trial."""
    return folder / TRIALS / f"{number:04d}"


def quality(played: Mapping[str, float | None], by: str) -> float:
    """What is searched for: the more, the better.

    Raises
    ------
    TrainingError
        It could not be measured.
    """
    values = [played.get(name) for name in (QUALITY if by == "mean" else (by,))]
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        raise TrainingError(f"{by} cannot be measured on what was held out: choose another --by, or hold out more")
    return sum(known) / len(known)


def _state(name: str) -> optuna.trial.TrialState:
    import optuna

    return optuna.trial.TrialState[name]


def _in_state(study: optuna.Study, state: str) -> list[optuna.trial.FrozenTrial]:
    return study.get_trials(deepcopy=False, states=(_state(state),))
