"""Scores: what the model says, on its way to the sound; by reference within a process, in shared memory between two."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from device.core.ring import Ring, nothing
from device.edges.model import Float32
from device.engine.shared import Layout, SharedArrays, fence

N_NEWS = 8
N_SCORES_STREAM, N_SCORES_SEGMENT = 8, 3
"""How many scores lie in shared memory: the audio thread, which looks every few milliseconds, reads the last one."""


class Score:
    """Spectra to be played one after the other; the last one stays.

    Parameters
    ----------
    spectra : np.ndarray, shape (n_steps, n_bins), float32
        Where they lie.
    n_ready : np.ndarray, shape (1,), int64
        How many rows are valid; written after the row that it makes valid, by the model's side only.
    steps_per_s : float
    begins_s : float
        Time of the frame that is heard first.
    fence : callable
        See `Ring`.
    """

    __slots__ = ("_fence", "_n_ready", "begins_s", "spectra", "steps_per_s")

    def __init__(
        self,
        spectra: Float32,
        n_ready: npt.NDArray[np.int64],
        steps_per_s: float,
        begins_s: float,
        fence: Callable[[], None] = nothing,
    ) -> None:
        self.spectra = spectra
        self.steps_per_s = steps_per_s
        self.begins_s = begins_s
        self._n_ready = n_ready
        self._fence = fence

    @property
    def n_ready(self) -> int:
        """How many steps may be read."""
        return int(self._n_ready[0])

    def append(self, spectrum: Float32) -> None:
        """Add the next step."""
        n = self.n_ready
        self.spectra[n] = spectrum
        self._fence()
        self._n_ready[0] = n + 1


@dataclass(frozen=True, eq=False)
class News:
    """What one frame has to tell the audio thread.

    Attributes
    ----------
    score : Score
        What to play; the same object as before when a segment goes on.
    arrival_s : float
        When the frame arrived, on the clock of the engine.
    hold_s : float
        How long it may be held until the next one must have come.
    published_s : float
        When it was published, on the clock of the scores.
    """

    score: Score
    arrival_s: float
    hold_s: float
    published_s: float


class Scores(Protocol):
    """The way from the player, which begins scores and publishes news, to the voice, which reads the newest.

    Attributes
    ----------
    news : News or None
        The newest.
    rest : Score
        Silence: what is to be played until there are news.
    """

    @property
    def news(self) -> News | None:
        """The newest, for the audio thread: no lock, no wait."""

    @property
    def rest(self) -> Score:
        """Silence."""

    def begin(self, n_steps: int, begins_s: float) -> Score:
        """Give an empty score of so many steps at most."""

    def publish(self, score: Score, arrival_s: float, hold_s: float) -> None:
        """Make a score the newest."""


def zero_s() -> float:
    """Be the clock of scores whose way is not timed."""
    return 0.0


class LocalScores:
    """Scores within one process, by reference.

    Parameters
    ----------
    n_bins : int
        Values in a spectrum.
    steps_per_s : float
        Of a score with several steps.
    clock_s : callable
        Stamps news.

    Notes
    -----
    Publishing is the assignment of one reference, which CPython makes at once; what it refers to was complete before
    and is never written again (a score only grows: its count follows the row). The last few are kept here, so that it
    is the model's thread, not the audio thread, that frees them.
    """

    def __init__(self, n_bins: int, steps_per_s: float, clock_s: Callable[[], float] = zero_s) -> None:
        self.news: News | None = None
        self._n_bins = n_bins
        self._steps_per_s = steps_per_s
        self._clock_s = clock_s
        self._recent: deque[News] = deque(maxlen=N_NEWS)
        self.rest = resting(n_bins, steps_per_s)

    def begin(self, n_steps: int, begins_s: float) -> Score:
        """Give an empty score of so many steps at most."""
        spectra = np.zeros((n_steps, self._n_bins), np.float32)
        return Score(spectra, np.zeros(1, np.int64), self._steps_per_s, begins_s)

    def publish(self, score: Score, arrival_s: float, hold_s: float) -> None:
        """Make a score the newest."""
        news = News(score, arrival_s, hold_s, self._clock_s())
        self._recent.append(news)
        self.news = news


def resting(n_bins: int, steps_per_s: float) -> Score:
    """Give a score of silence."""
    rest = Score(np.zeros((1, n_bins), np.float32), np.zeros(1, np.int64), steps_per_s, 0.0)
    rest.append(np.zeros(n_bins, np.float32))
    return rest


def score_layout(n_bins: int, n_steps: int) -> Layout:
    """Lay out the memory for `SharedScores`; `n_steps` is that of the longest score."""
    n_scores = N_SCORES_STREAM if n_steps == 1 else N_SCORES_SEGMENT
    return {
        "n_news": ((1,), "i8"),
        "score": ((N_NEWS,), "i8"),
        "arrival_s": ((N_NEWS,), "f8"),
        "hold_s": ((N_NEWS,), "f8"),
        "published_s": ((N_NEWS,), "f8"),
        "spectra": ((n_scores, n_steps, n_bins), "f4"),
        "n_steps": ((n_scores,), "i8"),
        "n_ready": ((n_scores, 1), "i8"),
        "begins_s": ((n_scores,), "f8"),
    }


class SharedScores:
    """Scores between two processes: one side begins and publishes, the other reads.

    Parameters
    ----------
    memory : SharedArrays
        Of `score_layout`.
    steps_per_s : float
        Of a score with several steps.
    clock_s : callable
        Stamps news.

    Notes
    -----
    A slot is written again after N_SCORES more scores. In stream mode that is eight frames, 67 ms at 120 fps, for a
    reader that copies the spectrum within the block that finds it.
    """

    def __init__(self, memory: SharedArrays, steps_per_s: float, clock_s: Callable[[], float] = zero_s) -> None:
        self._memory = memory
        self._steps_per_s = steps_per_s
        self._clock_s = clock_s
        self._ring = Ring(
            memory["n_news"], {name: memory[name] for name in ("score", "arrival_s", "hold_s", "published_s")}, fence
        )
        self._n_begun = 0
        self._serial = -1  # of the score that was begun, or read, last
        self._n_read = 0
        self._news: News | None = None
        self.rest = resting(memory["spectra"].shape[2], steps_per_s)

    def begin(self, n_steps: int, begins_s: float) -> Score:
        """Give an empty score of so many steps at most."""
        self._serial, self._n_begun = self._n_begun, self._n_begun + 1
        slot = self._serial % len(self._memory["spectra"])
        self._memory["n_ready"][slot] = 0
        self._memory["n_steps"][slot] = n_steps
        self._memory["begins_s"][slot] = begins_s
        return self._score(self._serial)

    def publish(self, score: Score, arrival_s: float, hold_s: float) -> None:  # noqa: ARG002 - it is the last one begun
        """Make the score that was begun last the newest."""
        self._ring.append(score=self._serial, arrival_s=arrival_s, hold_s=hold_s, published_s=self._clock_s())

    @property
    def news(self) -> News | None:
        """The newest, for the audio thread: no lock, no wait."""
        n = self._ring.n_written
        if n == self._n_read:
            return self._news
        record = self._ring.read(n - 1)
        if record is None:  # There is a newer one already: it will be found at the next block.
            return self._news
        self._n_read = n
        serial = int(record["score"])
        if serial < 0:  # None was begun yet: in segment mode frames come before the first segment is whole.
            score = self.rest
        elif self._news is not None and serial == self._serial:
            score = self._news.score
        else:
            score = self._score(serial)
        self._serial = serial
        self._news = News(score, float(record["arrival_s"]), float(record["hold_s"]), float(record["published_s"]))
        return self._news

    def _score(self, serial: int) -> Score:
        memory = self._memory
        slot = serial % len(memory["spectra"])
        spectra = memory["spectra"][slot, : int(memory["n_steps"][slot])]
        return Score(spectra, memory["n_ready"][slot], self._steps_per_s, float(memory["begins_s"][slot]), fence)
