"""A model's trial, on the card: counted before it begins, ended with a commit, or with the way back.

What is installed is current at once and has a trial before it, in the same index. The link to the current model and
the index are written in an order in which a power cut between the two leaves a model that may be trusted:

    install    the index (a trial), then the link
    commit     the index (good, no trial)
    way back   the link, then the index (no trial)

A trial whose model is not the current one means nothing.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from device.core.errors import BundleError
from device.models.bundles import FACTORY
from device.models.model_copy import model_problem, take_away
from device.models.model_index import FACTORY_NAME, Index, Trial, load_index, save_index
from device.models.model_store import at_work, current_bundle, folder_name, linked_name, switch_current
from device.store.state import models_folder

WAITING, TRIAL, COMMITTED, ROLLED_BACK = "waiting", "trial", "committed", "rolled_back"
"""How a trial stands, as the running box says it."""


def trial_of(state: Path) -> Trial | None:
    """Give the trial that the current model has before it, or is on."""
    trial = load_index(models_folder(state)).trial
    return trial if trial is not None and trial.folder == linked_name(state) else None


def last_good(state: Path) -> Path:
    """Where the last good model lies that is whole; the factory's if there is none."""
    return _newest_good(state, load_index(models_folder(state)), without=set())


def begin(state: Path) -> None:
    """Count an attempt, before anything is done that could fail.

    Raises
    ------
    BundleError
        It cannot be written down: then nothing may be tried.
    """
    with at_work(state) as models:
        index = load_index(models)
        if index.trial is not None:
            save_index(models, replace(index, trial=replace(index.trial, n_attempts=index.trial.n_attempts + 1)))


def postpone(state: Path) -> None:
    """Forget the attempts: the box was stopped in order, and tries again when it starts.

    Raises
    ------
    BundleError
        It cannot be written down.
    """
    with at_work(state) as models:
        index = load_index(models)
        if index.trial is not None:
            save_index(models, replace(index, trial=replace(index.trial, n_attempts=0)))


def commit(state: Path, path: Path) -> None:
    """Let a model be the last good one.

    Raises
    ------
    BundleError
        It cannot be written down: try again.
    """
    with at_work(state) as models:
        index = load_index(models).with_good(folder_name(path))
        if index.trial is not None and index.trial.folder == path.name:
            index = index.without_trial(failed=False)
        save_index(models, index)


def roll_back(state: Path) -> Path:
    """Go back: from a model on trial, which goes, to the last good one; from that one to the good one before it.

    Returns
    -------
    Path
        What is current now; the factory's if there is no other that is whole.

    Raises
    ------
    BundleError
        There is nothing to go back to, or the card cannot be written.
    """
    with at_work(state) as models:
        index, current = load_index(models), linked_name(state)
        trial = index.trial if index.trial is not None and index.trial.folder == current else None
        path = _newest_good(state, index, without={current})
        if path == FACTORY and current == FACTORY_NAME:
            raise BundleError("the factory's model plays, and no other has played well: there is nothing to go back to")
        switch_current(state, path)
        good = index.good[: index.good.index(folder_name(path)) + 1] if folder_name(path) in index.good else ()
        index = replace(index.without_trial(failed=trial is not None), good=good)
        failed = trial is not None and trial.folder not in good
        save_index(models, index.without({current}) if failed else index)
        if failed and (models / current).exists():
            take_away(models / current)
    return path


UNWRITABLE = "its trial cannot be written down: it is tried at a start at which the card can be written to"


def problem_at_start(state: Path) -> tuple[Path, str] | None:
    """Give the model that has a trial before it and may not be tried at a start, and why; None if all is well."""
    trial = trial_of(state)
    if trial is None:
        return None
    path = models_folder(state) / trial.folder
    if trial.n_attempts > 0:
        return path, "its trial was cut short, by the plug or a crash: push it again if it was the plug"
    problem = model_problem(path)
    return None if problem is None else (path, problem)


def bundle_at_start(state: Path) -> tuple[Path, bool]:
    """Give the model that a box starts with, and whether that is a trial, which was counted.

    One whose trial was cut short by a crash or the plug is not tried again; neither is one whose attempt cannot be
    written down.
    """
    if trial_of(state) is None:
        return current_bundle(state), False
    try:
        if problem_at_start(state) is not None:
            return roll_back(state), False
        begin(state)
    except BundleError:
        return last_good(state), False
    return current_bundle(state), True


def _newest_good(state: Path, index: Index, without: set[str]) -> Path:
    models = models_folder(state)
    for folder in reversed(index.good):
        if folder == FACTORY_NAME and folder not in without:
            return FACTORY
        if folder not in without and model_problem(models / folder) is None:
            return models / folder
    return FACTORY
