"""How far a run has come, and when it ends: after its last step, when its time is up, or when it gets no better."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from device.core.errors import UsageError
from trainer.settings import Preset

TOTAL_EVERY = 20
"""Steps from one estimate of the time left to the next."""


class Over(Exception):  # noqa: N818 - it is no error: a run's schedule has been gone through
    """The run's time is up; raised between two steps."""


@dataclass(frozen=True)
class Limits:
    """What ends a run before its last step.

    Attributes
    ----------
    minutes : float or None
        From the first step to the last, those before an interruption too: the learning rate falls over this time.
        What comes before and after, reading takes and putting the network together, is not counted.
    patience : int or None
        Epochs in a row in which the held-out error has not fallen: then the learning rate falls within as many, and
        the weights of the best epoch are kept.
    """

    minutes: float | None = None
    patience: int | None = None

    def __post_init__(self) -> None:
        if self.minutes is not None and not 0.0 < self.minutes < 1e6:
            raise UsageError(f"--minutes {self.minutes:g} cannot be used: give more than 0")
        if self.patience is not None and not 1 <= self.patience <= 10_000:
            raise UsageError(f"--patience {self.patience} cannot be used: give 1 epoch or more")


def gave_up_after(errors: Sequence[float], patience: int | None) -> int | None:
    """Number of epochs after which patience was at an end, or None.

    Parameters
    ----------
    errors : sequence of float
        Held-out error after each epoch.
    patience : int or None
    """
    best, n_worse = float("inf"), 0
    for n_epochs, error in enumerate(errors, 1):
        best, n_worse = (error, 0) if error < best else (best, n_worse + 1)
        if patience is not None and n_worse >= patience:
            return n_epochs
    return None


class Course:
    """How far a run has come.

    Parameters
    ----------
    limits : Limits
    preset : Preset
    spent_s : float
        Time of training before an interruption.
    errors : sequence of float
        Held-out errors of the epochs before it.
    clock : callable
        Seconds that only go forward.
    """

    def __init__(
        self,
        limits: Limits,
        preset: Preset,
        spent_s: float = 0.0,
        errors: Sequence[float] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits, self._preset, self._clock = limits, preset, clock
        self._before_s = spent_s
        self._began_s: float | None = None
        self.errors = list(errors)
        self.is_over = False

    def begin(self) -> None:
        """Let the time run, unless it does."""
        if self._began_s is None:
            self._began_s = self._clock()

    @property
    def spent_s(self) -> float:
        """Time of training in all."""
        return self._before_s + (0.0 if self._began_s is None else self._clock() - self._began_s)

    @property
    def steps_per_epoch(self) -> int:
        """Steps in an epoch."""
        return self._preset.n_steps // self._preset.n_epochs

    @property
    def is_best(self) -> bool:
        """Whether the newest epoch is better than all before it."""
        return len(self.errors) == 1 or self.errors[-1] < min(self.errors[:-1])

    @property
    def why_ended(self) -> str:
        """What ended the run before its last step, in words; nothing if nothing did."""
        if self._limits.minutes is not None and self.spent_s >= 60 * self._limits.minutes:
            return f"its time was over (--minutes {self._limits.minutes:g})"
        n_epochs = gave_up_after(self.errors, self._limits.patience)
        if n_epochs is not None and self.is_over:
            best = self.errors.index(min(self.errors)) + 1
            return f"the held-out error had not fallen for {self._limits.patience} epochs; epoch {best} was kept"
        return ""

    def share(self, n_steps: int) -> float:
        """How far along its schedule a run is to be at least after some steps, 0 to 1, where it is to end early."""
        return max(self._share_of_time(), self._share_of_fall(n_steps))

    def steps_left(self, n_steps: int, step_s: float) -> int:
        """About how many steps are still to come, at so many seconds a step."""
        left = self._preset.n_epochs * self.steps_per_epoch - n_steps
        if self._limits.minutes is not None:
            left = min(left, int(max(0.0, 60 * self._limits.minutes - self.spent_s) / max(step_s, 1e-6)))
        n_epochs = gave_up_after(self.errors, self._limits.patience)
        if n_epochs is not None and self._limits.patience is not None:
            left = min(left, (n_epochs + self._limits.patience) * self.steps_per_epoch - n_steps)
        return max(left, 0)

    def _share_of_time(self) -> float:
        return 0.0 if self._limits.minutes is None else min(1.0, self.spent_s / (60 * self._limits.minutes))

    def _share_of_fall(self, n_steps: int) -> float:
        n_epochs = gave_up_after(self.errors, self._limits.patience)
        if n_epochs is None or self._limits.patience is None:
            return 0.0
        begun = n_epochs * self.steps_per_epoch
        before = begun / self._preset.n_steps
        gone = (n_steps - begun) / (self._limits.patience * self.steps_per_epoch)
        return min(1.0, before + (1.0 - before) * max(gone, 0.0))


class Watch:
    """Sees every step of a training loop: the bar, the pace, and whether the run is to end.

    Parameters
    ----------
    course : Course
    bar : tqdm
    n_steps : int
        Done before.
    hasten : callable
        Takes the share of the schedule: `Pace.hasten`.
    stop : threading.Event
        Set when the run is to end with this epoch.
    """

    def __init__(
        self, course: Course, bar: Any, n_steps: int, hasten: Callable[[float], None], stop: threading.Event
    ) -> None:
        self._course, self._bar, self._hasten, self._stop = course, bar, hasten, stop
        self._n_begun, self._began_s = n_steps, course.spent_s
        self._is_told = False
        self.n_steps = n_steps

    def update(self, n: int) -> None:
        """Count steps.

        Raises
        ------
        Over
            The run has no time left.
        """
        # The first step takes as long as hundreds: the network is put together in it.
        self._course.begin()
        self.n_steps += n
        self._bar.update(n)
        share = self._course.share(self.n_steps)
        if share > 0.0:
            self._hasten(share)
            if share >= 1.0:
                self._course.is_over = True
                raise Over
        if self.n_steps % TOTAL_EVERY == 0:
            self._bar.total = self.n_steps + self._course.steps_left(self.n_steps, self._step_s)
        if self._stop.is_set() and not self._is_told:
            self._tell()

    def _tell(self) -> None:
        self._is_told = True
        n_left = -self.n_steps % self._course.steps_per_epoch
        self._bar.clear()
        print(
            f"stopping at the end of this epoch, in about {n_left * self._step_s:.0f} s; again: at once, from the one "
            "before",
            file=sys.stderr,
        )

    @property
    def _step_s(self) -> float:
        return (self._course.spent_s - self._began_s) / max(1, self.n_steps - self._n_begun)
